"""Filters: the expressions by which events are asked for: "rejected OR failed", ">10000 <20000".

Room: api. Pure. May import: storage. Source: docs/api.rst. A text is parsed into a tree whose size is bounded by
MAX_WORDS and whose depth by MAX_DEPTH, so asking it is cheap whatever was given.

    expr = and *( "OR" and )
    and  = not *( [ "AND" ] not )
    not  = [ "NOT" ] prim | "-" prim        ; "-" without a space behind it
    prim = "(" expr ")" | '"' phrase '"' | range | term
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from mtad.storage.lookups import bare

MAX_TEXT = 2000  # characters of all filters of a request
MAX_WORDS = 100  # of one filter
MAX_DEPTH = 20


class Kind(Enum):
    """How a word is compared with a value; the case of letters never matters.

    TEXT: is in it. WHOLE: is it. ID: is it, angle brackets aside. ADDRESS: a whole address is it, less is in it.
    """

    TEXT = "text"
    WHOLE = "whole"
    ID = "id"
    ADDRESS = "address"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Term:
    """In the form for comparing: folded case, an id without brackets."""

    text: str


@dataclass(frozen=True, slots=True)
class Range:
    """sign: "<", "<=", ">", ">=" or "="."""

    sign: str
    number: float


@dataclass(frozen=True, slots=True)
class Not:
    node: "Node"


@dataclass(frozen=True, slots=True)
class All:
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    nodes: tuple["Node", ...]


Node = Term | Range | Not | All | Either
Values = Sequence[str] | Sequence[float]

_TOKEN = re.compile(r'\s*(?:([()])|"([^"]*)"|([^\s()"]+)|(.))', re.DOTALL)
_RANGE = re.compile(r"([<>]=?)?([+-]?\d{1,15}(?:\.\d{1,6})?)?", re.ASCII)
_WHOLE_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_OPERATORS = frozenset(("AND", "OR", "NOT"))


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: "(", ")", "phrase", "term", "-" (glued to the next one), or one of the operators."""

    kind: str
    text: str = ""


class _BadFilter(Exception):
    """The text says what is wrong, without the name of the field."""


def parse(text: str, kind: Kind) -> Node | None:
    """None: there is nothing in it. Raises ValueError with what is wrong."""
    try:
        tokens = _tokens(text)
        return _Parser(tokens, kind).whole() if tokens else None
    except _BadFilter as error:
        raise ValueError(str(error)) from None


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_TEXT:
        raise _BadFilter(f"is longer than {MAX_TEXT} characters")
    text = text.rstrip()
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match[4] is not None:
            raise _BadFilter("has a quotation mark without its pair")
        at = match.end()
        bracket, phrase, word = match[1], match[2], match[3]
        if bracket:
            found.append(_Token(bracket))
        elif phrase is not None:
            found.append(_Token("phrase", phrase))
        elif word in _OPERATORS:
            found.append(_Token(word))
        elif word.startswith("-") and not _follows_not(found) and (len(word) > 1 or text[at : at + 1] in ('"', "(")):
            found.append(_Token("-"))
            if len(word) > 1:
                found.append(_Token("term", word[1:]))
        else:
            found.append(_Token("term", word))
        if len(found) > MAX_WORDS:
            raise _BadFilter(f"has more than {MAX_WORDS} words")
    return found


def _follows_not(tokens: list[_Token]) -> bool:
    return bool(tokens) and tokens[-1].kind in ("NOT", "-")


class _Parser:
    def __init__(self, tokens: list[_Token], kind: Kind) -> None:
        self._tokens, self._at, self._kind, self._depth = tokens, 0, kind, 0

    def whole(self) -> Node:
        node = self._either()
        if self._next is not None:
            raise _BadFilter("has a closing parenthesis too many")
        return node

    @property
    def _next(self) -> str | None:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else None

    def _either(self) -> Node:
        nodes = [self._all()]
        while self._next == "OR":
            self._at += 1
            nodes.append(self._all())
        return nodes[0] if len(nodes) == 1 else Either(tuple(nodes))

    def _all(self) -> Node:
        nodes = [self._not()]
        while self._next not in (None, "OR", ")"):
            if self._next == "AND":
                self._at += 1
            nodes.append(self._not())
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes))

    def _not(self) -> Node:
        if self._next in ("NOT", "-"):
            self._at += 1
            return Not(self._prim())
        return self._prim()

    def _prim(self) -> Node:
        kind = self._next
        if kind is None:
            raise _BadFilter("ends where a word was to come")
        token = self._tokens[self._at]
        self._at += 1
        if kind == "(":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _BadFilter(f"has more than {MAX_DEPTH} parentheses in each other")
            node = self._either()
            if self._next != ")":
                raise _BadFilter("has a parenthesis without its pair")
            self._at += 1
            self._depth -= 1
            return node
        if kind not in ("term", "phrase"):
            raise _BadFilter(f"has {kind} where a word was to come")
        return self._range(token.text) if self._kind is Kind.NUMBER else Term(_folded(token.text, self._kind))

    def _range(self, text: str) -> Range:
        found = _RANGE.fullmatch(text)
        if found is not None and found[1] and not found[2] and self._next == "term":  # "> 5"
            found = _RANGE.fullmatch(text + self._tokens[self._at].text)
            self._at += 1
        if found is None or not found[2]:
            raise _BadFilter("is not a number, or a comparison with one such as >10000")
        return Range(found[1] or "=", float(found[2]))


def _folded(text: str, kind: Kind) -> str:
    return (bare(text) if kind is Kind.ID else text).casefold()


_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "=": lambda value, number: value == number,
    "<": lambda value, number: value < number,
    "<=": lambda value, number: value <= number,
    ">": lambda value, number: value > number,
    ">=": lambda value, number: value >= number,
}


def matches(node: Node, kind: Kind, values: Values) -> bool:
    """values: of the field, one or more; a word is true if it is of any of them, so of none of none."""
    match node:
        case Term(text):
            return any(_is(text, kind, _folded(str(value), kind)) for value in values)
        case Range(sign, number):
            return any(_SIGNS[sign](float(value), number) for value in values)
        case Not(inner):
            return not matches(inner, kind, values)
        case All(nodes):
            return all(matches(inner, kind, values) for inner in nodes)
        case Either(nodes):
            return any(matches(inner, kind, values) for inner in nodes)
        case _:
            assert_never(node)


def _is(text: str, kind: Kind, value: str) -> bool:
    return text == value if _is_whole(text, kind) else text in value


def _is_whole(text: str, kind: Kind) -> bool:
    """It is compared with all of a value."""
    return kind in (Kind.WHOLE, Kind.ID) or (kind is Kind.ADDRESS and _WHOLE_ADDRESS.fullmatch(text) is not None)


def needed(node: Node, kind: Kind) -> frozenset[str] | None:
    """Of these texts an event must have one to match, whole; None: that cannot be said."""
    return _one_of(node, lambda text: _is_whole(text, kind))


def contained(node: Node) -> frozenset[str] | None:
    """Of these texts an event must have one in it to match; None: that cannot be said."""
    return _one_of(node, lambda text: bool(text))


def _one_of(node: Node, counts: Callable[[str], bool]) -> frozenset[str] | None:
    match node:
        case Term(text):
            return frozenset((text,)) if counts(text) else None
        case Range() | Not():
            return None
        case All(nodes):
            known = [texts for inner in nodes if (texts := _one_of(inner, counts)) is not None]
            return min(known, key=len, default=None)
        case Either(nodes):
            every = [_one_of(inner, counts) for inner in nodes]
            return None if None in every else frozenset().union(*(texts for texts in every if texts is not None))
        case _:
            assert_never(node)
