"""A store with lists, the way in, and an expander that can be cut off where a test wants it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mtad.lists.expand import Expander
from mtad.lists.known import Lists
from mtad.mail.address import ListPost, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.ids import IdSource
from mtad.mail.lists import AccessLevel, MailingList, MemberEntry
from mtad.mail.options import Options
from mtad.mail.reply import Outcome, Reply
from mtad.queue.prepare import Copy
from mtad.queue.submit import Submit
from mtad.storage import accounts, journal, lists, upkeep
from mtad.storage.database import Database, open_database
from mtad.storage.expansions import Step
from mtad.storage.outgoing import Outgoing, Settle, State, StoredMessage
from mtad.storage.spool import Spool
from tests.queue.house import Ours
from tests.virtualclock import VirtualClock

POST = b"From: ann@a.example\r\nTo: dev@a.example\r\nSubject: Hi\r\n\r\nText\r\n"
INLINE = 4096


class Waiting:
    """The desk of a queue that begins nothing."""

    def place(self, domain: str) -> int:
        return 0

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        return False

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        return None

    def take(self, message, recipients) -> None:
        raise AssertionError("nothing was admitted")

    refund = take


class Died(BaseException):
    """In place of SIGKILL: nothing after it happens."""


@dataclass
class Cut:
    """Submit, until it dies: before = True in place of the step, else after it was committed. at: steps from now."""

    submit: Submit
    at: int = -1
    before: bool = True
    steps: list[Step] = field(default_factory=list)

    def expanded(
        self, message: StoredMessage, copies: list[Copy], options: Options, step: Step
    ) -> "asyncio.Future[int]":
        return asyncio.ensure_future(self._expanded(message, copies, options, step))

    async def _expanded(self, message: StoredMessage, copies: list[Copy], options: Options, step: Step) -> int:
        dies = self.at == 0
        self.at -= 1
        if dies and self.before:
            raise Died
        number = await self.submit.expanded(message, copies, options, step)
        self.steps.append(step)
        if dies:
            raise Died
        return number


@dataclass
class House:
    database: Database
    outgoing: Outgoing
    lists: Lists
    submit: Submit
    cut: Cut
    expander: Expander
    ids: IdSource
    full: Reply | None = None
    strict: bool = False

    async def add(self, address: str, *members: MemberEntry | str, **more: object) -> MailingList:
        wanted = MailingList(address=address, access_level=AccessLevel.EVERYONE, **more)  # type: ignore[arg-type]
        made = await self.database.writer.write(lambda connection: lists.create(connection, wanted))
        assert made is not None
        await self.put(made.number, *members)
        await self.lists.load()
        return made

    async def put(self, number: int, *members: MemberEntry | str) -> None:
        entries = [MemberEntry(one) if isinstance(one, str) else one for one in members]
        await self.database.writer.write(lambda connection: lists.put_members(connection, number, entries))

    async def post(self, *to: str, content: bytes = POST, options: Options | None = None) -> int:
        """The message's id."""
        people = [parse_address(one) for one in to]
        sender = parse_address("ann@a.example")
        return await self.submit(Submission(sender, people, content, "a.example", 0.0, options=options))

    async def expand(self, message: int, target: ListPost) -> Outcome:
        """As the queue does: the row of the list is the message's first recipient; settled when it is done."""
        content = await self.database.read(
            lambda connection: self.outgoing.content(
                connection, self.outgoing.messages(connection, [message], 0)[message]
            )
        )
        assert content is not None
        return await self.expander.expand(target, message + 1, content)

    async def settle(self, message: int) -> None:
        event = (self.ids.next(), 14, 1, message, message + 1, None)
        await self.database.writer.write(
            lambda connection: self.outgoing.settle(
                connection, [Settle(message + 1, message, State.DELIVERED, event, spooled=True)]
            )
        )

    async def copies(self, number: int) -> list[str]:
        """The addresses of the rows that are copies of the list, in the order of their ids."""
        rows = await self.ask(
            "SELECT r.address FROM recipients AS r JOIN messages AS m ON m.id = r.message_id"
            " WHERE json_extract(CAST(m.options AS TEXT), '$.list_number') = ? ORDER BY r.id",
            number,
        )
        return [row[0] for row in rows]

    async def ask(self, query: str, *values: object) -> list[tuple]:
        return await self.database.read(lambda connection: connection.execute(query, values).fetchall())

    async def faults(self) -> tuple[str, ...]:
        return (await self.database.read(upkeep.check)).faults


@asynccontextmanager
async def open_house(folder: Path, batch: int = 3) -> AsyncIterator[House]:
    clock = VirtualClock()
    async with (
        open_database(folder, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        writer = database.writer
        running = tasks.create_task(writer.run())
        if not await database.read(accounts.domains):
            for name in ("a.example", "c.example"):
                await writer.write(lambda connection, name=name: accounts.add_domain(connection, name, clock.now()))
        spool = Spool(folder / "spool")
        await writer.write(spool.open)
        ids = IdSource(clock.now, floor=await database.read(journal.newest_id))
        outgoing, ours = Outgoing(spool, INLINE), Ours()
        known = Lists(database, ours.id_of, b"k" * 32)
        await known.load()
        submit = Submit(
            accept=writer.lane(outgoing.accept),
            rejected=writer.lane(journal.add),
            desk=Waiting(),
            domains=ours,
            ids=ids,
            clock=clock,
            gate=lambda size: None,
            hostname="mail.a.example",
            give_up_after_s=3600.0,
            max_hops=50,
            max_schedule_s=3600.0,
            lists=known,
        )
        cut = Cut(submit)
        house: House

        async def rewrites(content: bytes, domain: str) -> bool:
            return house.strict

        expander = Expander(
            database=database,
            expansions=outgoing.expansions,
            lists=known,
            rewrites=rewrites,
            held_up=lambda size: house.full,
            submit=cut,
            batch=batch,
        )
        house = House(database, outgoing, known, submit, cut, expander, ids)
        try:
            yield house
        finally:
            spool.close()
            writer.stop()
            await running
