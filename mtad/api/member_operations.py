"""Member operations: who is on a mailing list: add, look, change, remove, import.

Room: api. May import: mail, message, storage. Each change finds its list in its own transaction, so nobody gets onto
one that is being removed.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import orjson

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere
from mtad.api.dkim_operations import Taken
from mtad.api.list_operations import MAX_PAGE, found_list
from mtad.api.list_rows import NoMailbox, key_in, read_csv, read_mailbox, read_name, read_variables
from mtad.mail.lists import MailingList, Member, MemberEntry
from mtad.storage import lists

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


@dataclass(frozen=True, slots=True)
class MemberPage:
    """total: of all that were asked for; items: a part of them, in the order of their addresses."""

    total: int
    items: tuple[MemberView, ...]


@dataclass(frozen=True, slots=True)
class MembersImported:
    """known: were members before; they were changed only if that was asked for. skipped: rows that could not be read;
    first_fault: what was wrong with the first, "" nothing.
    """

    added: int
    known: int
    skipped: int
    first_fault: str


class MemberOperations(Base):
    """In the parameters `list` is the list's address."""

    async def member_add(
        self,
        list: str,
        address: str,
        name: str | None = None,
        subscribed: bool | None = None,
        variables: str | None = None,
        update: bool = False,
    ) -> MemberView:
        """variables: text of a JSON object. update: change by what is said (None: nothing) who is a member already;
        else that raises MemberExists.
        """
        where, named = read_mailbox(address)
        entry = MemberEntry(
            where,
            read_name(name) if name is not None else named or None,
            subscribed,
            read_variables(variables) if variables is not None else None,
        )
        await self._put(list, [entry], update)
        log.info("member-added", list=list, rcpt=where)
        return await self.member_show(list, where)

    async def member_list(
        self, list: str, limit: int = 100, skip: int = 0, subscribed: bool | None = None, after: str = ""
    ) -> MemberPage:
        """subscribed: only those who are, or only those who are not. after: go on behind this address."""
        most, behind, beyond = max(0, min(limit, MAX_PAGE)), max(0, min(skip, 1 << 40)), after.strip().casefold()

        def read(connection: sqlite3.Connection) -> MemberPage:
            of = found_list(connection, list)
            found = lists.members_page(
                connection, of.number, most, subscribed=subscribed, beyond=beyond or None, skip=behind
            )
            return MemberPage(_total(of, subscribed), tuple(map(_view, found)))

        return await self._read(read)

    async def member_page(
        self, list: str, limit: int, subscribed: bool | None, beyond: str | None, backwards: bool
    ) -> Sequence[MemberView]:
        """Those after the key `beyond`, or the nearest before it; ascending. None: the first, or the last ones."""

        def read(connection: sqlite3.Connection) -> Sequence[MemberView]:
            number = found_list(connection, list).number
            found = lists.members_page(
                connection, number, limit, subscribed=subscribed, beyond=beyond, backwards=backwards
            )
            return [_view(one) for one in found]

        return await self._read(read)

    async def member_show(self, list: str, address: str) -> MemberView:
        return _view(await self._read(lambda c: _found(c, found_list(c, list), address)))

    async def member_set(
        self,
        list: str,
        address: str,
        new_address: str | None = None,
        name: str | None = None,
        subscribed: bool | None = None,
        variables: str | None = None,
    ) -> MemberView:
        """None: as it is. variables replace all there were."""
        where, named = read_mailbox(new_address) if new_address is not None else (None, "")
        wanted_name = read_name(name) if name is not None else named or None
        text = read_variables(variables) if variables is not None else None

        def change(connection: sqlite3.Connection) -> Member:
            of = found_list(connection, list)
            old = _found(connection, of, address)
            new = replace(
                old,
                address=old.address if where is None else where,
                name=old.name if wanted_name is None else wanted_name,
                subscribed=old.subscribed if subscribed is None else subscribed,
                variables_json=old.variables_json if text is None else text,
            )
            if not lists.replace_member(connection, of.number, old, new):
                raise MemberExists(new.address)
            return new

        changed = await self._write(change)
        log.info("member-set", list=list, rcpt=changed.address, subscribed=changed.subscribed)
        return _view(changed)

    async def member_remove(self, list: str, address: str) -> str:
        """His address."""

        def remove(connection: sqlite3.Connection) -> Member:
            of = found_list(connection, list)
            old = _found(connection, of, address)
            lists.remove_member(connection, of.number, old.key)
            return old

        removed = await self._write(remove)
        log.info("member-removed", list=list, rcpt=removed.address)
        return removed.address

    async def member_put(self, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
        """All of them in one transaction, or none. update: as in member_add. The list with its new counts."""
        changed = await self._put(list, entries, update)
        log.info("members-added", list=list, rows=len(entries))
        return changed

    async def member_load(self, list: str, text: str, subscribed: bool | None, update: bool) -> MailingList:
        """text: CSV. Without `update` nothing is done unless every row can be; it is looked at before the first is.
        With it, rows without an address are left out. Larger files are written in pieces.
        """
        of = await self._read(lambda connection: found_list(connection, list))
        await self._look_through(of, text, strict=not update)
        added = 0
        async for entries, _ in _pieces(text, subscribed):
            of = await self._put(list, entries, update)
            added += len(entries)
        log.info("members-added", list=list, rows=added)
        return of

    async def member_import(
        self, list: str, text: str, subscribed: bool | None = None, update: bool = False, before: int = 0
    ) -> MembersImported:
        """text: CSV. Rows that are wrong are skipped; members stay as they are unless `update`.

        before: lines of the file that came with earlier calls.
        """
        of = await self._read(lambda connection: found_list(connection, list))
        added = known = skipped = 0
        first_fault = ""
        async for entries, faults in _pieces(text, subscribed):
            new, old = await self._write(partial(_put_new, list=list, entries=entries, update=update))
            added, known, skipped = added + new, known + old, skipped + len(faults)
            if faults and not first_fault:
                first_fault = f"line {before + faults[0][0]}: {faults[0][1]}"
        log.info("members-imported", list=of.address, added=added, known=known, skipped=skipped)
        return MembersImported(added, known, skipped, first_fault)

    async def _put(self, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
        return await self._write(lambda connection: _put_all(connection, list, entries, update))

    async def _look_through(self, of: MailingList, text: str, *, strict: bool) -> None:
        """Raises what is wrong with the first bad row. strict: also one whose address is bad, or a member's, or of a
        row before it."""
        seen: set[int] = set()
        async for entries, faults in _pieces(text, None):
            fatal = next((fault for fault in faults if strict or not isinstance(fault[1], NoMailbox)), None)
            if fatal is not None:
                raise Impossible(f"line {fatal[0]}: {fatal[1]}")
            if not strict:
                continue
            keys = [entry.key for entry in entries]
            present = await self._read(partial(lists.present, number=of.number, keys=keys))
            for entry in entries:
                if entry.key in present or hash(entry.key) in seen:
                    raise MemberExists(entry.address)
                seen.add(hash(entry.key))


def _put_all(connection: sqlite3.Connection, list: str, entries: Sequence[MemberEntry], update: bool) -> MailingList:
    of = found_list(connection, list)
    if not update:
        seen = lists.present(connection, of.number, [entry.key for entry in entries])
        for entry in entries:
            if entry.key in seen:
                raise MemberExists(entry.address)
            seen.add(entry.key)
    lists.put_members(connection, of.number, entries)
    return found_list(connection, list)


def _put_new(
    connection: sqlite3.Connection, list: str, entries: Sequence[MemberEntry], update: bool
) -> tuple[int, int]:
    """(added, members before)."""
    of = found_list(connection, list)
    present = lists.present(connection, of.number, [entry.key for entry in entries])
    wanted = [entry for entry in entries if update or entry.key not in present]
    return lists.put_members(connection, of.number, wanted), sum(entry.key in present for entry in entries)


class _Pieces:
    """Of a CSV file: up to _BATCH rows at a time, read beside the loop: a file may have a million."""

    def __init__(self, rows: Iterator[tuple[int, MemberEntry | Impossible]]) -> None:
        self._rows = rows

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> tuple[Sequence[MemberEntry], Sequence[tuple[int, Impossible]]]:
        """The members, and (line, what is wrong with it) of the other rows."""
        found = await asyncio.to_thread(lambda: [*islice(self._rows, _BATCH)])
        if not found:
            raise StopAsyncIteration
        entries = [one for _, one in found if isinstance(one, MemberEntry)]
        return entries, [(line, one) for line, one in found if isinstance(one, Impossible)]


def _pieces(text: str, subscribed: bool | None) -> _Pieces:
    if len(text) > MAX_IMPORT:
        raise Impossible(f"the file is larger than {MAX_IMPORT} characters: split it")
    return _Pieces(read_csv(text, subscribed))


def _found(connection: sqlite3.Connection, of: MailingList, address: str) -> Member:
    key = key_in(address)
    found = lists.member(connection, of.number, key) if key else None
    if found is None:
        raise NotThere(f"Member {address.strip()[:320]} of mailing list {of.address} not found")
    return found


def _total(of: MailingList, subscribed: bool | None) -> int:
    if subscribed is None:
        return of.members_count
    return of.subscribed_count if subscribed else of.members_count - of.subscribed_count


def _view(member: Member) -> MemberView:
    return MemberView(member.address, member.name, member.subscribed, orjson.loads(member.variables_json))
