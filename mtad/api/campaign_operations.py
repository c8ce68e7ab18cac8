"""Campaign operations: the names under which a domain's mail is counted and looked at.

Room: api. May import: mail, storage.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mtad import log as log_module
from mtad.api.base import Base, Full, Impossible, NotThere, domain_name, shorten
from mtad.api.dkim_operations import Taken
from mtad.api.domain_views import no_domain
from mtad.mail.ids import queue_id
from mtad.mail.metric import Metric
from mtad.storage import accounts, campaign_events, campaigns, counters
from mtad.storage.campaigns import CampaignRow

log = log_module.get("api")

MAX_CAMPAIGNS = 10_000  # of one domain
MAX_PAGE = 1000  # campaigns of one answer
MAX_SKIP = 2**31 - 1
MAX_TEXT = 64  # characters of an id or a name


@dataclass(frozen=True, slots=True)
class CampaignView:
    """The counts are those of the last six months (store.counters_keep_s). submitted: recipients. bounced: refused by
    the other side, at once or by a report; dropped: not delivered for another reason.
    """

    domain: str
    id: str
    name: str
    created_at: float
    submitted: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0
    dropped: int = 0
    unsubscribed: int = 0
    complained: int = 0


@dataclass(frozen=True, slots=True)
class CampaignList:
    """total: of the domain; items: the part that was asked for, oldest first."""

    total: int
    items: tuple[CampaignView, ...]


class Campaigning(Protocol):
    """The campaigns that the running daemon knows."""

    async def load(self) -> None:
        """They have changed."""


# What each count of a view is the sum of.
COUNTS: Mapping[str, tuple[Metric, ...]] = {
    "submitted": (Metric.ACCEPTED_OUTGOING,),
    "delivered": (Metric.DELIVERED_SMTP, Metric.DELIVERED_HTTP),
    "opened": (Metric.OPENED,),
    "clicked": (Metric.CLICKED,),
    "bounced": (Metric.FAILED_BOUNCE, Metric.FAILED_DELAYED),
    "dropped": (
        Metric.FAILED_OTHER,
        Metric.SUPPRESSED_BOUNCE,
        Metric.SUPPRESSED_UNSUBSCRIBE,
        Metric.SUPPRESSED_COMPLAINT,
    ),
    "unsubscribed": (Metric.UNSUBSCRIBED,),
    "complained": (Metric.COMPLAINED,),
}


class CampaignOperations(Base):
    """campaigning: set by the daemon; None: no daemon runs."""

    campaigning: Campaigning | None = None

    async def campaign_add(self, domain: str, name: str, id: str = "") -> CampaignView:
        """id "": one is made. Raises Taken and Full."""
        host, now = domain_name(domain), self._clock.now()
        given = _id(id) if id.strip() else queue_id(self._ids.next())
        told = _name(name)

        def work(connection: sqlite3.Connection) -> None:
            domain_id = _domain_id(connection, host)
            if campaigns.count(connection, domain_id) >= MAX_CAMPAIGNS:
                raise Full(f"{host} has {MAX_CAMPAIGNS} campaigns, and more are not possible")
            if not campaigns.add(connection, domain_id, given, told, now):
                raise _taken(host, given)

        await self._write(work)
        log.info("campaign-added", domain=host, campaign=given)
        await self._campaigns_changed()
        return CampaignView(host, given, told, now)

    async def campaign_list(self, domain: str, limit: int = 100, skip: int = 0) -> CampaignList:
        if not 0 <= limit <= MAX_PAGE or not 0 <= skip <= MAX_SKIP:
            raise Impossible(f"limit is 0 to {MAX_PAGE}, and skip 0 or more")
        host = domain_name(domain)

        def work(connection: sqlite3.Connection) -> CampaignList:
            domain_id = _domain_id(connection, host)
            total, rows = campaigns.page(connection, domain_id, limit, skip)
            counts = campaigns.counted(connection, [row.number for row in rows])
            return CampaignList(total, tuple(_view(host, row, counts.get(row.number, {})) for row in rows))

        return await self._read(work)

    async def campaign_show(self, domain: str, id: str) -> CampaignView:
        host = domain_name(domain)

        def work(connection: sqlite3.Connection) -> CampaignView:
            row = _find(connection, host, id)
            counts = campaigns.counted(connection, [row.number])
            return _view(host, row, counts.get(row.number, {}))

        return await self._read(work)

    async def campaign_set(
        self, domain: str, id: str, name: str | None = None, new_id: str | None = None
    ) -> CampaignView:
        """None: as it is. Under a new id it keeps its data; mail that names the old one belongs to it no more."""
        host = domain_name(domain)
        told, given = (None if name is None else _name(name)), (None if new_id is None else _id(new_id))

        def work(connection: sqlite3.Connection) -> str:
            row = _find(connection, host, id)
            to = row.id if given is None else given
            try:
                campaigns.change(connection, row.number, to, row.name if told is None else told)
            except sqlite3.IntegrityError:
                raise _taken(host, to) from None
            return to

        now_called = await self._write(work)
        log.info("campaign-set", domain=host, campaign=now_called, was=id if id != now_called else None)
        await self._campaigns_changed()
        return await self.campaign_show(host, now_called)

    async def campaign_remove(self, domain: str, id: str) -> None:
        """With all its data, a few rows at a time. Should it be cut short, the rest is removed by and by."""
        host = domain_name(domain)

        def work(connection: sqlite3.Connection) -> CampaignRow:
            row = _find(connection, host, id)
            campaigns.remove(connection, row.number)
            return row

        row = await self._write(work)
        log.info("campaign-removed", domain=host, campaign=row.id)
        await self._campaigns_changed()
        while await self._write(partial(campaign_events.purge, number=row.number)):
            continue
        while await self._write(partial(_forget_counters, label=row.label)):
            continue

    async def _campaigns_changed(self) -> None:
        if self.campaigning is not None:
            await self.campaigning.load()


def _forget_counters(connection: sqlite3.Connection, label: str) -> int:
    """Of all domains: that of a mailing list may be another. How many rows went."""
    return sum(counters.forget_label(connection, row.id, label) for row in accounts.domains(connection))


def _domain_id(connection: sqlite3.Connection, name: str) -> int:
    """Raises NotThere."""
    number = next((row.id for row in accounts.domains(connection) if row.name == name), None)
    if number is None:
        raise no_domain(name)
    return number


def _find(connection: sqlite3.Connection, domain: str, id: str) -> CampaignRow:
    row = campaigns.find(connection, _domain_id(connection, domain), id.strip())
    if row is None:
        raise NotThere(f"{domain} has no campaign {shorten(id)}; `mtad campaign list {domain}` shows those there are")
    return row


def _view(domain: str, row: CampaignRow, counts: Mapping[Metric, int]) -> CampaignView:
    sums = {name: sum(counts.get(metric, 0) for metric in metrics) for name, metrics in COUNTS.items()}
    return CampaignView(domain, row.id, row.name, row.created_at, **sums)


def _id(text: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_TEXT or not text.isascii() or not text.isprintable():
        raise Impossible(f"a campaign's id is 1 to {MAX_TEXT} printable ASCII characters, not {shorten(text)!r}")
    return text


def _name(text: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise Impossible(f"a campaign's name is 1 to {MAX_TEXT} printable characters, not {shorten(text)!r}")
    return text


def _taken(domain: str, id: str) -> Taken:
    return Taken(f"{domain} has a campaign {shorten(id)} already")
