"""Runner: leases due recipients site by site and keeps workers on them, fairly between sites and sending domains.

Room: queue. May import: mail, storage, feedback, delivery. The book says when each site must be looked at; workers
deliver; what an attempt came to is settled in settle.py. Operators' wishes are in operator.py.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Protocol

from mtad import log as log_module
from mtad.clock import Clock
from mtad.config import QueueConfig
from mtad.delivery.mx import Route
from mtad.feedback.classify import Cause, Kind, Verdict
from mtad.mail.address import domain_of
from mtad.mail.reply import Deferred, Failed, Phase, Reply
from mtad.mail.suppression import Suppressed
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.book import Book
from mtad.queue.quota import Quotas
from mtad.queue.settle import Settler
from mtad.queue.shaping import Action, Do
from mtad.queue.site import Site
from mtad.queue.throttle import Pace
from mtad.queue.work import Held, Job, Transport
from mtad.queue.worker import Worker, is_long
from mtad.storage import expiry
from mtad.storage import sites as site_table
from mtad.storage.begun import Begun, leased
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing, StoredMessage, StoredRecipient
from mtad.storage.sites import UNRESOLVED

log = log_module.get("queue")

UPKEEP_S = 30.0  # expiry at shut sites, forgetting idle ones, saving what was learnt
RESOLVING = 200  # recipients of unknown sites leased at once: each may need DNS
AGAIN_S = 1.0  # after a round that the store cut short
_OUR_PACE = (WaitReason.WARM_UP, WaitReason.QUOTA)  # mail that we hold back ourselves does not grow too old by it


class Memory(Protocol):
    """Message bytes held at present, against a limit."""

    limit: int
    used: int

    def reserve(self, octets: int) -> bool: ...
    def release(self, octets: int) -> None: ...


class Tenants(Protocol):
    """What the queue asks about the domains that send."""

    def paused(self) -> dict[int, str]:
        """Domain id -> why."""

    def sources(self, domain_id: int) -> tuple[str, ...]:
        """Addresses the domain sends from; ("",): the system chooses."""

    def all_sources(self) -> tuple[str, ...]: ...
    def hourly_limits(self) -> Mapping[int, int]:
        """Domain id -> recipients it may send to in an hour; a domain that is not there has no limit."""

    def flags(self, domain_id: int) -> int:
        """Flags (storage.outgoing) that all mail of the domain has."""


class Composing(Protocol):
    """What makes one recipient's octets of a message (queue.compose)."""

    def alone(self, held: Held) -> bool:
        """Each recipient of it has octets or a reverse-path of his own."""

    def chunks(self, job: Job, content: bytes) -> tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]: ...
    def reverse_path(self, job: Job) -> str: ...


class Suppressing(Protocol):
    """Whom a domain does not write to. maybe: from memory, False is certain."""

    def maybe(self, domain_id: int, address: str) -> bool: ...
    async def find(
        self, domain_id: int, address: str, tags: tuple[str, ...], list_number: int = 0
    ) -> Suppressed | None:
        """list_number: of the mailing list that the message goes through."""


class Runner:
    """unwell: why the store or the machine is in no state to deliver, None when all is well. limit_source: a source
    address's own gate (warm-up); sent: told of what left from it.
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
        self._settler, self._transport, self._tenants = settler, transport, tenants
        self._composer, self._suppressing = composer, suppressing
        self._memory, self._clock, self._config = memory, clock, config
        self._idle_s, self.unwell, self._limit_source, self._sent = idle_s, unwell, limit_source, sent
        self._source_room, self._begun = source_room, begun
        self.quotas = Quotas(database, clock)
        self._held: dict[int, Held] = {}
        self.count = 0  # jobs in memory, all sites
        self.connections = 0  # wanted or open
        self._crowd: dict[int, None] = {}  # sites with due rows that found the window full, the first one first
        self._worth = max(1, config.window // 50)  # less room than this is not worth a claim
        self._resolving: dict[str, list[tuple[Site, Held, StoredRecipient]]] = {}
        self._reading = False  # what the store knows of new sites
        self._paused: set[int] = set()
        self._upkeep_at = clock.now() + UPKEEP_S
        self._tasks: asyncio.TaskGroup | None = None
        self.stopping = False
        self.why_paused = "queue.paused is set in the configuration" if config.paused else ""

    # --- what submit asks (its Desk) ---

    def place(self, domain: str) -> int:
        route = self._transport.known(domain)
        return self.book.of_route(route).id if route is not None else UNRESOLVED

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        site, config = self.book.get(site_id), self._config
        if (
            site is None
            or self._tasks is None  # a lease of ours would be taken for one of the daemon before us
            or site.shut is not None
            or self.stopping
            or self._crowd
            or self.why_paused
            or self.count >= config.window
            or site.count >= config.window_per_site
            or domain_id in site.late
            or domain_id in site.hushed
            or domain_id in self._tenants.paused()
            or domain_id in self.quotas.over()
            or self.unwell() is not None
        ):
            return False
        if site.tenants > 1 and site.ready_of(domain_id) > config.window_per_site // (site.tenants + 1):
            return False  # one domain's blast must not fill the window of a site that others use
        if octets and not self._memory.reserve(octets):
            return False
        site.count += 1
        self.count += 1
        return True

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        site = self.book.get(site_id)
        if site is None:
            self.book.stored_sooner(due_at)
            return site_id, due_at
        if due_at <= self._clock.now():
            site.late.add(domain_id)
        self.book.look_at(site, due_at)
        return None

    def refund(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        for recipient in recipients:
            site = self.book.get(recipient.site_id)
            assert site is not None  # a site with jobs is not forgotten
            site.count -= 1
            self.count -= 1
        if recipients:
            self._memory.release(message.size)
            self._let_in()

    def take(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        held = self._held[message.id] = self._holding(message, len(recipients), message.size)
        self._enter(held, recipients)

    # --- the loop ---

    async def run(self) -> None:
        """Until stop(); then wait for transactions under way. Cancel me to hurry them."""
        await self._recover()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                while not self.stopping:
                    try:
                        next_at = await self._round(self._clock.now())
                    except sqlite3.Error as error:  # the queue must be there when the store is well again
                        log.error("round-failed", cause=repr(error))
                        next_at = self._clock.now() + AGAIN_S
                    await self._clock.nap(self._wake, next_at - self._clock.now())
                    self._wake.clear()
                self._dismiss()
        finally:
            self._dismiss()
            await self.book.save_paces()

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopping = True
        self._wake.set()

    def clock_set_back(self) -> None:
        """Upkeep was planned by the clock as it was before."""
        self._upkeep_at = self._clock.now()
        self._wake.set()

    def _dismiss(self) -> None:
        """Give back what nobody has begun, and send idle workers home."""
        for site in self.book:
            self.release(site, site.drain())
            for source in list(site.parked):
                site.wake_parked(source, site.working)
        for waiting in self._resolving.values():
            for site, held, recipient in waiting:
                self._settler.give_back(recipient, site.id)
                self._gone(site, held)
            waiting.clear()

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
            self._forget_quotas()
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
        self._start_workers(site)
        if site.claim_at is not None:
            if site.claim_at <= now:
                self._claim_if_room(site)
            else:
                self.book.remind(site, site.claim_at)

    async def _upkeep(self, now: float) -> None:
        self._upkeep_at = now + UPKEEP_S
        await self._expire(now)
        await self.book.forget_idle(now, self._tenants.paused())
        await self.book.save_paces()
        if self._begun is not None and self._begun.is_large:
            self._begun.shrink()
            self._begun.shrunk(await self._database.read(leased))

    async def _expire(self, now: float) -> None:
        """Mail that nobody may try at present does not wait for ever: the age limit holds for it too."""
        whys: dict[tuple[int, int | None], str] = {}
        for site in self.book:
            if site.shut is not None and site.shut.reason not in _OUR_PACE:
                whys[site.id, None] = site.shut.detail
                continue
            whys |= {(site.id, t): why.detail for t, why in site.hushed.items() if why.reason not in _OUR_PACE}
            for tenant, words in self._tenants.paused().items():
                whys[site.id, tenant] = f"the sending domain is paused: {words}"
        if not whys:
            return
        for place in await self._database.read(lambda connection: expiry.places(connection, list(whys), now)):
            await self._expire_at(place, whys[place], now)

    async def _expire_at(self, place: tuple[int, int | None], why: str, now: float) -> None:
        while rows := await self._database.writer.write(lambda connection: expiry.lease(connection, place, now, 200)):
            messages = await self._read_messages({row.message_id for row in rows})
            for row in rows:
                said = f"; the last reply was: {row.last_reply}" if row.last_reply else ""
                words = Reply(451, "4.7", why + said)
                job = Job(Held(messages.get(row.message_id) or _lost(row), 1), row, _NOWHERE)
                self._settler.settle(job, Deferred(words, None, Phase.LOCAL))

    async def _read_messages(self, ids: Collection[int]) -> dict[int, StoredMessage]:
        return await self._database.read(lambda connection: self._outgoing.messages(connection, ids, 0))

    # --- claiming ---

    def _claim_if_room(self, site: Site) -> None:
        own, free = self._config.window_per_site - site.count, self._config.window - self.count
        if site.claiming or self.stopping or self.why_paused or own <= 0:
            return  # asked again when there is room: _refill
        if free < self._worth:
            self._crowd[site.id] = None
            return
        room = min(own, free, RESOLVING) if site.id == UNRESOLVED else min(own, free)
        if self.unwell() is not None:
            self.book.remind(site, self._clock.now() + 1.0)
            return
        assert self._tasks is not None
        site.claiming = True
        site.claim_at = None
        site.count += room
        self.count += room
        self._tasks.create_task(self._claim(site, room), name=f"claim {site.key}")

    async def _claim(self, site: Site, room: int) -> None:
        now = self._clock.now()
        for tenant, why in self.quotas.over().items():
            self._hush(site, tenant, why)
        skip = {*self._tenants.paused(), *site.hushed}
        octets = max(0, (self._memory.limit - self._memory.used) // 2)
        have = set(self._held)
        unused = room
        try:
            claim = await self._database.writer.write(
                lambda connection: self._outgoing.claim(connection, site.id, now, room, have, skip, octets)
            )
            unused -= len(claim.recipients)
        except Exception as error:  # the rows are as they were
            log.error("claim-failed", site=site.key, cause=repr(error))
            self.book.look_at(site, now + 5.0)
            return
        finally:
            site.count -= unused
            self.count -= unused
            site.claiming = False
            if site.claim_at is not None:  # a row came while we claimed: its look was in vain
                self.book.remind(site, site.claim_at)
            self._let_in()
        site.late = claim.late
        if claim.next_due is not None:
            self.book.look_at(site, claim.next_due)
        for recipient in claim.recipients:
            self._enter(self._hold(recipient, claim.messages), (recipient,))

    def _hold(self, recipient: StoredRecipient, messages: dict[int, StoredMessage]) -> Held:
        held = self._held.get(recipient.message_id)
        if held is None:
            message = messages.get(recipient.message_id) or _lost(recipient)
            octets = message.size if message.content is not None and self._memory.reserve(message.size) else 0
            if not octets:
                message.content = None  # read again when its turn comes
            held = self._held[recipient.message_id] = self._holding(message, 0, octets)
        held.open += 1
        return held

    def _holding(self, message: StoredMessage, open_: int, octets: int) -> Held:
        held = Held(message, open_, octets)
        held.alone = self._composer.alone(held)
        return held

    # --- from recipients to jobs at their sites ---

    def _enter(self, held: Held, recipients: Iterable[StoredRecipient]) -> None:
        """Leased recipients become jobs at the site their domain's hosts make up today."""
        touched: dict[int, Site] = {}
        for recipient in recipients:
            counted = self.book.get(recipient.site_id)
            assert counted is not None  # a site with jobs is not forgotten
            domain = domain_of(recipient.address)
            route = self._transport.known(domain)
            if route is None:
                self._resolve(domain, counted, held, recipient)
                continue
            site = self._push(counted, route, held, recipient)
            if site is not None:
                touched[site.id] = site
        for site in touched.values():
            self._start_workers(site)

    def _push(self, counted: Site, route: Route, held: Held, recipient: StoredRecipient) -> Site | None:
        site = self.book.of_route(route)
        if site is not counted:
            counted.count -= 1
            site.count += 1
            recipient.site_id = site.id
            self._refill(counted)
        if site.shut is not None or recipient.domain_id in site.hushed or self.stopping:
            self._give_back(site, held, recipient)
            return None
        site.push(Job(held, recipient, route))
        return site

    def _resolve(self, domain: str, counted: Site, held: Held, recipient: StoredRecipient) -> None:
        waiting = self._resolving.get(domain)
        if waiting is not None:
            waiting.append((counted, held, recipient))
            return
        if self.stopping:  # no task may begin any more
            self._give_back(counted, held, recipient)
            return
        self._resolving[domain] = [(counted, held, recipient)]
        assert self._tasks is not None
        self._tasks.create_task(self._find_route(domain), name=f"route {domain}")

    async def _find_route(self, domain: str) -> None:
        try:
            route = await self._transport.route(domain)
        except Exception as error:
            log.exception("route-crashed", host=domain)
            route = Deferred(Reply(451, "4.3", f"Looking up {domain} failed: {error!r}"), None, Phase.DNS)
        touched: dict[int, Site] = {}
        for counted, held, recipient in self._resolving.pop(domain):
            if not isinstance(route, Route):
                self._settle_unrouted(counted, Job(held, recipient, _NOWHERE), route)
                continue
            site = self._push(counted, route, held, recipient)
            if site is not None:
                touched[site.id] = site
        for site in touched.values():
            self._start_workers(site)

    def _settle_unrouted(self, site: Site, job: Job, outcome: Deferred | Failed) -> None:
        settled = self._settler.settle(job, outcome)
        if settled[1] is not None:
            self.book.look_at(site, settled[1])
        self.released(site, job)

    # --- workers ---

    def _start_workers(self, site: Site) -> None:
        for tenant in [tenant for tenant in site.hushed if site.ready_of(tenant)]:
            self.release(site, site.drain(tenant))
        if not site.ready or self.stopping:
            return
        if not site.read:
            self._read_new_sites()
            return
        if site.shut is not None or self.why_paused:
            self.release(site, site.drain())
            return
        now, ready = self._clock.now(), site.ready
        whys: dict[str, Waiting] = {}
        for source in self._sources_of(site):
            ready -= site.wake_parked(source, ready)
            pace = self.book.pace(site, source)
            # Workers still connecting will each take one of the jobs, too.
            ready -= site.workers.get(source, 0) - site.live.get(source, 0)
            while ready > 0 and self.connections < self._config.connections:
                why = self._gate(pace, source, now, site.workers.get(source, 0))
                if why is not None:
                    whys[source] = why
                    break
                self._spawn(site, source)
                ready -= 1
        if whys:
            self._hush_held_up(site, whys, now)
        if site.ready and not site.working:  # nobody works on them and nobody may begin
            limit = self._config.connections
            full = Waiting(WaitReason.TURN, now + 1.0, f"all {limit} outgoing connections are in use")
            self.shut(site, next(iter(whys.values()), full))

    def _read_new_sites(self) -> None:
        """A suspension or a pace from before must hold for the first message, too: so the store is asked first."""
        assert self._tasks is not None
        if not self._reading:
            self._reading = True
            self._tasks.create_task(self._begin_at_new_sites(), name="new sites")

    async def _begin_at_new_sites(self) -> None:
        try:
            while sites := await self.book.read_new():
                for site in sites:
                    self._start_workers(site)
        except sqlite3.Error as error:
            why = Waiting(WaitReason.STORE, self._clock.now() + AGAIN_S, f"the message store has a problem: {error}")
            for site in self.book.unread:
                self.shut(site, why)
        finally:
            self._reading = False

    def _hush_held_up(self, site: Site, whys: dict[str, Waiting], now: float) -> None:
        """Domains all of whose source addresses must wait: the site goes on for those that have others."""
        if len(self._tenants.all_sources()) == 1 or self.held_up("") is not None:
            return
        for tenant in list(site.heads()):
            mine = [whys.get(source) for source in self._tenants.sources(tenant)]
            held = [why for why in mine if why is not None and why.until is not None and is_long(why, now)]
            if len(held) == len(mine):
                self._hush(site, tenant, min(held, key=lambda why: why.until or now))

    def _gate(self, pace: Pace, source: str, now: float, connections: int) -> Waiting | None:
        """Why no worker may begin; one that would have to wait a moment may."""
        why = self.held_up(source) or pace.send_gate(now)
        if why is not None and is_long(why, now):
            return why
        return pace.connect_gate(now, connections)

    def _sources_of(self, site: Site) -> tuple[str, ...]:
        every = self._tenants.all_sources()
        if len(every) == 1:
            return every
        wanted = {source: None for tenant in site.heads() for source in self._tenants.sources(tenant)}
        return tuple(sorted(wanted, key=lambda source: site.workers.get(source, 0)))

    def _spawn(self, site: Site, source: str) -> None:
        assert self._tasks is not None
        site.workers[source] = site.workers.get(source, 0) + 1
        self.connections += 1
        worker = Worker(
            self, site, source, self.book.pace(site, source), self._transport, self._settler, self._clock, self._idle_s
        )
        task = self._tasks.create_task(worker.run(), name=f"site {site.key}")
        task.add_done_callback(lambda done: self._ended(site, source))

    def _ended(self, site: Site, source: str) -> None:
        site.workers[source] -= 1
        self.connections -= 1
        site.idle_since = self._clock.now()
        self._start_workers(site)

    # --- what workers ask (their Office) ---

    def served_by(self, site: Site, source: str) -> Collection[int] | None:
        if len(self._tenants.all_sources()) == 1:
            return None
        return {tenant for tenant in site.heads() if source in self._tenants.sources(tenant)}

    def begin(self, site: Site, jobs: list[Job]) -> list[Job]:
        tenant = jobs[0].recipient.domain_id if jobs else 0
        room = self.quotas.room(tenant)
        if room is None or not jobs:
            return jobs
        self.quotas.take(tenant, len(jobs[:room]))
        why = self.quotas.over().get(tenant)
        if why is not None:
            for job in reversed(jobs[room:]):
                site.push(job, front=True)
            for one in self.book:
                if one.ready_of(tenant):  # elsewhere admit() and the claim see to it
                    self._hush(one, tenant, why)
        return jobs[:room]

    def not_begun(self, jobs: list[Job]) -> None:
        tenant = jobs[0].recipient.domain_id
        if self.quotas.take_back(tenant, len(jobs)):
            self._forget_quotas(tenant)

    def _forget_quotas(self, only: int | None = None) -> None:
        """Whoever waits for a quota is looked at anew."""
        for site in self.book:
            for tenant, why in list(site.hushed.items()):
                if why.reason is WaitReason.QUOTA and only in (None, tenant):
                    del site.hushed[tenant]
                    self.book.look_now(site)

    def held_up(self, source: str) -> Waiting | None:
        cause = self.unwell()
        if cause is not None:
            return Waiting(WaitReason.STORE, self._clock.now() + 1.0, cause)
        if self.why_paused:
            return Waiting(WaitReason.PAUSED, None, self.why_paused)
        return self._limit_source(source, self._clock.now()) if source else None

    def room(self, source: str, most: int) -> int:
        room = self._source_room(source, self._clock.now()) if source else None
        return most if room is None else min(most, room)

    def count_sent(self, source: str, recipients: int) -> None:
        if source:
            self._sent(source, recipients)

    async def message_chunks(self, job: Job) -> tuple[bytes, ...] | None:
        message = job.held.message
        content = message.content
        if content is None:
            content = await self._database.read(lambda connection: self._outgoing.content(connection, message))
            if content is None:
                return None
        finished = self._composer.chunks(job, content)
        return finished if isinstance(finished, tuple) else await finished

    def attempting(self, jobs: list[Job]) -> None:
        if self._begun is not None:
            self._begun.note([(job.recipient.id, job.recipient.attempts) for job in jobs])

    def reverse_path(self, job: Job) -> str:
        return self._composer.reverse_path(job)

    def flags(self, job: Job) -> int:
        return job.held.message.flags | self._tenants.flags(job.recipient.domain_id)

    def maybe_suppressed(self, recipient: StoredRecipient) -> bool:
        return self._suppressing.maybe(recipient.domain_id, recipient.address)

    async def suppressed(self, job: Job) -> Suppressed | None:
        options = job.held.options
        tags, through = (options.tags, options.list_number) if options else ((), 0)
        return await self._suppressing.find(job.recipient.domain_id, job.recipient.address, tags, through)

    def shut(self, site: Site, why: Waiting) -> None:
        """Nothing goes to this site until why.until: its ready jobs go back to the store."""
        if site.shut is None:
            log.info("site-waits", site=site.key, why=why.reason, detail=why.detail, until=why.until)
        site.shut = why
        self.release(site, site.drain())
        if why.until is not None:
            self.book.remind(site, why.until)

    def retry_at(self, site: Site, at: float) -> None:
        self.book.look_at(site, at)

    def action_for(self, site: Site, outcome: Deferred | Failed) -> Action | None:
        return self.book.shaping.action_for(site.profile, outcome.reply, outcome.phase)

    def learnt(
        self, site: Site, pace: Pace, job: Job, outcome: Deferred | Failed, verdict: Verdict, action: Action | None
    ) -> None:
        """A refusal may speak of the site or of us: slow down, or stop for a while."""
        now, words = self._clock.now(), str(outcome.reply)[:300]
        if action is None:
            if verdict.kind is Kind.THROTTLED and verdict.cause is not Cause.GREYLISTED:
                pace.on_throttled(now, words)
            return
        said = f"{site.key} said: {words}"
        match action.do:
            case Do.SLOW:
                pace.on_throttled(now, words, action.for_s)
            case Do.SUSPEND_SITE:
                pace.suspend(now + action.for_s, said)
                self.shut(site, Waiting(WaitReason.SITE_SUSPENDED, now + action.for_s, said))
            case Do.SUSPEND_TENANT:
                self._hush(site, job.recipient.domain_id, Waiting(WaitReason.SITE_SUSPENDED, now + action.for_s, said))
            case Do.HARD | Do.RETRY_IN | Do.IGNORE:
                return  # they speak of the message alone, and settling has heeded them

    def _hush(self, site: Site, tenant: int, why: Waiting) -> None:
        """Nothing of this domain goes to the site until why.until; a longer wait there is stays."""
        held = site.hushed.get(tenant)
        if held is None or (held.until is not None and (why.until is None or why.until > held.until)):
            site.hushed[tenant] = why
        self.release(site, site.drain(tenant))
        if why.until is not None:
            self.book.remind(site, why.until)

    def released(self, site: Site, job: Job) -> None:
        self._gone(site, job.held)

    def _gone(self, site: Site, held: Held) -> None:
        """One recipient less in memory."""
        site.count -= 1
        self.count -= 1
        held.open -= 1
        if not held.open:
            if self._held.get(held.message.id) is held:
                del self._held[held.message.id]
            if held.octets:
                self._memory.release(held.octets)
        self._refill(site)

    def _refill(self, site: Site) -> None:
        """There is more room: for those who stand in line for it, and then for the site's own rows."""
        self._let_in()
        if site.claim_at is None or site.claiming or site.shut is not None:
            return
        if site.count <= self._config.window_per_site // 2 and site.claim_at <= self._clock.now():
            self._claim_if_room(site)

    def _let_in(self) -> None:
        """Sites that found the window full, in turn; fresh mail and other claims stand behind them (admit)."""
        while self._crowd and self._config.window - self.count >= self._worth and not self.stopping:
            number = next(iter(self._crowd))
            del self._crowd[number]
            site = self.book.get(number)
            if site is not None and site.claim_at is not None and site.shut is None:
                self._claim_if_room(site)

    # --- giving back ---

    def release(self, site: Site, jobs: Iterable[Job]) -> None:
        """Leases nobody has begun go back to the store."""
        for job in jobs:
            self._give_back(site, job.held, job.recipient)

    def _give_back(self, site: Site, held: Held, recipient: StoredRecipient) -> None:
        self._settler.give_back(recipient, site.id)
        site.late.add(recipient.domain_id)
        self.book.look_at(site, self._clock.now())
        self._gone(site, held)


_NOWHERE = Route("", (), 0)


def _lost(recipient: StoredRecipient) -> StoredMessage:
    """In place of a message whose row is gone: nothing can be sent, and nobody must wait for it."""
    return StoredMessage(recipient.message_id, recipient.domain_id, "", 0, 1, 0, None, None, None, b"{}")
