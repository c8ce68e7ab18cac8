"""The queue over a real store, a clock that tests move, and a way out that answers what it is told to."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtad.config import BounceConfig, QueueConfig
from mtad.delivery.mx import MxHost, Route
from mtad.feedback.classify import Classifier, load_rules
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission, Transaction
from mtad.mail.event import Event
from mtad.mail.ids import IdSource
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Outcome, Phase, Reply
from mtad.mail.waiting import Waiting
from mtad.queue.book import Book
from mtad.queue.notify import Notifier
from mtad.queue.operator import Operator
from mtad.queue.runner import Runner
from mtad.queue.schedule import RetryPlan
from mtad.queue.settle import Settler
from mtad.queue.shaping import Shaping, load_shaping
from mtad.queue.submit import Submit
from mtad.queue.warmups import WarmUps
from mtad.storage import accounts, journal, queue_view, sites, upkeep
from mtad.storage import database as database_module
from mtad.storage.database import Database, open_database
from mtad.storage.outgoing import Outgoing
from mtad.storage.queue_view import QueueFilter, QueueRow
from mtad.storage.spool import Spool
from tests.virtualclock import VirtualClock

CONF = Path(__file__).resolve().parents[2] / "conf"
RULES = load_rules((CONF / "bounces.toml").read_text("utf-8"), "bounces.toml")
SHAPING = load_shaping("[default]\nstart_rate = 1000\nmax_rate = 0\n", "shaping.toml")
TAKEN, LATER, NEVER = Reply(250, "0.0", "ok"), Reply(451, "3.0", "try later"), Reply(550, "1.1", "no such user")
Answer = Callable[[Transaction, str], Outcome]


def hop(domain: str) -> Hop:
    return Hop(f"mx.{domain}", "192.0.2.1")


def later(tx: Transaction, domain: str) -> Outcome:
    return Deferred(LATER, hop(domain), Phase.RCPT)


def never(tx: Transaction, domain: str) -> Outcome:
    return Failed(NEVER, hop(domain), Phase.RCPT)


@dataclass
class World:
    """The transport. answers: by domain, else delivered. dead: domains nobody answers for. sent: what arrived.

    hops: by domain, for hosts with TLS or DSN. opened: (domain, source, require_tls, skip_verification) of each.
    hold: transactions wait for it. lookups: DNS waits for it. stale: how many reused connections turn out to be dead.
    """

    clock: VirtualClock
    fixed_key: str | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    sent: list[tuple[float, Transaction]] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)  # of each that was sent
    stale: int = 0
    hold: asyncio.Event | None = None
    lookups: asyncio.Event | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    hops: dict[str, Hop] = field(default_factory=dict)
    opened: list[tuple[str, str, bool, bool]] = field(default_factory=list)

    def known(self, domain: str) -> Route | None:
        return self.routes.get(domain)

    async def route(self, domain: str) -> Route:
        if self.lookups is not None:
            await self.lookups.wait()
        return self.routes.setdefault(domain, Route(domain, (MxHost(f"mx.{domain}", 10),), 25))

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> "Visit | Deferred":
        self.dialled.append(route.domain)
        self.opened.append((route.domain, source, require_tls, skip_verification))
        if route.domain in self.dead:
            return Deferred(Reply(451, "4.1", "no answer"), None, Phase.CONNECT)
        return Visit(self, route.domain, source)

    def recipients(self) -> list[str]:
        return [one for _, tx in self.sent for one in tx.recipients]


class Visit:
    alive = True

    def __init__(self, world: World, domain: str, source: str) -> None:
        self._world, self._domain, self._source = world, domain, source
        self.sent, self.stale, self.hop = 0, False, world.hops.get(domain) or hop(domain)

    async def send(self, tx: Transaction) -> list[Outcome]:
        if self.sent and self._world.stale:
            self._world.stale -= 1
            self.alive, self.stale = False, True
            return [Deferred(Reply(421, "4.2", "gone"), self.hop, Phase.MAIL) for _ in tx.recipients]
        self.sent += 1
        self._world.sent.append((self._world.clock.now(), tx))
        self._world.sources.append(self._source)
        if self._world.hold is not None:
            await self._world.hold.wait()
        answer = self._world.answers.get(self._domain)
        return [answer(tx, self._domain) if answer else Delivered(TAKEN, self.hop) for _ in tx.recipients]

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Ours:
    """Domains a.example (1) and c.example (2). pools: domain id -> source addresses. gates: why one must wait.
    limits: domain id -> recipients an hour; replace it to change it."""

    held: dict[int, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    pools: dict[int, tuple[str, ...]] = field(default_factory=dict)
    gates: dict[str, Waiting] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)

    def paused(self) -> dict[int, str]:
        return self.held

    def sources(self, domain_id: int) -> tuple[str, ...]:
        return self.pools.get(domain_id, ("",))

    def all_sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("", *(source for some in self.pools.values() for source in some))))

    def hourly_limits(self) -> dict[int, int]:
        return self.limits

    def flags(self, domain_id: int) -> int:
        return 0

    def id_of(self, name: str) -> int:
        return {"a.example": 1, "c.example": 2}.get(name, 0)

    def name_of(self, number: int) -> str:
        return {1: "a.example", 2: "c.example"}.get(number, "")

    def is_ours(self, name: str) -> bool:
        return self.id_of(name) > 0

    def may_send(self, name: str) -> bool:
        return name not in self.disabled


class Plain:
    """Messages go out as they are."""

    def alone(self, held) -> bool:
        return False

    def chunks(self, job, content):
        return (content,)

    def reverse_path(self, job) -> str:
        return job.held.message.reverse_path


class Nobody:
    """Nobody is suppressed."""

    def maybe(self, domain_id, address) -> bool:
        return False

    async def find(self, domain_id, address, tags):
        raise AssertionError("nobody asked for it")


@dataclass
class Room:
    limit: int = 1 << 24
    used: int = 0

    def reserve(self, octets: int) -> bool:
        if self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def release(self, octets: int) -> None:
        self.used -= octets


class Threads:
    """Work under way on the store's threads, whose end the loop cannot foresee."""

    def __init__(self) -> None:
        self.begun = self._under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every hop to a thread is counted meanwhile."""
        hop_to_thread = database_module._on_thread

        async def counted(*arguments: Any) -> Any:
            self.begun += 1
            self._under_way += 1
            self.idle.clear()
            try:
                return await hop_to_thread(*arguments)
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self.idle.set()

        database_module._on_thread = counted
        try:
            yield
        finally:
            database_module._on_thread = hop_to_thread


@dataclass
class House:
    threads: Threads
    database: Database
    clock: VirtualClock
    world: World
    ours: Ours
    memory: Room
    runner: Runner
    operator: Operator
    notifier: Notifier
    submit: Submit
    cut: Callable[[], object]  # ends the queue in the middle of what it does
    shut: Reply | None = None
    trouble: str | None = None

    async def send(
        self, *to: str, sender: str | None = "ann@a.example", domain: str = "a.example", **more: object
    ) -> int:
        reverse = parse_address(sender) if sender else None
        content = b"From: ann@a.example\r\nSubject: x\r\n\r\nText\r\n"
        people = [parse_address(one) for one in to]
        return await self.submit(Submission(reverse, people, content, domain, self.clock.now(), **more))  # type: ignore[arg-type]

    async def rest(self) -> None:
        """Until everything that can happen at this moment has happened: no thread works for the store, and a
        good many turns of the loop begin nothing there. However slow a thread is, nothing is cut short.
        """
        while True:
            while not self.threads.idle.is_set():
                await self.threads.idle.wait()
            before = self.threads.begun
            for _ in range(20):
                await asyncio.sleep(0)
            if self.threads.begun == before and self.threads.idle.is_set():
                return

    async def go_on(self, by_s: float, step_s: float = 30.0) -> None:
        await self.rest()
        end = self.clock.now() + by_s
        while self.clock.now() < end:
            self.clock.advance(min(step_s, end - self.clock.now()))
            await self.rest()

    async def rows(self, message: int) -> list[QueueRow]:
        def read(connection):  # type: ignore[no-untyped-def]
            return queue_view.of_message(connection, queue_view.message(connection, message), 1000)

        return await self.database.read(read)

    async def waiting(self) -> list[QueueRow]:
        return await self.database.read(lambda connection: queue_view.waiting(connection, QueueFilter(), 1000))

    async def events(self, message: int) -> list[Event]:
        return await self.database.read(lambda connection: journal.timeline(connection, message))

    async def check(self) -> upkeep.CheckResult:
        return await self.database.read(upkeep.check)

    async def reason(self, message: int) -> Waiting:
        """Why the message's first recipient waits."""
        return self.operator.explain((await self.rows(message))[0])

    async def copy_store(self, folder: Path) -> None:
        """What a daemon that died at this moment would leave behind."""

        def copy(connection: sqlite3.Connection) -> None:
            other = sqlite3.connect(folder / "mtad.sqlite")
            connection.backup(other)
            other.close()

        folder.mkdir()
        await self.database.read(copy)


@asynccontextmanager
async def open_house(
    folder: Path,
    clock: VirtualClock,
    world: World,
    *,
    shaping: Shaping = SHAPING,
    ours: Ours | None = None,
    idle_s: float = 0.0,
    settled: bool = True,
    **queue: object,
) -> AsyncIterator[House]:
    """idle_s: how long a connection waits for more. settled: the house is at rest when it is handed over; else the
    queue has only just begun to start.
    """
    config = QueueConfig(retry_jitter=0.0, **queue)  # type: ignore[arg-type]
    threads = Threads()
    with threads.watched():
        async with _house(folder, clock, world, threads, shaping, ours or Ours(), idle_s, config) as house:
            if settled:
                await house.rest()
            yield house


@asynccontextmanager
async def _house(
    folder: Path,
    clock: VirtualClock,
    world: World,
    threads: Threads,
    shaping: Shaping,
    ours: Ours,
    idle_s: float,
    config: QueueConfig,
) -> AsyncIterator[House]:
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        writer = database.writer
        tasks.create_task(writer.run())
        if not await database.read(accounts.domains):
            for name in ("a.example", "c.example"):
                await writer.write(lambda connection, name=name: accounts.add_domain(connection, name, clock.now()))
        spool = Spool(folder / "spool")
        await writer.write(spool.open)
        ids = IdSource(clock.now, floor=await database.read(journal.newest_id))
        outgoing, memory, wake = Outgoing(spool, 65_536), Room(), asyncio.Event()
        book = Book(database, writer.lane(sites.ensure), shaping, clock, wake, world.fixed_key)
        warm_ups = WarmUps(database, shaping, clock)
        await warm_ups.load(ours.all_sources())
        house: House
        settler = Settler(
            lane=writer.lane(outgoing.settle),
            ids=ids,
            clock=clock,
            classifier=Classifier(RULES),
            plan=RetryPlan(config.retry_waits_s, config.retry_jitter, config.give_up_after_s),
            dice=lambda: 0.5,
            on_failed=lambda held, recipient, reply, at: house.notifier.failed(held, recipient, reply, at),
            on_relayed=lambda held, recipient, reply, at: house.notifier.relayed(held, recipient, reply, at),
        )
        runner = Runner(
            database=database,
            outgoing=outgoing,
            book=book,
            wake=wake,
            settler=settler,
            transport=world,
            tenants=ours,
            composer=Plain(),
            suppressing=Nobody(),
            memory=memory,
            clock=clock,
            config=config,
            idle_s=idle_s,
            unwell=lambda: house.trouble,
            limit_source=lambda source, now: ours.gates.get(source) or warm_ups.gate(source, now),
            source_room=warm_ups.room,
            sent=warm_ups.sent,
        )
        facts = writer.lane(journal.add)
        submit = Submit(
            accept=writer.lane(outgoing.accept),
            rejected=facts,
            desk=runner.desk,
            domains=ours,
            ids=ids,
            clock=clock,
            gate=lambda size: house.shut,
            hostname="mail.a.example",
            give_up_after_s=config.give_up_after_s,
            max_hops=50,
            max_schedule_s=config.max_schedule_s,
        )
        notifier = Notifier(
            submit=submit,
            database=database,
            outgoing=outgoing,
            ids=ids,
            clock=clock,
            config=BounceConfig(),
            hostname="mail.a.example",
            max_hops=50,
            wants=lambda domain_id: True,
            name_of=ours.name_of,
            told=facts.tell,
        )
        operator = Operator(
            runner=runner, settler=settler, tenants=ours, database=database, outgoing=outgoing, clock=clock
        )
        running = tasks.create_task(runner.run())
        house = House(threads, database, clock, world, ours, memory, runner, operator, notifier, submit, running.cancel)
        try:
            yield house
        finally:
            runner.stop()
            if world.hold is not None:
                world.hold.set()
            await asyncio.wait({running}, timeout=5)
            running.cancel()
            await asyncio.wait({running})
            await notifier.finish()
            await warm_ups.save()
            writer.stop()
            spool.close()
