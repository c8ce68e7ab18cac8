import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.message.headers import MAX_FIELDS, MAX_HEADER, decode, scan, strip

MESSAGE = (
    b"Received: from a ([192.0.2.1])\r\n\tby b; Mon, 05 Jan 2026 10:00:00 +0000\r\n"
    b'From: "Alice, A." <alice@Example.ORG>\r\n'
    b"To: bob@example.com,\r\n carol@example.com\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\n"
    b"Received: from c by a; Mon, 05 Jan 2026 09:00:00 +0000\r\n"
    b"Message-ID: <one@example.org>\r\n"
    b"\r\n"
    b"Subject: not a field\r\n\r\nbody\r\n"
)


def test_fields_are_found_in_order_and_joined_are_the_block():
    block = scan(MESSAGE)
    assert [name for name, _ in block.fields] == [
        b"received", b"from", b"to", b"subject", b"received", b"message-id",
    ]  # fmt: skip
    assert b"".join(raw for _, raw in block.fields) == MESSAGE[: block.end]
    assert MESSAGE[block.body_start :] == b"Subject: not a field\r\n\r\nbody\r\n"
    assert not block.broken
    assert not block.oversized


def test_values_are_unfolded_and_stripped():
    block = scan(MESSAGE)
    assert block.first(b"subject") == b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= and more"
    assert block.text(b"subject") == "Grüße and more"
    assert block.first(b"cc") is None
    assert block.text(b"cc") == ""
    assert block.all(b"received")[1] == b"from c by a; Mon, 05 Jan 2026 09:00:00 +0000"
    assert block.received_count == 2
    assert block.message_id == "one@example.org"
    assert block.from_domain == "example.org"


@pytest.mark.parametrize(
    ("content", "end", "body_start", "broken"),
    [
        (b"", 0, 0, False),
        (b"\r\n", 0, 2, False),
        (b"\r\nbody\r\n", 0, 2, False),
        (b"A: b\r\n", 6, 6, False),
        (b"A: b\r\n\r\n", 6, 8, False),
        (b"hello\r\nworld\r\n", 0, 0, True),
        (b" folded\r\nA: b\r\n\r\n", 0, 0, True),
        (b"A: b\r\nno field\r\nB: c\r\n\r\nx\r\n", 6, 6, True),
        (b"A : b\r\n\r\nx", 7, 9, False),
        (b"A: b\r\n\t\r\n\r\nx", 9, 11, False),
        (b"From bob Mon Jan  5\r\nA: b\r\n\r\nx", 27, 29, False),
    ],
)
def test_a_block_ends_at_a_blank_line_or_where_no_field_is(content, end, body_start, broken):
    block = scan(content)
    assert (block.end, block.body_start, block.broken, block.oversized) == (end, body_start, broken, False)


@pytest.mark.parametrize("content", [b"A: b", b"A: b\r\n c", b"A: b\r\nB: c"])
def test_a_last_line_without_line_end_still_is_a_field(content):
    block = scan(content)
    assert block.content == content + b"\r\n"
    assert block.end == block.body_start == len(content) + 2
    assert b"a" in block


@pytest.mark.parametrize(
    "content",
    [b"A: b\r\n" * (MAX_FIELDS + 1), b"A: " + b"x" * MAX_HEADER + b"\r\n\r\nb", b"A: b\r\n" + b" x\r\n" * 70_000],
)
def test_a_block_beyond_the_bounds_ends_early_and_says_so(content):
    block = scan(content + b"\r\nbody")
    assert block.oversized
    assert block.broken
    assert block.end <= MAX_HEADER
    assert len(block.fields) <= MAX_FIELDS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"plain", "plain"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ?=", "Grüße"),
        (b"=?iso-8859-1?q?a_b?= =?iso-8859-1?q?_c?=", "a b c"),
        (b"=?utf-8?b?w7w=?= x =?utf-8?b?w58=?=", "ü x ß"),
        (b"=?utf-8?b?4pw=?= =?utf-8?b?kw==?=", "✓"),
        (b"=?utf-8*de?q?=C3=BC?=", "ü"),
        (b"=?no-such?q?=FC?=", "ü"),
        (b"=?zlib?q?=FC?=", "ü"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("grün".encode(), "grün"),
        ("grün".encode("latin-1"), "grün"),
    ],
)
def test_encoded_words_become_text(value, shown):
    assert decode(value) == shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b", ["a@b"]),
        (b'"A, B" <a@b.c>, x@y (comment (nested, c@d)), Group: g1@x, "G 2" <g2@x>;', ["a@b.c", "x@y", "g1@x", "g2@x"]),
        (b"<@r,@s:t@u>", ["t@u"]),
        (b'(5" tall) <a@b>, "Bob" <c@d>', ["a@b", "c@d"]),
        (b'"odd one"@y.z, a@[IPv6:::1]', ['"odd one"@y.z', "a@[IPv6:::1]"]),
        (b"undisclosed-recipients:;", []),
        (b"a b@c, <>, <a@b, c@d>", ["a@b", "c@d"]),
        ("Jörg <jörg@example.org>".encode(), ["jörg@example.org"]),
    ],
)
def test_addresses_are_taken_out_of_lists(value, expected):
    assert scan(b"To: " + value + b"\r\n\r\n").addresses(b"to") == expected


def test_from_domain_is_in_a_labels_or_empty():
    assert scan("From: x@Bücher.example\r\n\r\n".encode()).from_domain == "xn--bcher-kva.example"
    assert scan(b"From: nobody\r\n\r\n").from_domain == ""
    assert scan(b"From: x@-\r\n\r\n").from_domain == ""


def test_strip_leaves_every_other_octet():
    content = b"A: 1\r\nBcc: x@y,\r\n z@y\r\nB:2 \r\nbCC: w@y\r\n\r\nBcc: body\r\n"
    assert strip(content, {b"bcc"}) == b"A: 1\r\nB:2 \r\n\r\nBcc: body\r\n"
    assert strip(content, {b"cc"}) is content


PIECES = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b"A: b\r\n",
    b"From ",
    b"x",
    b"<",
    b"@",
    b'"',
    b"(",
    b"=?utf-8?q?",
    b"\xff",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join) | st.binary(max_size=200))
def test_no_input_breaks_the_scanner(content):
    block = scan(content)
    assert 0 <= block.start <= block.end <= block.body_start <= len(block.content)
    assert b"".join(raw for _, raw in block.fields) == block.content[block.start : block.end]
    for name in block.by_name:
        block.text(name)
        block.addresses(name)
    assert block.from_domain is not None
    strip(content, {b"a"})


@given(st.lists(st.sampled_from(['"', "\\", "(", ")", "<", ">", ",", ";", ":", "[", "]", "a", "@", " ", "é", "a@b"])))
def test_addresses_never_hold_white_space_or_delimiters(parts):
    for address in scan(b"To: " + "".join(parts).encode() + b"\r\n\r\n").addresses(b"to"):
        assert "@" in address
        if '"' not in address and "[" not in address:
            assert not set(address) & set(" \r\n<>,;:()")


@pytest.mark.parametrize("piece", [b'"\\', b"(", b"<a@b", b'"a"', b"a,", b":", b"\\", b"=?x?q?a?= "])
def test_hostile_values_cost_little(piece):
    """Were any of these quadratic, the test would take minutes."""
    block = scan(b"To: " + piece * (200_000 // len(piece)) + b"\r\n\r\n")
    block.addresses(b"to")
    block.text(b"to")


def test_long_names_without_a_colon_are_read_once():
    content = bytes(random.Random(1).choices(b"abc", k=MAX_HEADER * 2))
    assert scan(content).fields == []
