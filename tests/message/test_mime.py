import email
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message.headers import scan
from mtad.message.mime import Coding, Kind, bodies, charset_of, content_type, text_parts

SAMPLES = Path(__file__).parent / "samples" / "compose"


def parts(content: bytes):
    return text_parts(content, scan(content))


def test_text_parts_are_found_and_attachments_are_not():
    content = (SAMPLES / "nested.eml").read_bytes()
    plain, html = parts(content)
    assert (plain.kind, plain.coding, html.kind, html.coding) == (
        *(Kind.PLAIN, Coding.SEVEN_BIT),
        *(Kind.HTML, Coding.QUOTED_PRINTABLE),
    )
    assert html.boundaries == (b"outer", b"outer-in", b"alt")
    assert content[plain.body_start : plain.end] == b"Dear %recipient.first%, see <http://shop.example/>."
    assert content[plain.start :].startswith(b"Content-Type: text/plain")


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (b"", 1),
        (b"Content-Type: TEXT/Html; charset=x\r\n", 1),
        (b"Content-Type: text\r\n", 0),
        (b"Content-Type: text/calendar\r\n", 0),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n", 0),
        (b"Content-Type: text/plain\r\nContent-Disposition: inline\r\n", 1),
        (b"Content-Type: text/plain\r\nContent-Disposition: inline; filename=x.txt\r\n", 0),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n", 0),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: Binary\r\n", 1),
        (b"Content-Type: message/rfc822\r\n", 0),
        (b"Content-Type: multipart/mixed\r\n", 0),
        (b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n", 0),
    ],
)
def test_only_text_for_people_counts(head, count):
    assert len(parts(head + b"\r\n--b\r\n\r\nx\r\n--b--\r\n")) == count


def test_delimiters_are_whole_lines():
    content = b"\r\n--b\r\n\r\none\r\n--bb\r\n--b--c\r\n--b \t\r\n\r\ntwo\r\n--b--\r\n\r\n--b\r\n\r\nthree"
    assert [content[start:end] for start, end in bodies(content, b"b", 2, len(content))] == [
        b"\r\none\r\n--bb\r\n--b--c",
        b"\r\ntwo",
    ]


def test_an_unclosed_multipart_ends_with_what_is_around_it():
    content = b"\r\n--b\r\n\r\none\r\n--b\r\n--b\r\ntwo"
    assert [content[start:end] for start, end in bodies(content, b"b", 0, len(content))] == [b"\r\none", b"", b"two"]


def test_content_types_are_read_with_their_parameters():
    assert content_type(b'Text/HTML; Charset="a\\"b;c" ; format = flowed;x') == (
        b"text/html",
        {b"charset": b'a"b;c', b"format": b"flowed"},
    )
    assert content_type(b"nonsense") == (b"", {})


@pytest.mark.parametrize(
    ("name", "codec", "direct"),
    [
        ("UTF-8", "utf-8", True),
        ("us-ascii", "ascii", True),
        ("gb18030", "gb18030", True),
        ("iso-2022-jp", "iso2022_jp", False),
        ("utf-16", "utf-16", False),
        ("utf-7", "", False),
        ("cp037", "", False),
        ("x-unknown", "", True),
        ("base64", "", True),
    ],
)
def test_charsets_are_told_by_whether_syntax_can_be_found_in_them(name, codec, direct):
    charset = charset_of(name)
    assert (charset.codec, charset.direct) == (codec, direct)


_LINES = (
    b"--a",
    b"--b",
    b"--a--",
    b"--b--",
    b"",
    b"text",
    b'Content-Type: multipart/mixed; boundary="b"',
    b"Content-Type: text/html",
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(_LINES), max_size=14))
def test_parts_lie_apart_and_in_order_and_hold_what_another_parser_says(lines):
    content = b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n' + b"\r\n".join([b"--a", b"", *lines]) + b"\r\n"
    found = parts(content)
    places = [place for part in found for place in (part.start, part.body_start, part.end)]
    assert places == sorted(places)
    others = [part.get_payload() for part in email.message_from_bytes(content).walk() if not part.is_multipart()]
    for part in found:
        body = content[part.body_start : part.end].decode()
        assert any(body.rstrip() == other.rstrip() or body.rstrip() in other for other in others)
