"""The queue over a real store, a clock that tests move, and a way out that answers what it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
from mtad.queue.shaping import load_shaping
from mtad.queue.submit import Submit
from mtad.storage import accounts, journal, queue_view, sites, upkeep
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
    """

    clock: VirtualClock
    fixed_key: str | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    sent: list[tuple[float, Transaction]] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None  # transactions wait for it
    routes: dict[str, Route] = field(default_factory=dict)
    hops: dict[str, Hop] = field(default_factory=dict)
    opened: list[tuple[str, str, bool, bool]] = field(default_factory=list)

    def known(self, domain: str) -> Route | None:
        return self.routes.get(domain)

    async def route(self, domain: str) -> Route:
        return self.routes.setdefault(domain, Route(domain, (MxHost(f"mx.{domain}", 10),), 25))

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> "Visit | Deferred":
        self.dialled.append(route.domain)
        self.opened.append((route.domain, source, require_tls, skip_verification))
        if route.domain in self.dead:
            return Deferred(Reply(451, "4.1", "no answer"), None, Phase.CONNECT)
        return Visit(self, route.domain)

    def recipients(self) -> list[str]:
        return [one for _, tx in self.sent for one in tx.recipients]


class Visit:
    alive = True
    stale = False

    def __init__(self, world: World, domain: str) -> None:
        self._world, self._domain = world, domain
        self.sent, self.hop = 0, world.hops.get(domain) or hop(domain)

    async def send(self, tx: Transaction) -> list[Outcome]:
        self.sent += 1
        self._world.sent.append((self._world.clock.now(), tx))
        if self._world.hold is not None:
            await self._world.hold.wait()
        answer = self._world.answers.get(self._domain)
        return [answer(tx, self._domain) if answer else Delivered(TAKEN, self.hop) for _ in tx.recipients]

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Ours:
    """Domains a.example (1) and c.example (2). pools: domain id -> source addresses. gates: why one must wait."""

    held: dict[int, str] = field(default_factory=dict)
    pools: dict[int, tuple[str, ...]] = field(default_factory=dict)
    gates: dict[str, Waiting] = field(default_factory=dict)

    def paused(self) -> dict[int, str]:
        return self.held

    def sources(self, domain_id: int) -> tuple[str, ...]:
        return self.pools.get(domain_id, ("",))

    def all_sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("", *(source for some in self.pools.values() for source in some))))

    def flags(self, domain_id: int) -> int:
        return 0

    def id_of(self, name: str) -> int:
        return {"a.example": 1, "c.example": 2}.get(name, 0)

    def name_of(self, number: int) -> str:
        return {1: "a.example", 2: "c.example"}.get(number, "")

    def is_ours(self, name: str) -> bool:
        return self.id_of(name) > 0


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


@dataclass
class House:
    database: Database
    clock: VirtualClock
    world: World
    ours: Ours
    memory: Room
    runner: Runner
    operator: Operator
    notifier: Notifier
    submit: Submit
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
        """Until everything that can happen at this moment has happened."""
        for _ in range(5):
            for _ in range(30):
                await asyncio.sleep(0)
            await self.database.writer.write(lambda connection: None)
            await self.database.read(lambda connection: None)

    async def go_on(self, by_s: float, step_s: float = 30.0) -> None:
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


@asynccontextmanager
async def open_house(
    folder: Path, clock: VirtualClock, world: World, *, run: bool = True, **queue: object
) -> AsyncIterator[House]:
    """run False: the writer runs, the runner does not (which a daemon that died leaves leases behind with)."""
    config = QueueConfig(retry_jitter=0.0, **queue)  # type: ignore[arg-type]
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
        outgoing, ours, memory, wake = Outgoing(spool, 65_536), Ours(), Room(), asyncio.Event()
        book = Book(database, writer.lane(sites.ensure), SHAPING, clock, wake, world.fixed_key)
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
            idle_s=0.0,
            unwell=lambda: house.trouble,
            limit_source=lambda source, now: ours.gates.get(source),
            sent=lambda source, count: None,
        )
        submit = Submit(
            accept=writer.lane(outgoing.accept),
            rejected=writer.lane(journal.add),
            desk=runner,
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
        )
        operator = Operator(
            runner=runner, settler=settler, tenants=ours, database=database, outgoing=outgoing, clock=clock
        )
        house = House(database, clock, world, ours, memory, runner, operator, notifier, submit)
        running = tasks.create_task(runner.run()) if run else None
        try:
            await house.rest()
            yield house
        finally:
            runner.stop()
            if running is not None:
                await asyncio.wait({running}, timeout=5)
                running.cancel()
                await asyncio.wait({running})
            await notifier.finish()
            writer.stop()
            spool.close()
