"""Worker: one connection of one site: takes jobs in turn, waits where the pace says so, attempts, settles.

Room: queue. May import: mail, storage, feedback, delivery.
"""

import asyncio
import sqlite3
from collections.abc import Collection
from functools import partial
from typing import Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.delivery.mx import Route
from mtad.feedback.classify import Verdict
from mtad.mail.address import is_list, is_url
from mtad.mail.envelope import Transaction
from mtad.mail.ids import queue_id
from mtad.mail.reply import Deferred, Delivered, Failed, Outcome, Phase, Reply
from mtad.mail.waiting import Waiting
from mtad.queue.compose import Uncomposable
from mtad.queue.contents import Contents
from mtad.queue.gates import Gates
from mtad.queue.settle import Settler
from mtad.queue.shaping import Action
from mtad.queue.site import Site
from mtad.queue.throttle import Pace
from mtad.queue.work import Job, Session, Transport
from mtad.storage.outgoing import Flag, StoredMessage

log = log_module.get("queue")

PATIENCE_S = 5.0  # a shorter wait is waited out with the jobs in memory; a longer one gives them back
_INTERNAL = Reply(451, "3.0", "An error inside mtad stopped the attempt; the log has the details")
_UNSENDABLE = Reply(554, "6.0", "The message or an address has octets that SMTP cannot carry")
_GONE = Reply(554, "6.0", "The bytes of the message are gone from the store, or damaged there")


class Office(Protocol):
    """What a worker asks of the crew it belongs to."""

    def served_by(self, site: Site, source: str) -> Collection[int] | None:
        """The domains that send from `source`; None: all do."""

    def begin(self, site: Site, jobs: list[Job]) -> list[Job]:
        """Those that may be attempted; the domain's quota has no room for the others, and they wait."""

    def not_begun(self, jobs: list[Job]) -> None:
        """No attempt was made: they begin again."""

    def attempting(self, jobs: list[Job]) -> None:
        """From now on the peer may have them: what tells so outlives us. Raises OSError."""

    def action_for(self, site: Site, outcome: Deferred | Failed) -> Action | None:
        """What the site's reply rules ask for."""

    def learnt(
        self, site: Site, pace: Pace, job: Job, outcome: Deferred | Failed, verdict: Verdict, action: Action | None
    ) -> None: ...
    def released(self, site: Site, job: Job) -> None:
        """The job is settled and no longer in memory."""

    def retry_at(self, site: Site, at: float) -> None: ...


class Worker:
    """Run it as a task. It ends when its site has nothing for it, or does not want it."""

    def __init__(
        self,
        *,
        office: Office,
        gates: Gates,
        contents: Contents,
        site: Site,
        source: str,
        pace: Pace,
        transport: Transport,
        settler: Settler,
        clock: Clock,
        idle_s: float,
    ) -> None:
        self._office, self._gates, self._contents = office, gates, contents
        self._site, self._source, self._pace = site, source, pace
        self._transport, self._settler, self._clock, self._idle_s = transport, settler, clock, idle_s
        self._session: Session | None = None
        self._route: Route | None = None
        self._jobs: list[Job] = []  # under way
        self._sending = False  # and the peer may have them

    async def run(self) -> None:
        try:
            while not self._gates.stopping:
                if not self._site.ready:
                    if not await self._park():
                        return
                    continue
                if not await self._may_send():
                    return
                most = self._gates.room(self._source, self._site.profile.max_recipients)
                jobs = self._site.pop(most, self._office.served_by(self._site, self._source))
                self._jobs = self._office.begin(self._site, jobs)
                if not self._jobs:
                    if not await self._park():
                        return
                else:
                    self._pace.take(self._clock.now())
                    self._gates.count_sent(self._source, len(self._jobs))
                    if not await self._served():
                        return
        finally:
            for job in self._jobs:  # cancelled in the middle: what the peer took we cannot know
                self._settler.give_back(job.recipient, self._site.id, begun=self._sending)
                self._office.released(self._site, job)
            self._close()

    async def _park(self) -> bool:
        """Wait for work; False: none came in idle_s, or the connection is gone."""
        if self._session is None:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        parked = self._site.parked.setdefault(self._source, [])
        parked.append(future)
        timer = future.get_loop().call_later(self._idle_s, _time_up, future)
        try:
            return await future
        finally:
            timer.cancel()
            if future in parked:
                parked.remove(future)

    async def _may_send(self) -> bool:
        """Wait until a message may leave; False: that takes too long for sitting here."""
        while True:
            now = self._clock.now()
            why = self._gates.held_up(self._source) or self._pace.send_gate(now)
            if why is None:
                return True
            if why.until is None or is_long(why, now):
                return False
            await self._clock.sleep(max(0.01, why.until - now))
            if self._gates.stopping or not self._site.ready:
                return not self._gates.stopping

    async def _served(self) -> bool:
        """Like _serve. An error of ours, or of the store, is a failed attempt: nothing has been sent yet."""
        try:
            return await self._serve()
        except (OSError, sqlite3.Error) as error:
            log.error("message-unreadable", msg=self._under_way(), cause=repr(error))
            return self._crashed(Reply(451, "3.0", f"The message store could not be read: {error}"))
        except Exception:  # one bad message must not end the worker, and so the queue, again after each restart
            log.exception("attempt-crashed", msg=self._under_way())
            return self._crashed(_INTERNAL)

    def _under_way(self) -> str | None:
        return queue_id(self._jobs[0].held.message.id) if self._jobs else None

    def _crashed(self, why: Reply) -> bool:
        self._close()
        self._not_sent()
        self._settle([Deferred(why, None, Phase.LOCAL)] * len(self._jobs))
        return True

    async def _serve(self) -> bool:
        """One transaction. False: this worker's connection is not wanted any more."""
        for job in list(self._jobs):
            if _may_be_suppressed(job) and (_is_for_member(job) or self._contents.maybe_suppressed(job.recipient)):
                await self._settle_suppressed(job)
        if not self._jobs:
            return True
        message, flags = self._jobs[0].held.message, self._contents.flags(self._jobs[0])
        if not await self._connected(flags):
            return False
        session = self._session
        if session is None:  # the jobs were settled without one
            return True
        posted = is_url(self._jobs[0].recipient.address)
        try:
            chunks = () if posted else await self._contents.chunks(self._jobs[0])
        except Uncomposable as error:
            self._settle([Failed(Reply(554, "6.0", str(error)), None, Phase.LOCAL)] * len(self._jobs))
            return True
        if chunks is None:
            self._settle([Failed(_GONE, None, Phase.LOCAL)] * len(self._jobs))
            return True
        transaction = Transaction(
            self._contents.reverse_path(self._jobs[0]),
            tuple([job.recipient.address for job in self._jobs]),
            chunks,
            message.size if posted else sum(map(len, chunks)),
            smtputf8=bool(message.flags & Flag.SMTPUTF8),
            eight_bit=bool(message.flags & Flag.EIGHT_BIT) or _grew_wide(self._jobs[0], chunks),
            require_tls=bool(flags & Flag.REQUIRE_TLS),
        )
        _ask_for_notices(transaction, message, self._jobs)
        if is_url(self._jobs[0].recipient.address) or is_list(self._jobs[0].recipient.address):
            transaction.personal = tuple([job.recipient.personal for job in self._jobs])
            transaction.ids = tuple([job.recipient.id for job in self._jobs])
        if posted:
            transaction.read = partial(self._read, self._jobs[0])
        outcomes: list[Outcome]
        self._office.attempting(self._jobs)
        self._sending = True
        try:
            outcomes = await session.send(transaction)
            if session.stale:  # the host had given up the idle connection: the same mail goes out on a new one
                self._close()
                self._put_back()
                return True
        except ValueError as error:  # the writer's own lock: such octets never get on a wire, so nothing was sent
            log.error("unsendable", msg=queue_id(message.id), cause=error)
            outcomes = [Failed(_UNSENDABLE, None, Phase.LOCAL)] * len(self._jobs)
        except Exception:  # one bad message must not end the worker, and so the site
            log.exception("attempt-crashed", msg=queue_id(message.id))
            outcomes = [Deferred(_INTERNAL, session.hop, Phase.LOCAL, unknown=True)] * len(self._jobs)
            self._close()
        self._settle(outcomes)
        return True

    async def _read(self, job: Job) -> bytes | None:
        """For a post: a large message comes from the store only when there is room to make one of it."""
        chunks = await self._contents.chunks(job)
        return b"".join(chunks) if chunks is not None else None

    async def _connected(self, flags: int) -> bool:
        """Have a session that can take the jobs under way; False: there is none, the jobs are cared for."""
        session, route = self._session, self._jobs[0].route
        requires_tls, unchecked = bool(flags & Flag.REQUIRE_TLS), bool(flags & Flag.SKIP_VERIFICATION)
        if session is not None:
            fits = session.alive and session.sent < self._site.profile.max_messages
            proven = not requires_tls or (session.hop.tls and (unchecked or session.hop.verified))
            if fits and _same_hosts(route, self._route) and proven:
                return True
            self._close()
        opened = await self._transport.open(route, self._source, requires_tls, unchecked)
        now = self._clock.now()
        if not isinstance(opened, Deferred | Failed):
            self._session, self._route = opened, route
            self._site.live[self._source] = self._site.live.get(self._source, 0) + 1
            self._pace.on_connected(now)
            return True
        if self._site.sessions and not requires_tls and isinstance(opened, Deferred):
            # The site takes mail on other connections: it wants fewer of them. Not the message's fault.
            self._pace.on_connect_failed(now, str(opened.reply), self._site.sessions)
            self._put_back()
            return False
        if isinstance(opened, Deferred) and not requires_tls:
            self._pace.on_connect_failed(now, str(opened.reply))
        self._not_sent()
        self._settle([opened] * len(self._jobs))
        return self._pace.connect_gate(now, 0) is None

    async def _settle_suppressed(self, job: Job) -> None:
        found = await self._contents.suppressed(job)
        if found is not None:
            self._jobs.remove(job)
            self._gates.count_sent(self._source, -1)
            self._settler.suppressed(job, found)
            self._office.released(self._site, job)

    def _not_sent(self) -> None:
        self._gates.count_sent(self._source, -len(self._jobs))

    def _put_back(self) -> None:
        self._office.not_begun(self._jobs)
        self._not_sent()
        for job in reversed(self._jobs):
            self._site.push(job, front=True)
        self._jobs, self._sending = [], False

    def _settle(self, outcomes: list[Outcome]) -> None:
        jobs, self._jobs, self._sending = self._jobs, [], False
        now = self._clock.now()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Delivered):
                self._settler.delivered(job, outcome)
                self._pace.on_delivered(now)
            else:
                action = self._office.action_for(self._site, outcome)
                verdict, due_at = self._settler.settle(job, outcome, action)
                if due_at is not None:
                    self._office.retry_at(self._site, due_at)
                self._office.learnt(self._site, self._pace, job, outcome, verdict, action)
            self._office.released(self._site, job)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
            self._site.live[self._source] -= 1


def _may_be_suppressed(job: Job) -> bool:
    """What is only sent on for others is not, and neither is a list, whose members are asked for one by one."""
    return not job.held.message.flags & Flag.ROUTED and not is_list(job.recipient.address)


def _is_for_member(job: Job) -> bool:
    """He may have left the list since the copy was made."""
    return job.held.options is not None and job.held.options.list_number > 0


def _grew_wide(job: Job, chunks: tuple[bytes, ...]) -> bool:
    """A value filled into an 8-bit part may be its first octet beyond ASCII (RFC 6152)."""
    return job.held.template is not None and not all(map(bytes.isascii, chunks))


def _ask_for_notices(transaction: Transaction, message: StoredMessage, jobs: list[Job]) -> None:
    """What the sender asked to be told of goes on with the message (RFC 3461 §5.2)."""
    if any([job.recipient.notify or job.recipient.orcpt for job in jobs]):
        transaction.notify = tuple([job.recipient.notify or "" for job in jobs])
        transaction.orcpt = tuple([job.recipient.orcpt or "" for job in jobs])
    if b'"envid":' in message.about or b'"ret":' in message.about:
        about = orjson.loads(message.about)
        transaction.envid, transaction.ret = about.get("envid", ""), about.get("ret", "")


def is_long(why: Waiting, now: float) -> bool:
    """Too long to wait with the jobs in memory."""
    return why.until is None or why.until - now > PATIENCE_S


def _same_hosts(one: Route, other: Route | None) -> bool:
    """Two domains at one provider may have different hosts: a connection serves only those it was opened for."""
    return one is other or (other is not None and set(one.hosts) == set(other.hosts) and one.port == other.port)


def _time_up(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
