"""Headers: the header block of a message, found and split without reading the body.

Room: message. Pure. Source: RFC 5322 §2.2 and §3.6, RFC 2047 (encoded words), RFC 6532 (UTF-8 in fields).
Content is octets with CRLF line ends, as the doors leave it. Nothing here raises on any input, and no work grows
faster than the header block, which is bounded: what lies beyond a bound is body, and `oversized` says so.
"""

import binascii
import codecs
import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from mtad.mail.address import BadAddress, ascii_domain

MAX_HEADER = 262_144  # octets
MAX_FIELDS = 2000
MAX_TEXT = 16_384  # octets of one value that text() decodes; the rest is dropped
CRLF = b"\r\n"

_FIELD_BYTES = rb"([!-9;-~]++)[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+"
_BLOCK = re.compile(b"(?:%b){0,%d}+" % (_FIELD_BYTES, MAX_FIELDS))
# Only for octets _BLOCK has matched: there every match starts where the last one ended, so the search is linear.
_FIELD = re.compile(b"(%b)" % _FIELD_BYTES)
_MORE = re.compile(rb"[!-9;-~]{1,998}+[ \t]*+:|[ \t]")
_MBOX = re.compile(rb">?From [^\n]{0,998}\n")  # the line that parts messages in an mbox file; no field

_WORD = re.compile(r"=\?([\w.:+-]{1,40})(?:\*[\w-]{0,20})?\?([bBqQ])\?([^?\s]*)\?=", re.ASCII)
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t]+(?==\?)")  # RFC 2047 §6.2: white space between two words is no text
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*+"?'  # a quoted string, closed or not
    r"|\((?:[^()\\]|\\.)*+\)?"  # a comment, up to a comment within
    r"|\[[^\]\s]*+\]?|\\.?|[),;:<>]|[^\"()\[\\,;:<>]+",
    re.DOTALL,
)
_MAILBOX = re.compile(r'(?:[^\s"@<>,;:()\[\]\\]+|"(?:[^"\\]|\\.)*+")@(?:\[[^\]\s]+\]|[^\s"@<>,;:()\[\]\\]+)')
_MAX_MAILBOX = 400  # characters; an address has 254 octets (RFC 5321 §4.5.3.1.3)
_RUN = re.compile(r"\s{2,}|[\t\r\n]")
_END = ";;"  # stands behind the last token of a list
_UNSAFE_CODECS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})


class HeaderBlock:
    """The fields of one message, in order, as octets of its content.

    start: offset of the first field, behind an mbox "From " line if there is one. end: offset behind the last
    field. body_start: offset of the body, behind the blank line. oversized: a bound ended the block early.
    Field names are given in lower case: `first(b"subject")`.
    """

    __slots__ = ("_by_name", "_fields", "body_start", "content", "end", "oversized", "start")

    def __init__(self, content: bytes, start: int, end: int, body_start: int, oversized: bool) -> None:
        self.content, self.start, self.end, self.body_start = content, start, end, body_start
        self.oversized = oversized
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._by_name: dict[bytes, list[bytes]] | None = None

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """(name in lower case, the whole field with name and final line end), top to bottom. Joined: the block."""
        if self._fields is None:
            found = _FIELD.findall(self.content, self.start, self.end)
            self._fields = [(name.lower(), raw) for raw, name in found]
        return self._fields

    @property
    def by_name(self) -> dict[bytes, list[bytes]]:
        """The whole fields of each name, top to bottom."""
        if self._by_name is None:
            index: dict[bytes, list[bytes]] = {}
            for name, raw in self.fields:
                index.setdefault(name, []).append(raw)
            self._by_name = index
        return self._by_name

    @property
    def broken(self) -> bool:
        """True: the block ends at a line that is neither field nor blank, so readers may differ about the body."""
        return self.body_start == self.end < len(self.content)

    def __contains__(self, name: bytes) -> bool:
        return name in self.by_name

    def first(self, name: bytes) -> bytes | None:
        """The topmost value: unfolded, without white space around it."""
        raws = self.by_name.get(name)
        return value_of(raws[0]) if raws else None

    def all(self, name: bytes) -> list[bytes]:
        return [value_of(raw) for raw in self.by_name.get(name, ())]

    def text(self, name: bytes) -> str:
        """The topmost value for people: encoded words decoded, "" when there is none."""
        value = self.first(name)
        return decode(value) if value else ""

    def addresses(self, name: bytes) -> list[str]:
        """The plain addresses of all fields `name`, in order: no names, comments, groups or routes."""
        return [address for value in self.all(name) for address in _mailboxes(_octets_to_str(value))]

    @property
    def received_count(self) -> int:
        return len(self.by_name.get(b"received", ()))

    @property
    def from_domain(self) -> str:
        """The domain of the first From address: lower case, A-labels; "" when there is none."""
        for address in self.addresses(b"from")[:1]:
            try:
                return ascii_domain(address.rpartition("@")[2])
            except BadAddress:
                return ""
        return ""

    @property
    def message_id(self) -> str:
        """Without its angle brackets; "" when there is none."""
        return _octets_to_str(self.first(b"message-id") or b"").strip("<> \t")

    def without(self, names: Collection[bytes]) -> bytes:
        """The fields but those of `names`, every other octet as it was."""
        return b"".join([raw for name, raw in self.fields if name not in names])


def scan(content: bytes) -> HeaderBlock:
    """Find the header block. It ends at a blank line, at a line that is no field, or at a bound."""
    mbox = _MBOX.match(content)
    start = mbox.end() if mbox else 0
    found = _BLOCK.match(content, start, start + MAX_HEADER)
    end = found.end() if found else start
    if content.startswith(CRLF, end):
        return HeaderBlock(content, start, end, end + 2, False)
    if end == len(content):
        return HeaderBlock(content, start, end, end, False)
    if len(content) - end < 998 and content.find(b"\n", end) < 0:
        return scan(content + CRLF)  # the last line lacks its end, which the wire will give it
    more = _MORE.match(content, end)
    oversized = more is not None and (end > start or more[0][-1:] == b":")
    return HeaderBlock(content, start, end, end, oversized)


def strip(content: bytes, names: Collection[bytes]) -> bytes:
    """`content` without the fields of `names` (lower case). The same object when it has none."""
    block = scan(content)
    if not any(name in block for name in names):
        return content
    return b"".join((content[: block.start], block.without(names), content[block.end :]))


def value_of(raw: bytes) -> bytes:
    """The value of one whole field: unfolded, without white space around it."""
    value = raw[raw.index(b":") + 1 :]
    return value.replace(CRLF, b"").strip(b" \t\r\n")


def decode(value: bytes, limit: int = MAX_TEXT) -> str:
    """An unfolded value -> text. Raw octets that are no UTF-8 are read as Latin-1; broken words stay as they are.

    limit: octets that are read; the rest is dropped.
    """
    text = _octets_to_str(value[:limit])
    if "=?" not in text:
        return text
    shown, place = "", 0
    pending, charset = b"", ""  # one character may be spread over several words, against RFC 2047 §5
    text = _BETWEEN_WORDS.sub(r"\1", text)
    for word in _WORD.finditer(text):
        octets, name = _word_octets(word[2], word[3]), word[1].lower()
        if word.start() != place or name != charset:
            shown += _decode_octets(pending, charset) + text[place : word.start()]
            pending, charset = b"", name
        pending += octets
        place = word.end()
    return shown + _decode_octets(pending, charset) + text[place:]


def _octets_to_str(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _word_octets(encoding: str, text: str) -> bytes:
    """The octets of an encoded word's text; text that is no base 64 stands for itself."""
    octets = text.encode()
    if encoding in "qQ":
        return binascii.a2b_qp(octets, header=True)
    try:
        return binascii.a2b_base64(octets + b"===")
    except binascii.Error:
        return octets


def _decode_octets(octets: bytes, charset: str) -> str:
    return octets.decode(_codec(charset), "replace") if octets else ""


@lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    """A codec that makes text of octets in linear time; Latin-1 for names that mean none."""
    try:
        name = codecs.lookup(charset).name.replace("_", "-")
        if name in _UNSAFE_CODECS:
            return "latin-1"
        b"x".decode(charset, "replace")  # LookupError: a codec, but none of texts
    except (LookupError, ValueError):
        return "latin-1"
    return charset


def _mailboxes(value: str) -> Iterator[str]:
    """The addresses of an address list (RFC 5322 §3.4), also of a somewhat broken one."""
    plain = angle = ""
    depth, inside = 0, False
    for token in [*_TOKEN.findall(_RUN.sub(" ", value)), _END]:
        head = token[0]
        if head == "(":
            depth += token[-1] != ")"
        elif head == ")":
            depth = max(0, depth - 1)
        elif depth and token is not _END:
            continue
        elif head == "<":
            inside, angle = True, ""
        elif head == ">":
            inside = False
        elif inside and not (head in ",;" and _mailbox(angle)):
            # RFC 5322 §4.4: in "<@a,@b:bob@c>" the route is skipped
            angle = "" if head == ":" else (angle + token)[:_MAX_MAILBOX]
        elif head in ",;":
            found = _mailbox(angle or plain)
            if found:
                yield found
            plain, angle, inside = "", "", False
        else:  # what stands before ":" is the name of a group
            plain = "" if head == ":" else (plain + token)[:_MAX_MAILBOX]


def _mailbox(text: str) -> str:
    """`text` without the white space around it if it is an address of a bearable length, else ""."""
    text = text.strip()
    return text if len(text) < _MAX_MAILBOX - 1 and _MAILBOX.fullmatch(text) else ""
