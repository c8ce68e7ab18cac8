"""The API over a real store and the queue's own door, on a loopback port; nothing is delivered."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from mtad.api.http.app import HttpApi
from mtad.api.http.call import Chapter
from mtad.api.http.keys import Keys, hash_of
from mtad.api.tenants import Tenants
from mtad.clock import Clock, SystemClock
from mtad.config import DeliveryConfig
from mtad.mail.ids import IdSource
from mtad.mail.reply import Reply
from mtad.queue.submit import Submit
from mtad.storage import accounts, journal
from mtad.storage.database import Database, open_database
from mtad.storage.outgoing import Outgoing, StoredMessage, StoredRecipient
from mtad.storage.spool import Spool

KEY = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
DOMAIN, OTHER = "mg.example.com", "other.example.com"


class Desk:
    """Recipients stay in the store."""

    def place(self, domain: str) -> int:
        return 0

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        return False

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        return None

    def take(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        raise AssertionError("nothing was admitted")

    def refund(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        """Nothing was set aside."""


@dataclass
class House:
    """What chapters are built with. gate: set it to what the store refuses with."""

    database: Database
    tenants: Tenants
    keys: Keys
    ids: IdSource
    clock: Clock
    submit: Submit
    folder: Path
    gate: Reply | None = None
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def add_key(self, key: str, domain: str | None = None) -> None:
        def work(connection):
            connection.execute(
                "INSERT INTO api_keys (domain_id, name, hash, created_at)"
                " VALUES ((SELECT id FROM domains WHERE name = ?), 'a test', ?, 0)",
                (domain, hash_of(key)),
            )

        await self.database.writer.write(work)
        await self.keys.load()


@asynccontextmanager
async def open_house(folder: Path, clock: Clock | None = None) -> AsyncIterator[House]:
    """DOMAIN is domain 1, OTHER 2; KEY is the account's."""
    clock = clock or SystemClock()
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(database.writer.run())
        try:
            tenants, keys = Tenants(database, DeliveryConfig()), Keys(database)
            for name in (DOMAIN, OTHER):
                await database.writer.write(lambda c, name=name: accounts.add_domain(c, name, clock.now()))
            await database.writer.write(lambda c: accounts.add_api_key(c, "tests", hash_of(KEY), clock.now()))
            await tenants.load()
            await keys.load()
            ids, outgoing = IdSource(clock.now), Outgoing(Spool(folder / "spool"), 65_536)
            house: House
            submit = Submit(
                accept=database.writer.lane(outgoing.accept),
                rejected=database.writer.lane(journal.add, patient=True),
                desk=Desk(),
                domains=tenants,
                ids=ids,
                clock=clock,
                gate=lambda octets: house.gate,
                hostname="mail.example.com",
                give_up_after_s=28_800,
                max_hops=50,
                max_schedule_s=3 * 86_400,
            )
            house = House(database, tenants, keys, ids, clock, submit, folder)
            yield house
        finally:
            database.writer.stop()


@dataclass
class Client:
    """Asks the API. base: "http://127.0.0.1:…"."""

    session: aiohttp.ClientSession
    base: str
    api: HttpApi

    async def __call__(self, method: str, path: str, *, key: str | None = KEY, **more) -> aiohttp.ClientResponse:
        """The answer, read whole. path: with its version. more: of aiohttp's request."""
        headers = {**more.pop("headers", {})}
        if key is not None:
            headers.setdefault("Authorization", aiohttp.encode_basic_auth("api", key))
        async with self.session.request(
            method, URL(self.base + path, encoded=True), headers=headers, allow_redirects=False, **more
        ) as response:
            await response.read()
            return response

    async def json(self, method: str, path: str, status: int = 200, **more):
        """The JSON of an answer with that status."""
        response = await self(method, path, **more)
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


@asynccontextmanager
async def serve(house: House, chapters: Sequence[Chapter], **more) -> AsyncIterator[Client]:
    """more: of HttpApi."""
    api = HttpApi(
        chapters=chapters,
        keys=house.keys,
        domains=house.tenants,
        clock=house.clock,
        token=lambda: f"request-{next(house.numbers)}",
        folder=house.folder,
        **{"base_url": lambda: "", **more},
    )
    app = web.Application()
    api.add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://127.0.0.1:{port}", api)
    finally:
        await runner.cleanup()


Serving = Callable[..., AsyncIterator[Client]]
