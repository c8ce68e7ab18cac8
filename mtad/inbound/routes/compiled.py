"""Compiled: a route ready for use: its tree, patterns and actions, and the pieces of text it cannot do without.

Room: inbound. Pure. May import: storage.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from mtad.inbound.routes.actions import MAX_ACTIONS, Action, Stop, parse_action, references
from mtad.inbound.routes.expressions import (
    And,
    CatchAll,
    Expression,
    MatchHeader,
    MatchRecipient,
    Not,
    Or,
    matches_in,
    parse_expression,
)
from mtad.inbound.routes.lexing import BadRoute
from mtad.inbound.routes.patterns import Pattern, compile_pattern
from mtad.storage.routes import RouteRow

_MAX_NEEDLES = 64  # of one need
_MAX_NEEDS = 16  # of one route

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
