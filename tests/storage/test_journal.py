import sqlite3

import orjson
import pytest

from mtad.mail.event import INTERNAL, EventType
from mtad.mail.ids import floor_at, queue_id
from mtad.mail.options import Options
from mtad.storage import accounts, journal
from mtad.storage.database import migrate
from mtad.storage.journal import MAX_EVERYBODY, EventFilter
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, accept, settled

ALL = EventFilter()


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    accounts.add_domain(connection, "a.example", NOW)
    accounts.add_domain(connection, "c.example", NOW)
    yield connection
    connection.close()


@pytest.fixture
def outgoing(tmp_path):
    return Outgoing(Spool(tmp_path), 1000)


@pytest.fixture
def store(connection, outgoing):
    """Message 1000 to two, one of them done; message 2000 of c.example; one rejected."""
    outgoing.accept(connection, [accept(1000, 2), accept(2000, domain=2)])
    outgoing.settle(connection, [settled(1001, message=1000), settled(2001, State.WAITING, due=NOW + 60)])
    detail = {"reject": {"reason": "generic"}, "about": {"subject": "refused"}, "recipient": "x@b.example"}
    journal.add(connection, [(90_000, int(EventType.REJECTED), 1, None, None, orjson.dumps(detail))])
    return connection


def kinds(events):
    return [(event.type.name, event.recipient) for event in events]


def test_events_come_in_the_order_of_time_with_what_their_message_says(store):
    events = journal.recent(store, ALL, 99)
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert kinds(events) == [
        ("ACCEPTED", "r0@b.example"),
        ("DELIVERED", "r0@b.example"),
        ("ACCEPTED", "r1@b.example"),
        ("ACCEPTED", "r0@b.example"),
        ("FAILED_TEMPORARY", "r0@b.example"),
        ("REJECTED", "x@b.example"),
    ]
    first = events[0]
    assert (first.domain, first.queue_id, first.reverse_path, first.size) == (
        "a.example",
        queue_id(1000),
        "a@a.example",
        len(b"Subject: x\r\n\r\nText\r\n"),
    )


def test_a_rejected_message_tells_of_itself(store):
    [event] = journal.recent(store, EventFilter(types=(EventType.REJECTED,)), 9)
    assert (event.queue_id, event.recipient, event.about, event.domain) == (
        "",
        "x@b.example",
        {"subject": "refused"},
        "a.example",
    )


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (EventFilter(recipient="R1@B.example"), 1),
        (EventFilter(recipient="nobody@b.example"), 0),
        (EventFilter(domain="c.example"), 1),
        (EventFilter(domain="c.example", types=(EventType.ACCEPTED,)), 1),
        (EventFilter(types=(EventType.DELIVERED, EventType.REJECTED)), 2),
        (EventFilter(domain="d.example"), 0),
        (EventFilter(recipient="' OR 1 --"), 0),
    ],
)
def test_a_filter_narrows(store, wanted, count):
    assert len(journal.recent(store, wanted, 99)) == len(journal.after(store, wanted, 0, 99)) == count


def test_what_a_route_posts_or_that_was_rejected_is_found_by_the_recipient_it_came_for(store):
    store.execute(
        "UPDATE recipients SET address = 'https://u:p@App.example/in', orcpt = 'rfc822;Bob@A.example' WHERE id = 1001"
    )
    for wanted, found in (
        ("bob@a.example", [("ACCEPTED", "Bob@A.example"), ("DELIVERED", "Bob@A.example")]),
        ("X@b.example", [("REJECTED", "x@b.example")]),
        ("app.example", []),
        ("r1@b.example", [("ACCEPTED", "r1@b.example")]),
    ):
        assert kinds(journal.recent(store, EventFilter(recipient=wanted), 9)) == found
        assert kinds(journal.after(store, EventFilter(recipient=wanted), 0, 9)) == found
    assert len(journal.recent(store, EventFilter(recipient="bob@a.example"), 1)) == 1


def test_the_last_ones_are_shown_and_none_from_before(store):
    assert kinds(journal.recent(store, ALL, 2)) == [("FAILED_TEMPORARY", "r0@b.example"), ("REJECTED", "x@b.example")]
    late = floor_at(NOW)
    journal.add(store, [(late + 1, int(EventType.REJECTED), 1, None, None, b"{}")])
    assert [event.id for event in journal.recent(store, ALL, 9, since=NOW)] == [late + 1]


def test_following_goes_on_after_the_last_one_seen(store):
    seen, last = [], 0
    while some := journal.after(store, ALL, last, 2):
        seen += some
        last = some[-1].id
    assert kinds(seen) == kinds(journal.recent(store, ALL, 99))


def test_what_is_ours_alone_is_in_the_timeline_and_nowhere_else(store):
    internal = sorted(INTERNAL)
    journal.add(store, [(80_000 + n, int(kind), 1, 1000, 1001, b"{}") for n, kind in enumerate(internal)])
    assert not {event.type for event in journal.recent(store, ALL, 99)} & INTERNAL
    assert not {event.type for event in journal.after(store, ALL, 0, 99)} & INTERNAL
    timeline = journal.timeline(store, 1000)
    assert [event.type for event in timeline][-len(internal) :] == internal
    assert {event.queue_id for event in timeline} == {queue_id(1000)}


def test_events_outlive_their_domain(store):
    accounts.remove_domain(store, "a.example")
    assert {event.domain for event in journal.timeline(store, 1000)} == {""}


def test_new_ids_begin_above_everything_that_has_one(connection, outgoing):
    assert journal.newest_id(connection) == 0
    outgoing.accept(connection, [accept(1000)])
    assert journal.newest_id(connection) == 10_010  # the event
    outgoing.accept(connection, [accept(50_000, 3)])
    connection.execute("DELETE FROM events")
    assert journal.newest_id(connection) == 50_003  # a recipient
    connection.execute("INSERT INTO captured VALUES (70000, 0, 1, '', '[]', '')")
    assert journal.newest_id(connection) == 70_000


def test_accepted_events_name_everybody_and_others_do_not(connection, outgoing):
    outgoing.accept(connection, [accept(1000, 3), accept(2000)])
    outgoing.settle(connection, [settled(1001, message=1000)])
    found = journal.by_ids(connection, [10010, 10030, 20010, 10012, 77])
    everybody = ("r0@b.example", "r1@b.example", "r2@b.example")
    assert {number: event.everybody for number, event in found.items()} == {
        10010: everybody,
        10030: everybody,
        20010: (),
        10012: (),
    }
    assert found[10030].recipient == "r2@b.example"


def test_a_copy_made_for_one_is_told_with_him_alone(connection, outgoing):
    outgoing.accept(connection, [accept(1000, 2)])
    connection.execute("UPDATE recipients SET personal = '{}' WHERE message_id = 1000")
    assert journal.by_ids(connection, [10010])[10010].everybody == ()


def test_in_a_batch_nobody_else_is_named_also_where_nothing_is_stored_of_anybody(connection, outgoing):
    outgoing.accept(connection, [accept(1000, 2)])
    connection.execute("UPDATE messages SET options = ?", (Options(recipient_variables={}).to_json(),))
    assert journal.by_ids(connection, [10010])[10010].everybody == ()


def test_of_very_many_some_are_named(connection, outgoing):
    outgoing.accept(connection, [accept(1000, MAX_EVERYBODY + 50)])
    assert len(journal.by_ids(connection, [10010])[10010].everybody) == MAX_EVERYBODY


def test_the_newest_event_within_the_horizon(connection, outgoing):
    assert journal.newest(connection, 1 << 62) == 0
    outgoing.accept(connection, [accept(1000), accept(2000)])
    assert journal.newest(connection, 20010) == 20010
    assert journal.newest(connection, 20009) == 10010
