import email.utils
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.address import Address
from mtad.mail.envelope import Submission
from mtad.message.headers import scan
from mtad.message.trace import complete, date, received, too_many_hops

AT = 1_767_607_200.0  # Mon, 05 Jan 2026 10:00:00 UTC
BOB, CAROL = Address("bob", "example.com"), Address("carol", "example.com")


def submission(recipients=(BOB,), **more):
    return Submission(Address("alice", "example.org"), list(recipients), b"", "example.org", AT, **more)


def test_dates_are_in_utc():
    assert date(AT + 0.9) == b"Mon, 05 Jan 2026 10:00:00 +0000"


@given(st.integers(0, 4_000_000_000))
def test_dates_can_be_read_back(at):
    parsed = email.utils.parsedate_to_datetime(date(at).decode())
    assert parsed.timestamp() == at
    assert parsed.utcoffset().total_seconds() == 0


def test_received_says_from_whom_how_and_for_whom():
    line = received(submission(peer="192.0.2.7", helo="client.example", protocol="ESMTPSA"), "mail.example.org", "q1")
    assert line == (
        b"Received: from client.example ([192.0.2.7])\r\n\tby mail.example.org with ESMTPSA id q1\r\n"
        b"\tfor <bob@example.com>;\r\n\tMon, 05 Jan 2026 10:00:00 +0000\r\n"
    )


def test_several_recipients_are_not_betrayed_to_each_other():
    line = received(submission([BOB, CAROL]), "h", "q")
    assert b"bob" not in line
    assert b"for" not in line


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("192.0.2.7", b"([192.0.2.7])"),
        ("[192.0.2.7]", b"([192.0.2.7])"),
        ("2001:db8::1", b"([IPv6:2001:db8::1])"),
        ("[IPv6:2001:db8::1]", b"([IPv6:2001:db8::1])"),
        ("fe80::1%eth0", b"([IPv6:fe80::1])"),
    ],
)
def test_the_peer_is_an_address_literal(peer, shown):
    assert b"from c " + shown + b"\r\n" in received(submission(peer=peer, helo="c"), "h", "q")


def test_an_unknown_client_is_called_so():
    assert received(submission(), "h", "q").startswith(b"Received: from unknown\r\n")
    assert received(submission(peer="192.0.2.7"), "h", "q").startswith(b"Received: from unknown ([192.0.2.7])\r\n")


def test_utf8_transactions_are_marked():
    assert b"with UTF8SMTPSA id" in received(submission(protocol="ESMTPSA", smtputf8=True), "h", "q")


@given(helo=st.text(max_size=400), peer=st.text(max_size=60), protocol=st.text(max_size=20))
def test_a_hostile_client_cannot_put_anything_into_the_header(helo, peer, protocol):
    line = received(submission(helo=helo, peer=peer, protocol=protocol), "h", "q")
    lines = line.split(b"\r\n")
    assert len(lines) == 5
    assert line.isascii()
    assert all(re.fullmatch(rb"[\t -~]{0,400}", one) for one in lines)
    assert scan(line + b"\r\n").received_count == 1


def done(content):
    return complete(content, scan(content), "id1", AT, "mail.example.org")


def test_missing_fields_are_added_and_the_content_stays_the_same_object():
    content = b"From: a@b\r\nSubject: x\r\n\r\nbody\r\n"
    prefix, rest = done(content)
    assert prefix == b"Message-ID: <id1@mail.example.org>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n"
    assert rest is content


def test_a_complete_message_is_not_touched():
    content = b"Message-Id: <x@y>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n\r\nbody\r\n"
    prefix, rest = done(content)
    assert prefix == b""
    assert rest is content


@pytest.mark.parametrize(("field", "added"), [(b"Content-Type: text/html", True), (b"X-Other: 1", False)])
def test_mime_version_is_added_where_mime_is_used(field, added):
    content = b"Message-Id: <x@y>\r\nDate: x\r\n" + field + b"\r\n\r\n"
    assert done(content)[0] == (b"MIME-Version: 1.0\r\n" if added else b"")


def test_fields_that_are_not_for_recipients_are_removed():
    content = (
        b"Return-Path: <a@b>\r\nBcc: x@y,\r\n z@y\r\nDate: d\r\nResent-Bcc: q@y\r\nMessage-ID: <m@n>\r\n\r\nBcc: b\r\n"
    )
    assert done(content) == (b"", b"Date: d\r\nMessage-ID: <m@n>\r\n\r\nBcc: b\r\n")


def test_empty_fields_count_as_missing():
    prefix, rest = done(b"Message-ID: <>\r\nDate: \r\nFrom: a@b\r\n\r\n")
    assert b"Message-ID: <id1@" in prefix
    assert b"Date: Mon" in prefix
    assert rest == b"From: a@b\r\n\r\n"


def test_an_id_with_a_domain_is_taken_as_it_is():
    content = b"Date: d\r\n\r\n"
    assert complete(content, scan(content), "x@y", AT, "h")[0] == b"Message-ID: <x@y>\r\n"


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        (b"hello\r\nworld\r\n", b"\r\nhello\r\nworld\r\n"),
        (b"Date: d\r\nno field\r\nB: c\r\n\r\n", b"Date: d\r\n\r\nno field\r\nB: c\r\n\r\n"),
        (b"From bob Mon\r\nDate: d\r\n\r\nx\r\n", b"Date: d\r\n\r\nx\r\n"),
        (b"Date: d", b"Date: d\r\n"),
        (b"", b""),
    ],
)
def test_a_doubtful_end_of_the_header_is_made_plain(content, rest):
    prefix, mended = done(content)
    assert mended == rest
    again = scan(prefix + mended)
    assert not again.broken
    assert again.message_id == "id1@mail.example.org"


@given(
    st.lists(st.sampled_from([b"A: b\r\n", b"Bcc: c\r\n", b" d\r\n", b"x\r\n", b"\r\n", b"From e\r\n"])).map(b"".join)
)
def test_completing_twice_is_completing_once(content):
    prefix, rest = done(content)
    whole = prefix + rest
    assert done(whole) == (b"", whole)


def test_many_received_fields_are_a_loop():
    block = scan(b"Received: x\r\n" * 51 + b"\r\n")
    assert too_many_hops(block, 50)
    assert not too_many_hops(block, 51)
