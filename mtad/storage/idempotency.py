"""Idempotency: the table of answers to sends that named a key, written in the commit that took the message.

Room: storage.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

BATCH = 500


@dataclass(frozen=True, slots=True)
class Answered:
    """digest: of the caller's key. message_id: row of messages. answer: the body that was sent."""

    domain_id: int
    digest: bytes
    message_id: int
    answer: bytes
    created_at: float


def add(connection: sqlite3.Connection, items: Sequence[Answered]) -> None:
    """A lane, after the one that takes messages: an answer is kept only where its message is in the store."""
    for one in items:
        connection.execute(
            "INSERT OR REPLACE INTO idempotency (domain_id, digest, message_id, answer, created_at)"
            " SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM messages WHERE id = ?3)",
            (one.domain_id, one.digest, one.message_id, one.answer, one.created_at),
        )


def find(connection: sqlite3.Connection, domain_id: int, digest: bytes, since: float) -> bytes | None:
    """The answer of a send not older than `since`."""
    row = connection.execute(
        "SELECT answer FROM idempotency WHERE domain_id = ? AND digest = ? AND created_at >= ?",
        (domain_id, digest, since),
    ).fetchone()
    return bytes(row[0]) if row else None


def expire_idempotency(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to BATCH answers older than `before`. How many went."""
    return connection.execute(
        "DELETE FROM idempotency WHERE (domain_id, digest) IN"
        " (SELECT domain_id, digest FROM idempotency WHERE created_at < ? LIMIT ?)",
        (before, BATCH),
    ).rowcount
