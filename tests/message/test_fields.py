from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.message import fields
from mtad.message.fields import display, entries, group, mailbox, phrase, unstructured
from mtad.message.headers import decode, value_of
from mtad.message.heading import compile_field
from mtad.message.variables import Filling, Unfillable
from tests.message.recipients import person


def written(raw: bytes, **values: object) -> bytes:
    name = raw.partition(b":")[0].lower()
    field = compile_field(name, raw, True)
    assert field is not None
    return field.write(Filling(person(values), True))


@given(st.text(max_size=500))
def test_free_text_comes_back_through_any_decoder(text):
    raw = unstructured(b"Subject", text)
    wanted = fields._WIDE.sub(" ", fields.clean(text)).strip(" ")
    assert decode(value_of(raw)) == wanted
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()
    assert all(line.strip() for line in raw[:-2].split(b"\r\n"))
    if "  " not in wanted:
        assert str(make_header(decode_header(value_of(raw).decode()))) == wanted


@given(st.text(max_size=200))
def test_any_name_makes_one_mailbox(name):
    made = mailbox(name, "a@b.example", False)
    assert made is not None
    assert [address for _, address in getaddresses([made])] == ["a@b.example"]
    ((entry),) = entries(made)
    assert display(entry.phrase) == " ".join(fields.clean(name).split())


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_what_some_take_for_the_end_of_a_line_makes_none_in_a_field(mark):
    text = f"a{mark}X-Evil: 1"
    for field in (unstructured(b"Subject", text).decode(), *(mailbox(text, "bob@x.example", wide) for wide in (0, 1))):
        assert len(field.splitlines()) == 1
        assert field.isascii()


def test_phrases_are_quoted_or_encoded_as_need_be():
    assert phrase("Bob Smith") == "Bob Smith"
    assert phrase('Smith, "Bob"') == '"Smith, \\"Bob\\""'
    assert phrase("Jörg") == "=?utf-8?q?J=C3=B6rg?="
    assert phrase("=?x?=").startswith("=?utf-8?")
    assert group("a, b") == '"a, b":;'
    assert group("") == "undisclosed-recipients:;"


def test_what_is_no_address_makes_no_mailbox():
    assert mailbox("x", "a b@c.example", False) is None
    assert mailbox("x", "ä@c.example", False) is None
    assert mailbox("", "ä@c.example", True) == "ä@c.example"
    assert mailbox("", "a@bücher.example", False) == "a@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('a <b@c.d>, "x, y" <z@w.v>', [("a", "b@c.d"), ("x, y", "z@w.v")]),
        ("Friends: a@b.c, d@e.f;", [("", "a@b.c"), ("", "d@e.f")]),
        ("a@b.c (Ann (sic))", [("Ann", "a@b.c")]),
        ("=?utf-8?q?=C3=A4?= <a@b.c>", [("ä", "a@b.c")]),
        ("Foo,, <a@b.c", [("Foo", ""), ("", "a@b.c")]),
    ],
)
def test_address_lists_are_cut_into_entries(value, found):
    assert [(display(entry.phrase), entry.address) for entry in entries(value)] == found


@pytest.mark.parametrize(
    ("raw", "values", "out"),
    [
        (b"Subject: Hi %recipient.x%!\r\n", {"x": "a\r\nBcc: e@v.il"}, b"Subject: Hi aBcc: e@v.il!\r\n"),
        (b"Subject: %recipient.x%\r\n", {"x": "é"}, b"Subject: =?utf-8?b?w6k=?=\r\n"),
        (b"Subject: %recip\r\n ient.x%\r\n", {"x": "folded"}, b"Subject: folded\r\n"),
        (b"Subject: =?us-ascii?q?%recip?=\r\n =?us-ascii?q?ient=2Ex=25?=\r\n", {"x": "w"}, b"Subject: w\r\n"),
        (b"Subject: %recipient.none% =?utf-8?q?x?=\r\n", {}, b"Subject: %recipient.none% =?utf-8?q?x?=\r\n"),
        (b"Cc: %recipient.t% <x@y.example>, b@c.de\r\n", {"t": "A, B"}, b'Cc: "A, B" <x@y.example>, b@c.de\r\n'),
        (b"Cc: <%recipient.id%@y.example>\r\n", {"id": "e@v.il>, <f"}, b'Cc: "e@v.il>, <f@y.example":;\r\n'),
        (b"Reply-To: %recipient.r%\r\n", {"r": "Ö <o@x.de>, p@y.z"}, b"Reply-To: =?utf-8?b?w5Y=?= <o@x.de>, p@y.z\r\n"),
        (b"Reply-To: %recipient.r%\r\n", {"r": "nobody"}, b"Reply-To: nobody:;\r\n"),
        (b"Message-ID: <%recipient.x%@y>\r\n", {"x": "a\n\tb\u00e9"}, b"Message-ID: <a b%C3%A9@y>\r\n"),
        (b"List-Help: <https://x/%recipient.x%>\r\n", {"x": "é"}, b"List-Help: <https://x/%C3%A9>\r\n"),
        (b"X-Data : %recipient.x%\r\n", {"x": 1}, b"X-Data: 1\r\n"),
    ],
)  # fmt: skip
def test_fields_are_written_with_values_that_cannot_leave_them(raw, values, out):
    assert written(raw, **values) == out


@pytest.mark.parametrize(
    "name", [b"Received", b"DKIM-Signature", b"Content-Type", b"MIME-Version", b"Authentication-Results"]
)
def test_fields_that_machines_made_are_never_filled(name):
    assert compile_field(name.lower(), name + b": %recipient_email%\r\n", True) is None


def test_a_word_that_fits_on_no_line_is_an_error_where_nothing_can_be_encoded():
    with pytest.raises(Unfillable):
        written(b"List-Help: <https://x/%recipient.x%>\r\n", x="a" * 2000)
    assert max(map(len, written(b"Subject: %recipient.x%\r\n", x="a" * 2000).split(b"\r\n"))) <= 76
