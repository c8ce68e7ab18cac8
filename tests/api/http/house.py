"""The API over a real store and the queue's own door, on a loopback port; nothing is delivered."""

import asyncio
import email
import email.policy
import itertools
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

from mtad.api.connections import Connections
from mtad.api.http.app import HttpApi
from mtad.api.http.call import Chapter
from mtad.api.http.idempotency import Idempotency
from mtad.api.http.keys import Keys, hash_of
from mtad.api.http.messages import Messages
from mtad.api.server import Runner
from mtad.api.tenants import Tenants
from mtad.clock import Clock, SystemClock
from mtad.config import ApiConfig, DeliveryConfig
from mtad.mail.ids import IdSource
from mtad.mail.options import Options, options_from_json
from mtad.mail.reply import Reply
from mtad.queue.submit import Submit
from mtad.storage import accounts, idempotency, journal
from mtad.storage.database import Database, Lane, open_database
from mtad.storage.idempotency import Answered
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
    outgoing: Outgoing
    answers: "Lane[Answered]"
    folder: Path
    gate: Reply | None = None
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def stored(self) -> list["Kept"]:
        """Every message in the store, oldest first."""
        return await self.database.read(_kept)

    async def only(self) -> "Kept":
        (one,) = await self.stored()
        return one

    def messages(self, **more) -> Messages:
        guard = Idempotency(self.database, self.answers, self.clock.now)
        return Messages(submit=self.submit, idempotency=guard, mark=lambda: f"mark{next(self.numbers):020d}", **more)

    async def add_key(self, key: str, domain: str | None = None) -> None:
        def work(connection):
            connection.execute(
                "INSERT INTO api_keys (domain_id, name, hash, created_at)"
                " VALUES ((SELECT id FROM domains WHERE name = ?), 'a test', ?, 0)",
                (domain, hash_of(key)),
            )

        await self.database.writer.write(work)
        await self.keys.load()


@dataclass(frozen=True)
class Kept:
    """A message in the store. raw: as it will be sent, up to composition."""

    reverse_path: str
    recipients: list[str]
    raw: bytes
    options: Options
    deliver_at: float | None
    about: dict[str, Any]

    @property
    def message(self) -> EmailMessage:
        found = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found


def _kept(connection: sqlite3.Connection) -> list[Kept]:
    rows = connection.execute(
        "SELECT m.id, reverse_path, options, deliver_at, about, content FROM messages AS m"
        " LEFT JOIN bodies AS b ON b.message_id = m.id ORDER BY m.id"
    ).fetchall()
    made = []
    for number, reverse_path, options, deliver_at, about, content in rows:
        people = connection.execute("SELECT address FROM recipients WHERE message_id = ? ORDER BY id", (number,))
        addresses = [address for (address,) in people]
        asked = options_from_json(options or b"")
        made.append(Kept(reverse_path, addresses, content or b"", asked, deliver_at, orjson.loads(about)))
    return made


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
            tenants, keys = Tenants(database, DeliveryConfig()), Keys(database, clock)
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
            answers = database.writer.lane(idempotency.add)
            house = House(database, tenants, keys, ids, clock, submit, outgoing, answers, folder)
            yield house
        finally:
            database.writer.stop()


@dataclass(frozen=True)
class Peer:
    text: str
    group: str


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
    """more: of ApiConfig."""
    api = HttpApi(
        chapters=chapters,
        keys=house.keys,
        domains=house.tenants,
        clock=house.clock,
        token=lambda: f"request-{next(house.numbers)}",
        folder=house.folder,
        client=lambda remote, forwarded: Peer(remote, remote),
        config=ApiConfig(**more),
    )
    app = web.Application()
    api.add_to(app)
    runner = Runner(app, lambda: f"request-{next(house.numbers)}", Connections(1000, 1000))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://127.0.0.1:{port}", api)
    finally:
        await runner.cleanup()
