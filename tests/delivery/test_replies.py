"""delivery.replies: multi-line replies, bounds, and words that can be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.replies import MAX_REPLY, MAX_TEXT, ReplyReader, to_reply


def read(octets):
    reader = ReplyReader()
    return [str(to_reply(*raw)) for raw in reader.feed(octets)], reader


def test_replies_in_one_segment_are_told_apart():
    said, reader = read(b"250 2.1.0 ok\r\n250-a\r\n250-b\r\n250 c\r\n354 go\r\n4")
    assert said == ["250 2.1.0 ok", "250 a b c", "354 go"]
    assert reader.partial


@pytest.mark.parametrize("octets", [b"250 ok\n", b"250\r\n", b"250\n", b"250-a\n250 b\r\n"])
def test_a_bare_lf_and_a_bare_code_are_tolerated(octets):
    said, reader = read(octets)
    assert len(said) == 1
    assert not reader.error


def test_an_enhanced_code_repeated_on_each_line_is_said_once():
    said, _ = read(b"550-5.1.1 The account\r\n550-5.1.1 does not\r\n550 5.1.1 exist\r\n")
    assert said == ["550 5.1.1 The account does not exist"]


def test_octets_that_are_no_text_are_shown():
    said, _ = read(b"550 caf\xe9 \x1b[31m\x00 \xc3\xa9\r\n")
    assert said == ["550 caf\\xe9  [31m  é"]


def test_long_words_are_cut():
    reply = to_reply(550, b"\n".join([b"x" * 900] * 10))
    assert len(reply.text) == MAX_TEXT


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"x" * 3000, "line"),
        (b"250 " + b"x" * 3000 + b"\r\n", "line"),
        (b"250-" + b"x" * 3000 + b"\r\n250 ok\r\n", "line"),
        (b"250-x\r\n" * 20_000, f"more than {MAX_REPLY} octets"),
        (b"250-a\r\n251 b\r\n", "begins with 250 and goes on with 251"),
        (b"600 x\r\n", "no SMTP reply"),
        (b"\r\n", "no SMTP reply"),
        (b"250-a\r\n250x\r\n", "no SMTP reply"),
        (b"\xb2\xb2\xb2 x\r\n", "no SMTP reply"),
    ],
)
def test_what_breaks_the_rules_is_named_and_ends_the_reading(octets, why):
    said, reader = read(b"250 ok\r\n" + octets)
    assert said == ["250 ok"]
    assert why in reader.error
    assert reader.feed(b"250 ok\r\n") == []


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_bytes_are_read_without_an_exception_and_in_bounds(pieces):
    reader = ReplyReader()
    for piece in pieces:
        for code, text in reader.feed(piece):
            assert 200 <= code < 600
            assert to_reply(code, text).text.isprintable()
