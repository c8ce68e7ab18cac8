"""Explain: each route in turn, what its conditions looked at and said, what it would do, and why the rest does nothing.

Room: inbound. Pure. May import: mail, message, storage. It asks the very functions that decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mtad.inbound.routes.compiled import Route
from mtad.inbound.routes.engine import ForwardTo, Keep, RouteTable, Step, steps
from mtad.inbound.routes.expressions import And, CatchAll, Expression, MatchHeader, MatchRecipient, Not, Or, show
from mtad.inbound.routes.looking import Captures, Headers, Look, Message, captures, truth
from mtad.inbound.routes.patterns import Budget
from mtad.mail.address import Address
from mtad.message.headers import HeaderBlock

MAX_LOOKED = 200  # characters of a text that is shown


class Verdict(StrEnum):
    MATCHED = "matched"
    NO_MATCH = "no match"
    FAULT = "fault"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of an expression. depth: 0 for the whole. said: None when it could not be said, and note says why.

    looked_at: the text a pattern was tried on; matched: what of it matched.
    """

    depth: int
    text: str
    said: bool | None
    looked_at: str
    matched: str
    note: str


@dataclass(frozen=True, slots=True)
class Capture:
    r"""reference: as actions write it: \1 or \g<name>."""

    reference: str
    text: str


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """action: "forward", "store" or "stop". kind: "address", "url", "raw-url" or "". to: "" for none."""

    action: str
    kind: str
    to: str


@dataclass(frozen=True, slots=True)
class RouteVerdict:
    """why: one sentence. faults: what of the actions, or of the patterns, could not be done."""

    id: str
    priority: int
    description: str
    expression: str
    verdict: Verdict
    why: str
    conditions: tuple[Condition, ...] = ()
    captures: tuple[Capture, ...] = ()
    actions: tuple[PlannedAction, ...] = ()
    faults: tuple[str, ...] = ()


def explain(
    table: RouteTable, recipient: Address, headers: HeaderBlock, steady: Callable[[], float]
) -> tuple[RouteVerdict, ...]:
    """All routes of the table, in order."""
    message = Message(recipient, Headers(headers, Budget(steady)))
    made: list[RouteVerdict] = []
    stopped_by, matched_before = "", False
    for route in table.routes:
        if stopped_by:
            why = f"not looked at: route {stopped_by} matched and stops"
            made.append(_verdict(route, Verdict.NOT_REACHED, why))
            continue
        found = truth(route.tree, route, message, matched_before)
        conditions = tuple(_conditions(route.tree, route, message, matched_before, 0))
        if not found:
            made.append(_unmatched(route, found, conditions, matched_before))
            continue
        made.append(_matched(route, message, conditions))
        matched_before = True
        stopped_by = route.row.id if route.stops else ""
    return tuple(made)


def _matched(route: Route, message: Message, conditions: tuple[Condition, ...]) -> RouteVerdict:
    captured = captures(route, message)
    made, faults = steps(route, captured)
    why = "the expression is true" + ("; later routes are not looked at" if route.stops else "")
    told = tuple(f"{fault.about}: {fault.why}" for fault in faults)
    return _verdict(route, Verdict.MATCHED, why, conditions, _captures(captured), _actions(made), told)


def _unmatched(
    route: Route, found: bool | None, conditions: tuple[Condition, ...], matched_before: bool
) -> RouteVerdict:
    if found is None:
        faults = tuple(f"{one.text}: {one.note}" for one in conditions if one.said is None and one.note)
        return _verdict(route, Verdict.FAULT, "counts as no match: a pattern took too long", conditions, faults=faults)
    if isinstance(route.tree, CatchAll):
        return _verdict(route, Verdict.NO_MATCH, "a route before this one matched", conditions)
    parts = 1 if isinstance(route.tree, And) else 0  # the depth at which a false part makes the whole false
    false = next((one for one in conditions if one.said is False and one.depth == parts), None)
    why = f"{false.text} is false" if false else "the expression is false"
    return _verdict(route, Verdict.NO_MATCH, why if not false or not false.note else f"{why}: {false.note}", conditions)


def _verdict(
    route: Route,
    verdict: Verdict,
    why: str,
    conditions: tuple[Condition, ...] = (),
    captured: tuple[Capture, ...] = (),
    actions: tuple[PlannedAction, ...] = (),
    faults: tuple[str, ...] = (),
) -> RouteVerdict:
    row = route.row
    return RouteVerdict(
        row.id, row.priority, row.description, row.expression, verdict, why, conditions, captured, actions, faults
    )


def _conditions(tree: Expression, route: Route, message: Message, matched_before: bool, depth: int) -> list[Condition]:
    said = truth(tree, route, message, matched_before)
    match tree:
        case MatchRecipient():
            look = message.look(tree, route.patterns[tree.number])
            return [_condition(depth, show(tree), look, "the recipient does not match from its start")]
        case MatchHeader(name=name):
            look = message.look(tree, route.patterns[tree.number])
            some = len(message.headers.values(name))
            no = f"none of {some} {name} headers matches" if some > 1 else f"the {name} header does not match"
            return [_condition(depth, show(tree), look, no if some else f"the message has no {name} header")]
        case CatchAll():
            note = "a route before this one matched" if matched_before else "no route before this one matched"
            return [Condition(depth, show(tree), said, "", "", note)]
        case Not(part):
            parts: tuple[Expression, ...] = (part,)
        case And(several) | Or(several):
            parts = several
    inner = [one for part in parts for one in _conditions(part, route, message, matched_before, depth + 1)]
    return [Condition(depth, show(tree), said, "", "", ""), *inner]


def _condition(depth: int, text: str, look: Look, no: str) -> Condition:
    note = look.why if look.truth is None else "" if look.truth else no
    return Condition(depth, text, look.truth, _short(look.text), _short(look.found.text if look.found else ""), note)


def _captures(captured: Captures) -> tuple[Capture, ...]:
    numbers = [Capture(f"\\{number}", _short(text)) for number, text in sorted(captured.numbers.items())]
    return (*numbers, *[Capture(f"\\g<{name}>", _short(text)) for name, text in captured.names.items()])


def _actions(made: Sequence[Step]) -> tuple[PlannedAction, ...]:
    found = []
    for step in made:
        match step:
            case ForwardTo(destinations):
                found += [PlannedAction("forward", str(to.kind), to.text) for to in destinations]
            case Keep(notify):
                found.append(PlannedAction("store", str(notify.kind) if notify else "", notify.text if notify else ""))
            case _:
                found.append(PlannedAction("stop", "", ""))
    return tuple(found)


def _short(text: str) -> str:
    return text if len(text) <= MAX_LOOKED else text[: MAX_LOOKED - 1] + "…"
