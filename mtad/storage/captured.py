"""Captured: the table of messages that `mtad dev` kept instead of sending.

Room: storage. May import: mail.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

# (id, captured_at, message_id, reverse_path, recipients as JSON, content)
CapturedRow = tuple[int, float, int, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Captured:
    """content: as it would have gone over the wire, not dot-stuffed."""

    id: int
    captured_at: float
    message_id: int
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes


def add(connection: sqlite3.Connection, rows: Sequence[CapturedRow]) -> None:
    """A lane's apply."""
    connection.executemany("INSERT INTO captured VALUES (?, ?, ?, ?, ?, ?)", rows)


def newest(connection: sqlite3.Connection, limit: int, recipient: str = "") -> list[Captured]:
    """The last ones first, those for `recipient` when one is given; content cut to its first 16 KiB."""
    rows = connection.execute(
        "SELECT id, captured_at, message_id, reverse_path, recipients, substr(content, 1, 16384) FROM captured"
        " WHERE ?1 = '' OR EXISTS (SELECT 1 FROM json_each(recipients) WHERE lower(value) = lower(?1))"
        " ORDER BY id DESC LIMIT ?2",
        (recipient, limit),
    )
    return [_captured(row) for row in rows]


def get(connection: sqlite3.Connection, number: int) -> Captured | None:
    """By its own id, or by the id of the message it is a copy of."""
    row = connection.execute(
        "SELECT id, captured_at, message_id, reverse_path, recipients, content FROM captured"
        " WHERE id = ?1 OR message_id = ?1 ORDER BY id = ?1 DESC, id DESC LIMIT 1",
        (number,),
    ).fetchone()
    return _captured(row) if row else None


def clear(connection: sqlite3.Connection) -> int:
    """How many there were."""
    return connection.execute("DELETE FROM captured").rowcount


def _captured(row: CapturedRow) -> Captured:
    return Captured(row[0], row[1], row[2], row[3], tuple(json.loads(row[4])), row[5])
