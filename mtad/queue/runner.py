"""Runner: the queue's loop. It looks at each site when its time has come, and at what the store has for others.

Room: queue. May import: mail, storage, feedback, delivery. The book says when each site must be looked at; the window
claims its recipients, sorting makes jobs of them, the crew puts workers on those; what an attempt came to is settled
in settle.py. Operators' wishes are in operator.py.
"""

import asyncio
import sqlite3
from collections.abc import Callable

from mtad import log as log_module
from mtad.clock import Clock
from mtad.config import QueueConfig
from mtad.mail.waiting import Waiting
from mtad.queue.book import Book
from mtad.queue.contents import Composing, Contents, Suppressing
from mtad.queue.crew import AGAIN_S, Crew
from mtad.queue.expire import Expiry
from mtad.queue.fresh import Fresh
from mtad.queue.gates import Gates
from mtad.queue.quota import Quotas
from mtad.queue.settle import Settler
from mtad.queue.site import Site
from mtad.queue.sorting import Sorting
from mtad.queue.tasks import Tasks
from mtad.queue.window import Memory, Window
from mtad.queue.work import Tenants, Transport
from mtad.storage import sites as site_table
from mtad.storage.begun import Begun, leased
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing

log = log_module.get("queue")

UPKEEP_S = 30.0  # expiry at shut sites, forgetting idle ones, saving what was learnt


class Runner:
    """unwell, limit_source, source_room, sent: see Gates. begun: keeps what may have reached a peer, None: nothing
    does, and after a crash every lease may have.
    """

    def __init__(
        self,
        *,
        database: Database,
        outgoing: Outgoing,
        book: Book,
        wake: asyncio.Event,
        settler: Settler,
        transport: Transport,
        tenants: Tenants,
        composer: Composing,
        suppressing: Suppressing,
        memory: Memory,
        clock: Clock,
        config: QueueConfig,
        idle_s: float,
        unwell: Callable[[], str | None],
        limit_source: Callable[[str, float], Waiting | None],
        source_room: Callable[[str, float], int | None],
        sent: Callable[[str, int], None],
        begun: Begun | None = None,
    ) -> None:
        self._database, self._outgoing, self.book, self._wake = database, outgoing, book, wake
        self._settler, self._tenants, self._clock, self._begun = settler, tenants, clock, begun
        self._tasks, self.quotas = Tasks(), Quotas(database, clock)
        self.gates = Gates(
            clock=clock,
            paused=config.paused,
            unwell=unwell,
            limit_source=limit_source,
            source_room=source_room,
            sent=sent,
        )
        self._contents = Contents(database, outgoing, composer, suppressing, tenants)
        self.window = Window(
            database=database,
            outgoing=outgoing,
            book=book,
            settler=settler,
            tenants=tenants,
            contents=self._contents,
            memory=memory,
            clock=clock,
            config=config,
            gates=self.gates,
            tasks=self._tasks,
            quotas=self.quotas,
            enter=lambda held, recipients: self._sorting.enter(held, recipients),
        )
        self._crew = Crew(
            book=book,
            transport=transport,
            settler=settler,
            tenants=tenants,
            contents=self._contents,
            clock=clock,
            config=config,
            idle_s=idle_s,
            gates=self.gates,
            tasks=self._tasks,
            quotas=self.quotas,
            window=self.window,
            begun=begun,
        )
        self._sorting = Sorting(
            book=book,
            transport=transport,
            settler=settler,
            gates=self.gates,
            tasks=self._tasks,
            window=self.window,
            start=self._crew.start,
        )
        self.desk = Fresh(
            book=book,
            transport=transport,
            tenants=tenants,
            clock=clock,
            gates=self.gates,
            tasks=self._tasks,
            quotas=self.quotas,
            window=self.window,
            sorting=self._sorting,
        )
        self._expiry = Expiry(database=database, outgoing=outgoing, book=book, settler=settler, tenants=tenants)
        self._paused: set[int] = set()
        self._too_old = False  # there is more of what nobody may try
        self._upkeep_at = clock.now() + UPKEEP_S

    @property
    def count(self) -> int:
        """Recipients in memory."""
        return self.window.count

    @property
    def connections(self) -> int:
        """Wanted or open."""
        return self._crew.connections

    # --- the loop ---

    async def run(self) -> None:
        """Until stop(); then wait for transactions under way. Cancel me to hurry them."""
        await self._recover()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks.group = tasks
                try:
                    await self._look_after_sites()
                finally:
                    self.gates.stopping = True  # however it ended: what workers leave is no reason for new tasks
                    self._dismiss()
        finally:
            self._dismiss()
            await self.book.save_paces()

    async def _look_after_sites(self) -> None:
        while not self.gates.stopping:
            try:
                next_at = await self._round(self._clock.now())
            except (OSError, sqlite3.Error) as error:  # the queue must be there when the store is well again
                log.error("round-failed", cause=repr(error))
                next_at = self._clock.now() + AGAIN_S
            await self._clock.nap(self._wake, next_at - self._clock.now())
            self._wake.clear()

    def stop(self) -> None:
        """Begin nothing new."""
        self.gates.stopping = True
        self._wake.set()

    def clock_set_back(self) -> None:
        """Upkeep was planned by the clock as it was before."""
        self._upkeep_at = self._clock.now()
        self._wake.set()

    def _dismiss(self) -> None:
        """Give back what nobody has begun, and send idle workers home."""
        for site in self.book:
            self.window.release(site, site.drain())
            for source in list(site.parked):
                site.wake_parked(source, site.working)
        self._sorting.dismiss()

    async def _recover(self) -> None:
        """Leases of a daemon that died: nobody knows what came of those attempts that had begun."""
        count, writer, noted = 0, self._database.writer, self._begun
        begun = await writer.write(noted.load) if noted is not None else None
        while rows := await self._database.read(lambda connection: self._outgoing.leased(connection, 1000)):
            for recipient in rows:
                maybe = begun is None or (recipient.id, recipient.attempts) in begun
                self._settler.give_back(recipient, recipient.site_id, begun=maybe)
                count += maybe
            await writer.write(lambda connection: None)  # the settled rows are committed with it
        if count:
            log.warning("attempts-interrupted", recipients=count)
        if noted is not None:
            await writer.write(noted.begin)
        await self._database.writer.write(site_table.rebuild_due)
        await self.quotas.keep(self._tenants.hourly_limits())

    async def _round(self, now: float) -> float:
        """Look at every site whose time has come; when to look again."""
        if await self.quotas.keep(self._tenants.hourly_limits()):
            self._crew.forget_quotas()
        paused = set(self._tenants.paused())
        if self._paused - paused:
            await self.book.look_everywhere()
        self._paused = paused
        for site in self.book.due(now):
            self._look(site, now)
        room = self.book.has_room
        stored = self.book.stored_due
        if stored is not None and stored <= now and room:
            await self.book.take_in_hand(now)
            stored = self.book.stored_due
        if now >= self._upkeep_at:
            await self._upkeep(now)
        elif self._too_old:
            await self._expire(now)
        times = (self._upkeep_at, self.book.next_look(), stored if room else None)
        return min(at for at in times if at is not None)

    def _look(self, site: Site, now: float) -> None:
        if site.shut is not None and site.shut.until is not None and site.shut.until <= now:
            log.info("site-opens", site=site.key)
            site.shut = None
        for tenant, why in list(site.hushed.items()):
            if why.until is not None and why.until <= now:
                del site.hushed[tenant]
                self.book.look_at(site, now)  # no claim has looked for what it left
        if site.shut is not None:
            return
        self._crew.start(site)
        if site.claim_at is not None:
            if site.claim_at <= now:
                self.window.claim_if_room(site)
            else:
                self.book.remind(site, site.claim_at)

    async def _expire(self, now: float) -> None:
        """A million that grew too old at one site hold up nobody elsewhere: the others are looked at in between."""
        self._too_old = await self._expiry.look(now)
        if self._too_old:
            self._wake.set()

    async def _upkeep(self, now: float) -> None:
        self._upkeep_at = now + UPKEEP_S
        await self._expire(now)
        await self.book.forget_idle(now, self._tenants.paused())
        await self.book.save_paces()
        if self._begun is not None and self._begun.is_large:
            self._begun.shrink()
            self._begun.shrunk(await self._database.read(leased))
