"""Fields: header fields written from text that others chose.

Room: message. Pure. Source: RFC 5322 §2.1.1, §2.2.3 and §3.4, RFC 2047, RFC 6532. Whatever the text holds, exactly one
field comes out: no line ends but our folds, no line over 998 octets, ASCII but for addresses that are not.
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mtad.mail.address import BadAddress, parse_address
from mtad.message.headers import decode
from mtad.message.variables import Unfillable

MAX_FIELD = 262_144  # octets of one field as written
_MAX_LINE = 998
_FOLD_AT = 76
_LONGEST_NAME = 29  # "Disposition-Notification-To: "
_MAX_WORD = 900  # octets without white space that are written as they are

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
_WIDE = re.compile(r" {60,}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047 §5 (3)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|\((?:[^()\\]|\\.)*+\)?|<[^<>]*+>?|[,;:)]|[^"()<,;:]++', re.DOTALL)
_END = ",,"  # stands behind the last token of a list
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"?', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)


def clean(text: str) -> str:
    """Without line ends and other controls; tabs are spaces. "a\r\nb" is "ab": line breaks in values are removed.

    Raises Unfillable for a text that no field could hold.
    """
    if len(text) > MAX_FIELD:
        raise Unfillable("a field is too long with its variables filled in")
    return _CONTROLS.sub("", text.replace("\n", "")).replace("\t", " ")


def unstructured(name: bytes, text: str) -> bytes:
    """Free text (RFC 5322 §3.6.5). Words that are not plain ASCII, or too long for a line, are encoded."""
    words = _WIDE.sub(" ", clean(text)).strip(" ").split(" ")
    odd = [at for at, word in enumerate(words) if not word.isascii() or "=?" in word or len(word) > _MAX_WORD]
    if odd:
        first, last = odd[0], odd[-1] + 1
        words[first:last] = encoded_words(" ".join(words[first:last]), 0 if first else len(name) + 2)
    return folded(name, words)


def addresses(name: bytes, entries: Sequence[str]) -> bytes:
    """An address list. entries: each a whole mailbox, as `mailbox` and `group` write them."""
    words = " ".join([*(entry + "," for entry in entries[:-1]), *entries[-1:]]).split(" ")
    return folded(name, words)


def identifiers(name: bytes, text: str) -> bytes:
    """A structured field in which nothing can be encoded; what is not ASCII is percent-encoded, as in URLs."""
    text = clean(text)
    safe = "%/:=&?~#+!$,;'@()*[]<>"
    return folded(name, [word if word.isascii() else quote(word, safe=safe) for word in text.split()])


def folded(name: bytes, words: Sequence[str]) -> bytes:
    """The field, line ends included. Raises Unfillable where no legal line can be made of the words."""
    lines: list[bytes] = []
    line, limit = name + b":", _MAX_LINE  # the first word stays by the name if it can
    for word in words:
        octets = word.encode("utf-8", "replace")
        # A line of nothing but white space would end the header for some (RFC 5322 §3.2.2).
        if octets and len(line) + 1 + len(octets) > limit and line.strip():
            lines.append(line)
            line = b""
        line += b" " + octets
        limit = _FOLD_AT
    lines.append(line)
    if max(map(len, lines)) > _MAX_LINE or len(lines) * _FOLD_AT > 4 * MAX_FIELD:
        raise Unfillable(f"{name.decode('latin-1')} has a word that fits on no line")
    whole = b"\r\n".join(lines) + b"\r\n"
    if len(whole) > MAX_FIELD:
        raise Unfillable(f"{name.decode('latin-1')} is too long with its variables filled in")
    return whole


def encoded_words(text: str, used: int) -> list[str]:
    """RFC 2047: UTF-8, none longer than 75, no character split. used: octets before them on their first line."""
    words: list[str] = []
    some: list[bytes] = []
    size = 0
    plain = sum(character.isascii() and ord(character) in _Q_SAFE for character in text)
    write, most = (_q_word, 62) if plain * 2 > len(text) else (_b_word, 45)
    limit = max(most - used, 9)
    for character in text:
        octets = character.encode("utf-8", "replace")
        width = len(octets) if write is _b_word or octets[0] in _Q_SAFE or octets == b" " else 3 * len(octets)
        if size + width > limit:
            words.append(write(b"".join(some)))
            some, size, limit = [], 0, most
        some.append(octets)
        size += width
    return [*words, write(b"".join(some))]


def _b_word(octets: bytes) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(octets, newline=False).decode()}?="


def _q_word(octets: bytes) -> str:
    text = "".join([chr(o) if o in _Q_SAFE else "_" if o == 32 else f"={o:02X}" for o in octets])
    return f"=?utf-8?q?{text}?="


def phrase(text: str) -> str:
    """A display name (RFC 5322 §3.2.5), quoted or encoded if need be."""
    text = " ".join(clean(text).split())
    if _ATOMS.fullmatch(text) and "=?" not in text and len(text) < _MAX_WORD:
        return text
    if not text.isascii() or "=?" in text or len(text) >= _MAX_WORD:
        return " ".join(encoded_words(text, _LONGEST_NAME))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if text else ""


def mailbox(name: str, address: str, utf8: bool) -> str | None:
    """ "Bob <bob@example.org>"; None when `address` is none. utf8: it may be one of RFC 6532."""
    try:
        parsed = str(parse_address(address.strip()))
    except BadAddress:
        return None
    if not utf8 and not parsed.isascii():
        return None
    if any(character.isspace() or not character.isprintable() for character in parsed if character != " "):
        return None
    shown = phrase(name)
    return f"{shown} <{parsed}>" if shown else parsed


def group(name: str) -> str:
    """A group of nobody (RFC 5322 §3.4): a name where no address can be given."""
    return f"{phrase(name) or 'undisclosed-recipients'}:;"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an address list, as written. phrase: display name, raw. address: "" when there is none."""

    raw: str
    phrase: str
    address: str


def entries(value: str) -> list[Entry]:
    """The entries of an unfolded address list, also of a broken one. The names of groups are dropped."""
    found: list[Entry] = []
    raw = words = comment = ""
    angle: str | None = None
    depth = 0  # of comments within comments
    for token in [*_TOKEN.findall(value), _END]:
        head = token[0]
        if head in ",;" and (not depth or token is _END):
            entry = _entry(raw.strip(), words.strip(), angle, comment)
            if entry is not None:
                found.append(entry)
            raw, words, comment, angle = "", "", "", None
            continue
        raw += token
        if head == "(":
            depth += token[-1] != ")"
            comment = comment or token[1:].removesuffix(")").strip()
        elif head == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif head == "<":
            angle = token.strip("<> \t")
        elif head == ":":
            raw, words = "", ""
        else:
            words += token
    return found


def _entry(raw: str, words: str, angle: str | None, comment: str) -> Entry | None:
    if angle is not None:
        return Entry(raw, words or comment, angle)
    if "@" in words and not re.search(r"\s", words):
        return Entry(raw, comment, words)
    return Entry(raw, words, "") if words else None


def display(raw: str) -> str:
    """A raw phrase for people: quotes undone, encoded words decoded."""
    text = _QUOTED.sub(lambda found: _PAIR.sub(r"\1", found[1]), raw)
    return decode(text.encode("utf-8", "replace")) if "=?" in text else text
