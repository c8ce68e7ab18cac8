"""MIME: which parts of a message are text for people, and where in its octets they lie.

Room: message. Pure. Source: RFC 2045 §5 and §6, RFC 2046 §5.1, RFC 2183. Content has CRLF line ends. Nothing is
copied but part headers; nothing raises; what goes beyond a bound is not looked into.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from mtad.message.headers import CRLF, HeaderBlock, decode, scan, value_of

MAX_PARTS = 1000
MAX_DEPTH = 50
_MAX_PART_HEADER = 65_536  # octets; a part with more is not looked into
_MAX_VALUE = 4096  # octets of a Content-Type that are read
_MAX_SCANS = 16  # times the octets of the message that may be searched for boundaries
_MAX_PADDING = 200  # octets behind a boundary on its line

_TYPE = re.compile(rb"[ \t]*([!#$&^\w.+-]+/[!#$&^\w.+-]+)[ \t]*(?:;|\(|$)", re.ASCII)
_PARAMETER = re.compile(rb";[ \t]*([^=;\s]++)[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*+)\"|([^;\s\"]*+))", re.ASCII)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)

# Their octets are signed, encrypted or a report of what was: not one may change (RFC 1847, RFC 3462).
_SEALED = frozenset({b"multipart/signed", b"multipart/encrypted", b"multipart/report"})


class Kind(Enum):
    PLAIN = b"text/plain"
    HTML = b"text/html"
    AMP = b"text/x-amp-html"


class Coding(Enum):
    """How the octets of a part stand in the message (RFC 2045 §6)."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bit"
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"

    @property
    def is_identity(self) -> bool:
        return self in (Coding.SEVEN_BIT, Coding.EIGHT_BIT)


_KINDS = {kind.value: kind for kind in Kind}
_CODINGS = {coding.value.encode(): coding for coding in Coding} | {b"": Coding.SEVEN_BIT, b"binary": Coding.EIGHT_BIT}


@dataclass(frozen=True, slots=True)
class Charset:
    """codec: Python's name of it, "" when there is none. direct: ASCII syntax can be found in its octets."""

    codec: str
    direct: bool


@dataclass(frozen=True, slots=True)
class TextPart:
    """One part of text: offsets into the content. block: its header, which stands at `start`.

    charset None: not said. flowed: format=flowed (RFC 3676). boundaries: of the multiparts around it.
    """

    kind: Kind
    coding: Coding
    charset: Charset | None
    flowed: bool
    block: HeaderBlock
    start: int
    body_start: int
    end: int
    boundaries: tuple[bytes, ...]


def text_parts(content: bytes, block: HeaderBlock) -> list[TextPart]:
    """Top to bottom: plain, html and AMP text that is no attachment and not within what is sealed."""
    walk = _Walk(content)
    found = walk.entity(block, 0, block.body_start, len(content), (), b"text/plain")
    return [] if walk.lost else found


class _Walk:
    """lost: a bound was met, so the message is left as it is."""

    __slots__ = ("_content", "_parts", "_work", "lost")

    def __init__(self, content: bytes) -> None:
        self._content, self._parts, self.lost = content, 0, False
        self._work = _MAX_SCANS * len(content)

    def entity(
        self, block: HeaderBlock, start: int, body_start: int, end: int, around: tuple[bytes, ...], default: bytes
    ) -> list[TextPart]:
        raw = block.first(b"content-type")
        name, parameters = content_type(raw) if raw is not None else (default, {})
        coding = (block.first(b"content-transfer-encoding") or b"").lower()
        if name.startswith(b"multipart/"):
            boundary = parameters.get(b"boundary", b"")
            if name in _SEALED or not boundary or not _CODINGS.get(coding, Coding.BASE64).is_identity:
                return []
            child = b"message/rfc822" if name == b"multipart/digest" else b"text/plain"
            return self._multipart(body_start, end, (*around, boundary), child)
        kind = _KINDS.get(name)
        if kind is None or coding not in _CODINGS or _is_attachment(block):
            return []
        named = parameters.get(b"charset")
        charset = None if named is None else charset_of(named.decode("latin-1"))
        flowed = kind is Kind.PLAIN and parameters.get(b"format", b"").lower() == b"flowed"
        return [TextPart(kind, _CODINGS[coding], charset, flowed, block, start, body_start, end, around)]

    def _multipart(self, start: int, end: int, around: tuple[bytes, ...], default: bytes) -> list[TextPart]:
        self._work -= end - start
        found: list[TextPart] = []
        for part_start, part_end in bodies(self._content, around[-1], start, end):
            self._parts += 1
            if self._parts > MAX_PARTS or len(around) > MAX_DEPTH or self._work < 0:
                self.lost = True
            if self.lost:
                return []
            header = self._header(part_start, part_end)
            if header is not None:
                body_start = min(part_end, part_start + header.body_start)
                found += self.entity(header, part_start, body_start, part_end, around, default)
        return found

    def _header(self, start: int, end: int) -> HeaderBlock | None:
        """None: no header that ends within bounds, or one that readers may understand differently."""
        if self._content.startswith(CRLF, start):
            return scan(CRLF)
        blank = self._content.find(b"\r\n\r\n", start, min(end, start + _MAX_PART_HEADER))
        if blank < 0:
            return None
        block = scan(self._content[start : blank + 4])
        return None if block.broken or block.oversized or block.start else block


def bodies(content: bytes, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each body part between the delimiters within content[start:end] (RFC 2046 §5.1.1)."""
    mark = b"\r\n--" + boundary
    place = start - 2 if content.startswith(CRLF, max(start - 2, 0)) and start >= 2 else start
    opened: int | None = None
    while (hit := content.find(mark, place, end)) >= 0:
        after = hit + len(mark)
        line_end = content.find(CRLF, after, min(end, after + _MAX_PADDING))
        if line_end < 0:
            line_end = min(end, after + _MAX_PADDING)
        rest = content[after:line_end]
        last = rest.startswith(b"--")
        place = after
        if rest[2 if last else 0 :].strip(b" \t"):
            continue  # a longer boundary, or text
        if opened is not None:
            yield opened, max(opened, hit)
        if last:
            return
        opened, place = min(end, line_end + 2), line_end
    if opened is not None:
        yield opened, end


def content_type(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """("text/html", its parameters), names in lower case. ("", {}) for what is no content type."""
    value = value[:_MAX_VALUE]
    found = _TYPE.match(value)
    if not found:
        return b"", {}
    parameters: dict[bytes, bytes] = {}
    for name, quoted, plain in _PARAMETER.findall(value, found.end(1)):
        parameters.setdefault(name.lower(), _QUOTED_PAIR.sub(rb"\1", quoted) if quoted else plain)
    return found[1].lower(), parameters


def _is_attachment(block: HeaderBlock) -> bool:
    raws = block.by_name.get(b"content-disposition")
    if not raws:
        return False
    value = decode(value_of(raws[0])).lower()
    return not value.startswith("inline") or "filename" in value


_SYNTAX = bytes(range(0x20, 0x5C)) + bytes(range(0x5D, 0x7E))
# In these, octets of ASCII syntax may be a piece of something else: a shift state, or the second octet of a letter.
_INDIRECT = re.compile(r"iso2022|hz|johab|utf-(16|32)")
# What "%" looks like in these is not "%": found nowhere, so left alone. The rest are no character sets.
_REFUSED = re.compile(r"utf-7|idna|punycode|undefined|unicode-escape|raw-unicode-escape")


@lru_cache(maxsize=256)
def charset_of(name: str) -> Charset:
    """codec "": unknown, or one in which nothing can be found."""
    try:
        codec = codecs.lookup(name.strip().lower()).name
        if _REFUSED.match(codec.replace("_", "-")):
            return Charset("", False)
        if _INDIRECT.match(codec):
            return Charset(codec, False)
        shown = _SYNTAX.decode(codec)  # LookupError: a codec, but none of texts
    except (LookupError, ValueError):
        return Charset("", name.strip().lower() not in ("utf-7", "utf7"))
    return Charset(codec, True) if shown == _SYNTAX.decode("ascii") else Charset("", False)
