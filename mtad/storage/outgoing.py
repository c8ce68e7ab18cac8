"""Outgoing: the tables `messages`, `bodies` and `recipients`: what is on its way, and what became of it.

Room: storage. May import: mail. Nobody else names these columns. Rows come and go as tuples, in batches: the order
of each tuple is written beside its statement.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

from mtad.storage import sites
from mtad.storage.database import insert_rows
from mtad.storage.expansions import Expansions, Step
from mtad.storage.record import Count, EventRow, Records, gather, record
from mtad.storage.spool import Spool


class State(IntEnum):
    WAITING = 0
    LEASED = 1
    DELIVERED = 2
    FAILED = 3


class Flag:
    """Bits of messages.flags: plain numbers, as they are asked for several times per message."""

    SMTPUTF8: Final = 1
    EIGHT_BIT: Final = 2
    REQUIRE_TLS: Final = 4
    AUTHENTICATED: Final = 8
    FOREIGN_REVERSE_PATH: Final = 16  # relayed: the sender's own server wants the DSN
    REPORT: Final = 64  # a DSN of ours: never bounces
    SKIP_VERIFICATION: Final = 128  # the host's certificate is not checked
    COMPOSE: Final = 256  # each recipient gets octets of his own
    VERP: Final = 512  # the reverse-path names the recipient, so a late report finds him
    TEST_MODE: Final = 1024  # never leaves
    TRACK: Final = 2048  # may have opens or clicks, if its domain wants them
    ROUTED: Final = 4096  # from the world, sent on by a route: not signed, not suppressed, no bounce of ours
    STRANGERS: Final = 8192  # a copy from a mailing list, of what somebody wrote who had not logged in


@dataclass(slots=True)
class StoredMessage:
    """about: JSON bytes (see queue.stamp). content None: not read yet, or in the spool at (segment, position)."""

    id: int
    domain_id: int
    reverse_path: str
    size: int
    recipients: int
    flags: int
    deliver_at: float | None
    segment: int | None
    position: int | None
    about: bytes
    options: bytes | None = None
    content: bytes | None = None


@dataclass(slots=True)
class StoredRecipient:
    id: int
    message_id: int
    domain_id: int
    site_id: int
    address: str
    attempts: int
    unknown: int
    expire_at: float
    last_reply: str | None = None
    notify: str | None = None
    orcpt: str | None = None
    personal: bytes | None = None


# (id, domain_id, reverse_path, size, recipients, flags, deliver_at, about, options, header)
MessageRow = tuple[int, int, str, int, int, int, float | None, bytes, bytes | None, bytes | None]
# (id, message_id, domain_id, site_id, address, state, attempts, due_at, expire_at, notify, orcpt, personal)
RecipientRow = tuple[
    int, int, int, int, str, int, int, float | None, float | None, str | None, str | None, bytes | None
]


@dataclass(slots=True)
class Accept:
    """One message to take: its rows, its bytes, b"" when not needed, and (site id, due) of sites nobody has in hand."""

    message: MessageRow
    content: bytes
    recipients: list[RecipientRow]
    records: Records
    sooner: Sequence[tuple[int, float]] = ()
    place: tuple[int, int] | None = None  # of bytes that are in the spool already
    step: Step | None = None  # of the expansion whose copies these are


@dataclass(slots=True)
class Settle:
    """What an attempt came to, for one recipient. event None: a lease given back, nothing happened."""

    recipient_id: int
    message_id: int
    state: State
    event: EventRow | None
    spooled: bool = False
    site_id: int = 0
    due_at: float | None = None
    attempts: int = 0
    unknown: int = 0
    last_reply: str | None = None
    count: Count | None = None
    records: Records | None = None  # what else goes with it


_MESSAGES = (
    "INSERT INTO messages"
    " (id, domain_id, reverse_path, size, recipients, flags, deliver_at, about, options, header, segment, position)"
    " VALUES "
)
_BODIES = "INSERT INTO bodies (message_id, content) VALUES "
_RECIPIENTS = (
    "INSERT INTO recipients (id, message_id, domain_id, site_id, address, state, attempts, due_at, expire_at,"
    " notify, orcpt, personal) VALUES "
)


class Outgoing:
    """The batched statements. Methods that take a connection run on the writer's thread, in its transaction."""

    def __init__(self, spool: Spool, inline_octets: int) -> None:
        self._spool, self._inline_octets = spool, inline_octets
        self.expansions = Expansions(spool, inline_octets)

    def accept(self, connection: sqlite3.Connection, accepts: Sequence[Accept]) -> None:
        """A lane's apply. Bytes for the spool are synced here, before the commit that names them."""
        large = [a for a in accepts if len(a.content) > self._inline_octets and a.place is None]
        places = dict(zip(map(id, large), self._spool.append(connection, [a.content for a in large]), strict=True))
        shared = {id(a): a.place for a in accepts if a.place is not None}
        if shared:
            self._spool.retain(connection, [(a.place[0], a.message[3]) for a in accepts if a.place is not None])
            places |= shared
        nowhere = (None, None)
        insert_rows(connection, _MESSAGES, 12, [a.message + places.get(id(a), nowhere) for a in accepts])
        if len(places) < len(accepts):
            small = [(a.message[0], a.content) for a in accepts if a.content and id(a) not in places]
            insert_rows(connection, _BODIES, 2, small)
        insert_rows(connection, _RECIPIENTS, 12, [row for a in accepts for row in a.recipients])
        record(connection, gather(a.records for a in accepts))
        self.expansions.advance(connection, [a.step for a in accepts if a.step is not None])
        later = [news for a in accepts for news in a.sooner]
        if later:
            sites.sooner(connection, later)

    def settle(self, connection: sqlite3.Connection, settles: Sequence[Settle]) -> None:
        """A lane's apply: the state and the event that tells of it, in one transaction."""
        done: list[Settle] = []
        for state in (State.DELIVERED, State.FAILED):
            some = [s for s in settles if s.state is state]
            if some:
                connection.execute(_DONE[state], (orjson.dumps([s.recipient_id for s in some]).decode(),))
                done += some
        back = [s for s in settles if s.state is State.WAITING]
        if back:
            rows = [(s.recipient_id, s.site_id, s.due_at, s.attempts, s.unknown, s.last_reply) for s in back]
            connection.execute(_BACK, (orjson.dumps(rows).decode(),))
        records = gather(s.records for s in settles if s.records is not None)
        records.events += [s.event for s in settles if s.event is not None]
        records.counts += [s.count for s in settles if s.count is not None]
        record(connection, records)
        if done:
            self._drop_contents(connection, done)

    def _drop_contents(self, connection: sqlite3.Connection, done: list[Settle]) -> None:
        """The bytes of messages that have no open recipient left are not needed any more."""
        self._drop(connection, {s.message_id for s in done}, {s.message_id for s in done if s.spooled})

    def spool_faults(self, connection: sqlite3.Connection) -> list[str]:
        """What is wrong with the files of large messages; one sentence each."""
        return self._spool.faults(connection)

    def drop_contents(self, connection: sqlite3.Connection, messages: Collection[int]) -> None:
        """The bytes of these messages, where no recipient is open and nobody has stored them."""
        if messages:
            self._drop(connection, messages, messages)

    def _drop(self, connection: sqlite3.Connection, messages: Collection[int], spooled: Collection[int]) -> None:
        connection.execute(_DROP_BODIES, (orjson.dumps(list(messages)).decode(),))
        if spooled:
            rows = connection.execute(_SPOOLED_DONE, (orjson.dumps(list(spooled)).decode(),)).fetchall()
            self._spool.release(connection, [(segment, size) for _, segment, size in rows])
            connection.executemany(
                "UPDATE messages SET segment = NULL, position = NULL WHERE id = ?", [(row[0],) for row in rows]
            )

    def claim(
        self,
        connection: sqlite3.Connection,
        site: int,
        now: float,
        limit: int,
        have: Collection[int],
        paused: Collection[int],
        content_octets: int,
    ) -> "Claim":
        """Lease up to `limit` due recipients of a site, shared out among the domains that send to it.

        have: messages the caller holds already. paused: domain ids to leave alone. content_octets: no more of
        message bytes than about this are read; the rest is read when its turn comes.
        """
        tenants = [t for t in self._tenants(connection, site) if t not in paused]
        taken: list[StoredRecipient] = []
        room = limit
        for place, tenant in enumerate(tenants):
            share = max(1, room // (len(tenants) - place)) if room > 0 else 0
            if share:
                some = self._lease(connection, site, tenant, now, share)
                taken += some
                room -= len(some)
        firsts = [self._first_due(connection, site, tenant) for tenant in tenants]
        waiting = [first for first in firsts if first is not None]
        late = {t for t, first in zip(tenants, firsts, strict=True) if first is not None and first <= now}
        needed = dict.fromkeys(r.message_id for r in taken if r.message_id not in have)
        messages = self.messages(connection, needed, content_octets)
        return Claim(taken, messages, min(waiting, default=None), late)

    @staticmethod
    def _tenants(connection: sqlite3.Connection, site: int) -> list[int]:
        """Domains with something waiting for the site, by one index seek each."""
        found: list[int] = []
        last = -1
        while True:
            row = connection.execute(_NEXT_TENANT, (site, last)).fetchone()
            if row is None:
                return found
            last = row[0]
            found.append(last)

    @staticmethod
    def _first_due(connection: sqlite3.Connection, site: int, tenant: int) -> float | None:
        row = connection.execute(_FIRST_DUE, (site, tenant)).fetchone()
        return float(row[0]) if row else None

    @staticmethod
    def _lease(connection: sqlite3.Connection, site: int, tenant: int, now: float, limit: int) -> list[StoredRecipient]:
        # One row of JSON instead of many rows: each step of a statement costs a hand-over of the interpreter lock.
        [text] = connection.execute(_DUE_ROWS, (site, tenant, now, limit)).fetchone()
        rows: list[list[Any]] = orjson.loads(text)
        if rows:
            connection.execute(_LEASE, (orjson.dumps([row[0] for row in rows]).decode(),))
        return [
            StoredRecipient(
                id=row[0],
                message_id=row[1],
                domain_id=tenant,
                site_id=site,
                address=row[2],
                attempts=row[3] + 1,
                unknown=row[4],
                expire_at=row[5],
                last_reply=row[6],
                notify=row[7],
                orcpt=row[8],
                personal=row[9].encode() if row[9] is not None else None,
            )
            for row in rows
        ]

    def messages(
        self, connection: sqlite3.Connection, ids: Iterable[int], content_octets: int
    ) -> dict[int, StoredMessage]:
        """Messages by id, with their bytes as long as content_octets lasts; without them after that."""
        found: dict[int, StoredMessage] = {}
        left = content_octets
        for number in ids:
            row = connection.execute(_MESSAGE, (number,)).fetchone()
            if row is None:
                continue
            message = StoredMessage(*row)
            if left > 0:
                message.content = self.content(connection, message)
                left -= message.size
            found[number] = message
        return found

    def content(self, connection: sqlite3.Connection, message: StoredMessage) -> bytes | None:
        """The bytes of a message; None when they are gone (its recipients are all done)."""
        if message.segment is not None and message.position is not None:
            return self._spool.read(message.segment, message.position, message.size)
        row = connection.execute("SELECT content FROM bodies WHERE message_id = ?", (message.id,)).fetchone()
        return row[0] if row else None

    @staticmethod
    def leased(connection: sqlite3.Connection, limit: int) -> list[StoredRecipient]:
        """At start: the leases of a daemon that is no more."""
        rows = connection.execute(_LEASED, (limit,)).fetchall()
        return [StoredRecipient(*row) for row in rows]

    @staticmethod
    def expired(connection: sqlite3.Connection, site: int, now: float, limit: int) -> list[StoredRecipient]:
        """Lease recipients of a site that waited too long; for one that takes nothing at present."""
        rows = connection.execute(_EXPIRED, (site, now, limit)).fetchall()
        if rows:
            connection.execute(_EXPIRE_LEASE, (orjson.dumps([row[0] for row in rows]).decode(),))
        return [StoredRecipient(*row) for row in rows]

    @staticmethod
    def retry_now(
        connection: sqlite3.Connection, now: float, limit: int, site: int | None, ids: Sequence[int]
    ) -> list[int]:
        """Make up to `limit` recipients that wait for another try due now: of one site, of the recipients or
        messages `ids`, or of all. Mail scheduled for later is left alone. The sites of the rows changed.
        """
        given = orjson.dumps(list(ids)).decode() if ids else None
        return [row[0] for row in connection.execute(_RETRY, (now, site, given, limit)).fetchall()]

    @staticmethod
    def waiting_of(connection: sqlite3.Connection, domain_id: int, limit: int) -> list[int]:
        """Ids of up to `limit` recipients of a domain that wait."""
        return [row[0] for row in connection.execute(_WAITING_OF, (domain_id, limit))]

    @staticmethod
    def lease_for_drop(connection: sqlite3.Connection, ids: Sequence[int]) -> list[StoredRecipient]:
        """Take waiting recipients (ids of recipients or messages) out of the queue, to be settled as failed."""
        text = orjson.dumps(list(ids)).decode()
        rows = connection.execute(_WAITING_IDS, (text,)).fetchall()
        if rows:
            connection.execute(_EXPIRE_LEASE, (orjson.dumps([row[0] for row in rows]).decode(),))
        return [StoredRecipient(*row) for row in rows]


@dataclass(slots=True)
class Claim:
    """next_due: when the site has something due that was not taken; None: nothing more waits there.

    late: domains that have something due there which was not taken.
    """

    recipients: list[StoredRecipient]
    messages: dict[int, StoredMessage]
    next_due: float | None
    late: set[int]


_DONE = {
    state: f"UPDATE recipients SET state = {int(state)}, due_at = NULL, expire_at = NULL, last_reply = NULL"
    " WHERE id IN (SELECT value FROM json_each(?))"
    for state in (State.DELIVERED, State.FAILED)
}
_BACK = """
    UPDATE recipients SET state = 0, site_id = j.site_id, due_at = j.due_at, attempts = j.attempts,
                          unknown = j.unknown, last_reply = j.last_reply
    FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS site_id,
                 json_extract(value, '$[2]') AS due_at, json_extract(value, '$[3]') AS attempts,
                 json_extract(value, '$[4]') AS unknown, json_extract(value, '$[5]') AS last_reply
          FROM json_each(?)) AS j
    WHERE recipients.id = j.id"""
_NO_OPEN = """
    NOT EXISTS (SELECT 1 FROM recipients AS r
                WHERE r.id > m.id AND r.id <= m.id + m.recipients AND r.state < 2)
    AND NOT EXISTS (SELECT 1 FROM stored WHERE message_id = m.id)"""
_DROP_BODIES = f"""
    DELETE FROM bodies WHERE message_id IN (
        SELECT m.id FROM messages AS m WHERE m.id IN (SELECT value FROM json_each(?)) AND {_NO_OPEN})"""
_SPOOLED_DONE = f"""
    SELECT m.id, m.segment, m.size FROM messages AS m
    WHERE m.id IN (SELECT value FROM json_each(?)) AND m.segment IS NOT NULL AND {_NO_OPEN}"""
_NEXT_TENANT = """
    SELECT domain_id FROM recipients WHERE state = 0 AND site_id = ? AND domain_id > ?
    ORDER BY domain_id LIMIT 1"""
_FIRST_DUE = "SELECT due_at FROM recipients WHERE state = 0 AND site_id = ? AND domain_id = ? ORDER BY due_at LIMIT 1"
_DUE_ROWS = """
    SELECT json_group_array(json_array(id, message_id, address, attempts, unknown, expire_at, last_reply, notify,
                                       orcpt, CAST(personal AS TEXT)))
    FROM (SELECT * FROM recipients WHERE state = 0 AND site_id = ? AND domain_id = ? AND due_at <= ?
          ORDER BY due_at LIMIT ?)"""
_LEASE = "UPDATE recipients SET state = 1, attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(?))"
_EXPIRE_LEASE = "UPDATE recipients SET state = 1 WHERE id IN (SELECT value FROM json_each(?))"
_MESSAGE = """
    SELECT id, domain_id, reverse_path, size, recipients, flags, deliver_at, segment, position, about, options
    FROM messages WHERE id = ?"""
_STORED = (
    "id, message_id, domain_id, site_id, address, attempts, unknown, expire_at, last_reply, notify, orcpt, personal"
)
_LEASED = f"SELECT {_STORED} FROM recipients WHERE state = 1 LIMIT ?"
_EXPIRED = f"SELECT {_STORED} FROM recipients WHERE state = 0 AND site_id = ? AND expire_at <= ? LIMIT ?"
_WAITING_IDS = f"""
    SELECT {_STORED} FROM recipients
    WHERE state = 0 AND (id IN (SELECT value FROM json_each(?1)) OR message_id IN (SELECT value FROM json_each(?1)))"""
_WAITING_OF = "SELECT id FROM recipients WHERE state = 0 AND domain_id = ? LIMIT ?"
_RETRY = """
    UPDATE recipients SET due_at = ?1 WHERE id IN (
        SELECT id FROM recipients
        WHERE state = 0 AND due_at > ?1 AND attempts > 0 AND (?2 IS NULL OR site_id = ?2)
          AND (?3 IS NULL OR id IN (SELECT value FROM json_each(?3))
               OR message_id IN (SELECT value FROM json_each(?3)))
        LIMIT ?4)
    RETURNING site_id"""
