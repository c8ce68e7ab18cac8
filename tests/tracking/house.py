"""The public endpoints on loopback with a real store behind them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict

from mtad.api.connections import Connections
from mtad.api.server import Runner
from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.metric import Metric
from mtad.mail.options import Options
from mtad.mail.token import PATHS, Purpose, Tokens
from mtad.storage.database import Database, open_database
from mtad.storage.outgoing import Outgoing
from mtad.storage.spool import Spool
from mtad.storage.tracked import TrackedStore
from mtad.tracking.clients import Clients, load_client_rules
from mtad.tracking.places import Places
from mtad.tracking.recorder import Recorder
from mtad.tracking.settings import TrackingSettings
from mtad.tracking.web import TrackingPages
from tests.storage.mail import accept

RULES = load_client_rules((Path(__file__).parents[2] / "conf" / "clients.toml").read_text(), "clients.toml")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
TOKENS = Tokens(bytes(range(32)))
MESSAGE, BOB, EVE = 1000, 1001, 1002


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class House:
    """noted: what the filter of suppressions was told. trouble: why the store takes nothing."""

    database: Database
    recorder: Recorder
    session: aiohttp.ClientSession
    noted: list[tuple[int, str]]
    trouble: str | None = None

    def path(self, purpose: Purpose, recipient: int = BOB, target: str = "") -> str:
        return PATHS[purpose] + TOKENS.link(purpose, recipient, target)

    async def ask(self, path: str, method: str = "GET", **more) -> Answer:
        async with self.session.request(method, path, allow_redirects=False, **more) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def written(self, hits: int) -> None:
        """Wait until so many hits of all are in the store."""
        async with asyncio.timeout(10):
            while self.recorder.recorded < hits:
                await asyncio.sleep(0)
            await self.database.writer.write(lambda connection: None)

    async def events(self) -> list[tuple[EventType, int, dict]]:
        def read(connection):
            rows = connection.execute("SELECT type, recipient_id, detail FROM events WHERE type <> 1 ORDER BY id")
            return [(EventType(row[0]), row[1], orjson.loads(row[2])) for row in rows]

        return await self.database.read(read)

    async def counted(self) -> dict[Metric, int]:
        rows = await self.database.read(
            lambda connection: connection.execute("SELECT metric, n FROM counters WHERE label = ''").fetchall()
        )
        return {Metric(metric): n for metric, n in rows}


@asynccontextmanager
async def open_house(
    folder: Path, settings: TrackingSettings | None = None, *, whole_app: bool = True
) -> AsyncIterator[House]:
    """Message 1000 of domain 1, tags News and Sale, went to r0@b.example (1001) and r1@b.example (1002)."""
    clock, settings = SystemClock(), settings or TrackingSettings()
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(database.writer.run())
        noted: list[tuple[int, str]] = []
        store = TrackedStore(lambda *_: (), lambda domain_id, key: noted.append((domain_id, key)))
        lane = database.writer.lane(store.apply, patient=True)
        recorder = Recorder(
            lane=lane, ids=IdSource(clock.now), clients=Clients(RULES), places=Places(settings.geoip_file), clock=clock
        )
        tasks.create_task(recorder.run())
        one = accept(MESSAGE, 2)
        one.message = (*one.message[:8], Options(tags=("News", "Sale")).to_json(), None)
        outgoing = Outgoing(Spool(folder / "spool"), 1000)
        await database.writer.write(lambda connection: outgoing.accept(connection, [one]))
        house: House
        tracking = TrackingPages(
            tokens=TOKENS, recorder=recorder, clock=clock, settings=settings, unwell=lambda: house.trouble
        )
        app = tracking.app() if whole_app else web.Application()
        if not whole_app:
            tracking.add_to(app)
        runner = Runner(app, lambda: "request-1", Connections(1000, 1000), max_line_size=16_384)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [(host, port)] = runner.addresses
        headers = {"User-Agent": FIREFOX}
        async with aiohttp.ClientSession(f"http://{host}:{port}", headers=headers) as session:
            house = House(database, recorder, session, noted)
            try:
                yield house
            finally:
                await runner.cleanup()
                recorder.stop()
                database.writer.stop()
