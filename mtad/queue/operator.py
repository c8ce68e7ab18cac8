"""Operator: what people ask of the running queue: retry, drop, suspend, pause, and why something waits.

Room: queue. May import: mail, storage, delivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.runner import Runner
from mtad.queue.settle import Settler
from mtad.queue.site import Site
from mtad.queue.work import NOWHERE, Held, Job, Tenants, lost
from mtad.storage import set_back
from mtad.storage import sites as table
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.queue_view import QueueRow
from mtad.storage.sites import site_id

log = log_module.get("queue")

_BATCH = 2000  # rows one transaction changes


@dataclass(frozen=True, slots=True)
class SourceView:
    source: str
    connections: int
    connection_limit: int
    rate_per_s: float | None


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site in memory. connection_limit, rate_per_s: of all source addresses together; rate None: no limit."""

    connections: int
    connection_limit: int
    rate_per_s: float | None
    in_memory: int
    shut: Waiting | None
    sources: tuple[SourceView, ...]


class Operator:
    def __init__(
        self,
        *,
        runner: Runner,
        settler: Settler,
        tenants: Tenants,
        database: Database,
        outgoing: Outgoing,
        clock: Clock,
    ) -> None:
        self._runner, self._settler, self._tenants = runner, settler, tenants
        self._database, self._outgoing, self._clock = database, outgoing, clock

    async def retry(self, site: str | None, ids: Sequence[int]) -> int:
        """Recipients made due now; sites that are unreachable or at rest are tried at once."""
        now, count = self._clock.now(), 0
        number = site_id(site) if site is not None else None
        while True:
            changed = await self._database.writer.write(
                lambda connection: self._outgoing.retry_now(connection, now, _BATCH, number, ids)
            )
            count += len(changed)
            if len(changed) < _BATCH:
                break
        await self._look_in_the_store()
        for one in self._runner.book:
            if number is None or one.id == number:
                self._open(one, unless=WaitReason.SITE_SUSPENDED)
        return count

    async def _look_in_the_store(self) -> None:
        """Sites that are not in hand may have rows that became due."""
        await self._database.writer.write(
            lambda connection: table.rebuild_due_except(connection, [s.id for s in self._runner.book])
        )
        self._runner.book.stored_sooner(0.0)

    async def clock_set_back(self, by_s: float) -> None:
        """What was planned by the clock as it was before would come hours too late: no wait gets longer by that."""
        now = self._clock.now()
        for make_due in (set_back.recipients, set_back.posts):
            while await self._database.writer.write(partial(make_due, now=now)) == set_back.BATCH:
                continue
        await self._look_in_the_store()
        for site in self._runner.book:
            self._bring_forward(site, by_s)
        self._runner.clock_set_back()

    def _bring_forward(self, site: Site, by_s: float) -> None:
        """All that waits there ends by_s sooner, as the clock has it now."""
        for pace in site.paces.values():
            pace.set_back(by_s)
        if site.shut is not None and site.shut.until is not None:
            until = site.shut.until - by_s
            site.shut = replace(site.shut, until=until)
            self._runner.book.remind(site, until)
        for tenant, why in site.hushed.items():
            if why.until is not None:
                until = why.until - by_s
                site.hushed[tenant] = replace(why, until=until)
                self._runner.book.remind(site, until)
        self._runner.book.look_now(site)

    def _open(self, site: Site, unless: WaitReason | None = None) -> None:
        if site.shut is not None and site.shut.reason is unless:
            return
        for pace in site.paces.values():
            pace.resume()
        site.shut = None
        for tenant, why in list(site.hushed.items()):
            if why.reason not in (unless, WaitReason.QUOTA):
                del site.hushed[tenant]
        self._runner.book.look_now(site)

    async def drop(self, ids: Sequence[int], why: str) -> int:
        """Recipients that wait are given up; those under way are left alone."""
        rows = await self._database.writer.write(lambda connection: self._outgoing.lease_for_drop(connection, ids))
        numbers = {row.message_id for row in rows}
        messages = await self._database.read(lambda connection: self._outgoing.messages(connection, numbers, 0))
        for row in rows:
            message = messages.get(row.message_id) or lost(row)
            self._settler.drop(Job(Held(message, 1), row, NOWHERE), why)
        if rows:
            await self._database.writer.write(lambda connection: None)  # answered when it is on disk
        return len(rows)

    async def drop_domain(self, domain_id: int, why: str) -> int:
        """All that waits of this domain, scheduled mail too."""
        count = 0
        while True:
            ids = await self._database.read(lambda connection: self._outgoing.waiting_of(connection, domain_id, _BATCH))
            dropped = await self.drop(ids, why) if ids else 0
            count += dropped
            if not dropped:
                return count

    async def suspend(self, key: str, until: float | None, why: str) -> None:
        """Nothing goes to this site until then; None: until it is resumed."""
        number = site_id(key)
        await self._database.writer.write(lambda connection: table.suspend(connection, number, key, until, why))
        row = await self._database.read(lambda connection: table.get(connection, number))
        if row is None:
            return
        site = self._runner.book.adopt(row)
        self._runner.window.shut(site, Waiting(WaitReason.SITE_SUSPENDED, until, why))

    async def resume(self, key: str) -> None:
        number = site_id(key)
        await self._database.writer.write(lambda connection: table.suspend(connection, number, key, None, None))
        site = self._runner.book.get(number)
        if site is not None:
            self._open(site)

    def pause(self, why: str) -> None:
        """No delivery begins until unpause()."""
        self._runner.gates.why_paused = why or "paused by the operator"
        log.info("queue-paused", why=why)
        for site in self._runner.book:
            self._runner.window.release(site, site.drain())

    def unpause(self) -> None:
        self._runner.gates.why_paused = ""
        log.info("queue-goes-on")
        for site in self._runner.book:
            if site.shut is not None and site.shut.reason is WaitReason.PAUSED:
                site.shut = None
            self._runner.book.look_now(site)

    def look_again(self) -> None:
        """Domains were paused or go on: every site may have something to do."""
        for site in self._runner.book:
            self._runner.book.look_now(site)
        self._runner.book.stored_sooner(0.0)

    def explain(self, recipient: QueueRow) -> Waiting:
        """Why this recipient waits, from the very thing that makes it wait."""
        now = self._clock.now()
        if recipient.state is State.LEASED:
            return Waiting(WaitReason.ATTEMPT, None, "an attempt is under way, or its turn is next")
        if recipient.due_at is not None and recipient.due_at > now:
            if recipient.attempts:
                said = f": {recipient.last_reply}" if recipient.last_reply else ""
                words = f"attempt {recipient.attempts} did not succeed{said}"
                return Waiting(WaitReason.RETRY, recipient.due_at, words)
            return Waiting(WaitReason.SCHEDULED, recipient.due_at, "it is scheduled for later")
        return self._held_now(recipient, now)

    def _held_now(self, recipient: QueueRow, now: float) -> Waiting:
        paused = self._tenants.paused().get(recipient.domain_id)
        if paused is not None:
            return Waiting(WaitReason.DOMAIN_PAUSED, None, f"{recipient.domain} is paused: {paused}")
        held = self._runner.gates.held_up("") or self._runner.quotas.over().get(recipient.domain_id)
        if held is not None:
            return held
        site = self._runner.book.get(recipient.site_id)
        if site is not None:
            why = site.shut or site.hushed.get(recipient.domain_id) or self._sources_wait(site, recipient, now)
            if why is not None:
                return why
        return Waiting(WaitReason.TURN, None, "others that are due go first")

    def _sources_wait(self, site: Site, recipient: QueueRow, now: float) -> Waiting | None:
        """Why none of the domain's source addresses may send there now; None: one may."""
        whys: list[Waiting] = []
        for source in self._tenants.sources(recipient.domain_id):
            why = self._runner.gates.held_up(source)
            pace = site.paces.get(source)
            if why is None and pace is not None:
                why = pace.send_gate(now) or pace.connect_gate(now, site.workers.get(source, 0))
            if why is None:
                return None
            whys.append(why)
        return min(whys, key=lambda why: why.until or now)

    def site_view(self, key: str) -> SiteView | None:
        site = self._runner.book.get(site_id(key))
        if site is None:
            return None
        sources = tuple(
            SourceView(source, site.live.get(source, 0), pace.connection_limit, pace.rate)
            for source, pace in site.paces.items()
        )
        rates = [one.rate_per_s for one in sources]
        return SiteView(
            site.sessions,
            sum(one.connection_limit for one in sources),
            None if None in rates else sum(rate for rate in rates if rate is not None),
            site.count,
            site.shut,
            sources,
        )
