"""A store with mail in it, a runner that only remembers what it was told, and a daemon's half of the control socket."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from mtad.api.control import serve_control
from mtad.api.lock import hold
from mtad.api.operations import Operations
from mtad.clock import Clock, SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.waiting import Waiting, WaitReason
from mtad.storage import accounts, captured, journal, sites
from mtad.storage.database import Database, open_database
from mtad.storage.outgoing import Accept, Outgoing, Settle, State
from mtad.storage.queue_view import QueueRow
from mtad.storage.record import Records
from mtad.storage.sites import site_id
from mtad.storage.spool import Spool

EMPTY = (None, None, None)
SITE = "(alt1|mx).example.net"
LATER = Waiting(WaitReason.RETRY, 1_900_000_000.0, "the host said 451 4.7.1 greylisted")
CONTENT = b"From: Ann <ann@ours.example>\r\nTo: bob@example.net\r\nSubject: Hello [red]\r\n\r\nText \x1b[31m\r\n"


@dataclass(frozen=True)
class FakeSource:
    source: str
    connections: int
    connection_limit: int
    rate_per_s: float | None


@dataclass(frozen=True)
class FakeSite:
    connections: int = 2
    connection_limit: int = 5
    rate_per_s: float | None = 0.5
    in_memory: int = 7
    shut: Waiting | None = None
    sources: Sequence[FakeSource] = (FakeSource("192.0.2.1", 2, 5, 0.5),)


@dataclass
class FakeRunner:
    """told: each call as (name, …)."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    site: FakeSite | None = None

    async def retry(self, site: str | None, ids: Sequence[int]) -> int:
        self.told.append(("retry", site, *ids))
        return 3

    async def drop(self, ids: Sequence[int], why: str) -> int:
        self.told.append(("drop", why, *ids))
        return 1

    async def suspend(self, key: str, until: float | None, why: str) -> None:
        self.told.append(("suspend", key, until, why))

    async def resume(self, key: str) -> None:
        self.told.append(("resume", key))

    def pause(self, why: str) -> None:
        self.told.append(("pause", why))

    def unpause(self) -> None:
        self.told.append(("unpause",))

    def explain(self, recipient: QueueRow) -> Waiting:
        return LATER

    def site_view(self, key: str) -> FakeSite | None:
        return self.site if key == SITE else None


@dataclass
class House:
    """An open store with the operations on it. changes: how often `changed` was awaited."""

    database: Database
    outgoing: Outgoing
    ids: IdSource
    clock: Clock
    operations: Operations
    changes: int = 0

    async def message(self, *recipients: str, at: float | None = None, states: Sequence[State] = ()) -> int:
        """Put a message of ours.example into the store; the recipients wait for SITE after one attempt."""
        now = at or self.clock.now()
        number = self.ids.take(1 + len(recipients))
        kinds = list(states) or [State.WAITING] * len(recipients)
        rows = [
            (
                number + 1 + n,
                number,
                1,
                site_id(SITE),
                address,
                int(kinds[n]),
                1,
                now + 900,
                now + 28_800,
                None,
                None,
                None,
            )
            for n, address in enumerate(recipients)
        ]
        events = [(self.ids.next(), int(EventType.ACCEPTED), 1, number, row[0], None) for row in rows]
        about = {
            "message-id": "<m1@ours.example>",
            "from": "Ann <ann@ours.example>",
            "to": "bob@example.net",
            "subject": "Hello [red]",
            "method": "smtp",
            "login": "ann@ours.example",
            "peer": "198.51.100.7",
            "helo": "app",
        }
        fields = (
            number,
            1,
            "ann@ours.example",
            len(CONTENT),
            len(recipients),
            8,
            None,
            orjson.dumps(about),
            None,
            None,
        )
        accept = Accept(fields, CONTENT, rows, Records(events))
        await self.database.writer.write(lambda connection: self.outgoing.accept(connection, [accept]))
        return number

    async def settle(self, recipient: int, kind: EventType, state: State, detail: dict[str, object]) -> None:
        event = (self.ids.next(), int(kind), 1, recipient - 1, recipient, orjson.dumps(detail))
        due = self.clock.now() + 900 if state is State.WAITING else None
        done = Settle(recipient, recipient - 1, state, event, site_id=site_id(SITE), due_at=due, attempts=1)
        await self.database.writer.write(lambda connection: self.outgoing.settle(connection, [done]))

    async def capture(self, message: int) -> int:
        number = self.ids.next()
        row = (number, self.clock.now(), message, "ann@ours.example", '["bob@example.net"]', CONTENT)
        await self.database.writer.write(lambda connection: captured.add(connection, [row]))
        return number


@asynccontextmanager
async def open_house(folder: Path, clock: Clock, runner: FakeRunner | None = None) -> AsyncIterator[House]:
    """ours.example is domain 1, SITE is known."""
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(database.writer.run())
        ids = IdSource(clock.now, floor=await database.read(journal.newest_id))
        outgoing = Outgoing(Spool(folder / "spool"), 65_536)
        house: House

        async def changed() -> None:
            house.changes += 1

        operations = Operations(
            database=database,
            outgoing=outgoing,
            ids=ids,
            clock=clock,
            runner=runner,
            changed=changed,
            hostname="mail.ours.example",
        )
        house = House(database, outgoing, ids, clock, operations)
        await database.writer.write(lambda connection: sites.ensure(connection, [(site_id(SITE), SITE)]))
        if not await database.read(accounts.domains):
            await database.writer.write(lambda connection: accounts.add_domain(connection, "ours.example", clock.now()))
        try:
            yield house
        finally:
            database.writer.stop()


class Daemon:
    """In a thread: holds the folder's lock and serves its control socket, until the `with` ends."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.runner = folder, FakeRunner(site=FakeSite())
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        clock = SystemClock()
        async with hold(self._folder, clock), open_house(self._folder, clock, self.runner) as house:
            async with serve_control(self._folder, house.operations):
                self._ready.set()
                await self._stop.wait()

    def __enter__(self) -> "Daemon":
        self._thread.start()
        assert self._ready.wait(10)
        assert self._failure is None
        return self

    def __exit__(self, *error: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert self._failure is None
