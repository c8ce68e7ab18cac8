import os
import sqlite3

import pytest

from mtad.mail.event import EventType
from mtad.mail.ids import floor_at
from mtad.storage import journal, upkeep
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing, Settle, State
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, accept, settled


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def outgoing(tmp_path):
    return Outgoing(Spool(tmp_path), 1000)


@pytest.fixture
def store(connection, outgoing):
    """One delivered, one failed, one waiting, one leased; and one more that waits, whose bytes are in the spool."""
    outgoing.accept(connection, [accept(1000), accept(2000), accept(3000), accept(4000, state=State.LEASED)])
    outgoing.accept(connection, [accept(5000, content=b"x" * 5000)])
    connection.execute("INSERT INTO domains (id, name, created_at) VALUES (1, 'a.example', 1)")
    connection.execute(
        "INSERT INTO webhooks (id, domain_id, name, url, place, paused_why, created_at)"
        " VALUES (1, 1, 'delivered', 'http://a.example', 0, NULL, 1), (2, 1, 'opened', 'http://a.example', 0, 'x', 1)"
    )
    outgoing.settle(connection, [settled(1001), settled(2001, State.FAILED)])
    return connection


def test_a_whole_store_has_no_faults(store):
    assert upkeep.check(store) == upkeep.CheckResult(upkeep.Counts(5, 1, 1, 2, 1), ())
    assert upkeep.queued(store) == 3


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM events WHERE recipient_id = 3001", "1 recipients without an accepted event"),
        (
            "INSERT INTO events (id, type, domain_id, recipient_id) VALUES (1, 1, 1, 3001)",
            "1 recipients with more than one accepted event",
        ),
        (
            "DELETE FROM events WHERE recipient_id = 1001 AND type = 2",
            "1 finished recipients without exactly one terminal event",
        ),
        (
            "INSERT INTO events (id, type, domain_id, recipient_id) VALUES (1, 2, 1, 1001)",
            "1 finished recipients without exactly one terminal event",
        ),
        (
            "UPDATE recipients SET state = 0, due_at = 1, expire_at = 2 WHERE id = 1001",
            "1 queued recipients with a terminal",
        ),
        ("UPDATE recipients SET state = 3 WHERE id = 1001", "1 recipients whose state does not match"),
        ("DELETE FROM bodies WHERE message_id = 4000", "1 queued recipients whose message has no bytes"),
        ("DELETE FROM messages WHERE id = 3000", "1 queued recipients whose message has no bytes"),
        ("UPDATE recipients SET due_at = NULL WHERE id = 3001", "1 waiting recipients without a time"),
        ("DELETE FROM recipients WHERE id = 3001", "1 messages with fewer recipient rows"),
        (
            "INSERT INTO stored (id, key, domain_id, message_id, recipients, sender, stored_at)"
            " VALUES (1, 'k', 1, 1000, '[]', '', 1)",
            "1 stored messages without bytes",
        ),
        ("INSERT INTO bodies VALUES (9, x'00')", "1 bodies that no message needs"),
        ("UPDATE spool_segments SET live = live - 1", "1 spool segments whose count of octets"),
        ("DELETE FROM spool_segments", "1 spool segments whose count of octets"),
        ("INSERT INTO spool_segments VALUES (77, 5)", "1 spool segments whose count of octets"),
        (
            "INSERT INTO outbox (id, lane, event_id, state, attempts) VALUES (1, 1, 7, 0, 0), (2, 2, 7, 0, 0)",
            "1 waiting posts of events that are not there",
        ),
    ],
)
def test_each_fault_is_found(store, damage, fault):
    store.execute(damage)
    assert any(one.startswith(fault) for one in upkeep.check(store).faults)


def test_a_spool_file_that_is_gone_or_cut_is_found(store, outgoing, tmp_path):
    [file] = tmp_path.glob("*.seg")
    assert outgoing.spool_faults(store) == []
    os.truncate(file, 99)
    assert outgoing.spool_faults(store) == [f"spool file {file.name} ends too early"]
    file.unlink()
    assert outgoing.spool_faults(store) == [f"spool file {file.name} is not there"]
    outgoing.settle(store, [settled(5001, spooled=True)])
    assert outgoing.spool_faults(store) == []


def test_only_old_messages_that_are_done_are_removed(connection, outgoing):
    old, new = floor_at(NOW - 100), floor_at(NOW + 100)
    outgoing.accept(connection, [accept(old + 10, 2), accept(old + 100), accept(new)])
    done = [settled(old + 11, message=old + 10), settled(old + 12, message=old + 10), settled(new + 1)]
    outgoing.settle(connection, done)
    assert upkeep.expire_messages(connection, NOW) == 1
    left = [row[0] for row in connection.execute("SELECT id FROM messages ORDER BY id")]
    assert left == [old + 100, new]
    assert connection.execute("SELECT count(*) FROM events WHERE message_id = ?", (old + 10,)).fetchone() == (0,)
    assert upkeep.check(connection).faults == ()


def test_events_are_kept_their_time_though_the_message_was_taken_long_before(connection, outgoing):
    old, done_at = floor_at(NOW - 3 * 86_400) + 10, floor_at(NOW)
    outgoing.accept(connection, [accept(old)])
    event = (done_at + 1, int(EventType.DELIVERED), 1, old, old + 1, b"{}")
    outgoing.settle(connection, [Settle(old + 1, old, State.DELIVERED, event)])
    assert upkeep.expire_messages(connection, NOW - 86_400) == 0
    assert upkeep.check(connection).counts.delivered == 1
    assert upkeep.expire_messages(connection, NOW + 1) == 1
    assert upkeep.check(connection) == upkeep.CheckResult(upkeep.Counts(0, 0, 0, 0, 0), ())


def test_messages_to_many_go_a_few_at_a_time(connection, outgoing, monkeypatch):
    monkeypatch.setattr(upkeep, "_RECIPIENTS", 10)
    first = floor_at(NOW - 100)
    numbers = [first + 100 * n for n in range(5)]
    outgoing.accept(connection, [accept(number, 8, state=State.LEASED) for number in numbers])
    outgoing.settle(connection, [settled(n + 1 + m, message=n) for n in numbers for m in range(8)])
    went = []
    while upkeep.counts(connection).accepted:
        went.append(upkeep.expire_messages(connection, NOW))
        assert upkeep.check(connection).faults == ()
    assert went == [upkeep.BATCH, upkeep.BATCH, 1]  # two, two, one
    assert upkeep.expire_messages(connection, NOW) == 0


def test_a_batch_is_no_larger_than_it_says(connection, outgoing, monkeypatch):
    monkeypatch.setattr(upkeep, "BATCH", 2)
    first = floor_at(NOW - 100)
    outgoing.accept(connection, [accept(first + 100 * n, state=State.LEASED) for n in range(3)])
    outgoing.settle(connection, [settled(first + 100 * n + 1) for n in range(3)])
    for n in range(3):
        journal.add(connection, [(first + 100 * n + 50, int(EventType.REJECTED), 1, None, None, b"{}")])
    assert [upkeep.expire_messages(connection, NOW) for _ in range(3)] == [2, 1, 0]
    assert [upkeep.expire_rejections(connection, NOW) for _ in range(3)] == [2, 1, 0]


def test_old_rejections_go_and_events_of_recipients_stay(store):
    store.execute("INSERT INTO events (id, type, domain_id) VALUES (?, 5, 1)", (floor_at(NOW - 10),))
    store.execute("INSERT INTO events (id, type, domain_id) VALUES (?, 5, 1)", (floor_at(NOW + 10),))
    assert upkeep.expire_rejections(store, NOW) == 1
    assert upkeep.check(store).faults == ()
