"""Suppressed: whether a domain still writes to an address, asked of memory first and of the store on a hint.

Room: feedback. May import: mail, storage. A Bloom filter (B. Bloom, 1970) of all that is suppressed: "no" is certain,
"perhaps" is one false alarm in a hundred and costs a question to the store. Bits are never taken back: an address that
is written to again costs such a question each time, until the filter is made anew.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Sequence

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.address import key_of
from mtad.mail.suppression import Suppressed, Why
from mtad.storage import lists, suppressions
from mtad.storage.database import Database
from mtad.storage.suppressions import Table

log = log_module.get("feedback")

BITS_PER_ENTRY = 10
PROBES = 7  # the best number for 10 bits: 0.8 % false alarms when it is full
SMALLEST = 65_536  # entries
LARGEST = 1 << 26  # entries, 84 MB: beyond it there are more false alarms, not more memory
AGAIN_S = 5.0  # after a store that could not be read
_PIECE = 5000  # rows of one question while it is filled
_MASK = (1 << 61) - 1
_TABLES = (Table.BOUNCES, Table.UNSUBSCRIBES, Table.COMPLAINTS)


class Bloom:
    """A set that may only grow and may say "perhaps" for what is not in it. hashes: 61 bits or more, well spread."""

    __slots__ = ("_bits", "_count", "_size", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity, self._size, self._count = capacity, capacity * BITS_PER_ENTRY, 0
        self._bits = bytearray((self._size + 7) // 8)

    @property
    def full(self) -> bool:
        return self._count >= self.capacity

    def has(self, number: int) -> bool:
        bits, size, step = self._bits, self._size, number >> 31 | 1
        for _ in range(PROBES):  # double hashing (Kirsch and Mitzenmacher, 2006)
            place = number % size
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
            number += step
        return True

    def add(self, number: int) -> None:
        """One thread at a time: a bit is set by reading and writing its octet."""
        if self.has(number):
            return
        self._count += 1
        step = number >> 31 | 1
        for _ in range(PROBES):
            place = number % self._size
            self._bits[place >> 3] |= 1 << (place & 7)
            number += step


class SuppressedAddresses:
    """Until `load` has come to its end every question goes to the store. `note` may be called on any thread."""

    def __init__(self, database: Database, clock: Clock, *, smallest: int = SMALLEST, largest: int = LARGEST) -> None:
        self._database, self._clock, self._smallest, self._largest = database, clock, smallest, largest
        self._bloom: Bloom | None = None  # None: not known yet
        self._domains: frozenset[int] = frozenset()  # those with anything suppressed
        self._noted: list[tuple[int, str]] | None = None  # while another filter is made: what it has to learn too
        self._lock = threading.Lock()
        self._crowded = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def maybe(self, domain_id: int, address: str) -> bool:
        """False is certain. address: in any form."""
        bloom = self._bloom
        if bloom is None:
            return True
        return domain_id in self._domains and bloom.has(_number(domain_id, key_of(address)))

    async def find(self, domain_id: int, address: str, tags: Sequence[str], list_number: int = 0) -> Suppressed | None:
        """What the store says, in the order bounce, unsubscribe, complaint, left the list. tags: of the message, any
        case. list_number: of the mailing list it goes through.
        """
        key = key_of(address)

        def ask(connection: sqlite3.Connection) -> Suppressed | None:
            found = suppressions.find(connection, domain_id, key, tags)
            if found is None and list_number and _has_left(connection, list_number, key):
                return Suppressed(Why.UNSUBSCRIBE, "Not delivering to an address that left the mailing list")
            return found

        return await self._database.read(ask)

    def note(self, domain_id: int, key: str) -> None:
        """An address becomes suppressed: call it before the commit that says so. key: in the form for comparing."""
        with self._lock:
            if self._noted is not None:
                self._noted.append((domain_id, key))
            if self._bloom is None:
                return
            self._bloom.add(_number(domain_id, key))
            if domain_id not in self._domains:
                self._domains |= {domain_id}
            crowded = self._noted is None and self._bloom.full and self._bloom.capacity < self._largest
        if crowded:
            self._loop.call_soon_threadsafe(self._crowded.set)

    def note_all(self, rows: Iterable[tuple[int, str]]) -> None:
        for domain_id, key in rows:
            self.note(domain_id, key)

    async def load(self) -> None:
        """Make the filter from the store, with room to grow. The old one, or the store, answers meanwhile."""
        with self._lock:
            self._noted = []
        try:
            await self._database.writer.write(_nothing)  # what was noted before is in the store after this commit
            rows = await self._database.read(suppressions.rows)
            capacity = min(max(self._smallest, 2 * rows), self._largest)
            filling = _Filling(Bloom(capacity))
            for table in _TABLES:
                domain_id, address = -1, ""
                while True:
                    last = await self._database.read(_Piece(filling, table, domain_id, address))
                    if last is None:
                        break
                    domain_id, address = last
            with self._lock:
                filling.add(self._noted)
                self._bloom, self._domains = filling.bloom, frozenset(filling.domains)
        finally:
            with self._lock:
                self._noted = None
        log.info("suppressions-loaded", rows=rows, domains=len(self._domains), octets=capacity * BITS_PER_ENTRY // 8)

    async def run(self) -> None:
        """Load it now, and anew whenever it has become full. Ends when it is cancelled."""
        while True:
            self._crowded.clear()
            try:
                await self.load()
            except sqlite3.Error as error:
                log.warning("suppressions-not-loaded", cause=error, wait_s=AGAIN_S)
                await self._clock.sleep(AGAIN_S)
            else:
                await self._crowded.wait()


class _Filling:
    """A filter that is being made."""

    def __init__(self, bloom: Bloom) -> None:
        self.bloom, self.domains = bloom, set[int]()

    def add(self, rows: Iterable[tuple[int, str]]) -> None:
        for domain_id, key in rows:
            self.bloom.add(_number(domain_id, key))
            self.domains.add(domain_id)


class _Piece:
    """Reads some rows and adds them, on the reader's thread: the loop has better things to do."""

    def __init__(self, filling: _Filling, table: Table, domain_id: int, address: str) -> None:
        self._filling, self._table, self._domain_id, self._address = filling, table, domain_id, address

    def __call__(self, connection: sqlite3.Connection) -> tuple[int, str] | None:
        """The last one of them; None: there are no more."""
        rows = suppressions.after(connection, self._table, self._domain_id, self._address, _PIECE)
        self._filling.add(rows)
        return rows[-1] if rows else None


def _has_left(connection: sqlite3.Connection, number: int, key: str) -> bool:
    """No member is subscribed under this address any more. A list that was removed keeps nobody from what it sent."""
    return not lists.is_member(connection, number, key) and lists.numbered(connection, number) is not None


def _nothing(connection: sqlite3.Connection) -> None:
    """Writes nothing."""


def _number(domain_id: int, key: str) -> int:
    """Python's own hash of text is keyed anew in each process, so nobody can choose addresses that collide."""
    return (hash(key) ^ domain_id * 0x9E3779B97F4A7C15) & _MASK
