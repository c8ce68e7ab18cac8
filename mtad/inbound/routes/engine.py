"""Engine: all routes in memory, and what they say about one recipient of one message.

Room: inbound. Pure: the clock is handed in. May import: mail, message, storage. A table is never changed: a new one
takes its place. Truth has three values: None is "cannot be said", because the headers are not here yet or because a
pattern took too long; a route whose expression comes to None does not match, but might.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from mtad.inbound.routes.actions import (
    MAX_ACTIONS,
    Action,
    Destination,
    Forward,
    Stop,
    Store,
    destination,
    parse_action,
    references,
)
from mtad.inbound.routes.expressions import (
    And,
    CatchAll,
    Expression,
    Match,
    MatchHeader,
    MatchRecipient,
    Not,
    Or,
    matches_in,
    parse_expression,
)
from mtad.inbound.routes.index import NeedleIndex, cuts
from mtad.inbound.routes.lexing import BadRoute
from mtad.inbound.routes.patterns import Budget, Found, Pattern, Runaway, Subject, compile_pattern
from mtad.mail.address import Address
from mtad.message.headers import HeaderBlock, decode, scan
from mtad.storage.routes import RouteRow

MAX_VALUES = 100  # occurrences of one header that are looked at
MAX_VALUES_TEXT = 65_536  # octets of them together
_MAX_NEEDLES = 64  # of one need
_MAX_NEEDS = 16  # of one route
_NO_HEADERS = scan(b"")

# One of these must be there: (header in lower case or "" for the recipient, needle). The needle "" is in every text.
Need = tuple[tuple[str, str], ...]
Compile = Callable[[str, bool], Pattern]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """patterns: of the calls in `tree`, by their numbers. first_group: of each, its first number less one.

    needs: what a message must have, each of them, for the expression to be true.
    """

    row: RouteRow
    tree: Expression
    actions: tuple[Action, ...]
    patterns: tuple[Pattern, ...]
    first_group: tuple[int, ...]
    needs: tuple[Need, ...]

    @property
    def stops(self) -> bool:
        return any(isinstance(action, Stop) for action in self.actions)


def compile_route(row: RouteRow, compiled: Compile | None = None) -> Route:
    """Raises BadRoute: the expression, an action or a pattern cannot be used."""
    tree = parse_expression(row.expression)
    calls = matches_in(tree)
    made = compiled or (lambda text, ignore_case: compile_pattern(text, ignore_case=ignore_case))
    patterns = tuple([made(call.pattern, isinstance(call, MatchRecipient)) for call in calls])
    actions = _actions(row.actions)
    starts, total = [], 0
    for pattern in patterns:
        starts.append(total)
        total += pattern.groups
    _check_references(actions, patterns, total)
    return Route(row, tree, actions, patterns, tuple(starts), _needs(tree, patterns)[:_MAX_NEEDS])


def _actions(texts: Sequence[str]) -> tuple[Action, ...]:
    if not texts:
        raise BadRoute("a route needs an action")
    if len(texts) > MAX_ACTIONS:
        raise BadRoute(f"a route has at most {MAX_ACTIONS} actions")
    return tuple([parse_action(text) for text in texts])


def _check_references(actions: Iterable[Action], patterns: Sequence[Pattern], total: int) -> None:
    names = {name for pattern in patterns for name in pattern.names}
    for reference in {one for action in actions for one in references(action)}:
        if reference.isdecimal() and not 1 <= int(reference) <= total:
            raise BadRoute(f"an action takes group {reference}, but the expression captures {total or 'none'}")
        if not reference.isdecimal() and reference not in names:
            raise BadRoute(f"an action takes the group {reference!r}, but no pattern has (?P<{reference}>…)")


def _needs(tree: Expression, patterns: Sequence[Pattern]) -> tuple[Need, ...]:
    match tree:
        case MatchRecipient(number=number):
            return tuple([tuple([("", needle) for needle in some]) for some in patterns[number].needles])
        case MatchHeader(number=number, name=name):
            groups = patterns[number].needles or (("",),)
            return tuple([tuple([(name, needle) for needle in some]) for some in groups])
        case And(parts):
            return tuple([need for part in parts for need in _needs(part, patterns)])
        case Or(parts):
            best = [max(_needs(part, patterns), key=_telling, default=()) for part in parts]
            joined = tuple([one for need in best for one in need])
            return (joined,) if all(best) and len(joined) <= _MAX_NEEDLES else ()
        case Not() | CatchAll():
            return ()
        case _:
            assert_never(tree)


def _telling(need: Need) -> tuple[bool, int]:
    """The recipient is known first of all."""
    return is_early(need), min(len(needle) for _, needle in need)


def is_early(need: Need) -> bool:
    """Known at RCPT."""
    return all(not source for source, _ in need)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be done. about: the pattern or destination; why: one line for people."""

    route: str
    about: str
    why: str


@dataclass(frozen=True, slots=True)
class ForwardTo:
    """destinations: those that could be made; the others are faults."""

    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the message. notify: the URL that is told of it, or None."""

    notify: Destination | None


Step = ForwardTo | Keep | Stop


@dataclass(frozen=True, slots=True)
class Matched:
    """A route that matched, and its actions with the captured text in them."""

    row: RouteRow
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """matched: in order. stopped: the last of them kept later routes from being looked at."""

    matched: tuple[Matched, ...]
    stopped: bool
    faults: tuple[Fault, ...]

    @property
    def forwards(self) -> tuple[Destination, ...]:
        return tuple(
            [
                to
                for one in self.matched
                for step in one.steps
                if isinstance(step, ForwardTo)
                for to in step.destinations
            ]
        )

    @property
    def keeps(self) -> tuple[Keep, ...]:
        return tuple([step for one in self.matched for step in one.steps if isinstance(step, Keep)])


@dataclass(frozen=True, slots=True)
class Look:
    """What one call came to: text is what it looked at, found what matched of it; why: it took too long."""

    truth: bool | None
    text: str = ""
    found: Found | None = None
    why: str = ""


class Message:
    """One recipient of one message, as patterns look at it; each is asked once. headers None: not known yet."""

    def __init__(self, recipient: Address, headers: HeaderBlock | None, steady: Callable[[], float]) -> None:
        self.recipient, self._headers, self._budget = Subject(str(recipient)), headers, Budget(steady)
        self._values: dict[str, list[Subject]] = {}
        self._looks: dict[tuple[str, Pattern], Look] = {}
        self.runaways: dict[Pattern, str] = {}

    @property
    def header_names(self) -> list[str]:
        return [name.decode("ascii") for name in (self._headers or _NO_HEADERS).by_name]

    def values(self, name: str) -> list[Subject]:
        """Unfolded and decoded, bounded."""
        known = self._values.get(name)
        if known is None:
            known, left = [], MAX_VALUES_TEXT
            for value in (self._headers or _NO_HEADERS).all(name.encode("ascii"))[:MAX_VALUES]:
                known.append(Subject(decode(value[:left])))
                left -= len(value)
                if left <= 0:
                    break
            self._values[name] = known
        return known

    def look(self, call: Match, pattern: Pattern) -> Look:
        name = call.name if isinstance(call, MatchHeader) else ""
        known = self._looks.get((name, pattern))
        if known is None:
            known = self._looks[name, pattern] = self._look(name, pattern)
        return known

    def _look(self, name: str, pattern: Pattern) -> Look:
        if name and self._headers is None:
            return Look(None, why="the headers are not known yet")
        subjects = self.values(name) if name else [self.recipient]
        for subject in subjects:
            try:
                found = pattern.match(subject, self._budget)
            except Runaway as error:
                self.runaways[pattern] = str(error)
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


def steps(route: Route, captured: Captures) -> tuple[tuple[Step, ...], tuple[Fault, ...]]:
    made: list[Step] = []
    faults: list[Fault] = []

    def fill(templates: Sequence[str]) -> tuple[Destination, ...]:
        found = []
        for template in templates:
            try:
                found.append(destination(template, captured.get))
            except BadRoute as error:
                faults.append(Fault(route.row.id, template, str(error)))
        return tuple(found)

    for action in route.actions:
        match action:
            case Forward(destinations):
                made.append(ForwardTo(fill(destinations)))
            case Store(notify):
                made.append(Keep(next(iter(fill([notify] if notify else [])), None)))
            case Stop():
                made.append(action)
            case _:
                assert_never(action)
    return tuple(made), tuple(faults)


class RouteTable:
    """routes: in the order they are looked at (RouteTable.of puts them so). steady: a clock that only goes forward."""

    def __init__(self, routes: Sequence[Route], steady: Callable[[], float]) -> None:
        self.routes, self._steady = tuple(routes), steady
        # A pattern is here that RE2 cannot run: decide in a thread.
        self.may_be_slow = any(not pattern.is_linear for route in routes for pattern in route.patterns)
        self._open = _Index([route.needs for route in routes])
        self._early = _Index([tuple(filter(is_early, route.needs)) for route in routes])

    @classmethod
    def of(
        cls, rows: Iterable[RouteRow], steady: Callable[[], float], before: "RouteTable | None" = None
    ) -> tuple["RouteTable", tuple[Fault, ...]]:
        """With the rows that cannot be used as faults. What `before` has compiled is taken over."""
        known = {route.row: route for route in before.routes} if before else {}
        shared = {(p.text, p.ignore_case): p for route in known.values() for p in route.patterns}

        def compiled(text: str, ignore_case: bool) -> Pattern:
            pattern = shared.get((text, ignore_case))
            if pattern is None:
                pattern = shared[text, ignore_case] = compile_pattern(text, ignore_case=ignore_case)
            return pattern

        routes, faults = [], []
        for row in sorted(rows, key=lambda row: (row.priority, row.number)):
            try:
                routes.append(known.get(row) or compile_route(row, compiled))
            except BadRoute as error:
                faults.append(Fault(row.id, row.expression, str(error)))
        return cls(routes, steady), tuple(faults)

    def decide(self, recipient: Address, headers: HeaderBlock) -> Decision:
        """What becomes of the message for this recipient. Nothing matched: `matched` is empty."""
        message = Message(recipient, headers, self._steady)
        matched: list[Matched] = []
        faults: list[Fault] = []
        stopped = False
        for position in self._open.candidates(message):
            route = self.routes[position]
            found = truth(route.tree, route, message, bool(matched))
            if found is None:
                faults += _runaways(route, message)
            if found:
                made, wrong = steps(route, captures(route, message))
                matched.append(Matched(route.row, made))
                faults += wrong
                if route.stops:
                    stopped = True
                    break
        return Decision(tuple(matched), stopped, tuple(faults))

    def may_take(self, address: Address) -> bool:
        """Could any route match mail for this address, whatever its headers?"""
        message = Message(address, None, self._steady)
        for position in self._early.candidates(message):
            route = self.routes[position]
            if truth(route.tree, route, message, False) is not False:
                return True
        return False

    def first(self, recipient: Address) -> RouteRow | None:
        """The first route that matches a message without headers."""
        message = Message(recipient, _NO_HEADERS, self._steady)
        for position in self._open.candidates(message):
            route = self.routes[position]
            if truth(route.tree, route, message, False):
                return route.row
        return None


def _runaways(route: Route, message: Message) -> list[Fault]:
    return [Fault(route.row.id, p.text, message.runaways[p]) for p in route.patterns if p in message.runaways]


class _Index:
    """needs: of each route, by its position. Of a route's needs the rarest is kept, and looked for."""

    def __init__(self, needs: Sequence[tuple[Need, ...]]) -> None:
        seen = Counter(
            (source, cut) for some in needs for need in some for source, needle in need for cut in cuts(needle)
        )
        by_source: dict[str, dict[str, list[int]]] = {}
        self._always = set()
        for position, some in enumerate(needs):
            rarest = min([_cut(need, seen) for need in some], default=None)
            if rarest is None:
                self._always.add(position)
                continue
            for source, cut in rarest[1]:
                by_source.setdefault(source, {}).setdefault(cut, []).append(position)
        self._sources = {source: NeedleIndex(found) for source, found in by_source.items()}

    def candidates(self, message: Message) -> list[int]:
        found = set(self._always)
        if "" in self._sources:
            found |= self._sources[""].candidates(message.recipient.folded)
        for name in message.header_names:
            if name in self._sources:
                for value in message.values(name):
                    found |= self._sources[name].candidates(value.folded)
        return sorted(found)


def _cut(need: Need, seen: Counter[tuple[str, str]]) -> tuple[int, Need]:
    """How often the rarest pieces of its needles are found among all, and those pieces."""
    pieces = [min((seen[source, cut], (source, cut)) for cut in cuts(needle)) for source, needle in need]
    return sum(often for often, _ in pieces), tuple([piece for _, piece in pieces])
