"""delivery.wire: dot-stuffing over any chunks, and the second lock against smuggling."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.wire import Features, check, mail_command, rcpt_command, rcpt_command_dsn, stuff
from mtad.mail.envelope import Transaction

LINES = st.lists(st.sampled_from([b".", b"..", b"", b".x", b"x", b"a.b", b"\xff"]), min_size=1, max_size=12)
HOSTILE = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"x", b"\0"]), max_size=14).map(b"".join)


def cut(content, at):
    places = sorted({0, len(content), *(place for place in at if place < len(content))})
    return [content[a:b] for a, b in itertools.pairwise(places)] + [b""]


def unstuff(octets):
    octets = octets[1:] if octets.startswith(b".") else octets
    return octets.replace(b"\r\n.", b"\r\n")


def is_clean(content):
    return content.endswith(b"\r\n") and not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", content)


@given(LINES, st.lists(st.integers(0, 40), max_size=6))
def test_stuffing_comes_back_and_has_no_lone_dot(lines, at):
    content = b"\r\n".join(lines) + b"\r\n"
    stuffed = b"".join(stuff(cut(content, at)))
    assert unstuff(stuffed) == content
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
    assert b"".join(check(cut(content, at))) == content


@given(HOSTILE, st.lists(st.integers(0, 20), max_size=4))
def test_only_content_with_whole_line_ends_gets_out(content, at):
    chunks = cut(content, at)
    if is_clean(content):
        assert unstuff(b"".join(stuff(chunks))) == content
        check(chunks)
    else:
        for writer in (stuff, check):
            with pytest.raises(ValueError):
                writer(chunks)


def test_a_chunk_without_a_leading_dot_is_not_copied():
    chunk = b"one\r\ntwo\r\n"
    assert stuff((chunk,))[0] is chunk
    assert check((chunk,))[0] is chunk


def test_contents_that_come_again_and_others_between_them_stay_themselves():
    good, bad, dotted = b"a\r\n", b"a\n", b".a\r\n"
    for _ in range(2):
        assert stuff((good,)) == [good]
        with pytest.raises(ValueError, match="bare LF"):
            stuff((bad,))
        stuff((dotted,)).append(b"of the caller's own")
        assert b"".join(stuff((dotted,))) == b"..a\r\n"


def test_a_line_that_goes_on_in_the_next_chunk_is_not_stuffed():
    assert b"".join(stuff((b"a", b".b\r\n"))) == b"a.b\r\n"


def test_a_quoted_local_part_may_have_blanks():
    assert rcpt_command('"john smith"@x.example') == b'RCPT TO:<"john smith"@x.example>\r\n'
    assert rcpt_command("postmaster") == b"RCPT TO:<postmaster>\r\n"


@given(st.text(max_size=30))
def test_a_command_is_one_line_with_one_path(address):
    try:
        command = rcpt_command(address)
    except ValueError:
        return
    assert command.startswith(b"RCPT TO:<")
    assert command.endswith(b">\r\n")
    assert command.count(b"\r") == command.count(b"\n") == command.count(b"<") == command.count(b">") == 1


@pytest.mark.parametrize(
    ("notify", "orcpt", "smtputf8", "said"),
    [
        ("NEVER", "", False, " NOTIFY=NEVER"),
        ("SUCCESS,DELAY", "rfc822;a+2Bb@x", False, " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x"),
        ("", "utf-8;\\x{E9}@x", False, " ORCPT=utf-8;\\x{E9}@x"),
        ("", "utf-8;é\U0001f600@x", True, " ORCPT=utf-8;é\U0001f600@x"),
        ("", "UTF-8;é\U0001f600@x", False, " ORCPT=UTF-8;\\x{E9}\\x{1F600}@x"),
        ("FAILURE", "rfc822;é@x", True, " NOTIFY=FAILURE"),  # nobody could read that address
        ("", "", True, ""),
    ],
)
def test_what_was_asked_of_a_recipient_is_written_as_the_transaction_may_carry_it(notify, orcpt, smtputf8, said):
    assert rcpt_command_dsn("a@x", notify, orcpt, smtputf8) == f"RCPT TO:<a@x>{said}\r\n".encode()


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
def test_what_was_asked_never_ends_the_line(notify, orcpt, smtputf8):
    for asked in ((notify, ""), ("", orcpt), ("", f"rfc822;{orcpt}"), ("", f"utf-8;{orcpt}")):
        try:
            command = rcpt_command_dsn("a@x", *asked, smtputf8)
        except ValueError:
            continue
        assert command.endswith(b"\r\n")
        assert re.fullmatch(rb"RCPT TO:<a@x>(?: (?:NOTIFY|ORCPT)=[^\x00-\x20\x7f=]+)*", command[:-2])
        assert smtputf8 or command.isascii()


@pytest.mark.parametrize(
    ("notify", "orcpt"), [("ALWAYS", ""), ("NEVER,SUCCESS", ""), ("", "bob@x"), ("", "rfc822;a=b")]
)
def test_what_is_no_such_parameter_is_refused(notify, orcpt):
    with pytest.raises(ValueError):
        rcpt_command_dsn("a@x", notify, orcpt, False)


def test_an_envid_that_is_no_xtext_is_refused():
    for envid in ("a=b", "+", "+4", "x" * 101):
        tx = Transaction("", ("a@x",), (b"x\r\n",), 3, envid=envid)
        with pytest.raises(ValueError):
            mail_command(tx, 3, Features(dsn=True), False)
