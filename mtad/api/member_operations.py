"""Member operations: who is on a mailing list: add, look, change, remove, import.

Room: api. May import: mail, message, storage. Each change finds its list in its own transaction, so nobody gets onto
one that is being removed.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from mtad import log as log_module
from mtad.api.base import Base, NotThere
from mtad.api.list_desk import MemberExists, MemberView, found_list, pieces_of, put_all, view_of
from mtad.api.list_operations import MAX_PAGE
from mtad.api.list_rows import key_in, read_mailbox, read_name, read_variables
from mtad.mail.lists import MailingList, Member, MemberEntry
from mtad.storage import lists

log = log_module.get("api")


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
        await self._write(lambda connection: put_all(connection, list, [entry], update))
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
            return MemberPage(_total(of, subscribed), tuple(map(view_of, found)))

        return await self._read(read)

    async def member_show(self, list: str, address: str) -> MemberView:
        return view_of(await self._read(lambda c: _found(c, found_list(c, list), address)))

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
        return view_of(changed)

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

    async def member_import(
        self, list: str, text: str, subscribed: bool | None = None, update: bool = False, before: int = 0
    ) -> MembersImported:
        """text: CSV. Rows that are wrong are skipped; members stay as they are unless `update`.

        before: lines of the file that came with earlier calls.
        """
        of = await self._read(lambda connection: found_list(connection, list))
        added = known = skipped = 0
        first_fault = ""
        async for entries, faults in pieces_of(text, subscribed):
            new, old = await self._write(partial(_put_new, list=list, entries=entries, update=update))
            added, known, skipped = added + new, known + old, skipped + len(faults)
            if faults and not first_fault:
                first_fault = f"line {before + faults[0][0]}: {faults[0][1]}"
        log.info("members-imported", list=of.address, added=added, known=known, skipped=skipped)
        return MembersImported(added, known, skipped, first_fault)


def _put_new(
    connection: sqlite3.Connection, list: str, entries: Sequence[MemberEntry], update: bool
) -> tuple[int, int]:
    """(added, members before)."""
    of = found_list(connection, list)
    present = lists.present(connection, of.number, [entry.key for entry in entries])
    wanted = [entry for entry in entries if update or entry.key not in present]
    return lists.put_members(connection, of.number, wanted), sum(entry.key in present for entry in entries)


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
