import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.feedback.said import enhanced, phase_of, reply_of, spoken, status_in
from mtad.mail.reply import Phase, Reply


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("550 5.1.1 no such user", Reply(550, "1.1", "no such user")),
        ("host mx said: 550 nobody here", Reply(550, "", "nobody here")),
        ("<mx.example.net #5.5.0 smtp;550 5.1.1 unknown>", Reply(550, "1.1", "unknown>")),
        ("550-5.1.1 one\n 550-5.1.1 two\n 550 5.1.1 three", Reply(550, "1.1", "one two three")),
        ("550-one 550-two", Reply(550, "", "one two")),
        ("554: delivery error", Reply(554, "", "delivery error")),
        ("452 4.2.2 full\n\nPlease try again.", Reply(452, "2.2", "full")),
        ("<<< 550 Go away.\n---------\nmore", Reply(550, "", "Go away.")),
        ("550 4.1.1 mixed", Reply(550, "", "4.1.1 mixed")),
    ],
)
def test_the_reply_of_a_host_is_found(text, reply):
    assert spoken(text) == reply


@pytest.mark.parametrize(
    "text", ["", "550", "1550 x", "550ms is long", "mx:550 x", "192.0.2.550 x", "499 miles", "a/550 x", "5.1.1 x"]
)
def test_other_numbers_are_no_reply(text):
    assert spoken(text) is None


@pytest.mark.parametrize("text", ["5.1", "10.5.1.1", "5.1.1.3", "version 5.10.1", "5.1.1234", "v5.1.1", "6.1.1", ""])
def test_other_numbers_are_no_enhanced_code(text):
    assert enhanced(text) is None


@pytest.mark.parametrize(
    ("value", "status"),
    [("5.1.1", "5.1.1"), ("5.1.1 (bad mailbox)", "5.1.1"), ("5.01.01", "5.1.1"), ("unknown", ""), ("5.1", "")],
)
def test_the_status_field(value, status):
    assert status_in(value) == status


@pytest.mark.parametrize(
    ("status", "diagnostic", "reply"),
    [
        ("5.1.1", "550 5.7.1 spam", Reply(550, "7.1", "spam")),  # the host's own words go before the field
        ("5.1.1", "550 unknown", Reply(550, "1.1", "unknown")),
        ("5.0.0", "550 unknown (#5.1.1)", Reply(550, "1.1", "unknown (#5.1.1)")),
        ("5.0.0", "550 unknown", Reply(550, "0.0", "unknown")),
        ("5.1.1", "", Reply(550, "1.1", "")),
        ("4.4.1", "connection refused", Reply(450, "4.1", "connection refused")),
        ("5.1.1", "450 later", Reply(450, "1.1", "later")),  # and so is no word about tomorrow
        ("", "no mailbox (#5.1.1)", Reply(550, "1.1", "no mailbox (#5.1.1)")),
        ("", "", Reply(550, "", "")),
        ("5.0.0", "550 5.0.0 no (#5.2.1)", Reply(550, "2.1", "no (#5.2.1)")),
    ],
)
def test_status_and_diagnostic_make_one_reply(status, diagnostic, reply):
    assert reply_of(status, diagnostic) == reply


@pytest.mark.parametrize(
    ("texts", "phase"),
    [
        (("550 x", "x (in reply to RCPT TO command)"), Phase.RCPT),
        (("550 x", "SMTP error from remote mail server after RCPT TO:<b@c>:"), Phase.RCPT),
        (("550 x", "(in reply to end of DATA command)"), Phase.FINAL),
        (("550 x", ">>> MAIL From:<a@b>"), Phase.MAIL),
        (("550 x", "192.0.2.25 does not like recipient."), Phase.RCPT),
        (("550 x", "the RCPT TO command is great"), Phase.FINAL),
        (("550 x",), Phase.FINAL),
        ((), Phase.FINAL),
    ],
)
def test_the_step_it_was_said_at(texts, phase):
    assert phase_of(Reply(550, "", "x"), *texts) is phase


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        (Reply(450, "4.1", "connect to mx: Connection refused"), Phase.CONNECT),
        (Reply(450, "4.3", "name service error"), Phase.DNS),
        (Reply(450, "4.4", "no route"), Phase.DNS),
        (Reply(550, "4.4", "host unknown"), Phase.FINAL),
        (Reply(450, "4.7", "too old"), Phase.LOCAL),
    ],
)
def test_words_about_the_way_are_not_read_as_a_hosts(line, phase):
    assert phase_of(line, line.text) is phase


@given(st.text(max_size=300), st.sampled_from(["", "5.1.1", "4.2.2", "5.0.0", "2.0.0"]))
def test_any_words_make_a_reply_of_a_failure(text, status):
    reply = reply_of(status, text)
    assert 400 <= reply.code < 600
    assert len(reply.text) <= 1000
    assert phase_of(reply, text) in set(Phase)
