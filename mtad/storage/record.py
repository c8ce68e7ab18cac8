"""Record: events with all that must be written with them: counters, posts to make, suppressions, files.

Room: storage. May import: mail. One function, `record`, for every transaction that writes events, so that what is
told, counted and posted cannot come apart.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mtad.storage import campaign_events
from mtad.storage.campaign_events import Campaigned
from mtad.storage.database import insert_rows

# (id, type, domain_id, message_id, recipient_id, detail)
EventRow = tuple[int, int, int, int | None, int | None, bytes | None]
# (domain_id, label, metric, hour, n)
Count = tuple[int, str, int, int, int]
# (domain_id, label, kind: "country", "provider" or "device", value, metric, period: hour // PERIOD_H, n)
Aggregate = tuple[int, str, str, str, int, int, int]
# (post id, lane: the webhook's id, event id, due_at)
PostRow = tuple[int, int, int, float]
# (domain_id, address in the form for comparing, code, error, rule, created_at)
BounceRow = tuple[int, str, str, str, str, float]
# (domain_id, address, tag, created_at)
UnsubscribeRow = tuple[int, str, str, float]
# (domain_id, address, created_at)
ComplaintRow = tuple[int, str, float]
# (id, key, domain_id, message_id, recipients as a JSON array, sender, stored_at)
StoredRow = tuple[int, str, int, int, str, str, float]
# (event_id, place, name, type, content)
FileRow = tuple[int, int, str, str, bytes]


@dataclass(slots=True)
class Records:
    """What goes into the journal together. bounces: an address on the domain's allowlist is left out. campaigned: those
    of the events whose message is of a campaign.
    """

    events: list[EventRow] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    posts: list[PostRow] = field(default_factory=list)
    bounces: list[BounceRow] = field(default_factory=list)
    unsubscribes: list[UnsubscribeRow] = field(default_factory=list)
    complaints: list[ComplaintRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    stored: list[StoredRow] = field(default_factory=list)
    tags: list[tuple[int, str, float]] = field(default_factory=list)  # (domain_id, as spelt, seen at)
    aggregates: list[Aggregate] = field(default_factory=list)
    campaigned: list[Campaigned] = field(default_factory=list)

    def add(self, other: "Records") -> None:
        self.events += other.events
        self.counts += other.counts
        self.posts += other.posts
        self.bounces += other.bounces
        self.unsubscribes += other.unsubscribes
        self.complaints += other.complaints
        self.files += other.files
        self.stored += other.stored
        self.tags += other.tags
        self.aggregates += other.aggregates
        self.campaigned += other.campaigned


def gather(some: Iterable[Records]) -> Records:
    """All of them in one, in order."""
    whole = Records()
    for one in some:
        whole.add(one)
    return whole


def apply(connection: sqlite3.Connection, items: Sequence[Records]) -> None:
    """A lane's apply."""
    record(connection, gather(items))


def record(connection: sqlite3.Connection, records: Records) -> None:
    """Write them, in the caller's transaction."""
    insert_rows(connection, _EVENTS, 6, records.events)
    if records.counts:
        _count(connection, records.counts)
    if records.aggregates:
        _aggregate(connection, records.aggregates)
    if records.posts:
        insert_rows(connection, _POSTS, 6, [(post, lane, event, 0, 0, due) for post, lane, event, due in records.posts])
    if records.tags:
        _see_tags(connection, records.tags)
    if records.bounces:
        connection.executemany(_BOUNCE, records.bounces)
    if records.unsubscribes:
        connection.executemany(_UNSUBSCRIBE, records.unsubscribes)
    if records.complaints:
        connection.executemany(_COMPLAINT, records.complaints)
    if records.files:
        insert_rows(connection, _FILES, 5, records.files)
    if records.stored:
        insert_rows(connection, _STORED, 7, records.stored)
    if records.campaigned:
        campaign_events.enter(connection, records.campaigned)


def _count(connection: sqlite3.Connection, counts: list[Count]) -> None:
    sums: dict[tuple[int, str, int, int], int] = {}
    for domain_id, label, metric, hour, n in counts:
        key = (domain_id, label, metric, hour)
        sums[key] = sums.get(key, 0) + n
    connection.executemany(_COUNTER, [(*key, n) for key, n in sums.items()])


def _aggregate(connection: sqlite3.Connection, aggregates: list[Aggregate]) -> None:
    sums: dict[tuple[int, str, str, str, int, int], int] = {}
    for domain_id, label, kind, value, metric, period, n in aggregates:
        key = (domain_id, label, kind, value, metric, period)
        sums[key] = sums.get(key, 0) + n
    connection.executemany(_AGGREGATE, [(*key, n) for key, n in sums.items()])


def _see_tags(connection: sqlite3.Connection, seen: list[tuple[int, str, float]]) -> None:
    found: dict[tuple[int, str], tuple[str, float, float]] = {}
    for domain_id, shown, at in seen:
        spelt, first_at, last_at = found.get((domain_id, shown.lower()), (shown, at, at))
        found[domain_id, shown.lower()] = (spelt, min(first_at, at), max(last_at, at))
    connection.executemany(_TAG, [(*key, *value) for key, value in found.items()])


_EVENTS = "INSERT INTO events (id, type, domain_id, message_id, recipient_id, detail) VALUES "
_POSTS = "INSERT INTO outbox (id, lane, event_id, state, attempts, due_at) VALUES "
_FILES = "INSERT INTO event_files (event_id, place, name, type, content) VALUES "
_STORED = "INSERT INTO stored (id, key, domain_id, message_id, recipients, sender, stored_at) VALUES "
_COUNTER = """
    INSERT INTO counters (domain_id, label, metric, hour, n) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET n = n + excluded.n"""
_AGGREGATE = """
    INSERT INTO aggregates (domain_id, label, kind, value, metric, period, n) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET n = n + excluded.n"""
_TAG = """
    INSERT INTO tags (domain_id, tag, shown, first_at, last_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET last_at = max(last_at, excluded.last_at)"""
_BOUNCE = """
    INSERT INTO bounces (domain_id, address, code, error, rule, created_at)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (
        SELECT 1 FROM allowlist WHERE domain_id = ?1 AND value IN (?2, substr(?2, instr(?2, '@'))))
    ON CONFLICT DO UPDATE SET code = excluded.code, error = excluded.error, rule = excluded.rule,
        created_at = excluded.created_at"""
_UNSUBSCRIBE = """
    INSERT INTO unsubscribes (domain_id, address, tag, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_COMPLAINT = """
    INSERT INTO complaints (domain_id, address, count, created_at) VALUES (?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET count = count + 1, created_at = excluded.created_at"""
