"""Journal: the table `events`, append-only, in the order of time.

Room: storage. May import: mail. Rows are written in the transactions of outgoing.py, with the state they tell of.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from mtad.mail.address import is_url, key_of, shown, without_password
from mtad.mail.event import INTERNAL, Event, EventType
from mtad.mail.ids import floor_at, made_at, queue_id
from mtad.mail.options import options_from_json
from mtad.storage.database import insert_rows
from mtad.storage.record import EventRow

_SELECT = """
    SELECT e.id, e.type, ifnull(d.name, ''), e.message_id, ifnull(r.address, ''), ifnull(m.reverse_path, ''),
           ifnull(m.size, 0), m.about, e.detail, m.options, r.personal, ifnull(m.recipients, 1), e.message_id,
           r.orcpt
    FROM events AS e LEFT JOIN domains AS d ON d.id = e.domain_id
    LEFT JOIN messages AS m ON m.id = e.message_id LEFT JOIN recipients AS r ON r.id = e.recipient_id
"""
# Told with all recipients of their message, as far as these go; a copy made for one is told with him alone.
_TO_ALL, MAX_EVERYBODY = (EventType.ACCEPTED, EventType.STORED), 100
_MAY_BE_OF = "(e.recipient_id IS NULL OR instr(lower(r.address), ?) OR instr(lower(ifnull(r.orcpt, '')), ?))"
_PUBLIC = "e.type NOT IN (" + ",".join(str(int(t)) for t in sorted(INTERNAL)) + ")"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What `recent` and `after` look for; "" and None do not narrow."""

    recipient: str = ""
    domain: str = ""
    types: tuple[EventType, ...] = ()


def _event(row: tuple[Any, ...], everybody: tuple[str, ...] = ()) -> Event:
    detail = orjson.loads(row[8]) if row[8] else {}
    recipient, target = whom(row[4], row[13])
    return Event(
        id=row[0],
        type=EventType(row[1]),
        at=made_at(row[0]),
        domain=row[2],
        queue_id=queue_id(row[3]) if row[3] else "",
        recipient=recipient or detail.get("recipient", ""),  # a rejected message has no rows of its own
        reverse_path=row[5],
        size=row[6],
        about=orjson.loads(row[7]) if row[7] else detail.get("about", {}),
        detail=detail,
        options=options_from_json(row[9]) if row[9] else None,
        personal=orjson.loads(row[10]) if row[10] else {},
        everybody=everybody,
        target=target,
    )


def whom(address: str, orcpt: str | None) -> tuple[str, str]:
    """A recipient as events name him, and the URL that a route posts his copy to, without password, "" none."""
    if not is_url(address):
        return shown(address), ""
    url = without_password(address)
    return (orcpt or "").partition(";")[2] or url, url


def _where(wanted: EventFilter) -> tuple[str, list[Any]]:
    parts = [_PUBLIC]
    values: list[Any] = []
    if wanted.recipient:  # a superset: posts have him in orcpt, what was rejected in its detail, and _of looks again
        parts.append(_MAY_BE_OF)
        values += [wanted.recipient.rpartition("@")[2].lower()] * 2
    if wanted.domain:
        parts.append("d.name = ?")
        values.append(wanted.domain)
    if wanted.types:
        parts.append("e.type IN (" + ",".join("?" * len(wanted.types)) + ")")
        values += [int(t) for t in wanted.types]
    return " AND ".join(parts), values


def _of(wanted: EventFilter, rows: Iterable[tuple[Any, ...]]) -> Iterator[Event]:
    """Events as they are read, of the recipient that is wanted, as the events of the HTTP API name him."""
    key = key_of(wanted.recipient) if wanted.recipient else ""
    for row in rows:
        event = _event(row)
        if not key or key_of(event.recipient) == key:
            yield event


def recent(connection: sqlite3.Connection, wanted: EventFilter, limit: int, since: float = 0.0) -> list[Event]:
    """The last `limit` events not older than `since` (epoch seconds), oldest first."""
    where, values = _where(wanted)
    most = -1 if wanted.recipient else limit
    rows = connection.execute(
        f"{_SELECT} WHERE e.id >= ? AND {where} ORDER BY e.id DESC LIMIT ?", [floor_at(since), *values, most]
    )
    return list(islice(_of(wanted, rows), limit))[::-1]


def after(connection: sqlite3.Connection, wanted: EventFilter, last: int, limit: int) -> list[Event]:
    """Events with an id above `last`, oldest first: for following."""
    where, values = _where(wanted)
    most = -1 if wanted.recipient else limit
    rows = connection.execute(f"{_SELECT} WHERE e.id > ? AND {where} ORDER BY e.id LIMIT ?", [last, *values, most])
    return list(islice(_of(wanted, rows), limit))


def by_ids(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, Event]:
    """Those of them that are still there, with `everybody`."""
    wanted = orjson.dumps(list(ids)).decode()
    rows = connection.execute(f"{_SELECT} WHERE e.id IN (SELECT value FROM json_each(?))", (wanted,)).fetchall()
    shared = {row[12] for row in rows if row[1] in _TO_ALL and row[11] > 1 and row[10] is None and not _is_batch(row)}
    everybody = {message: _everybody(connection, message) for message in shared}
    return {row[0]: _event(row, everybody.get(row[12], ()) if row[1] in _TO_ALL else ()) for row in rows}


def _is_batch(row: tuple[Any, ...]) -> bool:
    return bool(row[9]) and options_from_json(row[9]).batch


def _everybody(connection: sqlite3.Connection, message: int) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT address, orcpt FROM recipients WHERE message_id = ?1 AND id > ?1 AND id <= ?1 + 32767"
        " ORDER BY id LIMIT ?2",
        (message, MAX_EVERYBODY),
    )
    return tuple(dict.fromkeys([whom(address, orcpt)[0] for address, orcpt in rows]))


def newest(connection: sqlite3.Connection, horizon: int) -> int:
    """The last event with an id up to `horizon`; 0: there is none."""
    [number] = connection.execute("SELECT max(id) FROM events WHERE id <= ?", (horizon,)).fetchone()
    return int(number or 0)


def newest_id(connection: sqlite3.Connection) -> int:
    """The largest id in the store, of any kind: new ones must be above it."""
    [number] = connection.execute(
        "SELECT max(ifnull((SELECT max(id) FROM events), 0), ifnull((SELECT max(id) FROM messages), 0),"
        " ifnull((SELECT max(id) FROM recipients), 0), ifnull((SELECT max(id) FROM captured), 0),"
        " ifnull((SELECT max(id) FROM outbox), 0), ifnull((SELECT max(id) FROM outbox_attempts), 0))"
    ).fetchone()
    return int(number)


def timeline(connection: sqlite3.Connection, message: int) -> list[Event]:
    """Everything that is known of one message, internal facts too, in the order of time."""
    rows = connection.execute(
        f"{_SELECT} WHERE e.recipient_id IN (SELECT id FROM recipients WHERE message_id = ?1"
        " AND id BETWEEN ?1 AND ?1 + 32767) ORDER BY e.id",
        (message,),
    )
    return [_event(row) for row in rows]


def add(connection: sqlite3.Connection, rows: Sequence[EventRow]) -> None:
    """A lane's apply: events that belong to no change of the queue (rejected)."""
    insert_rows(
        connection,
        "INSERT INTO events (id, type, domain_id, message_id, recipient_id, detail) VALUES ",
        6,
        rows,
    )
