"""Looking: what a route's expression says about one recipient of one message, and what it captures.

Room: inbound. Pure: the clock is handed in. May import: mail, message. Truth has three values: None is "cannot be
said", because the headers are not here yet or because a pattern took too long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from mtad.inbound.routes.compiled import Route
from mtad.inbound.routes.expressions import And, CatchAll, Expression, Match, MatchHeader, MatchRecipient, Not, Or
from mtad.inbound.routes.patterns import Budget, Found, Pattern, Runaway, Subject
from mtad.mail.address import Address
from mtad.message.headers import HeaderBlock, decode, scan

MAX_VALUES = 100  # occurrences of one header that are looked at
MAX_VALUES_TEXT = 65_536  # octets of them together
NO_HEADERS = scan(b"")


@dataclass(frozen=True, slots=True)
class Look:
    """What one call came to: text is what it looked at, found what matched of it; why: it took too long."""

    truth: bool | None
    text: str = ""
    found: Found | None = None
    why: str = ""


class Headers:
    """The header of one message as patterns look at it, for all its recipients; each is asked once. block None: not
    known yet. budget: for patterns without a bound of their own; it is shared by all that is decided of a message.
    """

    def __init__(self, block: HeaderBlock | None, budget: Budget) -> None:
        self.block, self.budget = block, budget
        self.looks: dict[tuple[str, Pattern], Look] = {}
        self.told: set[tuple[str, str]] = set()  # faults that are in the log already: route, and about what
        self._values: dict[str, list[Subject]] = {}

    @property
    def names(self) -> list[str]:
        return [name.decode("ascii") for name in (self.block or NO_HEADERS).by_name]

    def values(self, name: str) -> list[Subject]:
        """Unfolded and decoded, bounded."""
        known = self._values.get(name)
        if known is None:
            known, left = [], MAX_VALUES_TEXT
            for value in (self.block or NO_HEADERS).all(name.encode("ascii"))[:MAX_VALUES]:
                known.append(Subject(decode(value[:left])))
                left -= len(value)
                if left <= 0:
                    break
            self._values[name] = known
        return known


class Message:
    """One recipient of one message, as patterns look at it; each is asked once."""

    def __init__(self, recipient: Address, headers: Headers) -> None:
        self.recipient, self.headers = Subject(str(recipient)), headers
        self._looks: dict[tuple[str, Pattern], Look] = {}

    def look(self, call: Match, pattern: Pattern) -> Look:
        name = call.name if isinstance(call, MatchHeader) else ""
        looks = self.headers.looks if name else self._looks
        known = looks.get((name, pattern))
        if known is None:
            known = looks[name, pattern] = self._look(name, pattern)
        return known

    def why_unsaid(self, pattern: Pattern) -> list[str]:
        """What was said where the pattern ran away."""
        looks = [*self._looks.items(), *self.headers.looks.items()]
        return [look.why for (_, one), look in looks if one is pattern and look.truth is None and look.why]

    def _look(self, name: str, pattern: Pattern) -> Look:
        if name and self.headers.block is None:
            return Look(None, why="the headers are not known yet")
        subjects = self.headers.values(name) if name else [self.recipient]
        for subject in subjects:
            try:
                found = pattern.match(subject, self.headers.budget)
            except Runaway as error:
                return Look(None, subject.text, None, str(error))
            if found is not None:
                return Look(True, subject.text, found)
        return Look(False, subjects[0].text if subjects else "")


def truth(tree: Expression, route: Route, message: Message, matched_before: bool) -> bool | None:
    match tree:
        case MatchRecipient() | MatchHeader():
            return message.look(tree, route.patterns[tree.number]).truth
        case CatchAll():
            return not matched_before
        case Not(part):
            found = truth(part, route, message, matched_before)
            return None if found is None else not found
        case And(parts):
            return _combined(parts, False, route, message, matched_before)
        case Or(parts):
            return _combined(parts, True, route, message, matched_before)
        case _:
            assert_never(tree)


def _combined(
    parts: Sequence[Expression], decisive: bool, route: Route, message: Message, matched_before: bool
) -> bool | None:
    """Kleene's logic: one decisive part decides, also when another cannot be said."""
    result: bool | None = not decisive
    for part in parts:
        found = truth(part, route, message, matched_before)
        if found is decisive:
            return decisive
        if found is None:
            result = None
    return result


@dataclass(slots=True)
class Captures:
    """What the calls of a matched route captured, those under "not" apart."""

    numbers: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def get(self, reference: str) -> str | None:
        return self.numbers.get(int(reference)) if reference.isdecimal() else self.names.get(reference)


def captures(route: Route, message: Message) -> Captures:
    """Groups are numbered from left to right through the whole expression, as it is written."""
    made = Captures()
    for call in _positive(route.tree):
        pattern, found = route.patterns[call.number], message.look(call, route.patterns[call.number]).found
        if found is not None:
            for place, text in enumerate(found.groups, route.first_group[call.number] + 1):
                made.numbers[place] = text
            for name, place in pattern.names.items():
                made.names[name] = made.names.get(name) or found.groups[place - 1]
    return made


def _positive(tree: Expression, under_not: bool = False) -> list[Match]:
    match tree:
        case MatchRecipient() | MatchHeader():
            return [] if under_not else [tree]
        case CatchAll():
            return []
        case Not(part):
            return _positive(part, not under_not)
        case And(parts) | Or(parts):
            return [one for part in parts for one in _positive(part, under_not)]
