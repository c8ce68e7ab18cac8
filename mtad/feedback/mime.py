"""MIME: the parts of a message that came back, found in bounded time.

Room: feedback. Pure. Source: RFC 2045 and RFC 2046, read leniently: reports are made by every kind of program.
Total: nothing here raises on any octets. The work is at most MAX_DEPTH passes over MAX_OCTETS, which a general
parser does not promise: there each line is compared with the boundary of every part it lies in.
"""

import binascii
import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mtad.message.headers import CRLF, HeaderBlock, scan

MAX_OCTETS = 1_048_576  # what lies beyond is cut off
MAX_PARTS = 100
MAX_DEPTH = 10
MAX_TEXT = 16_384  # characters of one text that is read
MESSAGES = frozenset({"message/rfc822", "message/global", "text/rfc822"})

_MAX_VALUE = 4096  # octets of a Content-Type that are looked at
_TYPE = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})", re.ASCII)
_PARAMETER = re.compile(r';\s*([\w-]{1,40})(\*\d{0,3}\*?)?\s*=\s*("(?:[^"\\]|\\.)*+"?|[^\s;]*+)', re.ASCII)
_BOUNDARY_GUESS = re.compile(rb"(?:\A|\n)--([^\r\n]{1,70}+)\r\nContent-", re.IGNORECASE)
_BASE64_LINE = re.compile(rb"\s*+[A-Za-z0-9+/=]++[ \t]*+(?:\r\n|\Z)")
_JAPANESE = ("iso-2022-jp", "shift_jis", "cp932", "euc-jp")
_CHINESE_KOREAN = ("gb2312", "gbk", "gb18030", "big5", "big5hkscs", "hz", "euc-kr", "cp949", "iso-2022-kr")
_ISO_8859 = tuple(f"iso-8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16))
_WINDOWS = tuple(f"windows-{number}" for number in range(1250, 1259))
_OTHERS = ("utf-8", "koi8-r", "koi8-u", "tis-620", "cp874", "mac-roman", "cp437", "cp850", "cp852", "cp866")
_TAGS = re.compile(r"(?i)(<(?:style|script|head)\b|</(?:style|script|head)\b)")
_BREAK = re.compile(r"(?i)<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table)\b[^<>]{0,2000}>")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\u200b-\u200f\u202a-\u202e]+")


@dataclass(frozen=True, slots=True)
class Part:
    """One message or part.

    type: "text/plain", lower case. body: the transfer encoding undone; CRLF line ends where it is text. parts: of a
    multipart its parts, of a message/rfc822 the one message, else none. preamble: what stands before the first part.
    """

    block: HeaderBlock
    type: str
    charset: str
    report_type: str
    name: str
    body: bytes
    parts: tuple["Part", ...] = ()
    preamble: bytes = b""

    @property
    def header(self) -> bytes:
        return self.block.content[self.block.start : self.block.end]

    def leaves(self) -> Iterator["Part"]:
        """The parts of this message from top to bottom, messages within it whole."""
        if self.type.startswith("multipart/") and self.parts:
            for part in self.parts:
                yield from part.leaves()
        else:
            yield self

    def text(self) -> str:
        """The body as text for people, at most MAX_TEXT characters, lines ended by "\\n"."""
        said = to_text(self.body[: 4 * MAX_TEXT], self.charset)
        return readable(_without_tags(said) if self.type == "text/html" else said)


def parse(content: bytes) -> Part:
    """Any octets -> the message they are read as."""
    return _Parser().part(unify_lines(content[:MAX_OCTETS])[:MAX_OCTETS], 0)


def unify_lines(octets: bytes) -> bytes:
    """Every line end as CRLF, also LF alone, CR alone and the CR CR LF of two conversions."""
    octets = octets.replace(b"\r\r\n", b"\n").replace(CRLF, b"\n").replace(b"\r", b"\n")
    return octets.replace(b"\n", CRLF)


@cache
def _codecs() -> frozenset[str]:
    """Names of the codecs of text that are linear. Looked up when the first report asks: fifty modules."""
    names = (*_JAPANESE, *_CHINESE_KOREAN, *_ISO_8859, *_WINDOWS, *_OTHERS)
    return frozenset(codecs.lookup(name).name for name in names)


def to_text(octets: bytes, charset: str = "") -> str:
    """In the named charset; else UTF-8 if it is that, else Latin-1. What does not fit becomes U+FFFD."""
    if octets.isascii() and not charset.startswith(("iso-2022", "hz")):
        return octets.decode("ascii")
    try:
        codec = codecs.lookup(charset).name if charset else ""
    except (LookupError, ValueError):
        codec = ""
    if codec in _codecs():
        return octets.decode(codec, "replace")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        if len(octets) >= 4 * MAX_TEXT and len(octets) - error.start < 4:  # cut inside a character
            return octets.decode("utf-8", "replace")
        return octets.decode("latin-1")


def readable(text: str) -> str:
    """Without control and direction characters, lines ended by "\\n", at most MAX_TEXT characters."""
    return _CONTROL.sub("", text.replace("\r\n", "\n")[:MAX_TEXT]).strip()


class _Parser:
    """Counts the parts of one message."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def part(self, octets: bytes, depth: int) -> Part:
        self._left -= 1
        block = scan(octets)
        kind, parameters = _content_type(block)
        charset, report_type = parameters.get("charset", "").lower(), parameters.get("report-type", "").lower()
        body = octets[block.body_start :]
        more: tuple[Part, ...] = ()
        preamble = b""
        if kind.startswith("multipart/"):
            preamble, pieces = self._pieces(body, parameters.get("boundary", ""), depth)
            more = tuple(self.part(piece, depth + 1) for piece in pieces if self._left > 0)
        else:
            body = _decoded(block, body)
            if kind.startswith(("text/", "message/")):
                body = unify_lines(body)
            if kind in MESSAGES and depth < MAX_DEPTH and self._left > 0:
                more = (self.part(body.lstrip(b"\r\n"), depth + 1),)
        return Part(block, kind, charset, report_type, _file_name(block, parameters), body, more, preamble)

    def _pieces(self, body: bytes, boundary: str, depth: int) -> tuple[bytes, list[bytes]]:
        """(preamble, parts); no parts where there is no boundary, or no room for more."""
        mark = boundary.encode("latin-1", "replace")
        if not mark or b"--" + mark not in body:
            guess = _BOUNDARY_GUESS.search(body)
            mark = guess[1].rstrip(b" \t") if guess else b""
        if not mark or depth >= MAX_DEPTH:
            return b"", []
        pieces: list[bytes] = []
        preamble, start = body, -1
        delimiter = re.compile(rb"(?:^|\r\n)--" + re.escape(mark) + rb"(--)?[ \t]*+(?=\r\n|\Z)")
        for found in delimiter.finditer(body):
            if start < 0:
                preamble = body[: found.start()]
            elif self._left - len(pieces) <= 0:
                return preamble, pieces
            else:
                pieces.append(body[start : found.start()])
            if found[1]:
                return preamble, pieces
            start = found.end() + 2
        if start >= 0 and self._left - len(pieces) > 0:
            pieces.append(body[start:])  # the end was cut off
        return preamble, pieces


def _content_type(block: HeaderBlock) -> tuple[str, dict[str, str]]:
    value = (block.first(b"content-type") or b"")[:_MAX_VALUE].decode("latin-1")
    found = _TYPE.match(value)
    return (found[1].lower() if found else "text/plain"), _parameters(value)


def _parameters(value: str) -> dict[str, str]:
    """By lower-case name. The pieces of RFC 2231 ("name*0=") are joined as they come."""
    parameters: dict[str, str] = {}
    for name, piece, text in _PARAMETER.findall(value):
        if text.startswith('"'):
            text = re.sub(r"\\(.)", r"\1", text.strip('"'))
        name = name.lower()
        if piece:
            parameters[name] = parameters.get(name, "") + text
        else:
            parameters.setdefault(name, text)
    return parameters


def _file_name(block: HeaderBlock, parameters: dict[str, str]) -> str:
    """As the part is called, without folders and control characters; "" when it has no name."""
    value = (block.first(b"content-disposition") or b"")[:_MAX_VALUE].decode("latin-1")
    name = _parameters(value).get("filename") or parameters.get("name", "")
    return _CONTROL.sub("", re.split(r"[/\\]", name)[-1]).strip(". \t\n")[:100]


def _decoded(block: HeaderBlock, body: bytes) -> bytes:
    encoding = (block.first(b"content-transfer-encoding") or b"").lower()
    if encoding.startswith(b"quoted-printable"):
        return binascii.a2b_qp(body)
    if encoding.startswith(b"base64") and _BASE64_LINE.match(body):  # some only say so
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            return binascii.a2b_base64(_whole_quads(body))
    return body


def _whole_quads(body: bytes) -> bytes:
    """Base 64 that was cut off: as many characters as make whole octets."""
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    return letters[: len(letters) // 4 * 4]


def _without_tags(text: str) -> str:
    """HTML -> its words. Good enough to find an error text in."""
    shown, depth = [], 0
    for piece in _TAGS.split(text):
        if piece[:1] == "<" and _TAGS.fullmatch(piece):
            depth = max(0, depth + (-1 if piece[1] == "/" else 1))
        elif not depth:
            shown.append(piece)
    words = _TAG.sub(" ", _BREAK.sub("\n", "<b ".join(shown)))
    return html.unescape(words)
