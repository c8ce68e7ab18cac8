"""Upkeep: what keeps the store small and proves it whole: retention in small batches, `mtad check`.

Room: storage. May import: mail.
"""

import sqlite3
from dataclasses import dataclass

from mtad.mail.ids import floor_at

BATCH = 500
_RECIPIENTS = 5000  # of messages removed in one transaction: mail must not wait for it


def expire_rejections(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to BATCH events older than `before` that belong to no recipient. How many went."""
    return connection.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < ? AND recipient_id IS NULL"
        " ORDER BY id LIMIT ?)",
        (floor_at(before), BATCH),
    ).rowcount


def expire_messages(connection: sqlite3.Connection, before: float) -> int:
    """Remove messages older than `before` whose recipients are all done, with all that tells of them.

    One that was scheduled far ahead stays as long as its last event is not that old. BATCH or more: there may be more.
    """
    rows = connection.execute(
        "SELECT m.id, m.recipients FROM messages AS m WHERE m.id < ?1"
        " AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.id > m.id AND r.id <= m.id + m.recipients"
        "                 AND r.state < 2)"
        " AND NOT EXISTS (SELECT 1 FROM events AS e"
        "                 WHERE e.recipient_id > m.id AND e.recipient_id <= m.id + m.recipients AND e.id >= ?1)"
        " ORDER BY m.id LIMIT ?2",
        (floor_at(before), BATCH),
    ).fetchall()
    left = _RECIPIENTS
    for number, recipients in rows:
        if left <= 0:
            return BATCH
        left -= recipients
        span = (number, number + recipients)
        connection.execute("DELETE FROM events WHERE recipient_id > ? AND recipient_id <= ?", span)
        connection.execute("DELETE FROM recipients WHERE id > ? AND id <= ?", span)
        connection.execute("DELETE FROM messages WHERE id = ?", (number,))
    return len(rows)


def expire_captured(connection: sqlite3.Connection, before: float) -> int:
    return connection.execute(
        "DELETE FROM captured WHERE id IN (SELECT id FROM captured WHERE captured_at < ? ORDER BY id LIMIT ?)",
        (before, BATCH),
    ).rowcount


@dataclass(frozen=True, slots=True)
class Counts:
    """accepted: recipients ever taken and still in the store. queued = waiting + leased."""

    accepted: int
    delivered: int
    failed: int
    waiting: int
    leased: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """faults: one sentence each; none means the store is whole."""

    counts: Counts
    faults: tuple[str, ...]


_FAULTS = (
    (
        "recipients without an accepted event",
        "SELECT count(*) FROM recipients AS r WHERE NOT EXISTS"
        " (SELECT 1 FROM events AS e WHERE e.recipient_id = r.id AND e.type = 1)",
    ),
    (
        "recipients with more than one accepted event",
        "SELECT count(*) FROM (SELECT 1 FROM events WHERE type = 1 GROUP BY recipient_id HAVING count(*) > 1)",
    ),
    (
        "finished recipients without exactly one terminal event",
        "SELECT count(*) FROM recipients AS r WHERE r.state >= 2 AND"
        " (SELECT count(*) FROM events AS e WHERE e.recipient_id = r.id AND e.type IN (2, 4, 12, 14)) <> 1",
    ),
    (
        "queued recipients with a terminal event",
        "SELECT count(*) FROM recipients AS r WHERE r.state < 2 AND EXISTS"
        " (SELECT 1 FROM events AS e WHERE e.recipient_id = r.id AND e.type IN (2, 4, 12, 14))",
    ),
    (
        "recipients whose state does not match their terminal event",
        "SELECT count(*) FROM recipients AS r JOIN events AS e ON e.recipient_id = r.id"
        " WHERE (e.type IN (2, 12, 14) AND r.state <> 2) OR (e.type = 4 AND r.state <> 3)",
    ),
    (
        "queued recipients whose message has no bytes",
        "SELECT count(*) FROM recipients AS r LEFT JOIN messages AS m ON m.id = r.message_id"
        " LEFT JOIN bodies AS b ON b.message_id = r.message_id"
        " WHERE r.state < 2 AND (m.id IS NULL OR (m.segment IS NULL AND b.message_id IS NULL))",
    ),
    (
        "waiting recipients without a time to look at them",
        "SELECT count(*) FROM recipients WHERE state = 0 AND (due_at IS NULL OR expire_at IS NULL)",
    ),
    (
        "messages with fewer recipient rows than they were accepted for",
        "SELECT count(*) FROM messages AS m WHERE m.recipients <>"
        " (SELECT count(*) FROM recipients AS r WHERE r.id > m.id AND r.id <= m.id + m.recipients)",
    ),
    (
        "stored messages without bytes",
        "SELECT count(*) FROM stored AS s LEFT JOIN messages AS m ON m.id = s.message_id"
        " LEFT JOIN bodies AS b ON b.message_id = s.message_id"
        " WHERE m.segment IS NULL AND b.message_id IS NULL",
    ),
    (
        "bodies that no message needs",
        "SELECT count(*) FROM bodies AS b WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id = b.message_id)",
    ),
    (
        "spool segments whose count of octets is not that of the messages in them",
        "SELECT count(*) FROM (SELECT sum(octets) AS left_over FROM"
        "  (SELECT segment, size AS octets FROM messages WHERE segment IS NOT NULL"
        "   UNION ALL SELECT segment, size FROM expansions WHERE segment IS NOT NULL"
        "   UNION ALL SELECT segment, -live FROM spool_segments) GROUP BY segment) WHERE left_over <> 0",
    ),
    (
        "waiting posts of events that are not there",
        # Those of a paused webhook may outlive their events.
        "SELECT count(*) FROM outbox AS o JOIN webhooks AS w ON w.id = o.lane WHERE o.state = 0"
        " AND w.paused_why IS NULL AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.id = o.event_id)",
    ),
)


def counts(connection: sqlite3.Connection) -> Counts:
    """In one snapshot."""
    [accepted, delivered, failed, waiting, leased] = connection.execute(
        "SELECT count(*), ifnull(sum(state = 2), 0), ifnull(sum(state = 3), 0), ifnull(sum(state = 0), 0),"
        " ifnull(sum(state = 1), 0) FROM recipients"
    ).fetchone()
    return Counts(accepted, delivered, failed, waiting, leased)


def queued(connection: sqlite3.Connection) -> int:
    """Recipients not done: from the indexes, quick at any size of the journal."""
    [number] = connection.execute(
        "SELECT (SELECT count(*) FROM recipients WHERE state = 0) + (SELECT count(*) FROM recipients WHERE state = 1)"
    ).fetchone()
    return int(number)


def check(connection: sqlite3.Connection) -> CheckResult:
    """SQLite's own integrity, and that accepted = terminal + queued for every recipient; safe on a live store."""
    connection.execute("BEGIN")  # one snapshot for all questions
    try:
        faults = []
        for [text] in connection.execute("PRAGMA integrity_check(20)"):
            if text != "ok":
                faults.append(f"sqlite: {text}")
        for name, question in _FAULTS:
            [number] = connection.execute(question).fetchone()
            if number:
                faults.append(f"{number} {name}")
        found = counts(connection)
    finally:
        connection.execute("COMMIT")
    if found.accepted != found.delivered + found.failed + found.waiting + found.leased:
        faults.append("accepted is not terminal + queued")
    return CheckResult(found, tuple(faults))
