"""Reading: the pieces of a template -> its tree.

Room: message. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from mtad.message.handlebars.nodes import (
    MAX_DEPTH,
    BadTemplate,
    Block,
    Branch,
    Expression,
    Kind,
    Literal,
    Node,
    Path,
    Value,
)
from mtad.message.handlebars.scanning import Sign, Tag, scan
from mtad.message.handlebars.values import text_of

_HELPERS = {kind.value: kind for kind in Kind if kind is not Kind.SECTION}


@dataclass(slots=True)
class _Open:
    """A block that is not closed yet. current: where nodes go at present. last: it has had its {{else}}."""

    name: str
    line: int
    branches: list[Branch] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)
    current: list[Node] = field(default_factory=list)
    last: bool = False


def read(source: str) -> Sequence[Node]:
    """Raises BadTemplate with the line."""
    root: list[Node] = []
    stack = [_Open("", 0, current=root)]
    for piece in scan(source):
        top = stack[-1]
        if isinstance(piece, str):
            top.current.append(piece)
            continue
        match piece.sign:
            case Sign.VALUE:
                top.current.append(_value(piece))
            case Sign.OPEN:
                stack.append(_opened(piece, len(stack)))
            case Sign.INVERSE if piece.words:
                stack.append(_opened(piece, len(stack)))
            case Sign.ELSE | Sign.INVERSE:
                _otherwise(top, piece)
            case Sign.CLOSE:
                if len(stack) == 1 or [top.name] != piece.words:
                    _mismatch(piece, top)
                stack.pop()
                stack[-1].current.append(Block(tuple(top.branches), tuple(top.otherwise)))
            case _:
                raise AssertionError(piece.sign)
    if len(stack) > 1:
        _bad(stack[-1].line, f"{{{{#{stack[-1].name[:60]}}}}} is not closed")
    return tuple(root)


def _value(tag: Tag) -> Value:
    if len(tag.values) != 1:
        _bad(tag.line, "a value is one name" + (f"; {tag.words[0][:60]} is no helper known here" if tag.words else ""))
    value = tag.values[0]
    if isinstance(value, Literal):  # {{true}} is a variable of that name
        value = Path(0, (text_of(value.value),))
    return Value(value, tag.escaped)


def _opened(tag: Tag, depth: int) -> _Open:
    if depth > MAX_DEPTH:
        _bad(tag.line, f"there are more than {MAX_DEPTH} blocks within each other")
    if not tag.words:
        _bad(tag.line, "a block has no name")
    made = _Open(tag.words[0], tag.line)
    _branch(made, tag, negated=tag.sign is Sign.INVERSE)
    return made


def _otherwise(block: _Open, tag: Tag) -> None:
    if not block.branches or block.last:
        _bad(tag.line, "{{else}} is not within a block, or is there twice")
    if tag.words:
        _branch(block, tag)
    else:
        block.current, block.last = block.otherwise, True


def _branch(block: _Open, tag: Tag, negated: bool = False) -> None:
    """A body begins, and lasts to the next {{else}} or the end of the block."""
    body: list[Node] = []
    kind, arguments = _asked(tag)
    block.branches.append(Branch(kind, arguments, body, negated, tag.zero))
    block.current = body


def _asked(tag: Tag) -> tuple[Kind, tuple[Expression, ...]]:
    name = tag.words[0]
    kind = _HELPERS.get(name)
    if kind is not None:
        wanted = 2 if kind is Kind.EQUAL else 1
        if len(tag.values) != wanted + 1:
            _bad(tag.line, f"{{{{#{name}}}}} takes {wanted} value{'s' if wanted > 1 else ''}")
        return kind, tuple(tag.values[1:])
    if len(tag.values) > 1:
        _bad(tag.line, f"{name[:60]} is no helper known here; there are {', '.join(_HELPERS)}")
    return Kind.SECTION, (tag.values[0],)


def _mismatch(tag: Tag, block: _Open) -> NoReturn:
    name = " ".join(tag.words)[:60]
    inside = f"{{{{#{block.name[:60]}}}}} of line {block.line} is open" if block.name else "nothing is open"
    _bad(tag.line, f"{{{{/{name}}}}} closes nothing: {inside}")


def _bad(line: int, why: str) -> NoReturn:
    raise BadTemplate(f"line {line}: {why}")
