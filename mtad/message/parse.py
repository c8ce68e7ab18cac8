"""Parse: a message -> headers for people, bodies, attachments. Whatever the octets are, something fair comes out.

Room: message. Pure, total and bounded (see pieces.py). Nothing is lost: each leaf is in a body or is an attachment,
and a leaf that could not be read without doubt is also there as the octets it was. Line ends of texts are "\\n". Texts
of format=flowed keep their lines (RFC 3676): that is how they were sent, and what quotations are told by.
"""

import mimetypes
import re
from dataclasses import dataclass, field
from functools import lru_cache

from mtad.message.charsets import Reader
from mtad.message.decoding import undo
from mtad.message.headers import CRLF, HeaderBlock, decode, scan
from mtad.message.htmltext import html_to_text
from mtad.message.parameters import file_name
from mtad.message.pieces import Leaf, Pieces, Verdict

_ADDRESSES = frozenset(
    {b"from", b"to", b"cc", b"bcc", b"reply-to", b"sender", b"resent-from", b"resent-to", b"resent-cc"}
)
_UNSHOWN = re.compile("[\x00\ud800-\udfff]")
_BREAKS = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+[ \t]*")
_WORDS = re.compile(rb"=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*+\?=(?:[ \t]+=\?[^?\s]{1,60}\?[bBqQ]\?[^?\s]*+\?=)*")
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,"]')
_QUOTABLE = re.compile(r'(["\\])')
_SUBTYPE = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,60}")
_CHARSET = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")
_ENDINGS = {
    "message/rfc822": ".eml",
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "message/delivery-status": ".txt",
    "application/ms-tnef": ".dat",
    "image/jpeg": ".jpg",
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file. type: "text/csv". charset: as named, "" for none. name: never empty. content_id: with brackets, or ""."""

    name: str
    type: str
    charset: str
    content: bytes
    content_id: str = ""

    @property
    def size(self) -> int:
        """Octets."""
        return len(self.content)

    @property
    def content_type(self) -> str:
        return f"{self.type}; charset={self.charset}" if self.charset else self.type


@dataclass(frozen=True, slots=True)
class Parsed:
    """headers: (canonical name, value), all of them in order. plain: "" when there is no text at all.

    html: None when there is none. plain_from_html: all of `plain` was made from html. others: ("calendar", text) of
    each further kind of text, in order. verdict: None, or the bound that kept a part from being taken to pieces; that
    part is an attachment.
    """

    headers: tuple[tuple[str, str], ...]
    plain: str
    html: str | None
    plain_from_html: bool
    others: tuple[tuple[str, str], ...]
    attachments: tuple[Attachment, ...]
    verdict: Verdict | None

    def header(self, name: str) -> str:
        """The topmost value of a canonical name, "" for none."""
        return next((value for one, value in self.headers if one == name), "")

    @property
    def subject(self) -> str:
        return self.header("Subject")

    @property
    def content_ids(self) -> dict[str, int]:
        """Content-ID -> number of the attachment, counted from 1. Of two with the same the first."""
        ids: dict[str, int] = {}
        for number, one in enumerate(self.attachments, 1):
            if one.content_id:
                ids.setdefault(one.content_id, number)
        return ids


def parse(content: bytes) -> Parsed:
    """Any octets -> the message they are read as."""
    content = with_crlf(content)
    block = scan(content)
    pieces = Pieces(block.content, block)
    bodies = _Bodies()
    for leaf in pieces.leaves:
        bodies.take(leaf)
    plain, html, made = bodies.texts()
    others = tuple((kind, "\n".join(texts)) for kind, texts in bodies.others.items())
    return Parsed(header_pairs(block), plain, html, made, others, tuple(bodies.attachments), pieces.verdict)


def with_crlf(content: bytes) -> bytes:
    """Content whose lines all end in LF alone, with CRLF; all other content as it is."""
    return content if CRLF in content else content.replace(b"\n", CRLF)


def header_pairs(block: HeaderBlock) -> tuple[tuple[str, str], ...]:
    """(canonical name, value): every field in order, unfolded and decoded, fit to be written as UTF-8."""
    return tuple([(canonical(name), shown_value(name, raw)) for name, raw in block.fields])


@lru_cache(maxsize=1024)
def canonical(name: bytes) -> str:
    """ "Message-Id" for message-id, "Mime-Version" for MIME-Version."""
    return "-".join([word[:1].upper() + word[1:].lower() for word in name.decode("ascii", "replace").split("-")])


def shown_value(name: bytes, raw: bytes) -> str:
    """The value of one whole field. In fields of addresses a decoded name keeps to itself: "a, b" is put in quotes."""
    octets = raw[raw.index(b":") + 1 :].replace(CRLF, b"").strip(b" \t\r\n")
    if octets.isascii() and b"=?" not in octets:
        text = octets.decode("ascii")
        return text if text.isprintable() else _cleaned(text)
    if name in _ADDRESSES and b"=?" in octets:
        octets = _names_quoted(octets)
    return _cleaned(decode(octets, len(octets)))


def _cleaned(text: str) -> str:
    return _UNSHOWN.sub("\ufffd", _BREAKS.sub(" ", text))


def _names_quoted(octets: bytes) -> bytes:
    pieces: list[bytes] = []
    place, inside = 0, False
    for words in _WORDS.finditer(octets):
        before = octets[place : words.start()]
        inside ^= (before.count(b'"') - before.count(b'\\"')) % 2 == 1
        text = decode(words[0], len(words[0]))
        if inside:
            text = _QUOTABLE.sub(r"\\\1", text)
        elif _SPECIALS.search(text):
            text = '"' + _QUOTABLE.sub(r"\\\1", text) + '"'
        pieces += [before, text.replace("=?", "= ?").encode("utf-8", "replace")]
        place = words.end()
    pieces.append(octets[place:])
    return b"".join(pieces)


@dataclass(slots=True)
class _Text:
    """kind: "plain" or "html". choice: see Leaf."""

    kind: str
    text: str
    choice: int


@dataclass(slots=True)
class _Bodies:
    """Sorts the leaves of one message."""

    read: Reader = field(default_factory=Reader)
    main: list[_Text] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)

    def take(self, leaf: Leaf) -> None:
        octets = leaf.octets
        decoded = undo(leaf.coding, octets)
        is_attached = is_file(leaf)
        if is_attached:
            self._attach(leaf, decoded.octets)
        else:
            self._text(leaf, decoded.octets, decoded.rest)
        if not decoded.faithful or (is_attached and decoded.rest):
            self._doubtful(octets, "text/plain", "")

    def _text(self, leaf: Leaf, octets: bytes, rest: bytes) -> None:
        charset = leaf.parameters.get("charset", "")
        reading = self.read.read(octets, charset)
        text = unified(reading.text)
        if rest:
            text = text.rstrip("\n") + "\n" + unified(self.read.read(rest, "").text)
        kind = leaf.type[5:]
        if kind in ("plain", "html"):
            self.main.append(_Text(kind, text, leaf.choice))
        else:
            self.others.setdefault(kind, []).append(text)
        if not reading.faithful:
            self._doubtful(octets, leaf.type, charset)

    def _attach(self, leaf: Leaf, octets: bytes) -> None:
        content_id = shown_value(b"content-id", (leaf.block.by_name.get(b"content-id") or [b":"])[0])
        charset = leaf.parameters.get("charset", "")
        self.attachments.append(
            Attachment(
                name_of(leaf, len(self.attachments) + 1),
                leaf.type,
                charset if _CHARSET.fullmatch(charset) else "",
                octets,
                f"<{content_id.strip('<> ')}>" if content_id.strip("<> ") else "",
            )
        )

    def _doubtful(self, octets: bytes, kind: str, charset: str) -> None:
        """A part as it was, whose text has signs for what could not be read."""
        charset = charset if _CHARSET.fullmatch(charset) else ""
        name = f"undecoded-{len(self.attachments) + 1}{_ENDINGS.get(kind, '.txt')}"
        self.attachments.append(Attachment(name, kind, charset, octets))

    def texts(self) -> tuple[str, str | None, bool]:
        """(body-plain, body-html, whether the first was wholly made of the second).

        Html before which no plain text stands takes part in the plain body, unless the plain choice beside it is to
        come: else a message in html with a mailing list's footer below it would be the footer alone.
        """
        answered = {one.choice for one in self.main if one.kind == "plain" and one.choice and one.text.strip()}
        shown: list[str] = []
        plain_there = made = False
        for one in self.main:
            if one.kind == "plain":
                shown.append(one.text)
                plain_there = plain_there or bool(one.text.strip())
            elif not plain_there and one.choice not in answered:
                shown.append(html_to_text(one.text))
                made = True
        htmls = [one.text for one in self.main if one.kind == "html"]
        return _joined(shown), "\n".join(htmls) if htmls else None, made and not plain_there


def is_file(leaf: Leaf) -> bool:
    """And no text of the message itself."""
    if not leaf.type.startswith("text/") or not _SUBTYPE.fullmatch(leaf.type, 5):
        return True
    if leaf.type == "text/mime":  # `body-mime` is the whole message to who reads posts: no part passes for it
        return True
    if leaf.disposition not in ("", "inline"):  # RFC 2183 §2.8: one that nobody knows is an attachment
        return True
    return bool(leaf.file.get("filename") or leaf.parameters.get("name") or leaf.file.get("name"))


def name_of(leaf: Leaf, number: int) -> str:
    """As it is called, or else made up; number: of the file in its message, counted from 1."""
    named = leaf.file.get("filename") or leaf.parameters.get("name", "") or leaf.file.get("name", "")
    return file_name(named) or f"attachment-{number}{_ending(leaf.type)}"


def unified(text: str) -> str:
    """Every line end as "\\n"."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _joined(texts: list[str]) -> str:
    """One after the other, each on lines of its own."""
    if len(texts) < 2:
        return texts[0] if texts else ""
    return "".join([text if text.endswith("\n") or not text else text + "\n" for text in texts[:-1]]) + texts[-1]


@lru_cache(maxsize=256)
def _ending(kind: str) -> str:
    return _ENDINGS.get(kind) or _by_type().get(kind, ".bin")


@lru_cache(maxsize=1)
def _by_type() -> dict[str, str]:
    """The table that Python brings, not the host's: names must not differ from host to host."""
    return {kind: endings[0] for kind, endings in mimetypes.MimeTypes(()).types_map_inv[True].items()}
