"""Patterns: regular expressions as Python writes them, run so that no pattern and no text can hold up the daemon.

Room: inbound. Pure: the clock is handed in. RE2 wherever it gives the same answer, else `regex` with a time limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mtad.inbound.routes.dialects import Dialect, NotLinear, Parsed, Spelling, fold, needles, parse_pattern
from mtad.inbound.routes.lexing import BadRoute

SLOW_S = 0.05  # of processor time, for one look with the engine that goes back and forth
BUDGET_S = 0.5  # for all decisions about one message
_MEMORY = 2 << 20  # octets of one RE2 pattern
_UNLIKE = "\u0130\u0131"  # letters that Python, but not RE2, takes for an i when case is ignored


class Runaway(Exception):
    """The pattern took too long on this text. The message says so."""


@dataclass(frozen=True, slots=True)
class Found:
    """text: what matched, from the start. groups: "" for one that took no part."""

    text: str
    groups: tuple[str, ...]


class Subject:
    """A text that patterns look at: one line."""

    __slots__ = ("folded", "octets", "text")

    def __init__(self, text: str) -> None:
        if "\n" in text or "\r" in text:  # smuggled into an encoded word
            text = text.replace("\r", " ").replace("\n", " ")
        self.octets = text.encode("utf-8", "replace")
        self.text = text if text.isascii() else self.octets.decode()
        self.folded = fold(self.text)


@dataclass
class Budget:
    """What is left of one message's time. steady: seconds of a clock that only goes forward. cut: a pattern was not
    tried, or got less time than patterns get, as too little was left: with more time it might have been said.
    """

    steady: Callable[[], float]
    left_s: float = BUDGET_S
    cut: bool = False


@dataclass(eq=False)
class Pattern:
    """needles: groups of folded texts; a text that matches holds at least one of each. names: of regex groups."""

    text: str
    ignore_case: bool
    groups: int = field(init=False)
    names: dict[str, int] = field(init=False)
    needles: tuple[tuple[str, ...], ...] = field(init=False)
    _ascii: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parsed = parse_pattern(self.text)
        self.groups, self.names, self.needles = parsed.groups, parsed.names, needles(parsed)
        self._ascii = self._linear(parsed, Dialect.RE2_ASCII)
        if self._ascii is None:
            _ = self._slow  # so that what no engine takes is found now

    @property
    def is_linear(self) -> bool:
        """Takes time linear in any ASCII text, and nearly always in others."""
        return self._ascii is not None

    def match(self, subject: Subject, budget: Budget) -> Found | None:
        """From the start of the text, its end open. Raises Runaway."""
        ascii_text = subject.text.isascii()
        engine = self._ascii if ascii_text else self._wide
        if engine is None or (not ascii_text and any(c in subject.text for c in _UNLIKE)):
            return self._match_slowly(subject, budget)
        found = engine.match(subject.octets)
        if found is None:
            return None
        return Found(found.group().decode(), tuple([(one or b"").decode() for one in found.groups()]))

    def _match_slowly(self, subject: Subject, budget: Budget) -> Found | None:
        if budget.left_s <= 0:
            budget.cut = True
            raise Runaway(f"not tried: patterns took more than {BUDGET_S:g} s for this message")
        begun, most_s = budget.steady(), min(SLOW_S, budget.left_s)
        try:
            found = self._slow.match(subject.text, timeout=most_s, concurrent=True)
        except (TimeoutError, MemoryError):
            budget.cut = budget.cut or most_s < SLOW_S
            raise Runaway(f"took more than {most_s * 1000:.0f} ms; {_ADVICE}") from None
        finally:
            budget.left_s -= max(budget.steady() - begun, 0.0)
        return Found(found.group(), found.groups("")) if found else None

    @cached_property
    def _wide(self) -> Any:
        """For text that is not ASCII: made when there is some, as it is large."""
        return self._linear(parse_pattern(self.text), Dialect.RE2) if self._ascii is not None else None

    @cached_property
    def _slow(self) -> Any:
        import regex  # type: ignore[import-untyped, unused-ignore]  # a megabyte, for few patterns

        spelled = Spelling(parse_pattern(self.text), Dialect.BACKTRACKING, self.ignore_case)
        try:
            return regex.compile(spelled.text, regex.VERSION0, cache_pattern=False)  # type: ignore[no-untyped-call, unused-ignore]
        except (regex.error, OverflowError, RecursionError, MemoryError) as error:
            raise BadRoute(f"the pattern {self.text[:60]!r} cannot be used: {error}") from None

    def _linear(self, parsed: Parsed, dialect: Dialect) -> Any:
        import re2  # type: ignore[import-untyped, unused-ignore]  # a megabyte, and not all have routes

        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        try:
            return re2.compile(Spelling(parsed, dialect, self.ignore_case).text, options)  # type: ignore[no-untyped-call, unused-ignore]
        except (NotLinear, re2.error):
            return None


_ADVICE = "a pattern without look-around and back references has no such limit"


def compile_pattern(text: str, *, ignore_case: bool) -> Pattern:
    """Raises BadRoute."""
    return Pattern(text, ignore_case)
