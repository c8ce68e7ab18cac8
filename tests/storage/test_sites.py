import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.storage import sites
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.sites import UNRESOLVED, site_id
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, accept

ONE, TWO = site_id("mx.one.example"), site_id("mx.two.example")


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    sites.ensure(connection, [(ONE, "mx.one.example"), (TWO, "mx.two.example")])
    yield connection
    connection.close()


@pytest.fixture
def outgoing(tmp_path):
    return Outgoing(Spool(tmp_path), 1000)


def due(connection, number=ONE):
    return sites.get(connection, number).next_due


@given(st.text())
def test_a_key_has_one_number_that_sqlite_takes(key):
    number = site_id(key)
    assert number == site_id(key)
    assert 0 <= number < 1 << 63
    assert (number == UNRESOLVED) == (key == "?")


def test_a_site_is_made_once_and_keeps_what_is_known_of_it(connection):
    sites.save_paces(connection, [(ONE, '{"192.0.2.1": "state"}')])
    sites.suspend(connection, ONE, "mx.one.example", NOW, "their wish")
    sites.ensure(connection, [(ONE, "mx.one.example")])
    row = sites.find(connection, "mx.one.example")
    assert (row.id, row.paces, row.suspended_until) == (ONE, {"192.0.2.1": "state"}, NOW)
    assert row.suspended_why == "their wish"
    assert {one.id for one in sites.of_ids(connection, [TWO, 5, ONE])} == {ONE, TWO}
    assert sites.get(connection, 5) is None


def test_a_suspension_of_a_site_never_heard_of_is_kept_and_ended(connection):
    new = site_id("mx.new.example")
    sites.suspend(connection, new, "mx.new.example", None, "maintenance")
    assert sites.get(connection, new).suspended_why == "maintenance"
    sites.suspend(connection, new, "mx.new.example", None, None)
    row = sites.get(connection, new)
    assert (row.suspended_why, row.suspended_until) == (None, None)


def test_the_longest_due_come_first_and_the_first_of_all_is_known(connection):
    assert sites.first_due(connection) is None
    sites.sooner(connection, [(ONE, NOW + 60), (TWO, NOW)])
    assert [row.id for row in sites.due(connection, NOW + 60, 9)] == [TWO, ONE]
    assert [row.id for row in sites.due(connection, NOW + 60, 1)] == [TWO]
    assert [row.id for row in sites.due(connection, NOW + 59, 9)] == [TWO]
    assert sites.first_due(connection) == NOW
    sites.sooner(connection, [(TWO, NOW + 5)])  # later than what is planned
    assert due(connection, TWO) == NOW
    sites.take_in_hand(connection, [TWO])
    assert (due(connection, TWO), sites.first_due(connection)) == (None, NOW + 60)


def test_at_start_every_site_with_something_waiting_is_looked_at_and_no_other(connection, outgoing):
    sites.sooner(connection, [(TWO, NOW)])
    outgoing.accept(
        connection,
        [accept(1000, site=ONE, due=NOW + 99), accept(2000, site=TWO, state=State.LEASED), accept(3000, site=0)],
    )
    sites.rebuild_due(connection)
    assert (due(connection), due(connection, TWO), due(connection, UNRESOLVED)) == (0, None, 0)


def test_sites_in_hand_are_left_alone_when_rows_become_due(connection, outgoing):
    outgoing.accept(connection, [accept(1000, site=ONE), accept(2000, site=TWO)])
    sites.take_in_hand(connection, [ONE, TWO])
    sites.rebuild_due_except(connection, [ONE])
    assert (due(connection), due(connection, TWO)) == (None, 0)


@pytest.mark.parametrize(
    ("not_before", "paused", "expected"),
    [
        (None, [], NOW + 100),
        (NOW + 50, [], NOW + 100),
        (NOW + 500, [], NOW + 500),
        (None, [1], NOW + 200),  # domain 1 must wait, domain 2 need not
        (None, [1, 2], NOW + 900),
        (NOW + 950, [1, 2], NOW + 950),
    ],
)
def test_a_site_let_go_says_when_to_look_again(connection, outgoing, not_before, paused, expected):
    for number, at in ((1000, 100), (2000, 300)):
        outgoing.accept(connection, [accept(number, 3, site=ONE, due=NOW + at)])
    outgoing.accept(connection, [accept(3000, site=ONE, domain=2, due=NOW + 200)])
    sites.let_go(connection, [(ONE, "", not_before), (TWO, '{"": "x"}', not_before)], paused, NOW + 900)
    assert due(connection) == expected
    assert (due(connection, TWO), sites.get(connection, TWO).paces) == (None, {"": "x"})


def test_leased_and_done_recipients_are_no_reason_to_look(connection, outgoing):
    outgoing.accept(connection, [accept(1000, site=ONE, state=State.LEASED)])
    sites.let_go(connection, [(ONE, "", None)], [], NOW)
    assert due(connection) is None


def test_letting_go_costs_the_same_however_many_wait(connection, outgoing):
    def steps(number):
        count = 0

        def tick():
            nonlocal count
            count += 1

        connection.set_progress_handler(tick, 1)
        sites.let_go(connection, [(number, "", None)], [], NOW)
        connection.set_progress_handler(None, 1)
        return count

    outgoing.accept(connection, [accept(1_000_000, 2, site=ONE), accept(2_000_000, 20_000, site=TWO)])
    assert steps(TWO) < 2 * steps(ONE)


def test_the_summary_lists_what_waits_is_under_way_or_is_suspended_most_first(connection, outgoing):
    outgoing.accept(
        connection,
        [
            accept(1000, 1, site=ONE),
            accept(2000, 3, site=TWO, due=NOW + 5),
            accept(3000, 2, site=TWO, state=State.LEASED),
        ],
    )
    sites.suspend(connection, site_id("quiet"), "quiet", None, "as asked")
    sites.ensure(connection, [(site_id("idle"), "idle")])
    found = [(one.row.key, one.waiting, one.leased, one.first_due) for one in sites.summaries(connection, 9)]
    assert found == [
        ("mx.two.example", 3, 2, NOW + 5),
        ("mx.one.example", 1, 0, NOW),
        ("quiet", 0, 0, None),
    ]
    assert len(sites.summaries(connection, 1)) == 1
    assert json.dumps(sites.summaries(connection, 1)[0].row.paces) == "{}"
