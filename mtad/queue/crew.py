"""Crew: the workers of all sites: how many begin, from which source address, and what they heed together.

Room: queue. May import: mail, storage, feedback, delivery. Workers ask it (their Office).
"""

import sqlite3
from collections.abc import Collection

from mtad.clock import Clock
from mtad.config import QueueConfig
from mtad.feedback.classify import Cause, Kind, Verdict
from mtad.mail.reply import Deferred, Failed
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.book import Book
from mtad.queue.contents import Contents
from mtad.queue.gates import Gates
from mtad.queue.quota import Quotas
from mtad.queue.settle import Settler
from mtad.queue.shaping import Action, Do
from mtad.queue.site import Site
from mtad.queue.tasks import Tasks
from mtad.queue.throttle import Pace
from mtad.queue.window import Window
from mtad.queue.work import Job, Tenants, Transport
from mtad.queue.worker import Worker, is_long
from mtad.storage.begun import Begun

AGAIN_S = 1.0  # after the store could not say what it knows of a site


class Crew:
    """connections: wanted or open. begun: keeps what may have reached a peer."""

    def __init__(
        self,
        *,
        book: Book,
        transport: Transport,
        settler: Settler,
        tenants: Tenants,
        contents: Contents,
        clock: Clock,
        config: QueueConfig,
        idle_s: float,
        gates: Gates,
        tasks: Tasks,
        quotas: Quotas,
        window: Window,
        begun: Begun | None,
    ) -> None:
        self._book, self._transport, self._settler, self._tenants = book, transport, settler, tenants
        self._contents, self._clock, self._idle_s, self._most = contents, clock, idle_s, config.connections
        self._gates, self._tasks, self._quotas, self._window = gates, tasks, quotas, window
        self._begun = begun
        self._reading = False  # what the store knows of new sites
        self.connections = 0

    def start(self, site: Site) -> None:
        """The site may have jobs ready: as many workers as may serve them, idle ones first."""
        for tenant in [tenant for tenant in site.hushed if site.ready_of(tenant)]:
            self._window.release(site, site.drain(tenant))
        if not site.ready or self._gates.stopping:
            return
        if not site.read:
            self._read_new_sites()
            return
        if site.shut is not None or self._gates.why_paused:
            self._window.release(site, site.drain())
            return
        now, ready = self._clock.now(), site.ready
        whys: dict[str, Waiting] = {}
        for source in self._sources_of(site):
            ready -= site.wake_parked(source, ready)
            pace = self._book.pace(site, source)
            # Workers still connecting will each take one of the jobs, too.
            ready -= site.workers.get(source, 0) - site.live.get(source, 0)
            while ready > 0 and self.connections < self._most:
                why = self._gate(pace, source, now, site.workers.get(source, 0))
                if why is not None:
                    whys[source] = why
                    break
                self._spawn(site, source)
                ready -= 1
        if whys:
            self._hush_held_up(site, whys, now)
        if site.ready and not site.working:  # nobody works on them and nobody may begin
            full = Waiting(WaitReason.TURN, now + 1.0, f"all {self._most} outgoing connections are in use")
            self._window.shut(site, next(iter(whys.values()), full))

    def _read_new_sites(self) -> None:
        """A suspension or a pace from before must hold for the first message, too: so the store is asked first."""
        if not self._reading:
            self._reading = True
            self._tasks.begin(self._begin_at_new_sites(), "new sites")

    async def _begin_at_new_sites(self) -> None:
        try:
            while sites := await self._book.read_new():
                for site in sites:
                    self.start(site)
        except sqlite3.Error as error:
            why = Waiting(WaitReason.STORE, self._clock.now() + AGAIN_S, f"the message store has a problem: {error}")
            for site in self._book.unread:
                self._window.shut(site, why)
        finally:
            self._reading = False

    def _hush_held_up(self, site: Site, whys: dict[str, Waiting], now: float) -> None:
        """Domains all of whose source addresses must wait: the site goes on for those that have others."""
        if len(self._tenants.all_sources()) == 1 or self._gates.held_up("") is not None:
            return
        for tenant in list(site.heads()):
            mine = [whys.get(source) for source in self._tenants.sources(tenant)]
            held = [why for why in mine if why is not None and why.until is not None and is_long(why, now)]
            if len(held) == len(mine):
                self._window.hush(site, tenant, min(held, key=lambda why: why.until or now))

    def _gate(self, pace: Pace, source: str, now: float, connections: int) -> Waiting | None:
        """Why no worker may begin; one that would have to wait a moment may."""
        why = self._gates.held_up(source) or pace.send_gate(now)
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
        site.workers[source] = site.workers.get(source, 0) + 1
        self.connections += 1
        worker = Worker(
            office=self,
            gates=self._gates,
            contents=self._contents,
            site=site,
            source=source,
            pace=self._book.pace(site, source),
            transport=self._transport,
            settler=self._settler,
            clock=self._clock,
            idle_s=self._idle_s,
        )
        task = self._tasks.begin(worker.run(), f"site {site.key}")
        task.add_done_callback(lambda done: self._ended(site, source))

    def _ended(self, site: Site, source: str) -> None:
        site.workers[source] -= 1
        self.connections -= 1
        site.idle_since = self._clock.now()
        self.start(site)

    # --- what workers ask (their Office) ---

    def served_by(self, site: Site, source: str) -> Collection[int] | None:
        if len(self._tenants.all_sources()) == 1:
            return None
        return {tenant for tenant in site.heads() if source in self._tenants.sources(tenant)}

    def begin(self, site: Site, jobs: list[Job]) -> list[Job]:
        tenant = jobs[0].recipient.domain_id if jobs else 0
        room = self._quotas.room(tenant)
        if room is None or not jobs:
            return jobs
        self._quotas.take(tenant, len(jobs[:room]))
        for job in reversed(jobs[room:]):
            site.push(job, front=True)
        why = self._quotas.over().get(tenant)
        if why is not None:
            for one in self._book:
                if one.ready_of(tenant):  # elsewhere Fresh.admit() and the claim see to it
                    self._window.hush(one, tenant, why)
        return jobs[:room]

    def not_begun(self, jobs: list[Job]) -> None:
        tenant = jobs[0].recipient.domain_id
        if self._quotas.take_back(tenant, len(jobs)):
            self.forget_quotas(tenant)

    def forget_quotas(self, only: int | None = None) -> None:
        """Whoever waits for a quota is looked at anew."""
        for site in self._book:
            for tenant, why in list(site.hushed.items()):
                if why.reason is WaitReason.QUOTA and only in (None, tenant):
                    del site.hushed[tenant]
                    self._book.look_now(site)

    def attempting(self, jobs: list[Job]) -> None:
        if self._begun is not None:
            self._begun.note([(job.recipient.id, job.recipient.attempts) for job in jobs])

    def retry_at(self, site: Site, at: float) -> None:
        self._book.look_at(site, at)

    def action_for(self, site: Site, outcome: Deferred | Failed) -> Action | None:
        return self._book.shaping.action_for(site.profile, outcome.reply, outcome.phase)

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
                self._window.shut(site, Waiting(WaitReason.SITE_SUSPENDED, now + action.for_s, said))
            case Do.SUSPEND_TENANT:
                why = Waiting(WaitReason.SITE_SUSPENDED, now + action.for_s, said)
                self._window.hush(site, job.recipient.domain_id, why)
            case Do.HARD | Do.RETRY_IN | Do.IGNORE:
                return  # they speak of the message alone, and settling has heeded them

    def released(self, site: Site, job: Job) -> None:
        self._window.gone(site, job.held)
