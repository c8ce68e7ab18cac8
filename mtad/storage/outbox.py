"""Outbox: the tables `outbox`, `outbox_attempts` and `event_files`: posts that wait or were made, and of what.

Room: storage. May import: mail. Rows are made by record.py, with the event they tell of. A lane is the id of a
webhook; posts of a lane whose webhook is gone are given up.
"""

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from mtad.mail.event import Event
from mtad.mail.ids import floor_at, made_at
from mtad.storage import journal
from mtad.storage.database import insert_rows
from mtad.storage.outgoing import StoredMessage, StoredRecipient

BATCH = 500
MAX_KEPT = 65_536  # octets of a request that the ledger keeps


class PostState(IntEnum):
    """The number is what the store holds: never renumber."""

    WAITING = 0
    DONE = 1
    GIVEN_UP = 2
    REFUSED = 3


# What the sender reads.


@dataclass(frozen=True, slots=True)
class File:
    name: str
    type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """What a post is made of. header: the message's header block as stored, None: it was not kept, or not asked for.

    origin: the message and the recipient whose copy it was, with what composition asks of them, when there is a header.
    """

    event: Event
    header: bytes | None = None
    files: tuple[File, ...] = ()
    origin: tuple[StoredMessage, StoredRecipient] | None = None

    @property
    def octets(self) -> int:
        """About what it takes in memory."""
        return 4096 + len(self.header or b"") + sum(len(file.content) for file in self.files)


_Header = tuple[bytes, tuple[StoredMessage, StoredRecipient] | None]


@dataclass(frozen=True, slots=True)
class Post:
    """attempts: made before. content None: the event is not in the store any more."""

    id: int
    lane: int
    event_id: int
    attempts: int
    content: Content | None


@dataclass(frozen=True, slots=True)
class Look:
    """posts: due ones, in the order of their time, lane by lane. next_at: when the next one is due that is not due
    yet, None: none is. strays: lanes with waiting posts and no webhook. partial: there is more that is due.
    """

    posts: tuple[Post, ...]
    next_at: float | None
    strays: tuple[int, ...]
    partial: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """lanes: webhook -> how many posts it may have in memory. held: what is there already. whole: lanes whose posts
    need header and files. octets: of memory for what comes."""

    lanes: Mapping[int, int]
    held: Mapping[int, Collection[int]]
    paused: Collection[int]
    whole: Collection[int]
    octets: int


def look(connection: sqlite3.Connection, now: float, wanted: Wanted) -> Look:
    """Due posts for the lanes that have room."""
    connection.execute("BEGIN")  # one snapshot for posts and what they are made of
    try:
        rows: list[tuple[int, int, int, int]] = []
        strays: list[int] = []
        next_at: float | None = None
        partial = False
        for [lane] in connection.execute(_LANES).fetchall():
            if lane in wanted.paused:
                continue
            if lane not in wanted.lanes:
                strays.append(lane)
                continue
            held = wanted.held.get(lane, ())
            room = wanted.lanes[lane] - len(held)
            if room > 0:
                found = connection.execute(_DUE, (lane, now, room + len(held) + 1)).fetchall()
                fresh = [(number, lane, event, attempts) for number, event, attempts in found if number not in held]
                partial = partial or len(fresh) > room
                rows += fresh[:room]
            [later] = connection.execute(_LATER, (lane, now)).fetchone()
            if later is not None and (next_at is None or later < next_at):
                next_at = later
        posts, whole = _filled(connection, rows, wanted)
        return Look(posts, next_at, tuple(strays), partial or not whole)
    finally:
        connection.execute("COMMIT")


def _filled(
    connection: sqlite3.Connection, rows: list[tuple[int, int, int, int]], wanted: Wanted
) -> tuple[tuple[Post, ...], bool]:
    """As many as memory allows, at least one; False: not all."""
    posts: list[Post] = []
    octets = 0
    for at in range(0, len(rows), BATCH):
        some = rows[at : at + BATCH]
        events = journal.by_ids(connection, {row[2] for row in some})
        headers = _headers(connection, {row[2] for row in some if row[1] in wanted.whole})
        files = _files(connection, {row[2] for row in some if row[1] in wanted.whole})
        for number, lane, event_id, attempts in some:
            event = events.get(event_id)
            content = None
            if event is not None and lane in wanted.whole:
                header, origin = headers.get(event_id, (None, None))
                content = Content(event, header, files.get(event_id, ()), origin)
            elif event is not None:
                content = Content(event)
            octets += content.octets if content else 0
            if posts and octets > wanted.octets:
                return tuple(posts), False
            posts.append(Post(number, lane, event_id, attempts, content))
    return tuple(posts), True


def _headers(connection: sqlite3.Connection, events: set[int]) -> dict[int, _Header]:
    if not events:
        return {}
    found: dict[int, _Header] = {}
    rows = connection.execute(_HEADERS, (orjson.dumps(list(events)).decode(),))
    for event, header, number, domain_id, flags, options, own, address, personal in rows:
        origin = None
        if own is not None:
            message = StoredMessage(number, domain_id or 0, "", 0, 0, flags, None, None, None, b"", options)
            recipient = StoredRecipient(own, number, domain_id or 0, 0, address, 0, 0, 0.0, personal=personal)
            origin = (message, recipient)
        found[event] = (bytes(header), origin)
    return found


def _files(connection: sqlite3.Connection, events: set[int]) -> dict[int, tuple[File, ...]]:
    found: dict[int, tuple[File, ...]] = {}
    if events:
        for event, name, kind, content in connection.execute(_FILES, (orjson.dumps(list(events)).decode(),)):
            found[event] = (*found.get(event, ()), File(name, kind, content))
    return found


def give_up_lane(connection: sqlite3.Connection, lane: int) -> int:
    """Up to BATCH waiting posts of a webhook that is no more. How many."""
    return connection.execute(
        "UPDATE outbox SET state = 2, due_at = NULL WHERE id IN"
        " (SELECT id FROM outbox WHERE state = 0 AND lane = ? LIMIT ?)"
        " AND NOT EXISTS (SELECT 1 FROM webhooks WHERE id = lane)",
        (lane, BATCH),
    ).rowcount


# What the sender writes.


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """url: without a password. status None: no answer. request: what was posted, without files."""

    id: int
    url: str
    status: int | None
    error: str
    took_s: float
    request: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """attempts: made by now. due_at: of the next one, None: there is none. attempt None: nothing was posted."""

    post: int
    state: PostState
    attempts: int
    due_at: float | None
    attempt: AttemptRow | None


def packed(request: bytes) -> bytes:
    """For the ledger: cut at MAX_KEPT, compressed."""
    return zlib.compress(request[:MAX_KEPT], 1)


def settle(connection: sqlite3.Connection, items: Sequence[Settled]) -> None:
    """A lane's apply. A post that was removed meanwhile is left alone."""
    outcomes = [[one.post, int(one.state), one.attempts, one.due_at] for one in items]
    connection.execute(_SETTLE, (orjson.dumps(outcomes).decode(),))
    made = [(one.post, one.attempt) for one in items if one.attempt is not None]
    rows = [(a.id, post, a.url, a.status, a.error or None, a.took_s, a.request) for post, a in made]
    insert_rows(connection, _ATTEMPTS, 7, rows)


# What people read and ask for.


@dataclass(frozen=True, slots=True)
class PostFilter:
    """lanes None: all. failed: given up, refused, or waiting for another attempt. since, until: epoch seconds."""

    lanes: Collection[int] | None = None
    failed: bool = False
    since: float = 0.0
    until: float | None = None
    ids: Collection[int] | None = None
    events: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    at: float
    url: str
    status: int | None
    error: str
    took_s: float
    request: bytes


@dataclass(frozen=True, slots=True)
class LoggedPost:
    id: int
    lane: int
    event_id: int
    state: PostState
    due_at: float | None
    made: tuple[LoggedAttempt, ...]


def posts(connection: sqlite3.Connection, wanted: PostFilter, limit: int) -> list[LoggedPost]:
    """The last `limit` ones, newest first, each with every attempt."""
    where, values = _where(wanted)
    rows = connection.execute(
        f"SELECT id, lane, event_id, state, due_at FROM outbox WHERE {where} ORDER BY id DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    made: dict[int, list[LoggedAttempt]] = {}
    for number, post, *rest, request in connection.execute(_MADE, (orjson.dumps([row[0] for row in rows]).decode(),)):
        url, status, error, took_s = rest
        octets = zlib.decompress(request) if request else b""
        made.setdefault(post, []).append(LoggedAttempt(made_at(number), url, status, error or "", took_s, octets))
    return [LoggedPost(r[0], r[1], r[2], PostState(r[3]), r[4], tuple(made.get(r[0], ()))) for r in rows]


def replay(connection: sqlite3.Connection, wanted: PostFilter, now: float, after: int = 0) -> tuple[int, int | None]:
    """Make up to BATCH posts due now, with a fresh ladder for those that were done with; (how many, go on after this
    id; None: that was all). Posts whose webhook or event is gone are left out."""
    where, values = _where(wanted)
    rows = connection.execute(
        f"SELECT id FROM outbox WHERE id > ? AND {where} AND lane IN (SELECT id FROM webhooks)"
        " AND event_id IN (SELECT id FROM events) ORDER BY id LIMIT ?",
        (after, *values, BATCH),
    ).fetchall()
    numbers = [row[0] for row in rows]
    count = connection.execute(_REPLAY, (now, orjson.dumps(numbers).decode())).rowcount
    return count, numbers[-1] if len(numbers) == BATCH else None


def _where(wanted: PostFilter) -> tuple[str, list[Any]]:
    parts, values = ["id >= ?"], [floor_at(wanted.since)]
    if wanted.until is not None:
        parts.append("id < ?")
        values.append(floor_at(wanted.until))
    for column, numbers in (("lane", wanted.lanes), ("id", wanted.ids), ("event_id", wanted.events)):
        if numbers is not None:
            parts.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(_numbers(numbers))
    if wanted.failed:
        parts.append("(state IN (2, 3) OR (state = 0 AND attempts > 0))")
    return " AND ".join(parts), values


def _numbers(numbers: Iterable[int]) -> Any:
    return orjson.dumps(list(numbers)).decode()


def waiting(connection: sqlite3.Connection) -> dict[int, int]:
    """Webhook -> how many posts wait."""
    return dict(connection.execute("SELECT lane, count(*) FROM outbox WHERE state = 0 GROUP BY lane").fetchall())


def expire_outbox(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to BATCH posts older than `before` that do not wait, with their attempts, and as many files of events
    that are gone. How many posts and files went."""
    floor = floor_at(before)
    rows = connection.execute(
        "SELECT id FROM outbox WHERE id < ? AND state <> 0 ORDER BY id LIMIT ?", (floor, BATCH)
    ).fetchall()
    numbers = _numbers(row[0] for row in rows)
    connection.execute("DELETE FROM outbox_attempts WHERE post_id IN (SELECT value FROM json_each(?))", (numbers,))
    connection.execute("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (numbers,))
    files = connection.execute(
        "DELETE FROM event_files WHERE (event_id, place) IN (SELECT event_id, place FROM event_files AS f"
        " WHERE event_id < ? AND NOT EXISTS (SELECT 1 FROM events WHERE id = f.event_id) LIMIT ?)",
        (floor, BATCH),
    ).rowcount
    return len(rows) + files


# Lane by lane through the index, however many rows each has.
_LANES = """
    WITH RECURSIVE found (lane) AS (
        SELECT min(lane) FROM outbox WHERE state = 0
        UNION ALL
        SELECT (SELECT min(lane) FROM outbox WHERE state = 0 AND lane > found.lane) FROM found
        WHERE found.lane IS NOT NULL)
    SELECT lane FROM found WHERE lane IS NOT NULL"""
_DUE = """
    SELECT id, event_id, attempts FROM outbox WHERE state = 0 AND lane = ? AND due_at <= ? ORDER BY due_at LIMIT ?"""
_LATER = "SELECT min(due_at) FROM outbox WHERE state = 0 AND lane = ? AND due_at > ?"
_HEADERS = """
    SELECT e.id, m.header, m.id, m.domain_id, m.flags, m.options, r.id, r.address, r.personal
    FROM events AS e JOIN messages AS m ON m.id = e.message_id LEFT JOIN recipients AS r ON r.id = e.recipient_id
    WHERE e.id IN (SELECT value FROM json_each(?)) AND m.header IS NOT NULL"""
_FILES = """
    SELECT event_id, name, type, content FROM event_files WHERE event_id IN (SELECT value FROM json_each(?))
    ORDER BY event_id, place"""
_SETTLE = """
    UPDATE outbox SET state = json_extract(one.value, '$[1]'), attempts = json_extract(one.value, '$[2]'),
        due_at = json_extract(one.value, '$[3]')
    FROM json_each(?) AS one WHERE outbox.id = json_extract(one.value, '$[0]')"""
_ATTEMPTS = "INSERT INTO outbox_attempts (id, post_id, url, status, error, took_s, request) VALUES "
_MADE = """
    SELECT id, post_id, url, status, error, took_s, request FROM outbox_attempts
    WHERE post_id IN (SELECT value FROM json_each(?)) ORDER BY id"""
_REPLAY = """
    UPDATE outbox SET attempts = CASE state WHEN 0 THEN attempts ELSE 0 END, state = 0, due_at = ?
    WHERE id IN (SELECT value FROM json_each(?))"""
