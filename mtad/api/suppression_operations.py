"""Suppression operations: whom a domain does not write to: add, look, remove, import, undo.

Room: api. May import: mail, storage.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, domain_name, shorten
from mtad.api.suppression_desk import Imported, SuppressionDesk, in_batches
from mtad.api.suppression_rows import SuppressionRow, read_code, read_table, read_tags, read_value, read_words
from mtad.storage import accounts, suppressions
from mtad.storage.suppressions import Entry, Table

__all__ = ["Imported", "SuppressionItem", "SuppressionOperations", "SuppressionPage"]

log = log_module.get("api")

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class SuppressionItem:
    """words: what the host said, or why it is on the allowlist. rule: that caused a bounce, "" a person did."""

    address: str
    created_at: float
    code: str
    words: str
    rule: str
    tags: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class SuppressionPage:
    """total: of all entries of the table. items: of this page, in the order of their addresses."""

    total: int
    items: tuple[SuppressionItem, ...]


class SuppressionOperations(Base):
    """table: "bounces", "unsubscribes", "complaints" or "allowlist".

    suppressed: told of each (domain id, address in the form for comparing) that is added, before it is written; the
    daemon's filter of suppressed addresses must learn it.
    """

    suppressed: Callable[[int, str], None] | None = None

    async def suppression_add(
        self,
        domain: str,
        table: str,
        address: str,
        code: str = "550",
        words: str = "",
        tags: tuple[str, ...] = (),
    ) -> SuppressionItem:
        """code: of a bounce. words: of a bounce or of the allowlist, whose address may be "@" and a domain too.

        tags: of an unsubscribe; none is all mail. What is there is replaced.
        """
        which, number = read_table(table), await self._suppression_domain(domain)
        row = SuppressionRow(read_value(which, address), read_code(code), read_words(words), read_tags(tags))
        await self._desk.add(number, which, [row])
        log.info("suppression-added", domain=domain, table=which.value, rcpt=row.value)
        return await self._suppression_of(which, number, row.value)

    async def suppression_list(
        self, domain: str, table: str, limit: int = 100, after: str = "", begins: str = ""
    ) -> SuppressionPage:
        """after: an address; "" from the first. begins: only addresses that begin so."""
        which, number = read_table(table), await self._suppression_domain(domain)
        most = max(0, min(limit, MAX_PAGE))
        beyond, term = after.strip().lower() or None, begins.strip().lower()

        def read(connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
            found = suppressions.page(connection, which, number, most, beyond=beyond, term=term)
            return suppressions.count(connection, which, number), found

        total, entries = await self._read(read)
        return SuppressionPage(total, tuple(map(_shown, entries)))

    async def suppression_find(self, domain: str, address: str) -> tuple[str, ...]:
        """The tables that hold the address; of the allowlist, its domain too."""
        number, value = await self._suppression_domain(domain), read_value(Table.BOUNCES, address)

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            found = [t.value for t in Table if suppressions.get(connection, t, number, value)]
            of_domain = suppressions.get(connection, Table.ALLOWLIST, number, value[value.rindex("@") :])
            return (*found, *([Table.ALLOWLIST.value] if of_domain and Table.ALLOWLIST.value not in found else []))

        return await self._read(read)

    async def suppression_remove(self, domain: str, table: str, address: str, tag: str = "") -> None:
        """tag: only that one of an unsubscribed address."""
        which, number = read_table(table), await self._suppression_domain(domain)
        value = read_value(which, address)
        if not await self._write(lambda connection: suppressions.remove(connection, which, number, value, tag)):
            raise NotThere(f"{shorten(value)} is not in the {which.value} of {domain}")
        log.info("suppression-removed", domain=domain, table=which.value, rcpt=value, tag=tag or None)

    async def suppression_clear(self, domain: str, table: str) -> int:
        """How many rows there were."""
        which, number = read_table(table), await self._suppression_domain(domain)
        total = await self._desk.clear(number, which)
        log.info("suppressions-cleared", domain=domain, table=which.value, rows=total)
        return total

    async def suppression_import(self, domain: str, table: str, text: str, before: int = 0) -> Imported:
        """text: CSV whose first line names the columns; `address` must be one of them. Rows that are wrong are skipped.

        before: lines of the file that came with earlier calls.
        """
        which, number = read_table(table), await self._suppression_domain(domain)
        imported = await self._desk.add_file(number, which, text, before)
        log.info(
            "suppressions-imported",
            domain=domain,
            table=which.value,
            added=imported.added,
            skipped=imported.skipped,
        )
        return imported

    async def suppression_undo(
        self, rule: str, since: float, until: float, domain: str = "", dry_run: bool = False
    ) -> int:
        """Remove the bounces that a rule of bounces.toml caused from `since` to before `until` (epoch seconds).

        How many; dry_run: how many it would be.
        """
        if not rule.strip():
            raise Impossible("name the rule of bounces.toml that caused them")
        if since >= until:
            raise Impossible("the time must begin before it ends")
        number = await self._suppression_domain(domain) if domain else None
        if dry_run:
            return await self._read(lambda c: suppressions.count_undo(c, rule.strip(), since, until, number))
        total = await in_batches(self._database, lambda c: suppressions.undo(c, rule.strip(), since, until, number))
        log.info("suppressions-undone", rule=rule.strip(), domain=domain or None, rows=total)
        return total

    @property
    def _desk(self) -> SuppressionDesk:
        return SuppressionDesk(self._database, self._clock, self.suppressed)

    async def _suppression_of(self, table: Table, domain_id: int, value: str) -> SuppressionItem:
        entry = await self._read(lambda connection: suppressions.get(connection, table, domain_id, value))
        if entry is None:
            raise NotThere(f"{shorten(value)} was removed by somebody else at the same time")
        return _shown(entry)

    async def _suppression_domain(self, name: str) -> int:
        domain = domain_name(name)
        found = next((row.id for row in await self._read(accounts.domains) if row.name == domain), None)
        if found is None:
            raise NotThere(f"{domain} is no domain of ours; `mtad domain list` shows them")
        return found


def _shown(entry: Entry) -> SuppressionItem:
    return SuppressionItem(
        entry.address, entry.created_at, entry.code, entry.words, entry.rule, entry.tags, entry.count
    )
