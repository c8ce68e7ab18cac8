"""Lookups: the table of the same name: which recipients, messages and events an address, Message-Id or tag names.

Room: storage. May import: mail. Written behind the intake: `gather` reads what was committed since, sorted, and `add`
puts it into the table. What came after `upto` is found by looking at the rows themselves. A row of the table may name
what is gone, or, once in 2^63, something else: readers look at what they find.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from mtad.mail.event import EventType
from mtad.mail.ids import floor_at
from mtad.storage import settings
from mtad.storage.database import insert_rows
from mtad.storage.journal import whom

SPAN_SHIFT = 43  # of ids: 70 minutes; new rows of the table are near each other, and 30 days are 617 places to look
BATCH = 1000  # messages
BATCH_RECIPIENTS = 5000  # unless one message has more
EXPIRE_BATCH = 5000
_UPTO = "lookups-upto"


class Named(StrEnum):
    """What a key is made of, and what its rows are ids of: the store never holds the words, but hashes of them."""

    ADDRESS = "address"  # recipients
    MESSAGE_ID = "message-id"  # messages
    TAG = "tag"  # messages
    ADDRESS_ALONE = "address-alone"  # events that have no recipient row (rejected)
    MESSAGE_ID_ALONE = "message-id-alone"


LookupRow = tuple[int, int, int]  # (span, key, id)


@dataclass(frozen=True, slots=True)
class Gathered:
    """rows: sorted. upto: every message and event with an id up to here is in the table with them. more: there is
    more that is committed.
    """

    rows: Sequence[LookupRow]
    upto: int
    more: bool


def key_of(domain_id: int, named: Named, text: str) -> int:
    """text: any case; a Message-Id without angle brackets."""
    raw = f"{domain_id}\0{named}\0{text.casefold()}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big") >> 1


def upto(connection: sqlite3.Connection) -> int:
    """Everything with an id up to here is in the table."""
    return int(settings.get(connection, _UPTO) or 0)


def gather(connection: sqlite3.Connection, after: int, horizon: int) -> Gathered:
    """What the table needs of what came after `after`. horizon: nothing will be committed up to here any more."""
    connection.execute("BEGIN")  # one snapshot
    try:
        found = connection.execute(_MESSAGES, (after, horizon, BATCH)).fetchall()
        messages = _some(found)
        more = len(found) == BATCH or len(messages) < len(found)
        until = messages[-1][0] if more else horizon
        recipients = connection.execute(_RECIPIENTS, (after, until)).fetchall()
        alone = connection.execute(_ALONE, (after, until)).fetchall()
    finally:
        connection.execute("COMMIT")
    rows = [
        _row(number, domain, Named.ADDRESS, whom(address, orcpt)[0]) for number, domain, address, orcpt in recipients
    ]
    for number, domain, message_id, tags, _ in messages:
        if message_id:
            rows.append(_row(number, domain, Named.MESSAGE_ID, bare(str(message_id))))
        if tags:
            rows += [_row(number, domain, Named.TAG, str(tag)) for tag in _members(tags)]
    for number, domain, address, message_id in alone:
        if address:
            rows.append(_row(number, domain, Named.ADDRESS_ALONE, str(address)))
        if message_id:
            rows.append(_row(number, domain, Named.MESSAGE_ID_ALONE, bare(str(message_id))))
    return Gathered(sorted(set(rows)), until, more)


def _some(messages: list[Any]) -> list[Any]:
    """The first of them, as far as BATCH_RECIPIENTS go; at least one."""
    recipients = 0
    for place, row in enumerate(messages):
        recipients += row[4]
        if recipients > BATCH_RECIPIENTS:
            return messages[: place or 1]
    return messages


def _members(text: Any) -> list[Any]:
    """Of the JSON of an array; none of anything else."""
    found = orjson.loads(text) if isinstance(text, str) and text.startswith("[") else None
    return found if isinstance(found, list) else []


def bare(message_id: str) -> str:
    """Without angle brackets and white space around it."""
    return message_id.strip().removeprefix("<").removesuffix(">").strip()


def _row(number: int, domain_id: int, named: Named, text: str) -> LookupRow:
    return (number >> SPAN_SHIFT, key_of(domain_id, named, text), number)


def add(connection: sqlite3.Connection, gathered: Gathered) -> None:
    """In the writer's transaction."""
    insert_rows(connection, "INSERT OR IGNORE INTO lookups (span, key, id) VALUES ", 3, gathered.rows)
    settings.put(connection, _UPTO, str(gathered.upto).encode())


def expire(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to EXPIRE_BATCH rows of spans that ended by `before` (epoch seconds) that name nothing any more. How
    many went.
    """
    return connection.execute(_EXPIRE, (floor_at(before) >> SPAN_SHIFT, EXPIRE_BATCH)).rowcount


def find(connection: sqlite3.Connection, keys: Iterable[int], below: int, most: int) -> list[int]:
    """Ids under any of the keys, each below `below`, in no order; at most `most` of them."""
    first, last = connection.execute(_SPANS).fetchone()
    if first is None:
        return []
    spans = range(first, min(last, below >> SPAN_SHIFT) + 1)
    values = (orjson.dumps(list(keys)).decode(), orjson.dumps(list(spans)).decode(), below, most)
    return [number for (number,) in connection.execute(_FIND, values)]


def _json(column: str, path: str) -> str:
    """A member of a JSON column; NULL where it holds none. Constants of this module only."""
    text = f"CAST({column} AS TEXT)"
    return f"CASE WHEN json_valid({text}) THEN json_extract({text}, '{path}') END"


_MESSAGES = f"""
    SELECT id, domain_id, {_json("about", "$.message-id")}, {_json("options", "$.tags")}, recipients FROM messages
    WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"""
# A message's recipients have the ids that follow its own.
_RECIPIENTS = """
    SELECT id, domain_id, address, orcpt FROM recipients
    WHERE id > ?1 AND id <= ?2 + 32767 AND message_id > ?1 AND message_id <= ?2"""
_ALONE = f"""
    SELECT id, domain_id, {_json("detail", "$.recipient")},
           coalesce({_json("detail", "$.about.message-id")}, {_json("detail", "$.message-id")})
    FROM events WHERE id > ? AND id <= ? AND recipient_id IS NULL
        AND type IN ({int(EventType.REJECTED)}, {int(EventType.STORED)})"""
_EXPIRE = """
    DELETE FROM lookups WHERE (span, key, id) IN (
        SELECT span, key, id FROM lookups AS l WHERE span < ?
            AND NOT EXISTS (SELECT 1 FROM messages WHERE id = l.id)
            AND NOT EXISTS (SELECT 1 FROM recipients WHERE id = l.id)
            AND NOT EXISTS (SELECT 1 FROM events WHERE id = l.id) LIMIT ?)"""
_SPANS = "SELECT (SELECT min(span) FROM lookups), (SELECT max(span) FROM lookups)"  # two, so that each is one look
_FIND = """
    SELECT l.id FROM json_each(?1) AS k CROSS JOIN json_each(?2) AS s
    CROSS JOIN lookups AS l ON l.span = s.value AND l.key = k.value AND l.id < ?3 LIMIT ?4"""
