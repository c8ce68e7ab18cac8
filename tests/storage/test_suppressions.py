import sqlite3

import pytest

from mtad.mail.suppression import Suppressed, Why
from mtad.storage import suppressions
from mtad.storage.database import migrate
from mtad.storage.suppressions import Table

NOW = 1_700_000_000.0
BOB = "bob@b.example"


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def bounce(connection, address=BOB, *, domain=1, rule="", at=NOW, error="550 no such user"):
    suppressions.add_bounces(connection, [(domain, address, "550", error, rule, at)])


def leave(connection, tag="*", address=BOB):
    suppressions.add_unsubscribes(connection, [(1, address, tag, NOW)])


def test_nobody_is_suppressed_at_first(connection):
    assert suppressions.find(connection, 1, BOB, ()) is None


def test_a_bounce_comes_before_an_unsubscribe_before_a_complaint(connection):
    suppressions.add_complaints(connection, [(1, BOB, NOW)])
    assert suppressions.find(connection, 1, BOB, ()) == Suppressed(Why.COMPLAINT)
    leave(connection)
    assert suppressions.find(connection, 1, BOB, ()) == Suppressed(Why.UNSUBSCRIBE)
    bounce(connection)
    assert suppressions.find(connection, 1, BOB, ()) == Suppressed(Why.BOUNCE, "550 no such user")
    assert suppressions.find(connection, 2, BOB, ()) is None


def test_a_left_tag_stops_only_messages_that_carry_it(connection):
    leave(connection, "news")
    assert suppressions.find(connection, 1, BOB, ()) is None
    assert suppressions.find(connection, 1, BOB, ("sale",)) is None
    assert suppressions.find(connection, 1, BOB, ("Sale", "NEWS")) == Suppressed(Why.UNSUBSCRIBE, "news")
    leave(connection)
    assert suppressions.find(connection, 1, BOB, ("news",)) == Suppressed(Why.UNSUBSCRIBE)


def test_adding_again_replaces_and_a_complaint_counts(connection):
    bounce(connection, rule="user-unknown")
    bounce(connection, error="full")
    found = suppressions.get(connection, Table.BOUNCES, 1, BOB)
    assert (found.words, found.rule) == ("full", "")
    for _ in range(3):
        suppressions.add_complaints(connection, [(1, BOB, NOW)])
    assert suppressions.get(connection, Table.COMPLAINTS, 1, BOB).count == 3
    assert suppressions.count(connection, Table.BOUNCES, 1) == 1


def test_a_person_may_enter_a_bounce_of_an_allowlisted_address(connection):
    suppressions.allow(connection, [(1, "@b.example", "ours", NOW)])
    bounce(connection)
    assert suppressions.get(connection, Table.BOUNCES, 1, BOB) is not None
    assert suppressions.get(connection, Table.ALLOWLIST, 1, "@b.example").words == "ours"


@pytest.mark.parametrize("table", list(Table))
def test_pages_go_forward_and_back_through_all_entries(connection, table):
    names = [f"u{n:02}@b.example" for n in range(25)]
    for name in names:
        bounce(connection, name)
        leave(connection, "*", name)
        leave(connection, "news", name)
        suppressions.add_complaints(connection, [(1, name, NOW)])
        suppressions.allow(connection, [(1, name, "", NOW)])
    bounce(connection, "other@b.example", domain=2)
    seen, beyond = [], None
    while some := suppressions.page(connection, table, 1, 10, beyond=beyond):
        seen += [entry.address for entry in some]
        beyond = some[-1].address
    assert seen == names
    before = suppressions.page(connection, table, 1, 10, beyond=names[20], backwards=True)
    assert [entry.address for entry in before] == names[10:20]
    last = suppressions.page(connection, table, 1, 3, backwards=True)
    assert [entry.address for entry in last] == names[22:]
    assert [entry.address for entry in suppressions.page(connection, table, 1, 5, skip=20)] == names[20:]
    assert [entry.address for entry in suppressions.page(connection, table, 1, 50, term="u1")] == names[10:20]
    assert suppressions.count(connection, table, 1) == 25


def test_an_unsubscribed_address_is_one_entry_with_its_tags(connection):
    leave(connection, "sale")
    leave(connection, "news")
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, BOB).tags == ("news", "sale")
    assert suppressions.remove(connection, Table.UNSUBSCRIBES, 1, BOB, "NEWS")
    assert not suppressions.remove(connection, Table.UNSUBSCRIBES, 1, BOB, "news")
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, BOB).tags == ("sale",)
    assert suppressions.remove(connection, Table.UNSUBSCRIBES, 1, BOB)
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, BOB) is None


@pytest.mark.parametrize("table", list(Table))
def test_a_table_is_cleared_in_batches_and_of_one_domain_only(connection, table):
    for domain in (1, 2):
        for n in range(10):
            address = f"u{n}@b.example"
            bounce(connection, address, domain=domain)
            suppressions.add_unsubscribes(connection, [(domain, address, "*", NOW)])
            suppressions.add_complaints(connection, [(domain, address, NOW)])
            suppressions.allow(connection, [(domain, address, "", NOW)])
    went = []
    while number := suppressions.clear(connection, table, 1, limit=4):
        went.append(number)
    assert went == [4, 4, 2]
    assert suppressions.count(connection, table, 2) == 10


def test_undo_takes_away_what_a_rule_caused_in_that_time(connection):
    bounce(connection, "early@b.example", rule="r", at=NOW - 1)
    bounce(connection, "first@b.example", rule="r", at=NOW)
    bounce(connection, "last@b.example", rule="r", at=NOW + 59)
    bounce(connection, "late@b.example", rule="r", at=NOW + 60)
    bounce(connection, "other@b.example", rule="q", at=NOW)
    bounce(connection, "person@b.example", at=NOW)
    bounce(connection, "first@b.example", rule="r", at=NOW, domain=2)
    between = (NOW, NOW + 60)
    assert suppressions.count_undo(connection, "r", *between, None) == 3
    assert suppressions.count_undo(connection, "r", *between, 1) == 2
    assert suppressions.count_undo(connection, "", *between, None) == 0
    assert suppressions.undo(connection, "", *between, None) == 0
    assert suppressions.undo(connection, "r", *between, 1, limit=1) == 1
    assert suppressions.undo(connection, "r", *between, 1) == 1
    left = {entry.address for entry in suppressions.page(connection, Table.BOUNCES, 1, 10)}
    assert left == {"early@b.example", "late@b.example", "other@b.example", "person@b.example"}
    assert suppressions.count(connection, Table.BOUNCES, 2) == 1


def test_a_table_is_read_whole_in_pieces(connection):
    wanted = []
    for domain in (1, 2, 3):
        for n in range(5):
            leave_row = (domain, f"u{n}@b.example", "*", NOW)
            suppressions.add_unsubscribes(connection, [leave_row, (*leave_row[:2], "news", NOW)])
            wanted.append((domain, f"u{n}@b.example"))
    seen, last = [], (-1, "")
    while some := suppressions.after(connection, Table.UNSUBSCRIBES, *last, 4):
        seen += some
        last = some[-1]
    assert seen == wanted
    assert suppressions.rows(connection) == 30
