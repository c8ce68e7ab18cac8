r"""Dialects: a pattern of Python's `re`, written anew for the engines that run it, and what any match must hold.

Room: inbound. Pure. Python's own parser reads the pattern, so that its syntax and its errors are the standard
library's to the letter; what it finds is spelled out in the few forms that RE2 and `regex` read alike. RE2 takes time
linear in the text. It is given no line breaks, so "." is any character and "$" the very end.
"""

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Sequence
from enum import Enum
from typing import Any

from mtad.inbound.routes.lexing import MAX_TEXT, BadRoute

MAX_DEPTH = 40  # groups within each other
MAX_ALTERNATIVES = 16
MAX_GROUPS = 8
MIN_NEEDLE = 2  # characters
_MAX_CHARACTER = 0x10FFFF
# Characters that Python takes for an ASCII letter when case is ignored.
_FOLDS = str.maketrans({0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"})

Ranges = list[tuple[int, int]]
_DIGIT: Ranges = [(0x30, 0x39)]
_SPACE: Ranges = [(0x09, 0x0D), (0x1C, 0x20)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_WIDE_SPACE: Ranges = [*_SPACE, (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)]
_WIDE_WORD = r"\p{L}\p{N}_"
_WIDE_SPACE += [(0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]


class Dialect(Enum):
    RE2_ASCII = "RE2, for ASCII text"
    RE2 = "RE2, for any text"
    BACKTRACKING = "regex"


class NotLinear(ValueError):
    """RE2 cannot do the same as Python with this pattern."""


class Parsed:
    """tree: as Python's parser leaves it. groups: how many. names: of groups -> their numbers."""

    __slots__ = ("groups", "names", "tree")

    def __init__(self, tree: Any) -> None:
        self.tree: Any = tree
        self.groups: int = tree.state.groups - 1
        self.names: dict[str, int] = dict(tree.state.groupdict)


def parse_pattern(text: str) -> Parsed:
    """Raises BadRoute, as `re.compile` would raise re.error."""
    if len(text) > MAX_TEXT:
        raise BadRoute(f"the pattern has more than {MAX_TEXT} characters")
    try:
        with warnings.catch_warnings():  # of sets that may mean another thing in Python to come
            warnings.simplefilter("ignore")
            tree = parser.parse(text)
            _check(tree, 0)
    except re.error as error:
        place = f" at its character {error.pos + 1}" if error.pos is not None else ""
        raise BadRoute(f"the pattern {_short(text)} is no regular expression: {error.msg}{place}") from None
    except (OverflowError, RecursionError):
        raise BadRoute(f"the pattern {_short(text)} has too large a number, or too many levels of groups") from None
    return Parsed(tree)


def _check(items: Any, depth: int) -> None:
    """What the compiler would refuse after the parser."""
    if depth > MAX_DEPTH:
        raise RecursionError
    for code, value in items:
        if code in (op.ASSERT, op.ASSERT_NOT) and value[0] < 0:
            low, high = value[1].getwidth()
            if low != high:
                raise re.error("look-behind requires fixed-width pattern")
        for inner in _inner(code, value):
            _check(inner, depth + 1)


def _inner(code: Any, value: Any) -> list[Any]:
    """The sequences within one item."""
    if code is op.SUBPATTERN:
        return [value[3]]
    if code in _REPEATS:
        return [value[2]]
    if code is op.BRANCH:
        return list(value[1])
    if code is op.ATOMIC_GROUP:
        return [value]
    if code in (op.ASSERT, op.ASSERT_NOT):
        return [value[1]]
    if code is op.GROUPREF_EXISTS:
        return [one for one in value[1:] if one is not None]
    return []


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


class Spelling:
    """`text`: the pattern in a dialect. Raises NotLinear."""

    def __init__(self, parsed: Parsed, dialect: Dialect, ignore_case: bool) -> None:
        self._dialect, self._linear = dialect, dialect is not Dialect.BACKTRACKING
        self._ascii = bool(parsed.tree.state.flags & re.ASCII) or dialect is Dialect.RE2_ASCII
        flags = parsed.tree.state.flags | (re.IGNORECASE if ignore_case else 0)
        letters = self._letters(flags)
        body = self._sequence(parsed.tree)
        self.text = f"(?{letters}:{body})" if letters else body

    def _letters(self, flags: int) -> str:
        """Line breaks never reach RE2, so their flags mean nothing to it."""
        kinds = (("i", re.IGNORECASE),) if self._linear else (("i", re.I), ("m", re.M), ("s", re.S))
        return "".join(letter for letter, flag in kinds if flags & flag)

    def _sequence(self, items: Any) -> str:
        return "".join([self._item(code, value) for code, value in items])

    def _item(self, code: Any, value: Any) -> str:
        if code is op.LITERAL:
            return self._character(value)
        if code is op.NOT_LITERAL:
            return f"[^{self._character(value)}]"
        if code is op.ANY:
            return "(?s:.)" if self._linear else "."
        if code is op.IN:
            return self._set(value)
        if code is op.AT:
            return self._place(value)
        if code is op.SUBPATTERN:
            return self._group(*value)
        if code is op.BRANCH:
            return "(?:" + "|".join([self._sequence(one) for one in value[1]]) + ")"
        if code in _REPEATS:
            return self._repeat(code, *value)
        return self._backtracking(code, value)

    def _character(self, number: int) -> str:
        if chr(number).isascii():
            return chr(number) if chr(number).isalnum() else f"\\x{number:02x}"
        return f"\\x{{{number:x}}}" if self._linear else f"\\U{number:08x}"

    def _place(self, value: Any) -> str:
        if value in (op.AT_BOUNDARY, op.AT_NON_BOUNDARY):
            # RE2 knows words of ASCII only, there is no way to write the other kind.
            if self._dialect is Dialect.RE2 and not self._ascii:
                raise NotLinear
            return r"\b" if value is op.AT_BOUNDARY else r"\B"
        if not self._linear:
            return {op.AT_BEGINNING: "^", op.AT_BEGINNING_STRING: r"\A", op.AT_END: "$"}.get(value, r"\Z")
        return r"\A" if value in (op.AT_BEGINNING, op.AT_BEGINNING_STRING) else r"\z"

    def _group(self, number: int | None, add: int, remove: int, items: Any) -> str:
        body = self._sequence(items)
        if number is not None:
            return f"({body})"
        on, off = self._letters(add), self._letters(remove)
        return f"(?{on}{'-' + off if off else ''}:{body})"

    def _repeat(self, code: Any, low: int, high: Any, items: Any) -> str:
        if self._linear and (code is op.POSSESSIVE_REPEAT or (high > 1 and items.getwidth()[0] == 0)):
            raise NotLinear  # engines differ about rounds that take no character
        times = {(0, 1): "?", (0, op.MAXREPEAT): "*", (1, op.MAXREPEAT): "+"}.get((low, high))
        if times is None:
            times = f"{{{low}}}" if low == high else f"{{{low},{'' if high is op.MAXREPEAT else high}}}"
        greed = {op.MIN_REPEAT: "?", op.POSSESSIVE_REPEAT: "+"}.get(code, "")
        return f"(?:{self._sequence(items)}){times}{greed}"

    def _backtracking(self, code: Any, value: Any) -> str:
        if self._linear:
            raise NotLinear
        if code is op.GROUPREF:
            return f"\\g<{value}>"
        if code is op.ATOMIC_GROUP:
            return f"(?>{self._sequence(value)})"
        if code in (op.ASSERT, op.ASSERT_NOT):
            sign = "=" if code is op.ASSERT else "!"
            return f"(?{'<' if value[0] < 0 else ''}{sign}{self._sequence(value[1])})"
        if code is op.GROUPREF_EXISTS:
            other = "|" + self._sequence(value[2]) if value[2] is not None else ""
            return f"(?({value[0]}){self._sequence(value[1])}{other})"
        if code is getattr(op, "FAILURE", None):
            return "(?!)"
        raise BadRoute(f"the pattern uses {code}, which is not supported")

    def _set(self, items: Sequence[tuple[Any, Any]]) -> str:
        negated = items[0][0] is op.NEGATE
        members = items[1:] if negated else items
        if not self._ascii and len(members) == 1 and members[0][1] is op.CATEGORY_NOT_WORD:
            return f"[{'' if negated else '^'}{_WIDE_WORD}]"
        parts = []
        for code, value in members:
            if code is op.LITERAL:
                parts.append(self._character(value))
            elif code is op.RANGE:
                parts.append(f"{self._character(value[0])}-{self._character(value[1])}")
            else:
                parts.append(self._category(value))
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _category(self, value: Any) -> str:
        inverse = value in (op.CATEGORY_NOT_DIGIT, op.CATEGORY_NOT_SPACE, op.CATEGORY_NOT_WORD)
        digit, space = (op.CATEGORY_DIGIT, op.CATEGORY_NOT_DIGIT), (op.CATEGORY_SPACE, op.CATEGORY_NOT_SPACE)
        if self._ascii:
            return self._ranges(_DIGIT if value in digit else _SPACE if value in space else _WORD, inverse)
        if value in space:
            return self._ranges(_WIDE_SPACE, inverse)
        if value in digit:
            return r"\P{Nd}" if inverse else r"\p{Nd}"
        if not inverse:
            return _WIDE_WORD
        if self._linear:
            raise NotLinear  # there is no way to write it among others
        return r"\W"

    def _ranges(self, ranges: Ranges, inverse: bool) -> str:
        if inverse:
            # Beyond ASCII there are characters that are k and s when case is ignored: \W must not bring those in.
            if self._dialect is Dialect.RE2 and ranges is _WORD:
                raise NotLinear
            last = 0x7F if self._dialect is Dialect.RE2_ASCII else _MAX_CHARACTER
            edges = [-1, *[edge for pair in ranges for edge in pair], last + 1]
            ranges = [(edges[at] + 1, edges[at + 1] - 1) for at in range(0, len(edges), 2)]
        return "".join([f"{self._character(low)}-{self._character(high)}" for low, high in ranges])


def fold(text: str) -> str:
    """The form in which needles are looked for: equal for all that a pattern may take for equal."""
    return text.lower() if text.isascii() else text.translate(_FOLDS).lower()


def needles(parsed: Parsed) -> tuple[tuple[str, ...], ...]:
    """Groups of folded texts: of each group, every text that matches holds at least one."""
    return _search(parsed.tree).groups


class _Needles:
    """Goes through a sequence and keeps its runs of plain characters, and its choices of several."""

    def __init__(self) -> None:
        self.groups: tuple[tuple[str, ...], ...] = ()
        self._run: list[str] = []

    def walk(self, items: Any) -> None:
        for code, value in items:
            character = _plain(code, value)
            if character:
                self._run.append(character)
            elif code is op.SUBPATTERN:
                self.walk(value[3])
            elif code is op.ATOMIC_GROUP:
                self.walk(value)
            elif code not in (op.AT, op.ASSERT, op.ASSERT_NOT):
                self.end_run()
                self._offer_inner(code, value)

    def end_run(self) -> None:
        self._offer(("".join(self._run),))
        self._run = []

    def _offer_inner(self, code: Any, value: Any) -> None:
        if code is op.BRANCH:
            found = [longest(_search(one).groups) for one in value[1]]
            self._offer(tuple(dict.fromkeys(one for some in found for one in some)) if all(found) else ())
        elif code in _REPEATS and value[0] >= 1:
            for some in _search(value[2]).groups:
                self._offer(some)

    def _offer(self, some: tuple[str, ...]) -> None:
        if some and len(some) <= MAX_ALTERNATIVES and min(map(len, some)) >= MIN_NEEDLE:
            self.groups = (*self.groups[: MAX_GROUPS - 1], some)


def _search(items: Any) -> _Needles:
    search = _Needles()
    search.walk(items)
    search.end_run()
    return search


def longest(groups: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The group whose shortest text is the longest; () when there is none."""
    return max(groups, key=lambda some: min(map(len, some)), default=())


def _plain(code: Any, value: Any) -> str:
    """The one folded ASCII character that an item stands for, or ""."""
    if code is op.LITERAL:
        return chr(value).lower() if value < 128 else ""
    if code is op.IN and all(inner is op.LITERAL and one < 128 for inner, one in value):
        letters = {chr(one).lower() for _, one in value}
        return letters.pop() if len(letters) == 1 else ""
    return ""
