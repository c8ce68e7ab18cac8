"""Template: a message compiled once, then filled in for each of its recipients.

Room: message. Pure. What is the same for all is cut out of the original octets; only fields and parts that differ are
written, so what nobody asked to change is never changed. Nothing in a message can make `compile` raise: what is too
deep, too many or unreadable is left as it is.
"""

import binascii
from dataclasses import dataclass, field

from mtad.mail.options import Clicks, Variables
from mtad.message.body import Body, Filled, Reading, read
from mtad.message.headers import HeaderBlock, scan
from mtad.message.heading import Field, ListUnsubscribe, ToField, VariablesField, compile_field, may_vary
from mtad.message.links import href_target, scan_html, scan_text, trackable
from mtad.message.mime import Coding, Kind, TextPart, text_parts
from mtad.message.slots import Link, Mixed, Pixel, Slot, Value, VariableLink, lines, pieces
from mtad.message.variables import Filling, Person, asks_to_leave

_READING = frozenset({b"content-type", b"content-transfer-encoding"})
_USER_VARIABLES = b"x-mailgun-variables"
_Edit = tuple[int, int, Slot | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one message wants, the same for all its recipients.

    footer_html, footer_text: "" none; may hold variables. batch: each recipient's own To, recipient.* filled.
    via_list: recipient.* filled, To as written. user_variables: one X-Mailgun-Variables field. list_unsubscribe: the
    fields are added unless the sender set one. own: what URLs that lead to us begin with; they are not rewritten.
    """

    opens: bool = False
    clicks: Clicks = Clicks.NO
    pixel_top: bool = False
    footer_html: str = ""
    footer_text: str = ""
    batch: bool = False
    via_list: bool = False
    user_variables: Variables = field(default_factory=dict)
    list_unsubscribe: bool = False
    own: str = ""

    @property
    def keys(self) -> bool:
        """recipient.* are variables."""
        return self.batch or self.via_list

    @property
    def idle(self) -> bool:
        """Nothing is wanted but that variables are filled: what `may_need` clears can go as it is."""
        wanted = self.opens or self.clicks is not Clicks.NO or self.footer_html or self.footer_text
        return not (wanted or self.batch or self.user_variables or self.list_unsubscribe)


def may_need(content: bytes, block: HeaderBlock) -> bool:
    """A variable may be in here. Errs towards True only; microseconds."""
    if b"%" in content:
        return True
    if content.find(b"?b?", 0, block.end) >= 0 or content.find(b"?B?", 0, block.end) >= 0:
        return True
    named = block.by_name
    if b"multipart/" in named.get(b"content-type", [b""])[0].lower():  # its parts may be encoded in any way
        return b"64" in content or b"=25" in content
    coding = named.get(b"content-transfer-encoding", [b""])[0].lower()
    if b"base64" in coding:
        return True
    return content.find(b"=25", 0, len(content) if b"quoted-printable" in coding else block.end) >= 0


@dataclass(frozen=True, slots=True)
class _Type:
    """Where the Content-Type of a body stands; raw: the field, b"" for none."""

    body: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Coding:
    """Where its Content-Transfer-Encoding stands."""

    body: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Text:
    """Where the body itself stands."""

    body: int


_Piece = bytes | Field | _Type | _Coding | _Text


class Template:
    """static: nothing is to be filled, every recipient gets the content as it is."""

    __slots__ = ("_bodies", "_keys", "_pieces", "content", "static")

    def __init__(self, content: bytes, pieces: list[_Piece], bodies: list[Body], keys: bool) -> None:
        self.content, self._pieces, self._bodies, self._keys = content, pieces, bodies, keys
        self.static = not pieces

    def fill(self, person: Person) -> bytes:
        """This person's copy. Raises Unfillable: too large, or a field that cannot be written."""
        if self.static:
            return self.content
        filling = Filling(person, self._keys)
        filled = [body.fill(filling) for body in self._bodies]
        return b"".join([one if isinstance(one, bytes) else _written(one, filled, filling) for one in self._pieces])


def _written(one: Field | _Type | _Coding | _Text, filled: list[Filled], filling: Filling) -> bytes:
    match one:
        case _Type():
            said = filled[one.body].type_field
            return one.raw if said is None else said
        case _Coding():
            said = filled[one.body].coding_field
            return one.raw if said is None else said
        case _Text():
            return filled[one.body].body
    field_octets = one.write(filling)
    filling.spend(len(field_octets))
    return field_octets


def compile(content: bytes, plan: Plan, block: HeaderBlock | None = None) -> Template:
    """block: the header of `content` if it was scanned already."""
    block = scan(content) if block is None else block
    if plan.idle and not may_need(content, block):
        return Template(content, [], [], plan.keys)
    bodies = _bodies(block, plan)
    cutter = _Cutter(block.content)
    by_start = {body.part.start: (number, body) for number, body in enumerate(bodies)}
    top = by_start.get(0) if bodies and bodies[0].part.block is block else None
    _heading(cutter, block, plan, top)
    for number, body in enumerate(bodies):
        part = body.part
        if part.block is not block:
            _part_header(cutter, part, number)
        cutter.put(part.body_start, part.end, _Text(number))
    return Template(content, cutter.pieces(), bodies, plan.keys)


class _Cutter:
    """Cuts content at what is put in its place; pieces() is empty when nothing was."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0
        self._pieces: list[_Piece] = []
        self._changed = False

    def put(self, start: int, end: int, *pieces: _Piece) -> None:
        """Places never go back."""
        if start > self._place:
            self._pieces.append(self._content[self._place : start])
        self._pieces += pieces
        self._place, self._changed = end, True

    def pieces(self) -> list[_Piece]:
        return [*self._pieces, self._content[self._place :]] if self._changed else []


def _heading(cutter: _Cutter, block: HeaderBlock, plan: Plan, top: tuple[int, Body] | None) -> None:
    """The fields of the message itself. top: its body, when that is one compiled text."""
    added: list[_Piece] = []
    if plan.user_variables:
        added.append(VariablesField(plan.user_variables, plan.keys))
    if plan.list_unsubscribe and b"list-unsubscribe" not in block:
        added.append(ListUnsubscribe(plan.via_list))
    replaced: dict[bytes, list[_Piece]] = {_USER_VARIABLES: []} if plan.user_variables else {}
    if plan.batch:
        to = block.by_name.get(b"to")
        replaced[b"to"] = [ToField(to[0] if to else None, plan.keys)]
    if top is not None:
        for name, marks in _marks(top[1].part, top[0]).items():
            replaced[name] = list(marks)
    _fields(cutter, block, 0, plan.keys, replaced, added)


def _part_header(cutter: _Cutter, part: TextPart, number: int) -> None:
    marks: dict[bytes, list[_Piece]] = {name: list(found) for name, found in _marks(part, number).items()}
    place, seen = part.start, set()
    for name, raw in part.block.fields:
        if name in marks and name not in seen:
            seen.add(name)
            cutter.put(place, place + len(raw), *marks[name])
        place += len(raw)
    missing = [one for name, found in marks.items() if name not in seen for one in found]
    if missing:
        cutter.put(place, place, *missing)


def _marks(part: TextPart, number: int) -> dict[bytes, tuple[_Type] | tuple[_Coding]]:
    named = part.block.by_name
    kind, coding = named.get(b"content-type", [b""])[0], named.get(b"content-transfer-encoding", [b""])[0]
    return {b"content-type": (_Type(number, kind),), b"content-transfer-encoding": (_Coding(number, coding),)}


def _fields(
    cutter: _Cutter,
    block: HeaderBlock,
    offset: int,
    keys: bool,
    replaced: dict[bytes, list[_Piece]],
    added: list[_Piece],
) -> None:
    """replaced: what stands in place of a field, where the first of its name stood, or else at the end.

    More fields of its name are dropped, but not those that tell how to read the body: that would change who reads what.
    """
    place, seen = block.start, set()
    for name, raw in block.fields if replaced or _header_varies(block) else ():
        if name in replaced:
            if name not in seen:
                cutter.put(place, place + len(raw), *replaced[name])
            elif name not in _READING:
                cutter.put(place, place + len(raw))
            seen.add(name)
        elif (found := compile_field(name, raw, keys)) is not None:
            cutter.put(place, place + len(raw), found)
        place += len(raw)
    missing = [one for name, found in replaced.items() if name not in seen for one in found]
    if missing or added:
        cutter.put(block.end, block.end, *missing, *added)


def _header_varies(block: HeaderBlock) -> bool:
    return may_vary(block.content[block.start : block.end])


def _bodies(block: HeaderBlock, plan: Plan) -> list[Body]:
    content = block.content
    readings = []
    for part in text_parts(content, block):
        if _may_change(content, part, plan):
            reading = read(content, part, plan.keys)
            if reading is not None:
                readings.append(reading)
    last = {reading.part.kind: reading for reading in readings}
    leaving = {one.part.kind for one in readings if any(asks_to_leave(name) for _, _, name in one.variables)}
    made = []
    for reading in readings:
        kind = reading.part.kind
        edits = _edits(reading, plan, reading is last[kind], kind in leaving)
        if edits:
            made.append(Body(reading, edits))
    return made


def _may_change(content: bytes, part: TextPart, plan: Plan) -> bool:
    """A quick look that errs towards True."""
    if part.kind is Kind.HTML and (plan.opens or plan.footer_html or plan.clicks is not Clicks.NO):
        return True
    if part.kind is Kind.PLAIN and (plan.footer_text or plan.clicks is Clicks.YES):
        return True
    if part.coding is Coding.BASE64 or (part.charset is not None and not part.charset.direct):
        return True
    start, end = part.body_start, part.end
    if part.coding is Coding.QUOTED_PRINTABLE:
        if content.find(b"%", start, end) < 0 and content.find(b"=25", start, end) < 0:
            return False
        raw = content[start:end]
        if b"= " in raw or b"=\t" in raw:
            return True  # soft breaks that a2b_qp does not know
        content, start, end = binascii.a2b_qp(raw), 0, len(raw)
    return content.find(b"%recipient", start, end) >= 0 or content.find(b"unsubscribe_", start, end) >= 0


def _edits(reading: Reading, plan: Plan, last: bool, leaving: bool) -> list[_Edit]:
    """What is to change in one part. last: of its kind, so the footer and the pixel are its. leaving: no footer."""
    kind, edits = reading.part.kind, list[_Edit]()
    masked = reading.masked()
    if kind is Kind.HTML and (last or plan.clicks is not Clicks.NO):
        edits = _html_edits(reading, masked, plan, last, leaving)
    elif kind is Kind.PLAIN:
        if plan.clicks is Clicks.YES:
            edits = [edit for place in scan_text(masked) if (edit := _link(reading, plan, place, False))]
        if last and plan.footer_text and not leaving:
            end = len(masked.rstrip())
            edits.append((end, end, _footer("\r\n\r\n" + plan.footer_text, plan, reading.part.flowed)))
    return _with_variables(reading, edits)


def _html_edits(reading: Reading, masked: bytes, plan: Plan, last: bool, leaving: bool) -> list[_Edit]:
    footer = plan.footer_html if last and not leaving else ""
    if not (footer or (last and plan.opens) or plan.clicks is not Clicks.NO):
        return []
    found, edits = scan_html(masked), list[_Edit]()
    if plan.clicks is not Clicks.NO:
        edits += [edit for place in found.hrefs if (edit := _link(reading, plan, place, True))]
        edits += [(start, end, None) for start, end in found.cuts]
        edits.sort(key=lambda edit: edit[0])
    end = len(masked.rstrip()) if found.body_end is None else found.body_end
    tail: list[_Edit] = []
    if footer:
        tail.append((end, end, _footer(footer, plan, False)))
    if last and plan.opens:
        top = plan.pixel_top
        place = (found.body_start or 0) if top else end
        (edits if top else tail).append((place, place, Pixel()))
    return sorted([*edits, *tail], key=lambda edit: edit[:2])


def _footer(text: str, plan: Plan, flowed: bool) -> Mixed:
    return Mixed(pieces(lines(text, flowed), plan.keys))


def _link(reading: Reading, plan: Plan, place: tuple[int, int], html: bool) -> _Edit | None:
    """The edit that has the link at `place` rewritten; None: it stays."""
    start, end = place
    quote = ""
    if html and reading.octets[start : start + 1] in (b'"', b"'"):
        quote = reading.octets[start : start + 1].decode()
    inner_start, inner_end = start + len(quote), end - len(quote)
    source = reading.text(inner_start, inner_end)
    if source is None:
        return None
    cut = pieces(source, plan.keys)
    names = [one.name for one in cut if isinstance(one, Value)]
    if not names:
        target = href_target(source) if html else source
        return (start, end, Link(target, html)) if trackable(target, plan.own) else None
    if any(asks_to_leave(name) for name in names):
        return None
    return (start, end, VariableLink(cut, html, quote, plan.own))


def _with_variables(reading: Reading, edits: list[_Edit]) -> list[_Edit]:
    """The edits, and all variables that are not within one of them, in order."""
    merged: list[_Edit] = []
    place, waiting = 0, 0
    for start, end, name in reading.variables:
        while waiting < len(edits) and edits[waiting][0] <= start:
            merged.append(edits[waiting])
            place = max(place, edits[waiting][1])
            waiting += 1
        if start >= place:
            merged.append((start, end, Value(name)))
            place = end
    return [*merged, *edits[waiting:]]
