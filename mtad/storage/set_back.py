"""Set back: the clock was, so what was to be done soon would be done hours later: it is made due now.

Room: storage. May import: mail. What somebody scheduled for a time of day keeps it.
"""

import sqlite3

BATCH = 5000

_RECIPIENTS = """
    UPDATE recipients SET due_at = ?1 WHERE id IN (
        SELECT r.id FROM recipients AS r WHERE r.state = 0 AND r.due_at > ?1 AND (r.attempts > 0
            OR NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.id = r.message_id AND m.deliver_at > ?1))
        LIMIT ?2)"""
_POSTS = """
    UPDATE outbox SET due_at = ?1 WHERE id IN (SELECT id FROM outbox WHERE state = 0 AND due_at > ?1 LIMIT ?2)"""


def recipients(connection: sqlite3.Connection, now: float) -> int:
    """Those that wait for a try, up to BATCH. How many."""
    return connection.execute(_RECIPIENTS, (now, BATCH)).rowcount


def posts(connection: sqlite3.Connection, now: float) -> int:
    """Posts of webhooks that wait, up to BATCH. How many."""
    return connection.execute(_POSTS, (now, BATCH)).rowcount
