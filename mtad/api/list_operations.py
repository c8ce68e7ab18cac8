"""List operations: mailing lists: make, look, change, remove.

Room: api. May import: mail, message, storage. Their members: `member_operations`.
"""

import sqlite3
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from mtad import log as log_module
from mtad.api.base import Base, Impossible
from mtad.api.dkim_operations import Taken
from mtad.api.list_desk import found_list
from mtad.api.list_rows import read_access, read_description, read_mailbox, read_name, read_reply
from mtad.api.suppression_desk import in_batches
from mtad.mail.lists import MailingList, list_label
from mtad.mail.metric import Metric
from mtad.storage import accounts, counters, list_reports, lists

log = log_module.get("api")

MAX_LISTS = 100_000
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ListPage:
    """total: of all lists; items: the part that was asked for, in the order of their addresses."""

    total: int
    items: tuple[MailingList, ...]


@dataclass(frozen=True, slots=True)
class ListStats:
    """What became of the copies a list sent, as long as it is counted. links: different ones that people clicked,
    of the newest clicks that are still in the journal. clickers, openers: once for each copy.
    """

    delivered: int
    opened: int
    clicked: int
    unsubscribed: int
    complained: int
    bounced: int
    links: int
    clickers: int
    openers: int


class Listing(Protocol):
    """The lists as the running daemon knows them."""

    async def changed(self, *keys: str) -> None:
        """Those of these keys are others than before, new, or gone."""


class ListOperations(Base):
    """listing: set by the daemon; None: no daemon runs."""

    listing: Listing | None = None

    async def list_add(
        self,
        address: str,
        name: str = "",
        description: str = "",
        access_level: str = "readonly",
        reply_preference: str = "list",
    ) -> MailingList:
        """address: at a domain of ours; a name before it counts where `name` is ""."""
        where, named = read_mailbox(address)
        wanted = MailingList(
            address=where,
            name=read_name(name) or named,
            description=read_description(description),
            access_level=read_access(access_level),
            reply_preference=read_reply(reply_preference),
            created_at=self._clock.now(),
        )
        made = await self._write(lambda connection: _create(connection, wanted))
        log.info("list-added", list=made.address, access=made.access_level.value)
        await self._lists_changed(made.key)
        return made

    async def list_list(self, limit: int = 100, skip: int = 0) -> ListPage:
        most, behind = max(0, min(limit, MAX_PAGE)), max(0, min(skip, MAX_LISTS))

        def read(connection: sqlite3.Connection) -> ListPage:
            return ListPage(lists.count(connection), tuple(lists.page(connection, most, skip=behind)))

        return await self._read(read)

    async def list_show(self, address: str) -> MailingList:
        return await self._read(lambda connection: found_list(connection, address))

    async def list_set(
        self,
        address: str,
        new_address: str | None = None,
        name: str | None = None,
        description: str | None = None,
        access_level: str | None = None,
        reply_preference: str | None = None,
    ) -> MailingList:
        """None: as it is. Members stay with it under another address."""
        where, named = read_mailbox(new_address) if new_address is not None else (None, "")
        wanted_name = read_name(name) if name is not None else named or None
        text = read_description(description) if description is not None else None
        access = read_access(access_level) if access_level is not None else None
        reply = read_reply(reply_preference) if reply_preference is not None else None

        def change(connection: sqlite3.Connection) -> tuple[MailingList, MailingList]:
            old = found_list(connection, address)
            new = replace(
                old,
                address=old.address if where is None else where,
                name=old.name if wanted_name is None else wanted_name,
                description=old.description if text is None else text,
                access_level=access or old.access_level,
                reply_preference=reply or old.reply_preference,
            )
            if new.domain != old.domain:
                _at_ours(connection, new)
            if not lists.replace(connection, new):
                raise Taken(f"{new.address} is another list's address")
            return old, new

        before, changed = await self._write(change)
        log.info("list-set", list=changed.address, access=changed.access_level.value)
        await self._lists_changed(before.key, changed.key)
        return changed

    async def list_remove(self, address: str) -> MailingList:
        """With its members; what it was."""

        def remove(connection: sqlite3.Connection) -> MailingList:
            old = found_list(connection, address)
            lists.remove(connection, old.number)
            return old

        removed = await self._write(remove)
        log.info("list-removed", list=removed.address, members=removed.members_count)
        await self._lists_changed(removed.key)
        await in_batches(self._database, lists.sweep)
        return removed

    async def list_stats(self, address: str) -> ListStats:
        return await self._read(lambda connection: _stats(connection, found_list(connection, address)))

    async def _lists_changed(self, *keys: str) -> None:
        if self.listing is not None:
            await self.listing.changed(*keys)


def _create(connection: sqlite3.Connection, wanted: MailingList) -> MailingList:
    _at_ours(connection, wanted)
    if lists.count(connection) >= MAX_LISTS:
        raise Impossible(f"there are {MAX_LISTS} mailing lists, and more are not possible")
    made = lists.create(connection, wanted)
    if made is None:
        raise Taken(f"{wanted.address} is a mailing list already")
    return made


def _at_ours(connection: sqlite3.Connection, wanted: MailingList) -> None:
    if not any(row.name == wanted.domain for row in accounts.domains(connection)):
        raise Impossible(
            f"{wanted.domain} is no domain of ours, so no list can be there; `mtad domain list` shows them"
        )


def _stats(connection: sqlite3.Connection, of: MailingList) -> ListStats:
    found = counters.totals(connection, list_label(of.number))
    count = partial(_sum, found)
    return ListStats(
        delivered=count(Metric.DELIVERED_SMTP, Metric.DELIVERED_HTTP),
        opened=count(Metric.OPENED),
        clicked=count(Metric.CLICKED),
        unsubscribed=count(Metric.UNSUBSCRIBED),
        complained=count(Metric.COMPLAINED),
        bounced=count(Metric.FAILED_BOUNCE, Metric.FAILED_DELAYED),
        links=list_reports.links(connection, of) if found.get(Metric.CLICKED) else 0,
        clickers=count(Metric.CLICKED_UNIQUE),
        openers=count(Metric.OPENED_UNIQUE),
    )


def _sum(found: dict[Metric, int], *metrics: Metric) -> int:
    return sum(found.get(metric, 0) for metric in metrics)
