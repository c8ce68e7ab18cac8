"""Suppression desk: entries of a domain, by its number: added, read, taken away, on disk and in the daemon's memory.

Room: api. May import: mail, storage. What the operations and the HTTP API share.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from mtad.api.base import Impossible
from mtad.api.suppression_rows import SuppressionRow, read_csv
from mtad.clock import Clock
from mtad.storage import suppressions
from mtad.storage.database import Database
from mtad.storage.suppressions import Entry, Left, Table

MAX_IMPORT = 26_214_400  # octets of a file
_BATCH = 1000  # rows of one transaction
_PIECE = 5000  # rows looked at in one question


@dataclass(frozen=True, slots=True)
class Imported:
    """skipped: rows that could not be read; first_fault: what was wrong with the first, "" nothing."""

    added: int
    skipped: int
    first_fault: str


class SuppressionDesk:
    """note: told of each (domain id, address in the form for comparing) that is added, before it is written."""

    def __init__(self, database: Database, clock: Clock, note: Callable[[int, str], None] | None) -> None:
        self._database, self._clock, self._note = database, clock, note

    async def add(self, domain_id: int, table: Table, rows: Sequence[SuppressionRow]) -> None:
        """All of them or, when the store refuses one, none. What begins to be delivered after this knows them."""
        if table is not Table.ALLOWLIST and self._note is not None:
            for row in rows:
                self._note(domain_id, row.value)
        now = self._clock.now()
        await self._database.writer.write(lambda connection: _insert(connection, table, domain_id, rows, now))

    async def add_file(self, domain_id: int, table: Table, text: str, before: int = 0) -> Imported:
        """As suppression_import. Reading goes on beside the loop: a file may have a million rows."""
        if len(text) > MAX_IMPORT:
            raise Impossible(f"the file is larger than {MAX_IMPORT} octets: split it")
        added = skipped = 0
        first_fault = ""
        reader = read_csv(table, text)
        while found := await asyncio.to_thread(lambda: list(islice(reader, _BATCH))):
            rows = [row for _, row in found if isinstance(row, SuppressionRow)]
            faults = [f"line {before + line}: {fault}" for line, fault in found if isinstance(fault, str)]
            if rows:
                await self.add(domain_id, table, rows)
            added, skipped = added + len(rows), skipped + len(faults)
            first_fault = first_fault or next(iter(faults), "")
        return Imported(added, skipped, first_fault)

    async def entry(self, domain_id: int, table: Table, value: str) -> Entry | None:
        return await self._database.read(lambda connection: suppressions.get(connection, table, domain_id, value))

    async def page(
        self, domain_id: int, table: Table, limit: int, beyond: str | None, backwards: bool, term: str
    ) -> list[Entry]:
        """Those after the entry `beyond`, or the nearest before it; ascending. None: the first, or the last ones."""
        return await self._database.read(
            lambda c: suppressions.page(c, table, domain_id, limit, beyond=beyond, backwards=backwards, term=term)
        )

    async def part(self, domain_id: int, table: Table, limit: int, skip: int) -> tuple[int, list[Entry]]:
        """How many there are, and `limit` of them behind the first `skip`."""

        def read(connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
            found = suppressions.page(connection, table, domain_id, limit, skip=skip)
            return suppressions.count(connection, table, domain_id), found

        return await self._database.read(read)

    async def left_part(self, domain_id: int, limit: int, skip: int) -> tuple[int, list[Left]]:
        """The same of unsubscribes, one for each tag."""
        return await self._database.read(lambda connection: suppressions.left_part(connection, domain_id, limit, skip))

    async def left_by(self, domain_id: int, address: str) -> list[Left]:
        return await self._database.read(lambda connection: suppressions.left_by(connection, domain_id, address))

    async def left_of_id(self, domain_id: int, id: str) -> Left | None:
        """The unsubscribe of that id."""
        after: Left | None = None
        while True:
            look = partial(suppressions.left_near, domain_id=domain_id, id=id, after=after, limit=_PIECE)
            piece = await self._database.read(look)
            found = next((one for one in piece if one.id(domain_id) == id), None)
            if found is not None or len(piece) < _PIECE:
                return found
            after = piece[-1]

    async def remove(self, domain_id: int, table: Table, value: str, tag: str = "") -> bool:
        """tag: only that one of an unsubscribed address. False: it was not there."""
        return await self._database.writer.write(
            lambda connection: suppressions.remove(connection, table, domain_id, value, tag)
        )

    async def clear(self, domain_id: int, table: Table) -> int:
        return await in_batches(self._database, lambda connection: suppressions.clear(connection, table, domain_id))


async def in_batches(database: Database, work: Callable[[sqlite3.Connection], int]) -> int:
    """Until nothing is left to do; how much there was. Others may write in between."""
    total = 0
    while went := await database.writer.write(work):
        total += went
    return total


def _insert(
    connection: sqlite3.Connection, table: Table, domain_id: int, rows: Sequence[SuppressionRow], now: float
) -> None:
    dated = [(row, now if row.created_at is None else row.created_at) for row in rows]
    match table:
        case Table.BOUNCES:
            suppressions.add_bounces(connection, [(domain_id, r.value, r.code, r.words, "", at) for r, at in dated])
        case Table.UNSUBSCRIBES:
            left = [(domain_id, r.value, tag, at) for r, at in dated for tag in r.tags]
            suppressions.add_unsubscribes(connection, left)
        case Table.COMPLAINTS:
            suppressions.add_complaints(connection, [(domain_id, r.value, at) for r, at in dated])
        case Table.ALLOWLIST:
            suppressions.allow(connection, [(domain_id, r.value, r.words, at) for r, at in dated])
