"""List desk: lists and members as the HTTP API asks for them: page by page, and many at once.

Room: api. May import: mail, message, storage. What it shares with the operations is here too.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import orjson

from mtad import log as log_module
from mtad.api.base import Impossible, NotThere
from mtad.api.dkim_operations import Taken
from mtad.api.list_rows import NoMailbox, key_in, read_csv
from mtad.mail.lists import MailingList, Member, MemberEntry
from mtad.storage import lists
from mtad.storage.database import Database

log = log_module.get("api")

MAX_IMPORT = 26_214_400  # characters of a file
_BATCH = 1000  # rows of one transaction


class MemberExists(Taken):
    """address: of who is a member already."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is a member already")
        self.address = address


@dataclass(frozen=True, slots=True)
class MemberView:
    """subscribed False: has left, and gets no mail. vars: what stands for him in the text of the list's mail."""

    address: str
    name: str
    subscribed: bool
    vars: dict[str, Any]


class ListDesk:
    """In the parameters `list` is the list's address."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lists(self, limit: int, beyond: str | None, backwards: bool) -> list[MailingList]:
        """Those after the key `beyond`, or the nearest before it; ascending. None: the first, or the last ones."""
        return await self._database.read(lambda c: lists.page(c, limit, beyond=beyond, backwards=backwards))

    async def members(
        self, list: str, limit: int, subscribed: bool | None, beyond: str | None, backwards: bool
    ) -> Sequence[MemberView]:
        """Those after the key `beyond`, or the nearest before it; ascending. None: the first, or the last ones."""

        def read(connection: sqlite3.Connection) -> Sequence[MemberView]:
            number = found_list(connection, list).number
            found = lists.members_page(
                connection, number, limit, subscribed=subscribed, beyond=beyond, backwards=backwards
            )
            return [view_of(one) for one in found]

        return await self._database.read(read)

    async def put(self, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
        """All of them in one transaction, or none; the list with its new counts. update: as in `member_add`."""
        changed = await self._put(list, entries, update)
        log.info("members-added", list=list, rows=len(entries))
        return changed

    async def load(self, list: str, text: str, subscribed: bool | None, update: bool) -> MailingList:
        """text: CSV. Without `update` nothing is done unless every row can be; it is looked at before the first is.
        With it, rows without an address are left out. Larger files are written in pieces.
        """
        of = await self._database.read(lambda connection: found_list(connection, list))
        await self._look_through(of, text, strict=not update)
        added = 0
        async for entries, _ in pieces_of(text, subscribed):
            of = await self._put(list, entries, update)
            added += len(entries)
        log.info("members-added", list=list, rows=added)
        return of

    async def _put(self, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
        return await self._database.writer.write(lambda connection: put_all(connection, list, entries, update))

    async def _look_through(self, of: MailingList, text: str, *, strict: bool) -> None:
        """Raises what is wrong with the first bad row. strict: also one whose address is bad, or a member's, or of a
        row before it."""
        seen: set[int] = set()
        async for entries, faults in pieces_of(text, None):
            fatal = next((fault for fault in faults if strict or not isinstance(fault[1], NoMailbox)), None)
            if fatal is not None:
                raise Impossible(f"line {fatal[0]}: {fatal[1]}")
            if not strict:
                continue
            keys = [entry.key for entry in entries]
            present = await self._database.read(partial(lists.present, number=of.number, keys=keys))
            for entry in entries:
                if entry.key in present or hash(entry.key) in seen:
                    raise MemberExists(entry.address)
                seen.add(hash(entry.key))


def found_list(connection: sqlite3.Connection, address: str) -> MailingList:
    """Raises NotThere."""
    key = key_in(address)
    found = lists.find(connection, key) if key else None
    if found is None:
        raise NotThere(f"Mailing list {address.strip()[:320]} not found; `mtad list list` shows those there are")
    return found


def put_all(connection: sqlite3.Connection, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
    of = found_list(connection, list)
    if not update:
        seen = lists.present(connection, of.number, [entry.key for entry in entries])
        for entry in entries:
            if entry.key in seen:
                raise MemberExists(entry.address)
            seen.add(entry.key)
    lists.put_members(connection, of.number, entries)
    return found_list(connection, list)


class Pieces:
    """Of a CSV file: up to _BATCH rows at a time, read beside the loop: a file may have a million."""

    def __init__(self, rows: Iterator[tuple[int, MemberEntry | Impossible]]) -> None:
        self._rows = rows

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> tuple[Sequence[MemberEntry], Sequence[tuple[int, Impossible]]]:
        """The members, and (line, what is wrong with it) of the other rows."""
        found = await asyncio.to_thread(lambda: [*islice(self._rows, _BATCH)])
        if not found:
            raise StopAsyncIteration
        entries = [one for _, one in found if isinstance(one, MemberEntry)]
        return entries, [(line, one) for line, one in found if isinstance(one, Impossible)]


def pieces_of(text: str, subscribed: bool | None) -> Pieces:
    if len(text) > MAX_IMPORT:
        raise Impossible(f"the file is larger than {MAX_IMPORT} characters: split it")
    return Pieces(read_csv(text, subscribed))


def view_of(member: Member) -> MemberView:
    return MemberView(member.address, member.name, member.subscribed, orjson.loads(member.variables_json))
