import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.smtp.limits import Budget
from tests.smtp.sessions import Client, OpenPolicy

BOB = Address("bob", "ours.test")
MESSAGE = b"Subject: hello\r\n\r\nA line.\r\n"


def codes(lines):
    return [line[:9].strip() for line in lines if line[3] == " "]


def test_a_message_is_taken_whole():
    client = Client().ready()
    assert client.send(b"DATA\r\n") == ["354 Send the message; end with <CRLF>.<CRLF>"]
    assert client.send(MESSAGE + b".\r\n") == ["250 2.0.0 Queued"]
    [taken] = client.taken
    assert taken.content == MESSAGE
    assert taken.recipients == [BOB]
    assert str(taken.reverse_path) == "ann@sender.test"
    assert (taken.peer, taken.helo, taken.protocol) == ("192.0.2.1", "client.test", "ESMTP")
    assert client.budget.used == 0


def test_ehlo_tells_what_works():
    said = Client(starttls=True, max_message_octets=1000, max_recipients=7).lines("EHLO a")
    assert said[0] == "250-mx.test"
    assert {line[4:] for line in said[1:]} == {
        "PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN",
        "LIMITS RCPTMAX=7", "STARTTLS",
    }  # fmt: skip
    assert "250 AUTH PLAIN LOGIN" in Client(starttls=True, tls="TLSv1.3").lines("EHLO a")
    assert not any("STARTTLS" in line for line in Client(starttls=True, tls="TLSv1.3").lines("EHLO a"))
    assert "250 AUTH PLAIN LOGIN" in Client(auth_without_tls=True).lines("EHLO a")


def test_a_batch_of_commands_is_answered_in_one_write():
    client = Client()
    said = client.lines("EHLO a", "MAIL FROM:<a@b.test>", "RCPT TO:<bob@ours.test>", "DATA")
    assert client.writes == 1
    assert said[-1].startswith("354 ")


def test_two_messages_in_one_segment_are_both_taken():
    client = Client()
    one = "MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@ours.test>\r\nDATA\r\nSubject: {}\r\n\r\n.\r\n"
    client.send("EHLO a\r\n" + one.format(1) + one.format(2) + "QUIT\r\n")
    assert [taken.content for taken in client.taken] == [b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n"]
    assert client.said[-1].startswith("221 ")
    assert client.closed


def test_dots_are_unstuffed():
    client = Client().ready()
    client.send(b"DATA\r\n..first\r\n.x\r\n...\r\nmid.dle\r\n.\r\n")
    assert client.taken[0].content == b".first\r\nx\r\n..\r\nmid.dle\r\n"


def test_an_empty_message_is_taken():
    client = Client().ready()
    client.send(b"DATA\r\n.\r\n")
    assert client.taken[0].content == b""


def test_chunks_make_one_message():
    client = Client().ready()
    said = client.send(b"BDAT 5\r\nSubjeBDAT 0\r\nBDAT 10 LAST\r\nct: x\r\n\r\n.QUIT\r\n")
    assert codes(said) == ["250 2.0.0", "250 2.0.0", "250 2.0.0", "221 2.0.0"]
    assert client.taken[0].content == b"Subject: x\r\n\r\n.\r\n"  # the missing line end is added


def test_dots_in_chunks_are_left_alone():
    client = Client().ready()
    client.send(b"BDAT 9 LAST\r\n..\r\n.\r\n\r\n")
    assert client.taken[0].content == b"..\r\n.\r\n\r\n"


def test_a_chunk_without_a_transaction_is_read_and_refused():
    client = Client()
    client.lines("EHLO a")
    assert codes(client.send(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")) == ["503 5.5.1", "250 2.0.0"]


def test_after_a_refused_chunk_the_rest_is_refused_too():
    client = Client(max_message_octets=10).ready()
    said = client.send(b"BDAT 8\r\n12345678BDAT 8\r\n12345678BDAT 3 LAST\r\nabcNOOP\r\n")
    assert codes(said) == ["250 2.0.0", "552 5.3.4", "503 5.5.1", "250 2.0.0"]
    assert not client.taken


def test_a_chunk_without_a_size_ends_the_session():
    client = Client().ready()
    assert codes(client.send(b"BDAT x LAST\r\nMAIL FROM:<e@e.test>\r\n")) == ["501 5.5.4"]
    assert client.closed


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        (["MAIL FROM:<a@b.test>"], "503 5.5.1"),
        (["EHLO a", "RCPT TO:<a@b.test>"], "503 5.5.1"),
        (["EHLO a", "DATA"], "503 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test>", "DATA"], "503 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test>", "RCPT TO:<no@ours.test>", "DATA"], "554 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"], "503 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "RSET", "DATA"], "503 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "EHLO a", "DATA"], "503 5.5.1"),
        (["EHLO"], "501 5.5.4"),
        (["EHLO " + "x" * 300], "501 5.5.4"),
        (["NONSENSE"], "500 5.5.1"),
        (["EHLO a", "MAIL FROM:<a@b.test> SIZE=1001"], "552 5.3.4"),
        (["EHLO a", "STARTTLS"], "502 5.5.1"),
        (["EHLO a", "AUTH PLAIN"], "538 5.7.11"),
        (["VRFY bob"], "252 2.0.0"),
        (["EXPN list"], "502 5.5.1"),
        (["HELP"], "214 2.0.0"),
        (["EHLO a", "DATA x"], "501 5.5.4"),
        (["NOOP " + "x" * 600], "500 5.5.2"),
        (["NOOP " + "x" * 20_000], "500 5.5.2"),
    ],
)
def test_a_command_out_of_order_or_wrong_is_answered(commands, code):
    policy = OpenPolicy({"no@ours.test": Reply(550, "1.1", "no such user")})
    client = Client(policy=policy, max_message_octets=1000)
    assert (client.lines(*commands)[-1] + " ").startswith(code)
    assert codes(client.lines("NOOP")) == ["250 2.0.0"]


def test_helo_has_no_extensions():
    client = Client()
    assert client.lines("HELO a") == ["250 mx.test"]
    client.lines("MAIL FROM:<a@b.test>", "RCPT TO:<bob@ours.test>", "DATA", ".")
    assert client.taken[0].protocol == "SMTP"


def test_a_helo_name_cannot_break_out_of_received():
    client = Client()
    client.lines('EHLO a(b)<c>;"d"\\é')
    assert client.receiver.session.helo.translate({ord("?"): None}) == "abcd"


@pytest.mark.parametrize(
    "verb", ["GET / HTTP/1.1", "POST / HTTP/1.0", "CONNECT x:25", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2"]
)
def test_another_protocol_is_cut_off(verb):
    client = Client()
    assert codes(client.lines(verb, "EHLO a")) == ["421 4.7.0"]
    assert client.closed


def test_too_many_recipients_are_told_to_come_again():
    client = Client(max_recipients=2, max_errors=3).ready("a@ours.test", "b@ours.test")
    assert codes(client.lines(*["RCPT TO:<c@ours.test>"] * 5)) == ["452 4.5.3"] * 5
    client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
    assert len(client.taken[0].recipients) == 2
    assert client.counters["refused-recipients"] == 5


def test_too_many_errors_end_the_session():
    client = Client(max_errors=3)
    assert codes(client.lines("A", "B", "C", "NOOP")) == ["500 5.5.1"] * 3 + ["421 4.7.0"]
    assert client.closed
    assert client.counters["refused-errors"] == 1


def test_too_many_commands_end_the_session():
    client = Client(max_commands=3)
    assert codes(client.lines("NOOP", "NOOP", "NOOP", "NOOP", "NOOP")) == ["250 2.0.0"] * 3 + ["421 4.7.0"]
    assert client.closed


@pytest.mark.parametrize(
    "command", [b"NOOP\n", b"\n", b"\r", b"NO\rOP\r\n", b"NOOP\r\r\n", b"EHLO a\nNOOP\r\n", b"\rQ\r\n"]
)
def test_a_bare_newline_among_commands_ends_the_session(command):
    client = Client()
    client.send(command + b"\r\nNOOP\r\n")
    assert codes(client.said)[-1] == "500 5.5.2"
    assert client.closed
    assert client.counters["refused-bare-newline"] == 1


def test_the_size_limit_is_exact_and_the_session_goes_on():
    exact = b"x" * 96 + b"\r\n.\r\n"  # 98 octets, one of them a dot that was stuffed
    client = Client(max_message_octets=99).ready()
    client.send(b"DATA\r\n." + exact)
    client.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>")
    assert codes(client.send(b"DATA\r\n" + b"y" * 100 + b"\r\n.\r\nNOOP\r\n"))[-2:] == ["552 5.3.4", "250 2.0.0"]
    assert [len(taken.content) for taken in client.taken] == [98]
    assert client.counters["refused-size"] == 1


def test_endless_content_takes_no_memory():
    client = Client(max_message_octets=100_000).ready()
    client.send(b"DATA\r\n")
    block = b"0123456789abcde\n" * 4096
    tracemalloc.start()
    try:
        for _ in range(100):
            client.send(block)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert client.receiver.buffered < 10
    assert client.budget.used == 0
    assert codes(client.send(b"\r\n.\r\n")) == ["552 5.3.4"]


def test_content_beyond_the_budget_of_all_connections_is_refused_for_now():
    budget = Budget(20_000)
    first, second = Client(budget=budget).ready(), Client(budget=budget).ready()
    first.send(b"DATA\r\n" + b"x" * 15_000)
    second.send(b"DATA\r\n" + b"y" * 9_000)
    assert codes(second.send(b"\r\n.\r\n")) == ["452 4.3.1"]
    assert codes(first.send(b"\r\n.\r\n")) == ["250 2.0.0"]
    assert budget.used == 0


def test_with_a_full_budget_data_is_refused_at_once():
    client = Client(budget=Budget(100)).ready()
    assert codes(client.lines("DATA", "NOOP")) == ["452 4.3.1", "250 2.0.0"]
    assert codes(client.send(b"BDAT 4 LAST\r\nabcdNOOP\r\n")) == ["452 4.3.1", "250 2.0.0"]


def test_a_client_that_leaves_gives_its_share_back():
    client = Client().ready()
    client.send(b"DATA\r\n" + b"x" * 50_000)
    assert client.budget.used > 50_000
    client.receiver.close()
    assert client.budget.used == 0


def test_the_policy_is_asked_before_content_is_read():
    client = Client(policy=OpenPolicy(data_reply=Reply(452, "3.1", "disk full"))).ready()
    assert client.lines("DATA") == ["452 4.3.1 disk full"]


def test_a_policy_reply_stays_one_line():
    policy = OpenPolicy({"no@ours.test": Reply(550, "1.1", "no\r\n250 fööl")})
    assert Client(policy=policy).ready("no@ours.test").said[-1] == "550 5.1.1 no  250 f??l"


def test_starttls_forgets_what_was_said_in_the_clear():
    client = Client(starttls=True)
    assert codes(client.lines("EHLO a", "MAIL FROM:<a@b.test>", "STARTTLS"))[-1] == "220 2.0.0"
    assert client.asks is not None
    client.receiver.tls_started("TLSv1.3")
    assert codes(client.lines("MAIL FROM:<a@b.test>", "EHLO a", "STARTTLS"))[::2] == ["503 5.5.1", "503 5.5.1"]


def test_nothing_may_follow_starttls_in_the_clear():
    client = Client(starttls=True)
    client.lines("EHLO a")
    assert codes(client.lines("STARTTLS", "RSET", "MAIL FROM:<evil@b.test>")) == ["554 5.5.1"]
    assert client.closed


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("AUTH", "501 5.5.4"),
        ("AUTH PLAIN a b", "501 5.5.4"),
        ("AUTH CRAM-MD5", "504 5.5.4"),
        ("AUTH " + "x" * 13_000, "500 5.5.2"),
    ],
)
def test_a_wrong_auth_command_is_answered(command, code):
    client = Client(tls="TLSv1.3")
    client.lines("EHLO a")
    assert codes(client.lines(command)) == [code]


def test_auth_comes_after_ehlo_once_and_outside_a_transaction():
    client = Client(tls="TLSv1.3")
    assert codes(client.lines("AUTH PLAIN")) == ["503 5.5.1"]
    client.lines("EHLO a", "MAIL FROM:<a@b.test>")
    assert codes(client.lines("AUTH PLAIN", "RSET")) == ["503 5.5.1", "250 2.0.0"]
    client.lines("auth login " + "x" * 9000)
    assert client.asks is not None
    assert client.asks.mechanism == "LOGIN"
    assert "xxx" not in repr(client.asks)
    client.receiver.authenticated("bob@ours.test", "ours.test", b"235 2.7.0 ok\r\n")
    assert codes(client.lines("AUTH PLAIN")) == ["235 2.7.0", "503 5.5.1"]
    client.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>", "DATA", ".")
    assert (client.taken[0].login, client.taken[0].domain) == ("bob@ours.test", "ours.test")
    assert client.taken[0].protocol == "ESMTPSA"


def test_listed_clients_have_their_newlines_mended_but_end_data_like_all():
    client = Client(bare_newlines=True).ready()
    client.send(b"DATA\r\na\nb\rc\r\n.\n.\r.\n..\r\n.\r\n")
    assert client.taken[0].content == b"a\r\nb\r\nc\r\n\r\n.\r\n.\r\n..\r\n"
    client.lines("MAIL FROM:<a@b.test>", "RCPT TO:<x@y.test>")
    assert codes(client.send(b"DATA\r\na\0b\r\n.\r\n"))[-1] == "550 5.6.0"


def test_dsn_parameters_reach_the_submission():
    client = Client()
    client.lines("EHLO a", "MAIL FROM:<a@b.test> RET=hdrs ENVID=x+2By BODY=8BITMIME SIZE=5")
    client.lines(
        "RCPT TO:<x@y.test>", "RCPT TO:<bob@ours.test> NOTIFY=success,DELAY ORCPT=rfc822;b@c.test", "DATA", "."
    )
    [taken] = client.taken
    assert (taken.ret, taken.envid, taken.eight_bit) == ("HDRS", "x+2By", True)
    assert (taken.notify, taken.orcpt) == ({1: "SUCCESS,DELAY"}, {1: "rfc822;b@c.test"})


def test_the_parameters_of_a_refused_recipient_go_with_it():
    client = Client(policy=OpenPolicy({"no@y.test": Reply(550, "1.1", "no")}))
    client.lines("EHLO a", "MAIL FROM:<>", "RCPT TO:<no@y.test> NOTIFY=NEVER", "RCPT TO:<x@y.test>", "DATA", ".")
    assert client.taken[0].reverse_path is None
    assert client.taken[0].notify == {}


PIECES = st.lists(
    st.sampled_from(
        [
            b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.test>\r\n", b"MAIL FROM:<a@b.test> SIZE=99999999\r\n",
            b"RCPT TO:<x@y.test>\r\n", b"RCPT TO:<no@y.test>\r\n", b"DATA\r\n", b"BDAT 5\r\n", b"BDAT 7 LAST\r\n",
            b"BDAT 0 LAST\r\n", b"RSET\r\n", b"NOOP\r\n", b"text\r\n", b".\r\n", b"..\r\n", b".", b"\r\n", b"\r\n.\r\n",
            b"\n", b"\r", b"\0", b"x" * 600, b"y" * 3000, b"z" * 13_000, b"QUIT\r\n", b"\xc3\xa9", b"<\"a b\"@y.test>",
        ]
    ),
    max_size=40,
)  # fmt: skip


def result(data, cuts):
    client = Client(policy=OpenPolicy({"no@y.test": Reply(550, "1.1", "no")}), max_message_octets=2000, max_errors=8)
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        client.send(data[start:cut])
        start = cut
    client.receiver.close()
    assert client.budget.used == 0
    return client.out, [(taken.content, taken.recipients) for taken in client.taken], client.closed


@settings(max_examples=300)
@given(pieces=PIECES, ordered=st.booleans(), data=st.data())
def test_how_the_network_cuts_the_octets_changes_nothing(pieces, ordered, data):
    start = b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\n" if ordered else b""
    octets = start + b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=30))
    assert result(octets, cuts) == result(octets, [])


def test_one_octet_at_a_time_changes_nothing():
    octets = (
        b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@y.test>\r\nDATA\r\n..a\r\n.\r\nMAIL FROM:<a@b.test>\r\n"
        b"RCPT TO:<x@y.test>\r\nBDAT 4\r\nabcdBDAT 3 LAST\r\ne\r\nRSET\r\n" + b"k" * 13_000 + b"\r\nQUIT\r\n"
    )
    assert result(octets, range(len(octets))) == result(octets, [])
    assert len(result(octets, [])[1]) == 2


@settings(max_examples=300)
@given(octets=st.binary(max_size=2000), tail=st.binary(max_size=50))
def test_no_octets_raise(octets, tail):
    client = Client(starttls=True, auth_without_tls=True).ready()
    for part in (octets, b"\r\nDATA\r\n", tail, b"\r\n.\r\n", octets):
        client.send(part)
        if client.asks is not None:
            client.receiver.answer(b"454 4.7.0 no\r\n")
    client.receiver.close()
    assert client.budget.used == 0
    assert all(line[:3].isdigit() for line in client.said)


@given(
    arg=st.text(max_size=80),
    verb=st.sampled_from(["MAIL FROM:", "RCPT TO:", "MAIL FROM:<a@b.test> ", "BDAT ", "AUTH "]),
)
def test_no_argument_raises(arg, verb):
    client = Client().ready()
    client.lines(*(["RSET"] if verb.startswith("MAIL") else []))
    client.lines(verb + arg)
    assert client.said[-1][:3].isdigit()
