"""Body: one part of text, compiled: runs of octets that stay, and slots between them.

Room: message. Pure. Transfer encoding and charset stay what they were as long as every value fits: then the runs are
the original octets (of base64, the original text). Where one does not fit, the part becomes UTF-8 or quoted-printable,
and the fields of its header say so.
"""

import codecs
import re
from dataclasses import dataclass

from mtad.message.headers import CRLF
from mtad.message.mime import Coding, Kind, TextPart
from mtad.message.slots import Slot, Value, lines
from mtad.message.transfer import Quoted, base64_lines, continued, joined, piece, quoted, read_base64, whole_lines
from mtad.message.variables import VARIABLE_OCTETS, Filling, usable

_MAX_LINE = 998  # octets, RFC 5322 §2.1.1
_CHARSET = re.compile(rb"(;[ \t\r\n]*charset[ \t]*=[ \t]*)(?:\"(?:[^\"\\]|\\.)*+\"|[^;\s]*+)", re.IGNORECASE)
_ARMOUR = re.compile(rb"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE)  # RFC 9580 §6.2: sealed text
_BYTE_ORDERS = {
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (b"", "utf-16-be")),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (b"", "utf-32-be")),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A part, read. octets: its text, in its own charset, or in UTF-8 where syntax cannot be found in that (`moved`).

    codec: of the text as it stands in the part, "" unknown. variables: (start, end, name) in octets, in order.
    """

    part: TextPart
    raw: bytes
    octets: bytes
    written: Quoted | None
    codec: str
    moved: bool
    variables: list[tuple[int, int, str]]

    def masked(self) -> bytes:
        """octets with each variable made to a word that means nothing to html and URLs."""
        if not self.variables:
            return self.octets
        text = bytearray(self.octets)
        for start, end, _ in self.variables:
            text[start:end] = b"\x01" * (end - start)
        return bytes(text)

    def text(self, start: int, end: int) -> str | None:
        """None: it cannot be told what the octets mean."""
        octets = self.octets[start:end]
        if octets.isascii():
            return octets.decode()
        codec = "utf-8" if self.moved else self.codec
        return _decoded(octets, codec) if codec else None


def read(content: bytes, part: TextPart, keys: bool) -> Reading | None:
    """None: a text that cannot be read, or is signed or encrypted in itself, so must be left as it is.

    keys: recipient.* are variables.
    """
    raw, written, codec, moved = content[part.body_start : part.end], None, "", False
    octets: bytes | None = raw
    if part.coding is Coding.BASE64:
        octets = read_base64(raw)
    elif part.coding is Coding.QUOTED_PRINTABLE:
        written = Quoted(raw)
        octets = written.octets
    if octets is None or _ARMOUR.search(octets):
        return None
    charset = part.charset
    if charset is not None and not charset.direct:
        codec = _exact(charset.codec, octets)
        wide = codec.startswith(("utf-16", "utf-32"))
        text = _decoded(octets, codec) if codec and not (wide and part.coding.is_identity) else None
        if text is None:
            return None
        octets, moved = text.encode("utf-8", "replace"), True
    elif charset is None or charset.codec == "ascii":
        codec = "ascii" if octets.isascii() else "utf-8" if _decoded(octets, "utf-8") is not None else ""
    elif octets.isascii() or _decoded(octets, charset.codec or "ascii") is not None:
        codec = charset.codec
    return Reading(part, raw, octets, written, codec, moved, _variables(octets, codec if not moved else "utf-8", keys))


def _exact(codec: str, octets: bytes) -> str:
    """UTF-16 and UTF-32 with their byte order named, so that a mark at the start is a character like any other."""
    for mark, exact in _BYTE_ORDERS.get(codec, ()):
        if octets.startswith(mark):
            return exact
    return codec


def _decoded(octets: bytes, codec: str) -> str | None:
    try:
        return octets.decode(codec)
    except ValueError:
        return None


def _variables(octets: bytes, codec: str, keys: bool) -> list[tuple[int, int, str]]:
    found = []
    if b"%recipient" in octets or b"unsubscribe_" in octets:
        for match in VARIABLE_OCTETS.finditer(octets):
            name = _decoded(match[1], codec or "ascii")
            if name is not None and usable(name) and (keys or not name.startswith("recipient.")):
                found.append((match.start(), match.end(), name))
    return found


@dataclass(frozen=True, slots=True)
class Filled:
    """One part for one recipient. type_field, coding_field: None stays as it was; else the whole field."""

    type_field: bytes | None
    coding_field: bytes | None
    body: bytes


@dataclass(frozen=True, slots=True)
class _Form:
    """The runs as they stand in one charset and transfer encoding."""

    runs: list[bytes]
    type_field: bytes | None
    coding_field: bytes | None
    prefix: bytes  # lines of base64 that no slot changes


class Body:
    """edits: (start, end, what stands there instead), in order and apart; None: nothing."""

    __slots__ = ("_cut", "_forms", "_order", "_reading", "_runs", "_slots")

    def __init__(self, reading: Reading, edits: list[tuple[int, int, Slot | None]]) -> None:
        self._reading = reading
        self._runs: list[tuple[int, int]] = []
        self._order: list[int] = []  # which slot stands behind each run
        self._slots: list[Slot] = []
        self._forms: dict[tuple[bool, Coding], _Form] = {}
        self._cut = any(slot is None for _, _, slot in edits)
        known: dict[Slot, int] = {}
        place = 0
        for start, end, slot in edits:
            self._runs.append((place, start))
            self._order.append(-1 if slot is None else known.setdefault(slot, len(known)))
            place = end
        self._runs.append((place, len(reading.octets)))
        self._slots = list(known)

    @property
    def part(self) -> TextPart:
        return self._reading.part

    def fill(self, filling: Filling) -> Filled:
        """Raises Unfillable when the copy grows too large."""
        texts = [slot.text(filling) for slot in self._slots]
        if not self._cut and all(text is None for text in texts):
            return Filled(None, None, self._reading.raw)
        pairs = zip(self._slots, texts, strict=True)
        known = [slot.written if text is None and isinstance(slot, Value) else text or "" for slot, text in pairs]
        values, moved = self._encoded(known)
        filling.spend(sum([len(values[index]) for index in self._order if index >= 0]) + len(self._reading.raw))
        coding = self.part.coding
        if coding is Coding.SEVEN_BIT and not all(map(bytes.isascii, values)):
            coding = Coding.QUOTED_PRINTABLE
        filled = self._assembled(moved, coding, values)
        if coding.is_identity and not self._fits(filled.body):
            filled = self._assembled(moved, Coding.QUOTED_PRINTABLE, values)
        return filled

    def _encoded(self, texts: list[str]) -> tuple[list[bytes], bool]:
        """(the values in the part's charset, False) or (in UTF-8, True)."""
        codec, flowed = self._reading.codec, self.part.flowed
        texts = [lines(text, flowed) for text in texts]
        if not codec:
            errors = "replace" if self.part.kind is Kind.PLAIN else "xmlcharrefreplace"
            return [text.encode("ascii", errors) for text in texts], False
        try:
            return [text.encode(codec) for text in texts], False
        except UnicodeEncodeError:
            return [text.encode("utf-8", "replace") for text in texts], True

    def _fits(self, body: bytes) -> bool:
        """No line is too long, and none can be taken for a delimiter of the parts around."""
        if max(map(len, body.split(CRLF))) > _MAX_LINE:
            return False
        return not any(body.startswith(b"--" + mark) or b"\r\n--" + mark in body for mark in self.part.boundaries)

    def _assembled(self, moved: bool, coding: Coding, values: list[bytes]) -> Filled:
        form = self._forms.get((moved, coding))
        if form is None:
            form = self._forms[moved, coding] = self._form(moved, coding)
        if coding is Coding.QUOTED_PRINTABLE:
            values = [piece(quoted(value)) for value in values]
        out = form.runs[:1]
        for index, run in zip(self._order, form.runs[1:], strict=True):
            if index >= 0:
                out.append(values[index])
            out.append(run)
        if coding is Coding.QUOTED_PRINTABLE:
            body = joined(out)
        elif coding is Coding.BASE64:
            body = form.prefix + base64_lines(b"".join(out))
            body = body if self._reading.raw.endswith(CRLF) else body[:-2]
        else:
            body = b"".join(out)
        return Filled(form.type_field, form.coding_field, body)

    def _form(self, moved: bool, coding: Coding) -> _Form:
        reading = self._reading
        kept = coding is self.part.coding and not moved
        prefix, written = b"", reading.written if kept else None
        if written is not None:
            runs = [written.written(start, end) for start, end in self._runs]
        else:
            runs = [self._run(start, end, moved) for start, end in self._runs]
            if coding is Coding.QUOTED_PRINTABLE:
                runs = [quoted(run) for run in runs]
        if coding is Coding.QUOTED_PRINTABLE:
            runs[1:] = [continued(run) for run in runs[1:]]
            runs[:-1] = [piece(run) for run in runs[:-1]]
        elif coding is Coding.BASE64:
            whole = whole_lines(runs[0])
            prefix, runs[0] = base64_lines(runs[0][:whole]), runs[0][whole:]
        type_field = _with_utf8(self._field(b"content-type")) if moved else None
        coding_field = None if coding is self.part.coding else b"Content-Transfer-Encoding: quoted-printable\r\n"
        if (type_field or coding_field) and not self.part.boundaries and b"mime-version" not in self.part.block:
            coding_field = b"MIME-Version: 1.0\r\n" + (coding_field or self._field(b"content-transfer-encoding") or b"")
        return _Form(runs, type_field, coding_field, prefix)

    def _run(self, start: int, end: int, moved: bool) -> bytes:
        """One run in the charset that the filled part has."""
        reading = self._reading
        octets = reading.octets[start:end]
        stands_in = "utf-8" if reading.moved else reading.codec
        wanted = "utf-8" if moved else reading.codec
        if stands_in == wanted or (octets.isascii() and not reading.moved):
            return octets
        return octets.decode(stands_in, "replace").encode(wanted, "replace")

    def _field(self, name: bytes) -> bytes | None:
        raws = self.part.block.by_name.get(name)
        return raws[0] if raws else None


def _with_utf8(raw: bytes | None) -> bytes:
    """A Content-Type field that says charset=utf-8, and all else it said."""
    if raw is None:
        return b'Content-Type: text/plain; charset="utf-8"\r\n'
    changed, count = _CHARSET.subn(rb'\1"utf-8"', raw, count=1)
    return changed if count else raw.rstrip() + b';\r\n\tcharset="utf-8"\r\n'
