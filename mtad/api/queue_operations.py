"""Queue operations: what waits and why; try it now, drop it, pause; sites shown, suspended, resumed.

Room: api. May import: mail, storage.
"""

import sqlite3
from collections.abc import Sequence

import orjson

from mtad import log as log_module
from mtad.api.base import MAX_IDS, Base, Impossible, NotThere, number_of, reason, shorten
from mtad.api.results import MessageView, QueueItem, QueueList, SiteItem, SourceItem
from mtad.mail.address import without_password
from mtad.mail.event import EventType
from mtad.mail.ids import made_at, queue_id
from mtad.mail.waiting import Waiting, WaitReason
from mtad.storage import queue_view, sites
from mtad.storage.outgoing import Settle, State, StoredRecipient
from mtad.storage.queue_view import QueueFilter, QueueRow
from mtad.storage.sites import SiteSummary, site_id

log = log_module.get("api")

_BATCH = 1000  # rows of one transaction
_SHOWN = 1000  # recipients of one message that are shown
_STATES = {State.WAITING: "waiting", State.LEASED: "sending", State.DELIVERED: "delivered", State.FAILED: "failed"}


def _sentence(fact: str, why: str) -> str:
    words = reason(why, "")
    return f"{fact}: {words}" if words else fact


class QueueOperations(Base):
    async def queue_list(self, site: str = "", domain: str = "", recipient: str = "", limit: int = 100) -> QueueList:
        """Up to `limit` open recipients. domain: of ours; recipient: an address, or "@domain"."""
        wanted = QueueFilter(site, domain.strip().lower(), recipient.strip())
        rows = await self._read(lambda connection: queue_view.waiting(connection, wanted, max(0, limit)))
        depth = await self._read(queue_view.depth)
        items = tuple(self._item(row) for row in rows)
        return QueueList(depth.waiting, depth.leased, self._runner is not None, items)

    async def queue_show(self, message: str) -> MessageView:
        """message: its queue id, or that of one of its recipients."""
        number = number_of(message)
        found = await self._read(lambda connection: queue_view.message(connection, number))
        if found is None:
            raise NotThere(f"no message {message.strip().lower()} in the store: never there, or older than it is kept")
        rows = await self._read(lambda connection: queue_view.of_message(connection, found, _SHOWN))
        return MessageView(
            id=queue_id(found.id),
            accepted_at=made_at(found.id),
            domain=found.domain,
            reverse_path=found.reverse_path,
            size=found.size,
            recipient_count=found.recipients,
            scheduled_for=found.deliver_at,
            about=found.about,
            daemon=self._runner is not None,
            recipients=tuple(self._item(row) for row in rows),
        )

    def _item(self, row: QueueRow) -> QueueItem:
        is_open = row.state in (State.WAITING, State.LEASED)
        return QueueItem(
            id=queue_id(row.id),
            message=queue_id(row.message_id),
            domain=row.domain,
            site=row.site_key,
            recipient=without_password(row.address),
            state=_STATES[row.state],
            attempts=row.attempts,
            unknown_outcomes=row.unknown,
            due_at=row.due_at,
            expire_at=row.expire_at,
            last_reply=row.last_reply,
            why=self._runner.explain(row) if self._runner is not None and is_open else None,
        )

    async def queue_retry(self, ids: tuple[str, ...] = (), site: str = "", every: bool = False) -> int:
        """Make recipients that wait after a failure due now: of messages or recipients, of a site, or all. How many."""
        if (bool(ids) + bool(site) + every) != 1:
            raise Impossible("name what to try now: queue ids, or a site, or all")
        numbers = await self._known(ids) if ids else []
        if site:
            await self._known_site(site)
        if self._runner is not None:
            count = await self._runner.retry(site or None, numbers)
        else:
            count = await self._retry_stored(site_id(site) if site else None, numbers)
        log.info("operator-retry", site=site or None, named=len(ids) or None, recipients=count)
        return count

    async def _retry_stored(self, site: int | None, numbers: Sequence[int]) -> int:
        now, count = self._clock.now(), 0
        while True:
            some = await self._write(lambda c: len(self._outgoing.retry_now(c, now, _BATCH, site, numbers)))
            count += some
            if some < _BATCH:
                return count

    async def queue_drop(self, ids: tuple[str, ...], why: str = "") -> int:
        """Give recipients up that wait, by their ids or those of their messages: they fail. Nobody gets a DSN."""
        if not ids:
            raise Impossible("name what to drop: queue ids of messages or recipients")
        numbers, words = await self._known(ids), reason(why, "dropped by the operator")
        if self._runner is not None:
            count = await self._runner.drop(numbers, words)
        else:
            count = await self._write(lambda connection: self._drop_stored(connection, numbers, words))
        log.info("operator-drop", named=len(ids), recipients=count, why=words)
        return count

    def _drop_stored(self, connection: sqlite3.Connection, numbers: Sequence[int], why: str) -> int:
        """The same rows and event that the runner writes."""
        rows = self._outgoing.lease_for_drop(connection, numbers)
        self._outgoing.settle(connection, [self._dropped(row, why) for row in rows])
        return len(rows)

    def _dropped(self, row: StoredRecipient, why: str) -> Settle:
        status = {"code": 0, "message": why, "description": why, "attempt-no": row.attempts}
        detail = {"severity": "permanent", "reason": "generic", "cause": "unknown", "delivery-status": status}
        number, kind = self._ids.next(), int(EventType.FAILED_PERMANENT)
        event = (number, kind, row.domain_id, row.message_id, row.id, orjson.dumps(detail))
        return Settle(row.id, row.message_id, State.FAILED, event, spooled=True, site_id=row.site_id)

    async def queue_pause(self, why: str = "") -> None:
        """Start no deliveries until queue_unpause; mail is still taken and kept."""
        if self._runner is None:
            raise Impossible("no daemon is running: nothing is being delivered (queue.paused = true keeps it so)")
        self._runner.pause(_sentence("the queue is paused by the operator", why))
        log.info("operator-pause", why=why or None)

    async def queue_unpause(self) -> None:
        if self._runner is None:
            raise Impossible("no daemon is running: nothing is being delivered")
        self._runner.unpause()
        log.info("operator-unpause")

    async def site_list(self, limit: int = 100) -> tuple[SiteItem, ...]:
        """Sites with something in the queue or suspended, most recipients first."""
        rows = await self._read(lambda connection: sites.summaries(connection, max(0, min(limit, 10_000))))
        return tuple(self._site(row) for row in rows)

    async def site_show(self, key: str) -> SiteItem:
        await self._known_site(key)
        rows = await self._read(lambda connection: sites.summaries(connection, 1_000_000))
        found = next((row for row in rows if row.row.key == key), None)
        if found is None:
            row = await self._read(lambda connection: sites.find(connection, key))
            assert row is not None
            found = SiteSummary(row, 0, 0, None)
        return self._site(found)

    def _site(self, summary: SiteSummary) -> SiteItem:
        row = summary.row
        now = self._runner.site_view(row.key) if self._runner is not None else None
        why = now.shut if now is not None else None
        if why is None and row.suspended_why is not None and not self._is_over(row.suspended_until):
            why = Waiting(WaitReason.SITE_SUSPENDED, row.suspended_until, row.suspended_why)
        return SiteItem(
            key=row.key,
            waiting=summary.waiting,
            sending=summary.leased,
            first_due_at=summary.first_due,
            why=why,
            connections=now.connections if now else None,
            connection_limit=now.connection_limit if now else None,
            rate_per_s=now.rate_per_s if now else None,
            in_memory=now.in_memory if now else None,
            sources=tuple(
                SourceItem(one.source, one.connections, one.connection_limit, one.rate_per_s)
                for one in (now.sources if now else ())
            ),
        )

    def _is_over(self, until: float | None) -> bool:
        return until is not None and until <= self._clock.now()

    async def site_suspend(self, key: str, for_s: float | None = None, why: str = "") -> None:
        """Send nothing there for so many seconds; None: until site_resume."""
        if for_s is not None and not 0 < for_s <= 366 * 86_400:
            raise Impossible("a site is suspended for more than nothing and at most a year")
        await self._known_site(key)
        words = _sentence("suspended by the operator", why)
        until = self._clock.now() + for_s if for_s is not None else None
        if self._runner is not None:
            await self._runner.suspend(key, until, words)
        else:
            await self._write(lambda connection: sites.suspend(connection, site_id(key), key, until, words))
        log.info("operator-suspend", site=key, for_s=for_s, why=words)

    async def site_resume(self, key: str) -> None:
        await self._known_site(key)
        if self._runner is not None:
            await self._runner.resume(key)
        else:
            await self._write(lambda connection: sites.suspend(connection, site_id(key), key, None, None))
        log.info("operator-resume", site=key)

    async def _known(self, ids: tuple[str, ...]) -> list[int]:
        if len(ids) > MAX_IDS:
            raise Impossible(f"at most {MAX_IDS} ids at one time")
        numbers = [number_of(text) for text in ids]
        unknown = await self._read(lambda connection: queue_view.unknown_ids(connection, numbers))
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise NotThere(f"nothing in the store has the id {queue_id(unknown[0])}{more}; see `mtad queue list`")
        return numbers

    async def _known_site(self, key: str) -> None:
        if await self._read(lambda connection: sites.find(connection, key)) is None:
            raise NotThere(f"no site {shorten(key)!r} has been seen; `mtad site list` shows the keys of those in use")
