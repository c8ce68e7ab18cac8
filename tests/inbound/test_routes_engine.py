import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound.routes.actions import Destination, Kind
from mtad.inbound.routes.compiled import compile_route
from mtad.inbound.routes.engine import Keep, RouteTable
from mtad.inbound.routes.explain import Capture, PlannedAction, Verdict, explain
from mtad.inbound.routes.expressions import And, CatchAll, MatchHeader, MatchRecipient, Not, Or, show
from mtad.inbound.routes.lexing import BadRoute
from mtad.inbound.routes.patterns import BUDGET_S, SLOW_S
from mtad.mail.address import parse_address
from mtad.message.headers import scan
from mtad.storage.routes import RouteRow

BOB = parse_address("Bob+news@Example.org")
MESSAGE = (
    b"Received: from a\r\nReceived: from b.example\r\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n and help\r\n"
    b"X-Flag: Yes\r\n\r\nbody\r\n"
)


def table(*routes):
    """Each (expression, actions …), or (expression, priority, actions …)."""
    rows = []
    for number, (expression, *actions) in enumerate(routes, 1):
        priority = actions.pop(0) if actions and isinstance(actions[0], int) else 0
        rows.append(RouteRow(number, priority, "", expression, tuple(actions) or ("store()",), 0.0))
    made, faults = RouteTable.of(rows, time.perf_counter)
    assert faults == ()
    return made


def decide(made, recipient=BOB, message=MESSAGE):
    return made.decide(recipient, made.headers(scan(message)))


def numbers(decision):
    return [one.row.number for one in decision.matched]


def matches(expression, recipient=BOB, message=MESSAGE):
    return bool(decide(table((expression,)), recipient, message).matched)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('match_recipient("bob")', True),
        ('match_recipient("news@")', False),
        ('match_recipient(".*@EXAMPLE.org$")', True),
        ('match_recipient("bob@")', False),
        ('match_header("SUBJECT", "Größe and help$")', True),
        ('match_header("subject", "größe")', False),
        ('match_header("subject", "(?i)größe")', True),
        ('match_header("subject", "help")', False),
        ('match_header("received", "from b")', True),
        ('match_header("x-flag", ".*")', True),
        ('match_header("x-none", ".*")', False),
        ('not match_header("x-none", ".*")', True),
        ('match_recipient("bob") and match_header("x-flag", "No")', False),
        ('match_recipient("eve") or match_header("x-flag", "Yes")', True),
        ("catch_all()", True),
        ("not catch_all()", False),
    ],
)
def test_an_expression_is_true_or_not(expression, expected):
    assert matches(expression) is expected


def test_routes_are_looked_at_by_priority_and_then_by_creation():
    every = 'match_recipient(".*")'
    assert numbers(decide(table((every, 5, "store()"), (every, -1, "store()"), (every, 5, "store()")))) == [2, 1, 3]


def test_stop_ends_the_looking_but_not_the_actions_of_its_own_route():
    every = 'match_recipient(".*")'
    decision = decide(table((every, "stop()", 'forward("a@example.net")'), (every, "store()")))
    assert numbers(decision) == [1]
    assert decision.stopped
    assert decision.forwards == (Destination(Kind.ADDRESS, "a@example.net"),)


@pytest.mark.parametrize(("first", "caught"), [('match_recipient("bob")', False), ('match_recipient("eve")', True)])
def test_catch_all_is_true_only_when_no_earlier_route_matched(first, caught):
    decision = decide(table((first,), ("catch_all()",), ('match_recipient("bob")',)))
    assert (2 in numbers(decision)) is caught
    assert 3 in numbers(decision)


def test_captures_of_all_conditions_are_numbered_through():
    expression = 'match_recipient("(?P<user>[^+@]*)(?:\\+(.*))?@") and match_header("subject", "(\\S+)")'
    decision = decide(
        table((expression, r'forward("http://a.example/\1/\2/\3/\g<user>?m=mime, \g<user>@example.net")'))
    )
    assert decision.forwards == (
        Destination(Kind.URL, "http://a.example/Bob/news/Gr%C3%B6%C3%9Fe/Bob?m=mime"),
        Destination(Kind.ADDRESS, "Bob@example.net"),
    )


def test_a_group_of_an_alternative_that_did_not_match_is_empty():
    expression = 'match_recipient("eve(x)") or match_recipient("(bob)")'
    assert decide(table((expression, r'store("http://a.example/\1-\2")'))).keeps == (
        Keep(Destination(Kind.URL, "http://a.example/-Bob")),
    )


def test_a_destination_that_cannot_be_made_is_a_fault_and_the_others_are_made():
    decision = decide(table(('match_header("subject", "(.*)")', r'forward("\1@example.net, a@example.net")')))
    assert decision.forwards == (Destination(Kind.ADDRESS, "a@example.net"),)
    assert [fault.about for fault in decision.faults] == [r"\1@example.net"]


@pytest.mark.parametrize("reference", [r"\1", r"\g<name>", r"\g<0>", r"\g<7>"])
def test_an_action_may_not_take_what_the_expression_does_not_capture(reference):
    with pytest.raises(BadRoute, match="an action takes"):
        compile_route(RouteRow(1, 0, "", "catch_all()", (f'forward("http://a.example/{reference}")',), 0.0))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('match_recipient("bob")', True),
        ('match_recipient("eve")', False),
        ('match_header("x-flag", "No")', True),
        ('not match_header("x-flag", ".*")', True),
        ('match_recipient("eve") and match_header("x-flag", "No")', False),
        ('match_recipient("eve") or match_header("x-flag", "No")', True),
        ('not (match_recipient("bob") or match_header("x-flag", "No"))', False),
        ("catch_all()", True),
    ],
)
def test_what_an_address_alone_may_come_to_is_known_before_the_headers(expression, expected):
    assert table((expression,)).may_take(BOB) is expected


def test_no_route_takes_nothing():
    assert not table().may_take(BOB)
    assert table().first(BOB) is None
    assert decide(table()).matched == ()


def test_the_first_route_without_headers():
    made = table(('match_header("subject", ".*")',), ('match_recipient("bob")',), ("catch_all()",))
    row = made.first(BOB)
    assert row is not None
    assert row.number == 2


@pytest.mark.parametrize("form", ["{}", "not {}", "{} or match_recipient('eve')"])
def test_a_route_whose_pattern_runs_away_does_not_match_and_says_why(form):
    slow = 'match_header("x-slow", "(?:a|aa)+(?!b)$")'
    made = table((form.format(slow),), ("catch_all()",))
    assert made.may_be_slow
    message = scan(b"X-Slow: " + b"a" * 60 + b"b\r\n\r\n")
    decision = made.decide(BOB, made.headers(message))
    assert numbers(decision) == [2]
    assert [(f.about, "took more than" in f.why) for f in decision.faults] == [("(?:a|aa)+(?!b)$", True)]
    assert explain(made, BOB, message, time.perf_counter)[0].verdict is Verdict.FAULT


def test_a_header_is_looked_at_once_for_all_recipients():
    made = table(('match_header("x-slow", "(?:a|aa)+(?!b)$")',))
    headers = made.headers(scan(b"X-Slow: " + b"a" * 60 + b"b\r\n\r\n"))
    decisions = [made.decide(parse_address(f"u{number}@example.org"), headers) for number in range(30)]
    assert not any(decision.cut for decision in decisions)
    assert headers.budget.left_s > BUDGET_S - 3 * SLOW_S
    assert all(decision.faults for decision in decisions)


def test_the_time_of_a_message_is_one_for_all_its_recipients():
    made = table(('match_recipient("(?:a|aa)+(?!b)$")',), ("catch_all()",))
    headers = made.headers(scan(MESSAGE))
    decisions = [made.decide(parse_address("a" * 50 + f"b{number}@example.org"), headers) for number in range(12)]
    assert not decisions[0].cut
    assert decisions[-1].cut
    assert "not tried" in decisions[-1].faults[0].why


def test_a_route_that_can_be_said_without_the_slow_pattern_is_a_decision_when_time_is_up():
    made = table(('match_recipient("bob") or match_recipient("(?:a|aa)+(?!b)$")',))
    headers = made.headers(scan(MESSAGE))
    headers.budget.left_s = 0.0
    assert numbers(made.decide(BOB, headers)) == [1]
    assert not made.decide(BOB, headers).cut
    assert made.decide(parse_address("a@example.org"), headers).cut


def test_a_row_that_cannot_be_used_is_told_and_the_others_are_in_force():
    rows = [RouteRow(1, 0, "", "nonsense", ("stop()",), 0.0), RouteRow(2, 0, "", "catch_all()", ("stop()",), 0.0)]
    made, (fault,) = RouteTable.of(rows, time.perf_counter)
    assert len(made.routes) == 1
    assert fault.route == rows[0].id


def test_a_new_table_keeps_what_was_compiled():
    rows = [RouteRow(n, 0, "", f'match_recipient("u{n}@")', ("stop()",), 0.0) for n in range(1, 4)]
    before, _ = RouteTable.of(rows[:2], time.perf_counter)
    after, _ = RouteTable.of(rows[1:], time.perf_counter, before)
    assert after.routes[0] is before.routes[1]
    assert [route.row.number for route in after.routes] == [2, 3]


def test_headers_without_end_are_bounded():
    made = table(('match_header("x-a", "end")',))
    many = b"X-A: " + b"a" * 15_000 + b"\r\n"
    assert numbers(decide(made, message=many * 4 + b"X-A: end\r\n\r\n")) == [1]
    assert numbers(decide(made, message=many * 8 + b"X-A: end\r\n\r\n")) == []


def test_the_explainer_says_what_each_condition_looked_at_and_why_the_rest_did_not_run():
    made = table(
        ('match_recipient("eve") and match_header("subject", "x")',),
        (
            'match_recipient("(?P<u>[^+@]*)") and not match_header("x-none", ".*")',
            r'forward("http://a.example/\1/mime")',
        ),
        ("catch_all()", "stop()"),
        ('match_header("x-flag", "Yes")', "store()", "stop()"),
        ('match_recipient(".*")',),
    )
    one, two, three, four, five = explain(made, BOB, scan(MESSAGE), time.perf_counter)
    assert one.verdict is Verdict.NO_MATCH
    assert one.why == 'match_recipient("eve") is false: the recipient does not match from its start'
    assert one.conditions[1].looked_at == "Bob+news@example.org"
    assert two.verdict is Verdict.MATCHED
    assert two.captures == (Capture(r"\1", "Bob"), Capture(r"\g<u>", "Bob"))
    assert two.actions == (PlannedAction("forward", "raw-url", "http://a.example/Bob/mime"),)
    assert [(c.depth, c.said) for c in two.conditions] == [(0, True), (1, True), (1, True), (2, False)]
    assert two.conditions[3].note == "the message has no x-none header"
    assert three.why == "a route before this one matched"
    assert four.actions == (PlannedAction("store", "", ""), PlannedAction("stop", "", ""))
    assert (five.verdict, five.why) == (Verdict.NOT_REACHED, f"not looked at: route {four.id} matched and stops")


# The same in the plainest way: every route in turn, every part of it, Python's own `re`.

PATTERNS = ["bob", ".*@example.org", "(.*)news", "help|Yes", "[a-z]+", "^B", "e(v)e", ".*elp$", "x?", "From", "from b"]
PATTERNS += ["(?=b).*ex", "(?i)GR", r"\w+\W", "Größe"]
NAMES = ["subject", "x-flag", "received", "x-none"]
ADDRESSES = ["Bob+news@example.org", "eve@example.org", "help@other.example", "grö@example.org"]


def reference(tree, recipient, headers, before):
    match tree:
        case MatchRecipient(pattern=pattern):
            return re.match(pattern, recipient, re.IGNORECASE) is not None
        case MatchHeader(name=name, pattern=pattern):
            return None if headers is None else any(re.match(pattern, value) for value in headers.get(name, ()))
        case CatchAll():
            return not before
        case Not(part):
            found = reference(part, recipient, headers, before)
            return None if found is None else not found
        case And(parts) | Or(parts):
            decisive = isinstance(tree, Or)
            found = [reference(part, recipient, headers, before) for part in parts]
            return decisive if decisive in found else None if None in found else not decisive


leaves = st.one_of(
    st.sampled_from(PATTERNS).map(lambda pattern: MatchRecipient(0, pattern)),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(PATTERNS)).map(lambda pair: MatchHeader(0, *pair)),
    st.just(CatchAll()),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=5,
)
HEADERS = {"subject": ["Größe and help"], "x-flag": ["Yes"], "received": ["from a", "from b.example"]}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(trees, st.integers(0, 2), st.booleans()), max_size=8),
    st.sampled_from(ADDRESSES),
)
def test_the_engine_says_what_looking_at_every_route_in_turn_says(routes, address):
    made = table(*[(show(tree), priority, "stop()" if stop else "store()") for tree, priority, stop in routes])
    recipient, block = parse_address(address), scan(MESSAGE)
    expected, early, first = [], False, None
    for number, (tree, _, _) in sorted(enumerate(routes, 1), key=lambda one: (one[1][1], one[0])):
        early = early or reference(tree, address, None, False) is not False
        if first is None and reference(tree, address, {}, False):
            first = number
        if (not expected or not routes[expected[-1] - 1][2]) and reference(tree, address, HEADERS, bool(expected)):
            expected.append(number)
    assert numbers(made.decide(recipient, made.headers(block))) == expected
    verdicts = explain(made, recipient, block, time.perf_counter)
    told = [v.id for v in verdicts if v.verdict is Verdict.MATCHED]
    assert told == [one.row.id for one in made.decide(recipient, made.headers(block)).matched]
    assert made.may_take(recipient) is early
    found = made.first(recipient)
    assert (found.number if found else None) == first
