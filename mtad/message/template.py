"""Template: a message compiled once, then filled in for each of its recipients.

Room: message. Pure. What is the same for all is cut out of the original octets; only fields and parts that differ are
written, so what nobody asked to change is never changed. Nothing in a message can make `compile` raise: what is too
deep, too many or unreadable is left as it is.
"""

from dataclasses import dataclass

from mtad.message.body import Body, Filled
from mtad.message.headers import HeaderBlock, scan
from mtad.message.heading import Field, ListUnsubscribe, ToField, VariablesField, compile_field, may_vary
from mtad.message.mime import TextPart
from mtad.message.plan import Plan
from mtad.message.rewrite import bodies
from mtad.message.variables import Filling, Person

__all__ = ["Plan", "Template", "compile", "compile_header", "may_need"]

_READING = frozenset({b"content-type", b"content-transfer-encoding"})
_USER_VARIABLES = b"x-mailgun-variables"


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
    texts = bodies(block, plan)
    cutter = _Cutter(block.content)
    top = (0, texts[0]) if texts and texts[0].part.block is block else None
    _heading(cutter, block, plan, top)
    for number, body in enumerate(texts):
        part = body.part
        if part.block is not block:
            _part_header(cutter, part, number)
        cutter.put(part.body_start, part.end, _Text(number))
    return Template(content, cutter.pieces(), texts, plan.keys)


def compile_header(header: bytes, plan: Plan) -> Template:
    """A header block alone, filled as that of the whole message is; fields that say how to read the body stay."""
    block = scan(header)
    cutter = _Cutter(block.content)
    _heading(cutter, block, plan, None)
    return Template(block.content, cutter.pieces(), [], plan.keys)


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
