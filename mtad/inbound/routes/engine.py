"""Engine: all routes in memory, and what they come to for one recipient of one message.

Room: inbound. Pure: the clock is handed in. May import: mail, message, storage. A table is never changed: a new one
takes its place. A route whose expression cannot be said does not match, but might.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from mtad.inbound.routes.actions import Destination, Forward, Stop, Store, destination
from mtad.inbound.routes.compiled import Need, Route, compile_route, is_early
from mtad.inbound.routes.index import NeedleIndex, cuts
from mtad.inbound.routes.lexing import BadRoute
from mtad.inbound.routes.looking import NO_HEADERS, Captures, Headers, Message, captures, truth
from mtad.inbound.routes.patterns import Budget, Pattern, compile_pattern
from mtad.mail.address import Address
from mtad.message.headers import HeaderBlock
from mtad.storage.routes import RouteRow

EARLY_S = 0.002  # for patterns without a bound: a session can name a thousand recipients at once


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
    """matched: in order. stopped: the last of them kept later routes from being looked at. cut: a route could not be
    said as the message's time was used up, so that this is no decision.
    """

    matched: tuple[Matched, ...]
    stopped: bool
    faults: tuple[Fault, ...]
    cut: bool = False

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

    def headers(self, block: HeaderBlock) -> Headers:
        """For all decisions about a message."""
        return Headers(block, Budget(self._steady))

    def decide(self, recipient: Address, headers: Headers) -> Decision:
        """What becomes of the message for this recipient. Nothing matched: `matched` is empty."""
        message = Message(recipient, headers)
        matched: list[Matched] = []
        faults: list[Fault] = []
        stopped = cut = False
        for position in self._open.candidates(message):
            route = self.routes[position]
            found = truth(route.tree, route, message, bool(matched))
            if found is None:
                faults += _runaways(route, message)
                cut = cut or headers.budget.cut
            if found:
                made, wrong = steps(route, captures(route, message))
                matched.append(Matched(route.row, made))
                faults += wrong
                if route.stops:
                    stopped = True
                    break
        return Decision(tuple(matched), stopped, tuple(faults), cut)

    def may_take(self, address: Address) -> bool:
        """Could any route match mail for this address, whatever its headers? Asked for each RCPT, so what takes long is
        left for the message itself.
        """
        message = Message(address, Headers(None, Budget(self._steady, EARLY_S)))
        for position in self._early.candidates(message):
            route = self.routes[position]
            if truth(route.tree, route, message, False) is not False:
                return True
        return False

    def first(self, recipient: Address) -> RouteRow | None:
        """The first route that matches a message without headers."""
        message = Message(recipient, self.headers(NO_HEADERS))
        for position in self._open.candidates(message):
            route = self.routes[position]
            if truth(route.tree, route, message, False):
                return route.row
        return None


def _runaways(route: Route, message: Message) -> list[Fault]:
    return [Fault(route.row.id, p.text, why) for p in route.patterns for why in message.why_unsaid(p)[:1]]


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
        for name in message.headers.names:
            if name in self._sources:
                for value in message.headers.values(name):
                    found |= self._sources[name].candidates(value.folded)
        return sorted(found)


def _cut(need: Need, seen: Counter[tuple[str, str]]) -> tuple[int, Need]:
    """How often the rarest pieces of its needles are found among all, and those pieces."""
    pieces = [min((seen[source, cut], (source, cut)) for cut in cuts(needle)) for source, needle in need]
    return sum(often for often, _ in pieces), tuple([piece for _, piece in pieces])
