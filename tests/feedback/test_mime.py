import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.feedback.mime import MAX_DEPTH, MAX_OCTETS, MAX_PARTS, parse, to_text


def content(head: str, body: bytes) -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def parts(body: str, boundary: str = "b") -> tuple:
    return parse(content(f"Content-Type: multipart/mixed; boundary={boundary}", body.encode())).parts


def test_parts_are_found_with_what_stands_before_them():
    message = parse(
        content('Content-Type: multipart/mixed; boundary="a b"', b"pre\r\n--a b\r\n\r\n1\r\n--a b--\r\npost")
    )
    assert (message.preamble, [part.body for part in message.parts]) == (b"pre", [b"1"])


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        ("--b\r\n\r\none\r\n--b \r\n\r\ntwo\r\n--b--\r\n", [b"one", b"two"]),
        ("--b\r\n\r\none", [b"one"]),  # cut off
        ("--b\r\n\r\n--bb\r\n--b-\r\n--b--", [b"--bb\r\n--b-"]),
        ("--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\nbehind the end", [b"one"]),
        ("nothing", []),
        ("", []),
    ],
)
def test_where_parts_begin_and_end(body, bodies):
    assert [part.body for part in parts(body)] == bodies


def test_a_boundary_that_is_not_named_is_guessed():
    body = b"--xyz\r\nContent-Type: text/plain\r\n\r\none\r\n--xyz--"
    assert [part.body for part in parse(content("Content-Type: multipart/mixed", body)).parts] == [b"one"]
    assert [part.body for part in parse(content("Content-Type: multipart/mixed; boundary=zyx", body)).parts] == [b"one"]


@pytest.mark.parametrize(
    ("head", "body", "decoded"),
    [
        ("base64", b"aGVsbG8=\r\n", b"hello"),
        ("BASE64", b"aGVs\r\nbG8", b"hel"),  # cut off: whole quads only
        ("base64", b"Final-Recipient: x", b"Final-Recipient: x"),
        ("quoted-printable", b"h=65l=\r\nlo", b"hello"),
        ("8bit", b"h\xe9", b"h\xe9"),
        ("x-unknown", b"hello", b"hello"),
    ],
)
def test_transfer_encodings_are_undone(head, body, decoded):
    assert parse(content(f"Content-Transfer-Encoding: {head}", body)).body == decoded


def test_a_message_within_may_be_encoded_and_has_its_own_parts():
    inner = base64.encodebytes(b"Subject: in\n\nx")
    message = parse(content("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", inner))
    assert message.parts[0].block.text(b"subject") == "in"


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        ("é".encode(), "", "é"),
        (b"\xe9", "", "é"),
        (b"\xe9", "x-none", "é"),
        (b"\xe9", "unicode_escape", "é"),
        (b"\xe9", "rot13", "é"),
        ("ж".encode("koi8-r"), "KOI8-R", "ж"),
        ("宛先".encode("iso-2022-jp"), "iso-2022-jp", "宛先"),
        ("邮".encode("gb2312"), "gb2312", "邮"),
        (b"\xff", "utf-8", "\ufffd"),
    ],
)
def test_charsets(octets, charset, text):
    assert to_text(octets, charset) == text


def test_html_is_read_without_its_tags():
    html = b"<html><head><title>550</title></head><style>a{}</style><p>Not<br>here &amp; gone<script>550</script></p>"
    message = parse(content("Content-Type: text/html", html))
    assert " ".join(message.text().split()) == "Not here & gone"


def test_text_has_no_characters_that_steer():
    assert parse(content("X: y", "a\0b\u202ec\u2028d\x1b[1m\r\ne".encode())).text() == "abcd[1m\ne"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('Content-Disposition: attachment; filename="a.txt"', "a.txt"),
        ("Content-Type: text/plain; name=b.txt", "b.txt"),
        (r'Content-Disposition: attachment; filename="../../etc/x"', "x"),
        (r'Content-Disposition: attachment; filename="C:\\x\\y.eml"', "y.eml"),
        ('Content-Disposition: attachment; filename="."', ""),
        ('Content-Disposition: attachment; filename="' + "n" * 300 + '"', "n" * 100),
        ("Content-Disposition: attachment; filename*0=ab; filename*1=cd", "abcd"),
        ("X: y", ""),
    ],
)
def test_file_names(head, name):
    assert parse(content(head, b"")).name == name


def depth(part):
    return 1 + max((depth(inner) for inner in part.parts), default=0)


def count(part):
    return 1 + sum(count(inner) for inner in part.parts)


NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(300))


@pytest.mark.parametrize(
    "octets",
    [
        NESTED,
        b"Content-Type: message/rfc822\r\n\r\n" * 300,
        content("Content-Type: multipart/mixed; boundary=b", b"--b\r\n\r\nx\r\n" * 300),
        content("Content-Type: multipart/mixed; boundary=b", b"--b\r\nContent-Type: message/rfc822\r\n\r\n" * 300),
    ],
)
def test_depth_and_number_of_parts_are_bounded(octets):
    message = parse(octets)
    assert depth(message) <= MAX_DEPTH + 1
    assert count(message) <= MAX_PARTS + MAX_DEPTH


def test_only_the_first_octets_are_read():
    assert len(parse(b"\r\n" + b"x" * (2 * MAX_OCTETS)).body) < MAX_OCTETS


@given(st.binary(max_size=500), st.sampled_from(["text/html", "message/rfc822", "multipart/mixed; boundary=b", "x"]))
def test_any_octets_are_a_message(octets, kind):
    message = parse(content(f"Content-Type: {kind}", octets))
    assert isinstance(message.text(), str)
