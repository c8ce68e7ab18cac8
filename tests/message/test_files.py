import base64
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.envelope import AttachedFile
from mtad.message.files import MAX_FILES, files_of
from mtad.message.headers import scan
from mtad.message.parse import parse


def looked(content: bytes) -> tuple[AttachedFile, ...]:
    return files_of(scan(content))


def letter(**more: tuple[bytes, str]) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("Text\n")
    for name, (octets, kind) in more.items():
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(octets, maintype=maintype, subtype=subtype, filename=name)
    return message


def wire(message: EmailMessage) -> bytes:
    return message.as_bytes().replace(b"\n", b"\r\n")


def test_names_types_and_sizes_are_told():
    content = wire(letter(a=(b"\x00" * 1000, "image/png"), b=(b"bc", "application/pdf")))
    assert looked(content) == (AttachedFile("a", "image/png", 1000), AttachedFile("b", "application/pdf", 2))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"Subject: x\r\n\r\nText\r\n", []),
        (b"Content-Type: text/html\r\n\r\n<p>\r\n", []),
        (b"Content-Type: Text/Plain; name=a.txt\r\n\r\nText", [("a.txt", "text/plain", 4)]),
        (b"Content-Disposition: attachment\r\n\r\nText", [("attachment-1.txt", "text/plain", 4)]),
        (b"Content-Type: application/pdf\r\n\r\nText", [("attachment-1.pdf", "application/pdf", 4)]),
        (
            b'Content-Type: text/csv; name="a.csv"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4',
            [("a.csv", "text/csv", 2)],
        ),
    ],
)
def test_one_part_is_a_file_when_it_says_so(content, wanted):
    assert looked(content) == tuple([AttachedFile(*one) for one in wanted])


def test_no_more_than_so_many_are_told():
    many = {f"f{number}": (b"x", "image/png") for number in range(MAX_FILES + 5)}
    assert len(looked(wire(letter(**many)))) == MAX_FILES


@given(st.lists(st.tuples(st.text("abc\xe4\u20ac .", min_size=1, max_size=8), st.binary(max_size=200)), max_size=4))
def test_they_are_those_that_parsing_finds(files):
    message = letter()
    for name, octets in files:
        message.add_attachment(octets, maintype="image", subtype="png", filename=name)
    content = wire(message)
    found = [(one.name, one.type, one.size) for one in parse(content).attachments]
    assert [(one.name, one.type, one.size) for one in looked(content)] == found


@given(st.binary(max_size=300), st.sampled_from([b"", b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n']))
def test_any_octets_are_looked_at(octets, head):
    assert all(one.size >= 0 and one.name for one in looked(head + octets + base64.b64encode(octets)))
