"""Rendering: a template and its variables -> text.

Room: message. Pure. The work is bounded by steps, not by time: a loop in a loop over the same long list ends in
BadTemplate, and so does a result that grows beyond MAX_RESULT.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from mtad.message.handlebars.nodes import BadTemplate, Block, Branch, Expression, Kind, Literal, Node, Path, Value
from mtad.message.handlebars.values import UNDEFINED, find, is_empty, is_nothing, is_true, text_of

MAX_RESULT = 5_242_880  # characters
MAX_STEPS = 200_000  # nodes passed
_STEP = 64  # characters compared or escaped at the price of one step

_SPECIAL = re.compile(r"[&<>\"'`=]")
_ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#x27;",
    "`": "&#x60;",
    "=": "&#x3D;",
}


@dataclass(frozen=True, slots=True)
class _Turn:
    """What @index, @key, @first and @last are. around: of the loop around this one."""

    index: int
    key: str | int
    last: bool
    around: "_Turn | None"

    def get(self, name: str) -> Any:
        match name:
            case "index":
                return self.index
            case "key":
                return self.key
            case "first":
                return self.index == 0
            case "last":
                return self.last
        return UNDEFINED


@dataclass(frozen=True, slots=True)
class _Scope:
    """context: what names are looked up in; around: ../ of it."""

    context: Any
    around: "_Scope | None" = None
    turn: _Turn | None = None


def render(body: Sequence[Node], variables: Mapping[str, Any], *, html: bool = True) -> str:
    """html False: {{name}} is not escaped, as for a header field. Raises BadTemplate."""
    writer = _Writer(dict(variables), html)
    writer.write(body, _Scope(writer.root))
    return "".join(writer.pieces)


class _Writer:
    def __init__(self, root: dict[str, Any], html: bool) -> None:
        self.root, self._html = root, html
        self.pieces: list[str] = []
        self._size = self._steps = 0

    def write(self, body: Sequence[Node], scope: _Scope) -> None:
        for node in body:
            match node:
                case str():
                    self._put(node)
                case Value(expression=expression, escaped=escaped):
                    self._put_value(self._value(expression, scope), escaped and self._html)
                case Block():
                    self._write_block(node, scope)
                case _:
                    assert_never(node)

    def _write_block(self, block: Block, scope: _Scope) -> None:
        for branch in block.branches:
            scopes = self._scopes(branch, scope)
            if scopes is None:
                continue
            for one in scopes:
                self._pay(1)
                self.write(branch.body, one)
            return
        self.write(block.otherwise, scope)

    def _scopes(self, branch: Branch, scope: _Scope) -> Iterable[_Scope] | None:
        """What the body of a branch is written for; None: it is the next one's turn."""
        self._pay(1)
        values = [self._value(one, scope) for one in branch.arguments]
        taken = self._entered(branch, values, scope)
        if not branch.negated:
            return taken
        return (scope,) if taken is None else None

    def _entered(self, branch: Branch, values: list[Any], scope: _Scope) -> Iterable[_Scope] | None:
        here, value = (scope,), values[0]
        match branch.kind:
            case Kind.IF:
                return here if is_true(value, branch.zero) else None
            case Kind.UNLESS:
                return None if is_true(value, branch.zero) else here
            case Kind.EQUAL:
                return here if self._equal(value, values[1]) else None
            case Kind.WITH:
                return None if is_empty(value) else (_Scope(value, scope, scope.turn),)
            case Kind.EACH:
                return _each(value, scope) if isinstance(value, list | dict) and value else None
            case Kind.SECTION:
                return _section(value, scope)
            case _:
                assert_never(branch.kind)

    def _equal(self, one: Any, other: Any) -> bool:
        """As they are written: 1 and "1" are equal."""
        left, right = text_of(one), text_of(other)
        self._pay((len(left) + len(right)) // _STEP)
        return left == right

    def _value(self, expression: Expression, scope: _Scope) -> Any:
        if isinstance(expression, Literal):
            return expression.value
        if expression.data:
            return self._data(expression, scope)
        self._pay(1 + expression.up + len(expression.names))
        found: _Scope | None = scope
        for _ in range(expression.up):
            found = found.around if found else None
        return find(found.context, expression.names) if found else UNDEFINED

    def _data(self, path: Path, scope: _Scope) -> Any:
        self._pay(1 + path.up + len(path.names))
        name, *rest = path.names
        if name == "root":
            return find(self.root, rest)
        turn = scope.turn
        for _ in range(path.up):
            turn = turn.around if turn else None
        return find(turn.get(name), rest) if turn else UNDEFINED

    def _put_value(self, value: Any, escaped: bool) -> None:
        text = text_of(value)
        self._put(_SPECIAL.sub(lambda found: _ENTITIES[found[0]], text) if escaped else text)

    def _put(self, text: str) -> None:
        self._pay(1)
        self._size += len(text)
        if self._size > MAX_RESULT:
            raise BadTemplate(f"the template has more than {MAX_RESULT} characters once it is filled in")
        self.pieces.append(text)

    def _pay(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise BadTemplate("the template repeats too much: its loops have too many turns")


def _each(value: list[Any] | dict[str, Any], scope: _Scope) -> Iterator[_Scope]:
    items: Iterable[tuple[str | int, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    last = len(value) - 1
    for index, (key, item) in enumerate(items):
        yield _Scope(item, scope, _Turn(index, key, index == last, scope.turn))


def _section(value: Any, scope: _Scope) -> Iterable[_Scope] | None:
    if value is True:
        return (scope,)
    if value is False or is_nothing(value):
        return None
    if isinstance(value, list):
        return _each(value, scope) if value else None
    return (_Scope(value, scope, scope.turn),)
