import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.feedback.dsn import address_of, fields, holds_fields, recipients
from mtad.feedback.incoming import Action


def wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; bob@example.org", "bob@example.org"),
        ("RFC822;bob@Example.ORG", "bob@example.org"),
        ("rfc822; <bob@example.org>", "bob@example.org"),
        ("rfc822; bob@example.org (Bob)", "bob@example.org"),
        ("bob@example.org", "bob@example.org"),
        ("smtp; bob@example.org", "bob@example.org"),
        (r"utf-8; j\x{F6}rg@example.org", "jörg@example.org"),
        ("utf-8; jörg@bücher.example", "jörg@xn--bcher-kva.example"),
        ("rfc822; bob+news@example.org", "bob+news@example.org"),
        ("x400; /g=bob/s=x/c=de", None),
        (r"utf-8; \x{110000}\x{D800}@", None),
        ("rfc822; redacted", None),
        ("", None),
    ],
)
def test_addresses(value, address):
    found = address_of(value)
    assert (str(found) if found else None) == address


def test_xtext_that_was_left_in_the_original_recipient_is_undone():
    assert str(address_of("rfc822;bob+2Bnews+3D1@example.org", original=True)) == "bob+news=1@example.org"
    assert str(address_of("rfc822;bob+2Bnews@example.org")) == "bob+2Bnews@example.org"


def test_fields_are_unfolded_in_any_form():
    octets = wire("A-b: one\n  two\nthree\nC-D :four\n\nhttp://x\nE-F:\n five\n")
    assert list(fields(octets)) == [("a-b", "one two three"), ("c-d", "four"), ("e-f", "five")]


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("Final-Recipient: a@b\nAction: failed\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nAction: FAILED (for good)\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nAction: failure\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nStatus: 5.1.1\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nStatus: 4.1.1\n", [Action.DELAYED]),
        ("Final-Recipient: a@b\nAction: failed\nStatus: 4.1.1\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nAction: delayed\nStatus: 5.1.1\n", [Action.DELAYED]),
        ("Final-Recipient: a@b\nAction: failed\nStatus: 2.0.0\n", [Action.DELIVERED]),
        ("Final-Recipient: a@b\nAction: expanded\nStatus: 2.0.0\n", [Action.EXPANDED]),
        ("Final-Recipient: a@b\nDiagnostic-Code: smtp; 550 no\n", [Action.FAILED]),
        ("Final-Recipient: a@b\nAction: unheard-of\n", []),
        ("Final-Recipient: a@b\n", []),
        ("Reporting-MTA: dns; a\n", []),
    ],
)
def test_the_action(text, actions):
    assert [one.action for one in recipients(wire(text), "")] == actions


ONE = "Original-Recipient: rfc822;a@b.c\nFinal-Recipient: rfc822;a@b.c\nAction: failed\nStatus: 5.1.1\n"
TWO = "Final-Recipient: rfc822;d@e.f\nAction: delayed\nStatus: 4.2.2\n"
POSTFIX = "Final-Recipient: rfc822;g@h.i\nOriginal-Recipient: rfc822;j@k.l\nAction: failed\nStatus: 5.2.2\n"
EXIM = "Action: failed\nFinal-Recipient: rfc822;m@n.o\nStatus: 5.0.0\n"


@given(st.lists(st.sampled_from([ONE, TWO, POSTFIX, EXIM]), max_size=8), st.sampled_from(["\n", "\n\n", "\n\n\n"]))
def test_each_recipient_is_found_with_or_without_blank_lines(groups, between):
    octets = wire("Reporting-MTA: dns; x\n" + between.join(["", *groups]))
    assert len(recipients(octets, "")) == len(groups)
    spread = wire("Reporting-MTA: dns; x\n\n" + "".join(groups).replace("\n", between))
    assert [one.status for one in recipients(spread, "")] == [one.status for one in recipients(octets, "")]


def test_at_most_a_thousand_recipients_are_read():
    assert len(recipients(wire(ONE * 3000), "")) == 1000


def test_what_the_text_says_stands_in_for_a_missing_diagnostic_of_one_recipient():
    text = "<a@b.c>: host mx said:\n550 nobody (in reply to RCPT TO command)"
    (one,) = recipients(wire(ONE), text)
    assert (one.reply.text.startswith("nobody"), one.phase) == (True, "rcpt")
    assert [one.diagnostic for one in recipients(wire(ONE + "\n" + TWO), text)] == ["", ""]
    (later,) = recipients(wire(TWO), text)  # of another class: not about this
    assert later.diagnostic == ""


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("dns; MX.example.net", "mx.example.net"),
        ("dns;mx.example.net (TCP|192.0.2.1|25)", "mx.example.net"),
        ("dns; mx.example.net. (192.0.2.1, the server)", "mx.example.net"),
        ("dns; [192.0.2.1]", "[192.0.2.1]"),
        ("mx.example.net", "mx.example.net"),
        ("dns; <script>", ""),
    ],
)
def test_the_remote_host(value, host):
    (one,) = recipients(wire(f"{ONE}Remote-MTA: {value}\n"), "")
    assert one.remote_mta == host


def test_fields_are_known_under_a_wrong_name():
    assert holds_fields(wire("x\n" + TWO))
    assert not holds_fields(wire("I saw Final-Recipient: x and Action: failed"))
    assert not holds_fields(wire("> Final-Recipient: x\n> Action: failed"))
    assert not holds_fields(wire("Final-Recipient: x\n"))


@given(st.binary(max_size=400))
def test_any_octets_are_read(octets):
    assert isinstance(recipients(octets, ""), tuple)
