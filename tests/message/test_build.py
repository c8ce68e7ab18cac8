import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message.build import File, Letter, build, media_type
from mtad.message.headers import scan

MARK = "0123456789abcdefghij"
HEADER = (b"From: ann@ours.example\r\n", b"Subject: Hello\r\n")
PICTURE = File("logo.png", "image/png", b"\x89PNG\r\n\x1a\n\x00")


def made(**what) -> tuple[bytes, EmailMessage]:
    raw = build(Letter(header=HEADER, mark=MARK, **what))
    lines = raw.split(b"\r\n")
    assert lines[-1] == b""
    assert max(map(len, lines)) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert not [part.defects for part in message.walk() if part.defects]
    return raw, message


def tree(message: EmailMessage) -> object:
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        return [message.get_content_subtype(), *map(tree, message.iter_parts())]
    return message.get_content_type()


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ({"text": "a"}, "text/plain"),
        ({"html": "<p>"}, "text/html"),
        ({}, "text/plain"),
        ({"text": "", "html": "<p>"}, "text/html"),
        ({"text": "", "html": ""}, ["alternative", "text/plain", "text/html"]),
        ({"text": ""}, "text/plain"),
        ({"text": "a", "html": "<p>"}, ["alternative", "text/plain", "text/html"]),
        ({"text": "a", "html": "<p>", "amp": "<x>"}, ["alternative", "text/plain", "text/x-amp-html", "text/html"]),
        ({"html": "<p>", "inline": [PICTURE]}, ["related", "text/html", "image/png"]),
        (
            {"text": "a", "html": "<p>", "inline": [PICTURE]},
            ["alternative", "text/plain", ["related", "text/html", "image/png"]],
        ),
        ({"text": "a", "inline": [PICTURE]}, ["related", "text/plain", "image/png"]),
        ({"text": "a", "attached": [PICTURE, PICTURE]}, ["mixed", "text/plain", "image/png", "image/png"]),
        (
            {"text": "a", "html": "<p>", "inline": [PICTURE], "attached": [PICTURE]},
            ["mixed", ["alternative", "text/plain", ["related", "text/html", "image/png"]], "image/png"],
        ),
        ({"attached": [PICTURE]}, ["mixed", "image/png"]),
    ],
)
def test_parts_stand_in_the_order_readers_expect(what, wanted):
    _, message = made(**what)
    assert tree(message) == wanted


@settings(max_examples=150)
@given(st.text(max_size=3000), st.text(max_size=3000))
def test_any_text_comes_back(text, html):
    _, message = made(text=text + "x", html=html + "x")
    for kind, wanted in (("plain", text), ("html", html)):
        found = message.get_body((kind,)).get_payload(decode=True).decode()
        as_sent = (wanted + "x").replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
        assert found.replace("\r\n", "\n").removesuffix("\n") == as_sent.removesuffix("\n")


def test_plain_text_is_left_as_it_is_and_the_rest_is_encoded_as_little_as_can_be():
    for text, coding in (
        ("plain\n", "7bit"),
        ("a" * 998, "7bit"),
        ("a" * 999, "quoted-printable"),
        ("caf\xe9 au lait", "quoted-printable"),
        ("Здравствуй, мир", "base64"),
        ("nul\0", "quoted-printable"),
    ):
        assert made(text=text)[1]["Content-Transfer-Encoding"] == coding


@settings(max_examples=100)
@given(st.binary(max_size=2000), st.text(max_size=400))
def test_any_file_comes_back_under_its_name(content, name):
    _, message = made(text="a", attached=[File(name, "", content)])
    (found,) = message.iter_attachments()
    assert found.get_payload(decode=True) == content
    assert found.get_filename()
    if len(name) <= 255 and name.isprintable() and name.strip() == name and name and '"' not in name:
        assert found.get_filename() == name


@pytest.mark.parametrize(
    "name", ["日本語のファイル名がとても長い場合でも読めること.txt", "na\xefve.pdf", "a b;c.txt", 'x"y.txt', "a\\b.txt"]
)
def test_names_that_are_no_words_are_read_back(name):
    raw, message = made(text="a", attached=[File(name, "text/plain; charset=koi8-r", b"x")])
    (found,) = message.iter_attachments()
    assert found.get_filename() == name
    assert found.get_content_charset() == "koi8-r"
    assert raw.isascii()


def test_an_inline_file_is_found_by_its_name():
    for name, cid in (("logo.png", "<logo.png>"), ("b\xfc ro.png", "<b%C3%BC ro.png>"), ("a>\r\nX: y", "<a%3E_X: y>")):
        raw, message = made(html="<img>", inline=[File(name, "image/png", b"x")])
        assert f"Content-ID: {cid}\r\n".encode() in raw
        assert "X" not in message


@pytest.mark.parametrize(
    ("said", "name", "wanted"),
    [
        ("image/PNG", "x", "image/png"),
        ("", "report.pdf", "application/pdf"),
        ("", "x", "application/octet-stream"),
        ("nonsense", "x.html", "text/html"),
        ("text/plain; charset=utf-8; format=flowed", "x", 'text/plain; charset="utf-8"; format="flowed"'),
        ('text/plain; name="a\r\nX: y"', "x", "text/plain"),
        ('text/x; y="\r\nBcc: z"', "x", "text/x"),
        ("multipart/mixed; boundary=b", "x", "application/octet-stream"),
        ("message/partial", "x", "application/octet-stream"),
        ("message/rfc822", "x", "message/rfc822"),
    ],
)
def test_a_type_is_as_said_when_it_can_be_written(said, name, wanted):
    assert media_type(said, name) == wanted


def test_an_attached_message_stands_as_it_is_if_it_may():
    plain = b"Subject: inner\n\nText\n"
    _, message = made(text="a", attached=[File("m.eml", "message/rfc822", plain)])
    (found,) = message.iter_attachments()
    assert found.get_content_type() == "message/rfc822"
    assert found.get_content()["Subject"] == "inner"
    raw, message = made(text="a", attached=[File("m.eml", "message/rfc822", b"Subject: \xe9\n\nText\n")])
    (found,) = message.iter_attachments()
    assert found.get_content_type() == "application/octet-stream"
    assert raw.isascii()


def test_the_header_block_is_what_was_given_and_the_fields_of_mime():
    raw, _ = made(text="a")
    assert [name for name, _ in scan(raw).fields] == [
        *(b"from", b"subject", b"mime-version", b"content-type", b"content-transfer-encoding")
    ]
