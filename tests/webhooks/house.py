"""A store with domain 1, a receiver on loopback, and a sender between them on a clock that stands still."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.storage import accounts, journal, outbox, record
from mtad.storage import webhooks as store
from mtad.storage.database import Database, open_database
from mtad.storage.outbox import LoggedPost, PostFilter
from mtad.storage.record import Records
from mtad.webhooks.hooks import Hooks
from mtad.webhooks.poster import Lookup, open_poster
from mtad.webhooks.sender import Sender
from mtad.webhooks.settings import WebhookConfig
from tests.virtualclock import VirtualClock

ABOUT = {"message-id": "m1@ours.example", "from": "ann@ours.example", "to": "bob@example.net", "subject": "Hello"}
HEADER = b"From: ann@ours.example\r\nTo: bob@example.net\r\nSubject: Hello\r\nMessage-Id: <m1@ours.example>\r\n"
HARD = {"delivery-status": {"code": 550, "message": "no", "mx-host": "mx.x"}, "reason": "bounce"}
LONG_S = 10.0  # of real time, until a test is given up


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


@dataclass
class Receiver:
    """answers: statuses in turn, the last one for ever. gate: requests to /stuck wait for it."""

    port: int = 0
    answers: list[int] = field(default_factory=lambda: [200])
    got: list[Got] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0
    answer_body: bytes = b"thanks"

    def url(self, path: str = "/hook", host: str = "127.0.0.1", user: str = "") -> str:
        return f"http://{user}{host}:{self.port}{path}"

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.got.append(Got(request.raw_path, dict(request.headers), body))
            if request.path.startswith("/stuck"):
                await self.gate.wait()
            status = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            headers = {"Location": self.url("/elsewhere")} if 300 <= status < 400 else {}
            return web.Response(status=status, body=self.answer_body, headers=headers)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.gate.set()
        await runner.cleanup()


@dataclass
class House:
    database: Database
    hooks: Hooks
    sender: Sender
    ids: IdSource
    clock: VirtualClock
    config: WebhookConfig

    async def hook(self, name: str, url: str, domain: int = 1) -> int:
        now = self.clock.now()
        number = await self.database.writer.write(lambda c: store.add_webhook(c, domain, name, url, 0, now))
        await self.hooks.load()
        return number

    async def change(self, work: Callable[..., object]) -> None:
        await self.database.writer.write(work)
        await self.hooks.load()

    async def message(self) -> int:
        """Without a queue's row: what webhooks need of it."""
        number = self.ids.next()
        values = (number, 1, "ann@ours.example", 5, 1, 0, None, None, None, orjson.dumps(ABOUT), None, HEADER)
        marks = ",".join("?" * len(values))
        await self.database.writer.write(lambda c: c.execute(f"INSERT INTO messages VALUES ({marks})", values))
        return number

    async def events(
        self, kind: EventType, count: int = 1, *, suppressed: bool = False, message: int | None = None, **detail: object
    ) -> list[int]:
        """Events with the posts they make, in one commit, and the sender told of it; the posts' ids."""
        now = self.clock.now()
        records = Records()
        told = {"recipient": "bob@example.net", "about": ABOUT, **detail}
        for _ in range(count):
            event = self.ids.next()
            records.events.append((event, int(kind), 1, message, None, orjson.dumps(told)))
            lanes = self.hooks.posts_for(kind, 1, suppressed)
            records.posts += [(self.ids.next(), lane, event, now) for lane in lanes]
        await self.database.writer.write(lambda c: record.apply(c, [records]))
        self.sender.wake.set()
        return [row[0] for row in records.posts]

    async def log(self, **wanted: object) -> list[LoggedPost]:
        return await self.database.read(lambda c: outbox.posts(c, PostFilter(**wanted), 10_000))  # type: ignore[arg-type]

    async def until(self, reached: Callable[[], object], step_s: float = 0.02) -> None:
        """Let the clock run, a little at a time, until it is so."""
        ends = time.monotonic() + LONG_S
        while not reached():
            assert time.monotonic() < ends, "it did not come to pass"
            self.clock.advance(step_s)
            await asyncio.sleep(0.001)

    async def settled(self, posts: Sequence[int] = ()) -> list[LoggedPost]:
        """What is known of these posts (or all) once none of them is due or under way."""
        ends = time.monotonic() + LONG_S
        while True:
            found = [one for one in await self.log() if not posts or one.id in posts]
            late = [one for one in found if one.due_at is not None and one.due_at <= self.clock.now()]
            if found and not late:
                return found
            assert time.monotonic() < ends, f"{len(late)} posts are due still"
            self.clock.advance(0.02)
            await asyncio.sleep(0.001)


async def numbers_only(name: str) -> Sequence[str]:
    return {"receiver.example": ["127.0.0.1"], "localhost": ["127.0.0.1"]}.get(name, [])


@asynccontextmanager
async def open_house(
    folder: Path,
    clock: VirtualClock,
    config: WebhookConfig | None = None,
    lookup: Lookup = numbers_only,
    *,
    crash: bool = False,
) -> AsyncIterator[House]:
    """crash: at the end nothing is waited for."""
    config = config or WebhookConfig(allow_private=True)
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(database.writer.run())
        ids = IdSource(clock.now, floor=await database.read(journal.newest_id))
        if not await database.read(accounts.domains):
            await database.writer.write(lambda c: accounts.add_domain(c, "ours.example", clock.now()))
        hooks = Hooks(database)
        await hooks.load()
        tokens = iter(range(1_000_000))
        async with open_poster(config, clock, lookup) as poster:
            sender = Sender(
                database=database,
                hooks=hooks,
                poster=poster,
                ids=ids,
                clock=clock,
                token=lambda: f"{next(tokens):050x}",
                config=config,
            )
            running = asyncio.create_task(sender.run())
            try:
                yield House(database, hooks, sender, ids, clock, config)
            finally:
                sender.stop()
                if crash:
                    running.cancel()
                while not running.done():
                    clock.advance(0.02)
                    await asyncio.sleep(0.001)
                if not running.cancelled():
                    running.result()
                database.writer.stop()
