"""Expressions: when a route applies, read into a tree.

    match_recipient("support@.*") and not match_header("Subject", "(?i).*out of office")

Room: inbound. Pure. Nothing is ever evaluated as Python. "and" binds tighter than "or"; words are read in any letter
case; a backslash is kept for the pattern, but before the quote that ends the string.
"""

from dataclasses import dataclass

from mtad.inbound.routes.lexing import BadRoute, Token, Tokens, quoted

MAX_DEPTH = 32  # parentheses and "not" within each other
MAX_CALLS = 64
_FUNCTIONS = 'match_recipient("…"), match_header("name", "…") or catch_all()'


@dataclass(frozen=True, slots=True)
class MatchRecipient:
    """number: place among the calls with a pattern, from 0."""

    number: int
    pattern: str


@dataclass(frozen=True, slots=True)
class MatchHeader:
    """name: of the header, in lower case."""

    number: int
    name: str
    pattern: str


@dataclass(frozen=True, slots=True)
class CatchAll:
    """True when no route before this one matched."""


@dataclass(frozen=True, slots=True)
class Not:
    part: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Expression", ...]


Match = MatchRecipient | MatchHeader
Expression = Match | CatchAll | Not | And | Or


def parse_expression(text: str) -> Expression:
    """Raises BadRoute. Patterns are taken as they are: `patterns.compile_pattern` judges them."""
    reader = _Reader(Tokens(text, "expression"))
    found = reader.alternatives(0)
    if reader.tokens.next.kind != "end":
        raise reader.tokens.wrong('"and", "or" or the end is expected')
    return found


def matches_in(expression: Expression) -> list[Match]:
    """The calls with a pattern, in the order they are written: each at its number."""
    match expression:
        case MatchRecipient() | MatchHeader():
            return [expression]
        case CatchAll():
            return []
        case Not(part):
            return matches_in(part)
        case And(parts) | Or(parts):
            return [one for part in parts for one in matches_in(part)]


def show(expression: Expression) -> str:
    """The expression as it may be written: reading it gives the same tree."""
    match expression:
        case MatchRecipient(pattern=pattern):
            return f"match_recipient({quoted(pattern)})"
        case MatchHeader(name=name, pattern=pattern):
            return f'match_header("{name}", {quoted(pattern)})'
        case CatchAll():
            return "catch_all()"
        case Not(part):
            return f"not {_within(part)}"
        case And(parts):
            return " and ".join(_within(part) for part in parts)
        case Or(parts):
            return " or ".join(_within(part) if isinstance(part, Or) else show(part) for part in parts)


def _within(part: Expression) -> str:
    return f"({show(part)})" if isinstance(part, And | Or) else show(part)


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self._calls, self._matches = tokens, 0, 0

    def alternatives(self, depth: int) -> Expression:
        parts = [self._conjunction(depth)]
        while self._word("or"):
            parts.append(self._conjunction(depth))
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _conjunction(self, depth: int) -> Expression:
        parts = [self._factor(depth)]
        while self._word("and"):
            parts.append(self._factor(depth))
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.tokens.wrong(f"more than {MAX_DEPTH} levels of parentheses")
        if self._word("not"):
            return Not(self._factor(depth + 1))
        if self.tokens.taken("("):
            found = self.alternatives(depth + 1)
            self.tokens.expect(")", 'after "and", "or" or to close the parenthesis')
            return found
        return self._call()

    def _call(self) -> Expression:
        token = self.tokens.next
        if token.kind != "word":
            raise self.tokens.wrong(f"{_FUNCTIONS} is expected")
        name = token.text.lower()
        if name not in ("match_recipient", "match_header", "catch_all", "catchall"):
            raise self.tokens.wrong(f"there is no {token.text[:40]}; {_FUNCTIONS} is expected")
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise self.tokens.wrong(f"more than {MAX_CALLS} conditions; make several routes of it")
        self.tokens.take()
        self.tokens.expect("(", f"after {token.text}")
        made = self._arguments(name)
        self.tokens.expect(")", "after the pattern" if self._is_match(made) else "after catch_all(")
        return made

    def _arguments(self, name: str) -> Expression:
        if name in ("catch_all", "catchall"):
            return CatchAll()
        header = ""
        if name == "match_header":
            header = self._header_name(self.tokens.string("the name of a header"))
            self.tokens.expect(",", "between the header's name and the pattern")
        pattern = self.tokens.string("a pattern").text
        self._matches += 1
        number = self._matches - 1
        return MatchHeader(number, header, pattern) if name == "match_header" else MatchRecipient(number, pattern)

    def _header_name(self, token: Token) -> str:
        """RFC 5322 §2.2: printable, no colon, no space."""
        name = token.text.strip()
        if not all("!" <= c <= "~" and c not in ':"\\' for c in name):
            raise self.tokens.wrong('this is no name of a header: write "Subject", without a colon', token)
        return name.lower()

    def _is_match(self, made: Expression) -> bool:
        return isinstance(made, MatchRecipient | MatchHeader)

    def _word(self, word: str) -> bool:
        if self.tokens.next.kind == "word" and self.tokens.next.text.lower() == word:
            self.tokens.take()
            return True
        return False


__all__ = [
    "And",
    "BadRoute",
    "CatchAll",
    "Expression",
    "Match",
    "MatchHeader",
    "MatchRecipient",
    "Not",
    "Or",
    "matches_in",
    "parse_expression",
    "show",
]
