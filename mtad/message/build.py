"""Build: fields, texts and files -> a MIME message.

Room: message. Pure. Source: RFC 5322, RFC 2045 and RFC 2046 (parts and encodings), RFC 2387 (related), RFC 2183 and
RFC 2231 (file names), RFC 2392 (cid). Content comes out with CRLF line ends, in lines of 998 octets at most, and in
ASCII but for header fields that hold non-ASCII addresses.
"""

import mimetypes
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mtad.message.headers import CRLF
from mtad.message.transfer import base64_lines, quoted

MAX_LINE = 998
MAX_FILENAME = 255  # characters; the rest is cut off, but for its extension
_BLOCK = 57 * 1024  # octets of whole lines of base64
_SECTION = 60  # octets of a file name on one line

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII)
_PARAMETER = re.compile(r';[ \t]*([A-Za-z0-9_-]{1,60})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]+)')
_LINE_END = re.compile(rb"\r\n?|\n")
_LONG_LINE = re.compile(rb"[^\n]{%d}" % (MAX_LINE + 1))
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
_CID_SAFE = "!#$%&'()*+,-./:;=?@[]^_`{|}~ "
_TYPES = mimetypes.MimeTypes()  # the library's own table, not that of the machine


@dataclass(frozen=True, slots=True)
class File:
    """An attached file. content_type: as the caller has it, "" to go by the name."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a message is made of. header: whole fields but for those of MIME. text, html, amp: None: there is none.

    inline: files the html refers to by "cid:" and their name. mark: ASCII text nobody can foresee, 20 characters or
    more, which becomes the delimiter of parts.
    """

    header: Sequence[bytes]
    text: str | None = None
    html: str | None = None
    amp: str | None = None
    inline: Sequence[File] = ()
    attached: Sequence[File] = ()
    mark: str


def build(letter: Letter) -> bytes:
    """The message. Raises Unfillable when a field fits on no line."""
    part = _body(letter)
    if letter.attached:
        others = [_file(one, "attachment") for one in letter.attached]
        part = _multipart("mixed", [part, *others] if part else others, letter.mark)
    part = part or _text("plain", "")
    return b"".join((*letter.header, b"MIME-Version: 1.0\r\n", *part))


_Chunks = list[bytes]  # of one part: its fields, the blank line, its content; joined they end with CRLF


def _body(letter: Letter) -> _Chunks:
    """The texts, each with what it shows. Empty text beside html is left out: a reader might show it."""
    html = _text("html", letter.html) if letter.html is not None else []
    inline = [_file(one, "inline") for one in letter.inline]
    if html and inline:
        html = _multipart("related", [html, *inline], letter.mark, '; type="text/html"')
        inline = []
    wanted = letter.text if letter.text or not (letter.html or letter.amp) else None
    choices = [
        _text("plain", wanted) if wanted is not None else [],
        _text("x-amp-html", letter.amp) if letter.amp is not None else [],
        html,
    ]
    choices = [choice for choice in choices if choice]
    body = choices[0] if len(choices) == 1 else _multipart("alternative", choices, letter.mark) if choices else []
    if not inline:
        return body
    return _multipart("related", [*([body] if body else []), *inline], letter.mark)


def _multipart(kind: str, parts: Iterable[_Chunks], mark: str, more: str = "") -> _Chunks:
    boundary = f"{kind[:3]}-{mark}"
    delimiter = f"--{boundary}\r\n".encode("ascii")
    chunks = [f'Content-Type: multipart/{kind}; boundary="{boundary}"{more}\r\n\r\n'.encode("ascii")]
    for part in parts:
        chunks += [delimiter, *part]
    return [*chunks, f"--{boundary}--\r\n".encode("ascii")]


def _text(kind: str, text: str) -> _Chunks:
    """UTF-8, in the encoding that changes least."""
    octets = text.encode("utf-8", "replace")
    if b"\r" in octets or b"\n" in octets:
        octets = _LINE_END.sub(CRLF, octets)
    name, written = _encoded(octets)
    ending = b"" if written.endswith(CRLF) else CRLF
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {name}\r\n\r\n'
    return [head.encode("ascii"), written, ending]


def _encoded(octets: bytes) -> tuple[str, bytes]:
    if octets.isascii() and b"\0" not in octets and not _LONG_LINE.search(octets):
        return "7bit", octets
    if len(octets.translate(None, _ABOVE)) * 4 < len(octets) * 3:  # more than a quarter is not ASCII
        return "base64", base64_lines(octets)
    return "quoted-printable", quoted(octets)


_ABOVE = bytes(range(128, 256))


def _file(file: File, disposition: str) -> _Chunks:
    filename = _shortened(_UNPRINTABLE.sub("_", file.filename).strip()) or "unnamed"
    kind, coding, written = media_type(file.content_type, filename), b"base64", None
    if kind == "message/rfc822":
        kind, coding, written = _message(file.content)
    head = [f"Content-Type: {kind}".encode("ascii")]
    if filename.isascii():
        head[0] += b";\r\n\tname=" + _quoted(filename)
    head.append(f"Content-Disposition: {disposition}".encode("ascii") + _filename(filename))
    if disposition == "inline":
        head.append(f"Content-ID: <{quote(filename.strip('<>'), safe=_CID_SAFE)}>".encode("ascii"))
    head.append(b"Content-Transfer-Encoding: " + coding)
    start = [CRLF.join(head), b"\r\n\r\n"]
    if written is None:
        # Block by block: a list of all lines would take more memory than they do.
        octets = file.content
        return start + [base64_lines(octets[at : at + _BLOCK]) for at in range(0, len(octets), _BLOCK)]
    return [*start, written, b"" if written.endswith(CRLF) or not written else CRLF]


def _message(octets: bytes) -> tuple[str, bytes, bytes | None]:
    """(type, encoding, as written) of an attached message. It may not be encoded (RFC 2046 §5.2.1), so one that
    cannot stand as it is goes as a file of octets.
    """
    written = _LINE_END.sub(CRLF, octets)
    if written.isascii() and b"\0" not in written and not _LONG_LINE.search(written):
        return "message/rfc822", b"7bit", written
    return "application/octet-stream", b"base64", None


def media_type(said: str, filename: str) -> str:
    """A Content-Type value on one line, safe to write: what was said, or else what the file's name says.

    multipart/* and the likes of message/partial cannot stand as they are: they are application/octet-stream.
    """
    kind = said.partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(kind):
        kind = (_TYPES.guess_type(filename, strict=False)[0] or "application/octet-stream").lower()
        said = ""
    if kind == "message/rfc822":
        return kind
    if kind.startswith(("multipart/", "message/")):
        return "application/octet-stream"
    shown = kind
    for name, value in _PARAMETER.findall(said):
        value = value[1:-1] if value.startswith('"') else value
        if name.lower() not in ("name", "boundary") and value.isascii() and value.isprintable() and len(value) < 100:
            shown += f'; {name.lower()}="{value.replace(chr(92), "").replace(chr(34), "")}"'
    return shown if len(shown) < MAX_LINE // 2 else kind


def _quoted(text: str) -> bytes:
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'


def _filename(name: str) -> bytes:
    """The filename parameter; what is not ASCII in the sections of RFC 2231 §3 and §4."""
    if name.isascii():
        return b";\r\n\tfilename=" + _quoted(name)
    sections, room = [""], 0
    for character in name:
        coded = quote(character, safe="!#$&+-.^_`|~", errors="replace")
        if room + len(coded) > _SECTION:
            sections.append("")
            room = 0
        sections[-1] += coded
        room += len(coded)
    sections[0] = "utf-8''" + sections[0]
    if len(sections) == 1:
        return f";\r\n\tfilename*={sections[0]}".encode("ascii")
    return "".join([f";\r\n\tfilename*{n}*={one}" for n, one in enumerate(sections)]).encode("ascii")


def _shortened(name: str) -> str:
    if len(name) <= MAX_FILENAME:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 20:
        return name[:MAX_FILENAME]
    return f"{stem[: MAX_FILENAME - len(extension) - 1]}.{extension}"
