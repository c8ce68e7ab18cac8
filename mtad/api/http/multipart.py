"""Multipart: a multipart/form-data body -> its parts.

Room: api. Pure. Source: RFC 7578, RFC 2046 §5.1 (delimiters), RFC 8187 (filename*). Every part is a view of the body
until it is asked for; nothing is searched twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_PARTS = 10_000
MAX_PART_HEADER = 16_384  # octets
MAX_BOUNDARY = 70  # characters, RFC 2046 §5.1.1; some clients take more
_LONGEST_BOUNDARY = 200

_PARAMETER = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_FOLD = re.compile(r"\r?\n[ \t]+")
_PATH = re.compile(r"^.*[\\/]", re.DOTALL)


class BadMultipart(ValueError):
    """The body is not valid multipart/form-data."""


@dataclass(frozen=True, slots=True)
class Part:
    """filename: None: there was none, so it is a field. content_type: as sent, "" when there was none."""

    name: str
    filename: str | None
    content_type: str
    content: memoryview


def parameters(value: str) -> dict[str, str]:
    """'form-data; name="a"; filename*=UTF-8\'\'b' -> {"name": "a", "filename*": "UTF-8''b"}; names in lower case."""
    found: dict[str, str] = {}
    for name, text in _PARAMETER.findall(value):
        found.setdefault(name.lower(), _unquoted(text))
    return found


def _unquoted(text: str) -> str:
    """Browsers and most libraries percent-encode a quote; a backslash before anything but a quote or a backslash is
    part of a Windows path."""
    if not text.startswith('"'):
        return text.strip()
    inner = text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:]
    return inner.replace("\\\\", "\\").replace('\\"', '"')


def boundary_of(content_type: str) -> bytes:
    """Raises BadMultipart."""
    text = parameters(content_type).get("boundary", "")
    if not text or len(text) > _LONGEST_BOUNDARY or not text.isascii() or not text.isprintable():
        raise BadMultipart("no usable boundary")
    return text.encode("ascii")


def parts(body: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts in order. Raises BadMultipart; also when the last delimiter is missing, as the body is cut off then."""
    delimiter = b"--" + boundary
    at = 0 if body.startswith(delimiter) else body.find(b"\n" + delimiter) + 1
    if not at and not body.startswith(delimiter):
        raise BadMultipart("no delimiter")
    view = memoryview(body)
    for _ in range(MAX_PARTS + 1):
        at += len(delimiter)
        if body.startswith(b"--", at):
            return
        line = body.find(b"\n", at)
        if line < 0 or body[at:line].strip(b" \t\r"):
            raise BadMultipart("text behind a delimiter")
        start = line + 1
        following = _next(body, delimiter, start)
        if following < 0:
            raise BadMultipart("the last delimiter is missing")
        end = following - 1  # the line end before a delimiter belongs to it
        if end > start and body[end - 1] == 13:
            end -= 1
        yield _part(body, view, start, max(start, end))
        at = following
    raise BadMultipart("too many parts")


def _next(body: bytes, delimiter: bytes, start: int) -> int:
    """Where the next delimiter begins: at the start of a line, with nothing but white space behind it."""
    at = start - 1
    wanted = b"\n" + delimiter
    while True:
        at = body.find(wanted, at)
        if at < 0:
            return -1
        behind = at + len(wanted)
        if body.startswith((b"--", b"\r\n", b"\n", b" ", b"\t"), behind):
            return at + 1
        at = behind


def _part(body: bytes, view: memoryview, start: int, end: int) -> Part:
    header, content = _split(body, start, end)
    fields: dict[str, str] = {}
    for line in _FOLD.sub(" ", header).replace("\r\n", "\n").split("\n"):
        title, colon, value = line.partition(":")
        if colon:
            fields.setdefault(title.strip().lower(), value.strip())
    disposition = fields.get("content-disposition", "")
    said = parameters(disposition)
    name = _text(said, "name")
    if disposition.partition(";")[0].strip().lower() != "form-data" or name is None:
        raise BadMultipart("a part without a name")
    return Part(name, _filename(said), fields.get("content-type", ""), view[content:end])


def _split(body: bytes, start: int, end: int) -> tuple[str, int]:
    """(header, where the content begins)."""
    limit = min(end, start + MAX_PART_HEADER)
    blank, width = body.find(b"\r\n\r\n", start, limit), 4
    bare = body.find(b"\n\n", start, limit if blank < 0 else blank)
    if bare >= 0:
        blank, width = bare, 2
    if blank < 0:
        raise BadMultipart("a part without a blank line behind its header")
    try:
        return body[start:blank].decode(), blank + width
    except UnicodeDecodeError:
        return body[start:blank].decode("latin-1"), blank + width


def _filename(said: dict[str, str]) -> str | None:
    """Without the path that some browsers send."""
    name = _text(said, "filename")
    return _PATH.sub("", name) if name is not None else None


def _text(said: dict[str, str], name: str) -> str | None:
    """RFC 7578 §4.2 wants neither name* nor filename*; there are clients that write them."""
    charset, _, rest = said.get(name + "*", "").partition("'")
    return _decoded(unquote_to_bytes(rest.partition("'")[2]), charset) or said.get(name)


def _decoded(octets: bytes, charset: str) -> str:
    """RFC 8187 §3.2.1 names UTF-8 alone; ISO-8859-1 was allowed before it."""
    return octets.decode("latin-1" if charset.lower() in ("iso-8859-1", "latin-1") else "utf-8", "replace")
