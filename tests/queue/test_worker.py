import asyncio
import sqlite3

import pytest

from mtad.mail.event import EventType
from mtad.mail.reply import Hop
from mtad.queue.shaping import load_shaping
from mtad.storage.outgoing import State
from tests.queue.house import World, later, open_house
from tests.virtualclock import VirtualClock

ONE = load_shaping(
    "[default]\nmax_rate = 0\nmax_connections = 1\nmax_recipients = 3\nmax_messages = 4\n", "shaping.toml"
)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    """One connection to each site, kept open."""
    async with open_house(tmp_path, clock, world, shaping=ONE, idle_s=60.0) as made:
        yield made


def permanent(events):
    [event] = [event for event in events if event.type is EventType.FAILED_PERMANENT]
    return event.detail


async def test_a_connection_takes_one_message_after_the_other_up_to_its_most(house, world):
    for n in range(6):
        await house.send(f"r{n}@b.example")
        await house.rest()
    assert len(world.sent) == 6
    assert len(world.dialled) == 2


async def test_a_message_to_many_goes_in_transactions_of_at_most_so_many(house, world):
    await house.send(*[f"r{n}@b.example" for n in range(7)])
    await house.rest()
    assert [len(tx.recipients) for _, tx in world.sent] == [3, 3, 1]


async def test_a_stale_connection_is_replaced_without_spending_an_attempt(house, world):
    await house.send("one@b.example")
    await house.rest()
    world.stale = 1
    number = await house.send("two@b.example")
    await house.rest()
    assert world.recipients() == ["one@b.example", "two@b.example"]
    assert world.dialled == ["b.example"] * 2
    assert [e.type for e in await house.events(number)] == [EventType.ACCEPTED, EventType.DELIVERED]
    [row] = await house.rows(number)
    assert (row.attempts, row.unknown) == (1, 0)


async def test_mail_on_a_stale_connection_keeps_its_order(house, world):
    await house.send("zero@b.example")
    await house.rest()
    world.hold = asyncio.Event()
    await house.send("one@b.example")
    await house.rest()
    await house.send(*[f"r{n}@b.example" for n in range(5)])
    await house.send("last@b.example")
    world.stale = 1
    world.hold.set()
    await house.rest()
    assert world.recipients() == [
        "zero@b.example",
        "one@b.example",
        *[f"r{n}@b.example" for n in range(5)],
        "last@b.example",
    ]


async def test_required_tls_is_not_sent_over_a_connection_without_it(house, world):
    await house.send("one@b.example")
    await house.rest()
    world.hops["b.example"] = Hop("mx.b.example", "192.0.2.1", tls="TLSv1.3", verified=True)
    await house.send("two@b.example", require_tls=True)
    await house.send("three@b.example")
    await house.rest()
    assert [(domain, tls) for domain, _, tls, _ in world.opened] == [("b.example", False), ("b.example", True)]
    assert len(world.sent) == 3


async def test_a_message_whose_bytes_are_gone_fails_and_says_so(house, world, clock):
    number = await house.send("bob@b.example", deliver_at=clock.now() + 60)
    await house.database.writer.write(lambda connection: connection.execute("DELETE FROM bodies") and None)
    await house.go_on(60)
    assert world.sent == []
    detail = permanent(await house.events(number))
    assert (
        detail["delivery-status"]["description"] == "The bytes of the message are gone from the store, or damaged there"
    )
    assert house.runner.count == 0


async def test_a_recipient_whose_message_is_gone_fails_and_nobody_waits_for_it(house, world, clock):
    number = await house.send("bob@b.example", deliver_at=clock.now() + 60)
    for statement in ("DELETE FROM messages", "DELETE FROM bodies"):
        await house.database.writer.write(lambda connection, sql=statement: connection.execute(sql) and None)
    await house.go_on(60)
    assert world.sent == []
    state = await house.database.read(
        lambda connection: connection.execute("SELECT state FROM recipients WHERE message_id = ?", (number,)).fetchone()
    )
    assert state == (int(State.FAILED),)


async def test_what_waits_can_be_dropped_and_what_is_under_way_cannot(house, world, clock):
    world.hold = asyncio.Event()
    busy = await house.send("one@b.example")
    await house.rest()
    number = await house.send("two@b.example", "three@d.example", deliver_at=clock.now() + 600)
    [first, _] = await house.rows(number)
    assert await house.operator.drop([busy], "mistake") == 0
    assert await house.operator.drop([first.id], "mistake") == 1
    assert await house.operator.drop([number], "all of it") == 1
    assert await house.operator.drop([number], "again") == 0
    told = [e.detail["delivery-status"] for e in await house.events(number) if e.type is EventType.FAILED_PERMANENT]
    assert [(status["code"], status["description"], status["attempt-no"]) for status in told] == [
        (0, "mistake", 0),
        (0, "all of it", 0),
    ]
    world.hold.set()
    await house.go_on(900)
    assert world.recipients() == ["one@b.example"]
    assert house.notifier.sent == 0
    assert (await house.check()).faults == ()


async def test_a_recipient_is_dropped_though_its_message_is_gone(house, clock):
    number = await house.send("bob@b.example", deliver_at=clock.now() + 60)
    await house.database.writer.write(lambda connection: connection.execute("DELETE FROM messages") and None)
    assert await house.operator.drop([number], "tidying up") == 1
    counts = (await house.check()).counts
    assert (counts.waiting, counts.leased, counts.failed) == (0, 0, 1)


async def test_a_dropped_retry_is_not_made(house, world):
    world.answers["b.example"] = later
    number = await house.send("bob@b.example")
    await house.rest()
    assert await house.operator.drop([number], "never mind") == 1
    await house.go_on(3600)
    assert len(world.sent) == 1
    assert permanent(await house.events(number))["delivery-status"]["attempt-no"] == 1


async def test_an_attempt_cut_short_at_the_end_is_one_of_unknown_outcome(tmp_path, clock, world):
    world.hold = asyncio.Event()
    async with open_house(tmp_path, clock, world) as house:
        number = await house.send("bob@b.example")
        await house.rest()
        assert len(world.sent) == 1
        house.cut()
        await house.rest()
        [row] = await house.rows(number)
        assert (row.state, row.attempts, row.unknown) == (State.WAITING, 1, 1)
        assert [e.type for e in await house.events(number)] == [EventType.ACCEPTED, EventType.INTERRUPTED]


UNREADABLE = "The message store could not be read: "


async def crash_alone(house, world, number, said="An error inside mtad stopped the attempt"):
    """The queue goes on, and the message is tried again later without a doubt about a duplicate."""
    await house.rest()
    await house.send("eve@d.example")
    await house.rest()
    assert "eve@d.example" in world.recipients()
    [row] = await house.rows(number)
    assert (row.state, row.attempts, row.unknown) == (State.WAITING, 1, 0)
    assert said in row.last_reply
    assert house.runner.count == 0


async def test_a_message_that_cannot_be_composed_for_a_bug_of_ours_ends_nothing_but_its_attempt(
    house, world, monkeypatch
):
    def crashes(job, content):
        if job.recipient.address == "bob@b.example":
            raise KeyError("a bug")
        return (content,)

    monkeypatch.setattr(house.runner._contents._composer, "chunks", crashes)
    await crash_alone(house, world, await house.send("bob@b.example"))


async def test_bytes_that_cannot_be_read_end_nothing_but_the_attempt(house, world, monkeypatch):
    def fails(connection, message):
        raise OSError(5, "Input/output error")

    house.memory.limit = 0  # so they are read when their turn comes
    with monkeypatch.context() as patch:
        patch.setattr(house.runner._contents._outgoing, "content", fails)
        number = await house.send("bob@b.example")
        await house.rest()
    await crash_alone(house, world, number, UNREADABLE + "[Errno 5] Input/output error")


async def test_a_connection_that_fails_for_a_bug_of_ours_ends_nothing_but_the_attempt(house, world, monkeypatch):
    opens = world.open

    async def crashes(route, *more):
        if route.domain == "b.example":
            raise RuntimeError("a bug")
        return await opens(route, *more)

    monkeypatch.setattr(world, "open", crashes)
    await crash_alone(house, world, await house.send("bob@b.example"))


async def test_a_suppression_that_cannot_be_read_ends_nothing_but_the_attempt(house, world, monkeypatch):
    async def fails(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(house.runner._contents._suppressing, "maybe", lambda domain_id, address: "bob" in address)
    monkeypatch.setattr(house.runner._contents._suppressing, "find", fails)
    await crash_alone(house, world, await house.send("bob@b.example"), UNREADABLE + "disk I/O error")
