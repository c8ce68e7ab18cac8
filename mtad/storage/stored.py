"""Stored: the table `stored`: mail from the world that a route keeps for some days.

Room: storage. May import: mail. Rows are made by record.py, in the transaction that accepts the message.
"""

import sqlite3
from dataclasses import dataclass

import orjson

from mtad.mail.ids import floor_at
from mtad.storage.outgoing import Outgoing

BATCH = 500


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that was kept. sender: "" the null path. size: octets. about: JSON, as events tell of it."""

    id: int
    key: str
    domain_id: int
    domain: str
    message_id: int
    recipients: tuple[str, ...]
    sender: str
    stored_at: float
    size: int = 0
    about: bytes = b"{}"


def get(connection: sqlite3.Connection, key: str, domain_id: int | None = None) -> Stored | None:
    """domain_id None: of any domain."""
    row = connection.execute(f"{_SELECT} WHERE s.key = ?1 AND (?2 IS NULL OR s.domain_id = ?2)", (key, domain_id))
    found = row.fetchone()
    return _stored(found) if found else None


def newest(connection: sqlite3.Connection, limit: int, domain_id: int | None = None) -> list[Stored]:
    rows = connection.execute(
        f"{_SELECT} WHERE (?1 IS NULL OR s.domain_id = ?1) ORDER BY s.id DESC LIMIT ?2", (domain_id, limit)
    )
    return [_stored(row) for row in rows]


def content(connection: sqlite3.Connection, outgoing: Outgoing, stored: Stored) -> bytes | None:
    """The message as it came in, with the fields we added."""
    messages = outgoing.messages(connection, [stored.message_id], 1 << 62)
    message = messages.get(stored.message_id)
    return message.content if message else None


def remove(connection: sqlite3.Connection, outgoing: Outgoing, key: str) -> bool:
    """False: there was none."""
    row = connection.execute("DELETE FROM stored WHERE key = ? RETURNING message_id", (key,)).fetchone()
    if row is None:
        return False
    outgoing.drop_contents(connection, [row[0]])
    return True


def expire(connection: sqlite3.Connection, outgoing: Outgoing, before: float) -> int:
    """Remove up to BATCH that were stored before `before`. How many went."""
    rows = connection.execute(
        "DELETE FROM stored WHERE id IN (SELECT id FROM stored WHERE id < ? ORDER BY id LIMIT ?) RETURNING message_id",
        (floor_at(before), BATCH),
    ).fetchall()
    outgoing.drop_contents(connection, [row[0] for row in rows])
    return len(rows)


def _stored(row: tuple[int, str, int, str, int, str, str, float, int, bytes]) -> Stored:
    return Stored(*row[:5], tuple(orjson.loads(row[5])), *row[6:])


_SELECT = """
    SELECT s.id, s.key, s.domain_id, ifnull(d.name, ''), s.message_id, s.recipients, s.sender, s.stored_at,
           ifnull(m.size, 0), ifnull(m.about, '{}')
    FROM stored AS s LEFT JOIN domains AS d ON d.id = s.domain_id LEFT JOIN messages AS m ON m.id = s.message_id"""
