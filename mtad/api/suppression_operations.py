"""Suppression operations: whom a domain does not write to: add, look, remove, import, undo.

Room: api. May import: mail, storage.
"""

import csv
import io
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, domain_name, reason, shorten
from mtad.mail.address import BadAddress, ascii_domain, parse_address
from mtad.storage import accounts, suppressions
from mtad.storage.suppressions import ALL, Entry, Table

log = log_module.get("api")

MAX_PAGE = 1000
MAX_IMPORT = 26_214_400  # octets of a file
MAX_ERROR = 1000  # characters of what a bounce's host said
MAX_TAG = 128  # characters
_BATCH = 1000  # rows of one transaction


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


@dataclass(frozen=True, slots=True)
class Imported:
    """skipped: rows that could not be read; first_fault: what was wrong with the first, "" nothing."""

    added: int
    skipped: int
    first_fault: str


@dataclass(frozen=True, slots=True)
class _Row:
    """One entry to add, checked. created_at None: now."""

    value: str
    code: str = "550"
    words: str = ""
    tags: tuple[str, ...] = (ALL,)
    created_at: float | None = None


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
        which, number = _table(table), await self._suppression_domain(domain)
        row = _Row(_value(which, address), _code(code), _words(words), _tags(tags))
        await self._add_suppressions(which, number, [row])
        log.info("suppression-added", domain=domain, table=which.value, rcpt=row.value)
        return await self._suppression_of(which, number, row.value)

    async def suppression_list(
        self, domain: str, table: str, limit: int = 100, after: str = "", begins: str = ""
    ) -> SuppressionPage:
        """after: an address; "" from the first. begins: only addresses that begin so."""
        which, number = _table(table), await self._suppression_domain(domain)
        most = max(0, min(limit, MAX_PAGE))
        beyond, term = after.strip().lower() or None, begins.strip().lower()

        def read(connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
            found = suppressions.page(connection, which, number, most, beyond=beyond, term=term)
            return suppressions.count(connection, which, number), found

        total, entries = await self._read(read)
        return SuppressionPage(total, tuple(map(_shown, entries)))

    async def suppression_find(self, domain: str, address: str) -> tuple[str, ...]:
        """The tables that hold the address; of the allowlist, its domain too."""
        number, value = await self._suppression_domain(domain), _value(Table.BOUNCES, address)

        def read(connection: sqlite3.Connection) -> tuple[str, ...]:
            found = [t.value for t in Table if suppressions.get(connection, t, number, value)]
            of_domain = suppressions.get(connection, Table.ALLOWLIST, number, value[value.rindex("@") :])
            return (*found, *([Table.ALLOWLIST.value] if of_domain and Table.ALLOWLIST.value not in found else []))

        return await self._read(read)

    async def suppression_remove(self, domain: str, table: str, address: str, tag: str = "") -> None:
        """tag: only that one of an unsubscribed address."""
        which, number = _table(table), await self._suppression_domain(domain)
        value = _value(which, address)
        if not await self._write(lambda connection: suppressions.remove(connection, which, number, value, tag)):
            raise NotThere(f"{shorten(value)} is not in the {which.value} of {domain}")
        log.info("suppression-removed", domain=domain, table=which.value, rcpt=value, tag=tag or None)

    async def suppression_clear(self, domain: str, table: str) -> int:
        """How many rows there were."""
        which, number = _table(table), await self._suppression_domain(domain)
        total = await self._in_batches(lambda connection: suppressions.clear(connection, which, number))
        log.info("suppressions-cleared", domain=domain, table=which.value, rows=total)
        return total

    async def suppression_import(self, domain: str, table: str, text: str, before: int = 0) -> Imported:
        """text: CSV whose first line names the columns; `address` must be one of them. Rows that are wrong are skipped.

        before: lines of the file that came with earlier calls.
        """
        which, number = _table(table), await self._suppression_domain(domain)
        if len(text) > MAX_IMPORT:
            raise Impossible(f"the file is larger than {MAX_IMPORT} octets: split it")
        added = skipped = 0
        first_fault = ""
        batch: list[_Row] = []
        for line, row in _read_csv(which, text):
            if isinstance(row, str):
                skipped += 1
                first_fault = first_fault or f"line {before + line}: {row}"
                continue
            batch.append(row)
            if len(batch) == _BATCH:
                await self._add_suppressions(which, number, batch)
                added, batch = added + len(batch), []
        if batch:
            await self._add_suppressions(which, number, batch)
        added += len(batch)
        log.info("suppressions-imported", domain=domain, table=which.value, added=added, skipped=skipped)
        return Imported(added, skipped, first_fault)

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
        total = await self._in_batches(lambda c: suppressions.undo(c, rule.strip(), since, until, number))
        log.info("suppressions-undone", rule=rule.strip(), domain=domain or None, rows=total)
        return total

    async def _in_batches(self, work: Callable[[sqlite3.Connection], int]) -> int:
        total = 0
        while went := await self._write(work):
            total += went
        return total

    async def _suppression_of(self, table: Table, domain_id: int, value: str) -> SuppressionItem:
        entry = await self._read(lambda connection: suppressions.get(connection, table, domain_id, value))
        if entry is None:
            raise NotThere(f"{shorten(value)} was removed by somebody else at the same time")
        return _shown(entry)

    async def _add_suppressions(self, table: Table, domain_id: int, rows: Sequence[_Row]) -> None:
        if table is not Table.ALLOWLIST and self.suppressed is not None:
            for row in rows:
                self.suppressed(domain_id, row.value)
        now = self._clock.now()
        await self._write(lambda connection: _insert(connection, table, domain_id, rows, now))

    async def _suppression_domain(self, name: str) -> int:
        domain = domain_name(name)
        found = next((row.id for row in await self._read(accounts.domains) if row.name == domain), None)
        if found is None:
            raise NotThere(f"{domain} is no domain of ours; `mtad domain list` shows them")
        return found


def _insert(connection: sqlite3.Connection, table: Table, domain_id: int, rows: Sequence[_Row], now: float) -> None:
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


def _shown(entry: Entry) -> SuppressionItem:
    return SuppressionItem(
        entry.address, entry.created_at, entry.code, entry.words, entry.rule, entry.tags, entry.count
    )


def _table(name: str) -> Table:
    wanted = name.strip().lower()
    try:
        return Table("allowlist" if wanted == "whitelists" else wanted)
    except ValueError:
        raise Impossible(f"{shorten(name)!r} is no table; there are {', '.join(Table)}") from None


def _value(table: Table, text: str) -> str:
    """In the form for comparing. Raises Impossible."""
    text = text.strip()
    try:
        if table is Table.ALLOWLIST and text.rpartition("@")[0] == "":
            return "@" + ascii_domain(text.lstrip("@"))
        return parse_address(text).key
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no address: {error}") from None


def _code(text: str) -> str:
    if not text.strip().replace(".", "").isdigit() or len(text) > 12:
        raise Impossible(f"{shorten(text)!r} is no code: write 550 or 5.1.1")
    return text.strip()


def _words(text: str) -> str:
    return reason(text[:MAX_ERROR], "")


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(tag.strip().lower() for tag in tags if tag.strip()))
    for tag in found:
        if len(tag) > MAX_TAG or not tag.isprintable():
            raise Impossible(f"{shorten(tag)!r} is no tag: at most {MAX_TAG} printable characters")
    return found or (ALL,)


def _read_csv(table: Table, text: str) -> Iterator[tuple[int, _Row | str]]:
    """(line, the row or what is wrong with it). Raises Impossible when the columns are not there."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        names = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise Impossible(f"the file is no CSV: {error}") from None
    if "address" not in names and not (table is Table.ALLOWLIST and "domain" in names):
        raise Impossible("the first line must name the columns, and one of them must be `address`")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            continue
        if any(cell.strip() for cell in cells):
            yield reader.line_num, _read_row(table, dict(zip(names, cells, strict=False)))


def _read_row(table: Table, cells: dict[str, str]) -> _Row | str:
    try:
        domain = cells.get("domain", "").strip() if table is Table.ALLOWLIST else ""
        value = _value(table, cells.get("address", "").strip() or f"@{domain}")
        tags = _tags((cells.get("tags") or cells.get("tag") or "").split(","))
        words = _words(cells.get("error") or cells.get("reason") or "")
        return _Row(value, _code(cells.get("code") or "550"), words, tags, _moment(cells.get("created_at", "")))
    except Impossible as error:
        return str(error)


def _moment(text: str) -> float | None:
    """RFC 5322 or epoch seconds; "" None."""
    text = text.strip()
    if not text:
        return None
    try:
        at = float(text) if text.replace(".", "", 1).isdigit() else parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        raise Impossible(f"{shorten(text)!r} is no date: write it as RFC 5322 does, or as epoch seconds") from None
    if not 0 <= at < 1e11:
        raise Impossible(f"{shorten(text)!r} is no date of our time")
    return at
