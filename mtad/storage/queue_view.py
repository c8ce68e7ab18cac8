"""Queue view: questions about the queue that people ask: what waits, of which message, for which site.

Room: storage. May import: mail. Reads only. Lists come from the partial indexes of what is open, so they cost nothing
for the messages that are done.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mtad.storage.outgoing import State
from mtad.storage.sites import site_id

MAX_LIST = 10_000  # rows one question may ask for


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A recipient. domain, domain_id: of ours, that sends to it; "" when it was removed.

    unknown: attempts whose outcome we never learnt. due_at, expire_at: None once it is done, or under way.
    """

    id: int
    message_id: int
    domain_id: int
    domain: str
    site_id: int
    site_key: str
    address: str
    state: State
    attempts: int
    unknown: int
    due_at: float | None
    expire_at: float | None
    last_reply: str | None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """about: what queue.submit wrote of it: headers, login, peer."""

    id: int
    domain: str
    reverse_path: str
    size: int
    recipients: int
    deliver_at: float | None
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """ "" does not narrow. site: a key. domain: of ours. recipient: an address, or "@domain" for all at one domain."""

    site: str = ""
    domain: str = ""
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """Recipients that are not done; spool_octets: of large bodies still needed."""

    waiting: int
    leased: int
    spool_octets: int


_COLUMNS = """
    r.id, r.message_id, r.domain_id, ifnull(d.name, ''), r.site_id, ifnull(s.key, '?'), r.address, r.state, r.attempts,
    r.unknown, r.due_at, r.expire_at, r.last_reply
"""
_JOINED = "LEFT JOIN domains AS d ON d.id = r.domain_id LEFT JOIN sites AS s ON s.id = r.site_id"
_NARROWED = """
    (?1 IS NULL OR site_id = ?1) AND (?2 IS NULL OR domain_id = ?2)
    AND (?3 = '' OR lower(address) = ?3) AND (?4 = '' OR substr(lower(address), -length(?4)) = ?4)
"""
# First the ids, from the index alone; the rows themselves only of those that are shown.
_LIST = f"""
    SELECT {_COLUMNS} FROM (
        SELECT * FROM (SELECT id, 0 AS due FROM recipients WHERE state = 1 AND {_NARROWED} LIMIT ?5)
        UNION ALL
        SELECT * FROM (SELECT id, due_at AS due FROM recipients WHERE state = 0 AND {_NARROWED}
                       ORDER BY due_at, id LIMIT ?5)
    ) AS open JOIN recipients AS r ON r.id = open.id {_JOINED}
    ORDER BY open.due, r.id LIMIT ?5
"""
_OF_MESSAGE = f"""
    SELECT {_COLUMNS} FROM recipients AS r {_JOINED}
    WHERE r.id > ?1 AND r.id <= ?1 + ?2 AND r.message_id = ?1 ORDER BY r.state >= 2, r.id LIMIT ?3
"""
_MESSAGE = """
    SELECT m.id, ifnull(d.name, ''), m.reverse_path, m.size, m.recipients, m.deliver_at, m.about
    FROM messages AS m LEFT JOIN domains AS d ON d.id = m.domain_id
    WHERE m.id = ?1 OR m.id = (SELECT message_id FROM recipients WHERE id = ?1)
"""
_KNOWN = """
    SELECT value FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM messages WHERE id = value)
        OR EXISTS (SELECT 1 FROM recipients WHERE id = value)
"""


def _row(row: tuple[Any, ...]) -> QueueRow:
    values = list(row)
    values[7] = State(row[7])
    return QueueRow(*values)


def waiting(connection: sqlite3.Connection, wanted: QueueFilter, limit: int) -> list[QueueRow]:
    """Up to `limit` recipients that are not done: those under way, then those that wait, the soonest due first."""
    domain: int | None = None
    if wanted.domain:
        found = connection.execute("SELECT id FROM domains WHERE name = ?", (wanted.domain,)).fetchone()
        if found is None:
            return []
        domain = found[0]
    recipient = wanted.recipient.lower()
    whole, ending = ("", recipient) if recipient.startswith("@") else (recipient, "")
    site = site_id(wanted.site) if wanted.site else None
    return [_row(row) for row in connection.execute(_LIST, (site, domain, whole, ending, min(limit, MAX_LIST)))]


def message(connection: sqlite3.Connection, number: int) -> MessageRow | None:
    """By its own id, or by the id of one of its recipients."""
    row = connection.execute(_MESSAGE, (number,)).fetchone()
    return MessageRow(*(*row[:6], orjson.loads(row[6]))) if row else None


def of_message(connection: sqlite3.Connection, row: MessageRow, limit: int) -> list[QueueRow]:
    """Its recipients, the open ones first."""
    return [_row(one) for one in connection.execute(_OF_MESSAGE, (row.id, row.recipients, min(limit, MAX_LIST)))]


def unknown_ids(connection: sqlite3.Connection, ids: Sequence[int]) -> list[int]:
    """Those that name neither a message nor a recipient."""
    known = {row[0] for row in connection.execute(_KNOWN, (orjson.dumps(list(ids)).decode(),))}
    return [number for number in ids if number not in known]


def depth(connection: sqlite3.Connection) -> Depth:
    """From the indexes of what is open."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM recipients WHERE state = 0), (SELECT count(*) FROM recipients WHERE state = 1),"
        " (SELECT ifnull(sum(live), 0) FROM spool_segments)"
    ).fetchone()
    return Depth(*row)
