import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.address import (
    MAX_ADDRESS,
    Address,
    BadAddress,
    ascii_domain,
    is_url,
    parse_address,
    without_password,
)

_ATOM = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-é", min_size=1, max_size=10)
_LABEL = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
_LOCAL = st.lists(_ATOM, min_size=1, max_size=3).map(".".join)
_DOMAIN = st.lists(_LABEL, min_size=1, max_size=4).map(".".join)


@given(_LOCAL, _DOMAIN)
def test_what_is_printed_is_parsed_to_the_same_address(local, domain):
    address = parse_address(f"{local}@{domain}")
    assert address == Address(local, domain.lower())
    assert parse_address(str(address)) == address


@given(st.text(max_size=300) | st.text('ab.@"\\[]é\r\n\0 ', max_size=40))
def test_any_text_is_an_address_or_a_bad_one(text):
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert "\r" not in str(address)
    assert "\n" not in str(address)
    assert "\0" not in str(address)
    assert len(str(address).encode("utf-8", "replace")) <= MAX_ADDRESS
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ['"a b"@example.org', '"a\\"b"@example.org', "bob@[192.0.2.1]", "bob@[IPv6:2001:db8::1]"]
)
def test_quoted_parts_and_literals_are_kept_as_written(text):
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "bob", "@example.org", "bob@", ".bob@a.example", "b..ob@a.example", "bob.@a.example", "bob@-a.example"),
        *("bob@a..example", "bo b@a.example", "bob@a.example\r\n", "<bob@a.example>", "a" * 65 + "@a.example"),
        *("bob@" + "a." * 130 + "example", "bob@" + "a" * 64 + ".example"),
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BadAddress):
        parse_address(text)


@pytest.mark.parametrize("mark", ["\x80", "\x85", "\x9f", "\u2028", "\u2029"])
@pytest.mark.parametrize("form", ["a{}b@x.example", '"a{}b"@x.example', "a@x{}b.example"])
def test_what_some_take_for_the_end_of_a_line_is_in_no_address(form, mark):
    with pytest.raises(BadAddress):
        parse_address(form.format(mark))
    assert parse_address('"ü\xa0\u2027\u202a"@x.example').local == '"ü\xa0\u2027\u202a"'


def test_a_domain_in_utf8_becomes_a_labels():
    assert parse_address("bob@Bücher.example").domain == "xn--bcher-kva.example"
    assert ascii_domain("EXAMPLE.org") == "example.org"


def test_case_does_not_make_two_people():
    assert parse_address("Bob@Example.org").key == parse_address("bob@example.ORG").key
    assert str(parse_address("Bob@Example.org")) == "Bob@example.org"


def test_only_a_local_part_beyond_ascii_needs_smtputf8():
    assert parse_address("bücher@a.example").needs_utf8
    assert not parse_address("bob@bücher.example").needs_utf8


def test_a_url_is_told_from_an_address_however_its_scheme_is_written():
    assert [is_url(text) for text in ("http://a.example", "HTTPS://a.example/", "https@a.example", "http:a@b")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:se@cret@a.example/x?y=z@w", "https://a.example/x?y=z@w"),
        ("HTTP://user@a.example", "HTTP://a.example"),
        ("https://a.example/in", "https://a.example/in"),
        ("bob@a.example", "bob@a.example"),
    ],
)
def test_a_url_is_shown_without_its_password(text, shown):
    assert without_password(text) == shown
