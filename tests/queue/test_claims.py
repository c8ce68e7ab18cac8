"""Claims: how due rows come from the store into memory when there is little room, at the start and at the end."""

import asyncio
import errno
import sqlite3

import pytest

from mtad.mail.event import EventType
from mtad.mail.waiting import Waiting, WaitReason
from mtad.storage import sites as table
from mtad.storage.outgoing import State
from mtad.storage.sites import site_id
from tests.queue.house import World, later, open_house
from tests.virtualclock import VirtualClock

HOUR = 3600.0


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as made:
        yield made


async def test_mail_taken_while_the_queue_starts_is_neither_forgotten_nor_taken_for_the_last_daemons(
    tmp_path, clock, world
):
    await world.route("b.example")
    async with open_house(tmp_path, clock, world, settled=False) as house:
        known, unknown = await house.send("bob@b.example"), await house.send("eve@d.example")
        await house.rest()
        assert sorted(world.recipients()) == ["bob@b.example", "eve@d.example"]
        for number in (known, unknown):
            assert [e.type for e in await house.events(number)] == [EventType.ACCEPTED, EventType.DELIVERED]


async def test_mail_taken_while_the_queue_stops_waits_without_an_attempt(tmp_path, clock, world):
    await world.route("b.example")
    async with open_house(tmp_path, clock, world) as house:
        sending = [asyncio.create_task(house.send(to)) for to in ("bob@b.example", "eve@d.example")]
        await asyncio.sleep(0)
        assert house.runner.count == 2  # leased in the commit that is to come
        house.runner.stop()
        numbers = [*await asyncio.gather(*sending), await house.send("tom@d.example")]
        await house.rest()
        rows = [(await house.rows(number))[0] for number in numbers]
        assert [(row.state, row.attempts) for row in rows] == [(State.WAITING, 0)] * 3
        assert house.runner.count == 0
    async with open_house(tmp_path, clock, world):
        assert sorted(world.recipients()) == ["bob@b.example", "eve@d.example", "tom@d.example"]


async def test_domains_to_look_up_beyond_the_window_of_a_site_are_looked_up_in_turn(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world, window_per_site=5) as house:
        world.lookups = asyncio.Event()
        for n in range(30):
            await house.send(f"x@d{n}.example")
        await house.rest()
        assert house.runner.count == 5
        world.lookups.set()
        await house.rest()
        assert len(world.recipients()) == 30


async def test_a_site_that_found_the_window_full_gets_its_turn_when_others_leave(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world, window=10) as house:
        world.answers["b.example"] = later
        await house.send("bob@b.example")
        await house.rest()
        world.answers.clear()
        world.hold = asyncio.Event()
        await world.route("slow.example")
        for n in range(12):
            await house.send(f"x{n}@slow.example")
        await house.go_on(120)  # bob is due again, and there is no room
        assert house.runner.count == 10
        assert world.recipients().count("bob@b.example") == 1
        world.hold.set()
        await house.rest()
        assert world.recipients().count("bob@b.example") == 2
        assert await house.waiting() == []


async def test_fresh_mail_does_not_keep_the_window_full_for_those_who_wait(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world, window=10) as house:
        world.answers["b.example"] = later
        await house.send("bob@b.example")
        await house.rest()
        world.answers.clear()
        await world.route("busy.example")
        world.hold = asyncio.Event()
        for n in range(10):
            await house.send(f"x{n}@busy.example")
        await house.go_on(90)
        for n in range(20):  # as each one leaves, another comes
            hold, world.hold = world.hold, asyncio.Event()
            hold.set()
            await house.send(f"y{n}@busy.example")
            await house.rest()
        assert "bob@b.example" in world.recipients()[1:30]
        world.hold.set()
        await house.rest()
        assert len(world.recipients()) == 32


async def test_a_row_that_comes_while_its_site_is_being_claimed_is_seen(house, world):
    await house.send("x@b.example")
    await house.rest()
    site = house.runner.book.get(site_id("mx.b.example"))
    site.late.add(1)  # so that fresh mail goes to the store
    house.runner.book.look_now(site)
    while not (site.claiming and house.database.writer.backlog):
        await asyncio.sleep(0)
    while house.database.writer.backlog:
        await asyncio.sleep(0)
    assert site.claiming  # the claim is on the writer's thread
    await house.send("bob@b.example")
    await house.rest()
    assert world.recipients() == ["x@b.example", "bob@b.example"]


async def test_many_sites_that_are_due_at_once_all_get_through_a_small_window(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world, window=10, window_per_site=4) as house:
        for n in range(40):
            await house.send(f"x@d{n}.example", f"y@d{n}.example", deliver_at=clock.now() + 100)
        await house.go_on(100, 100)
        assert len(world.recipients()) == 80
        assert max(len(tx.recipients) for _, tx in world.sent) <= 4


async def test_a_store_that_fails_a_round_does_not_end_the_queue(house, world, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    await world.route("b.example")
    await house.send("bob@b.example", deliver_at=house.clock.now() + HOUR)
    await house.go_on(HOUR - 60)
    take_in_hand = table.take_in_hand
    monkeypatch.setattr(table, "take_in_hand", full)
    await house.go_on(120, 1.0)
    assert world.sent == []
    monkeypatch.setattr(table, "take_in_hand", take_in_hand)
    await house.go_on(5, 1.0)
    assert world.recipients() == ["bob@b.example"]


async def test_nothing_is_claimed_while_the_store_is_unwell(house, world):
    number = await house.send("bob@b.example", deliver_at=house.clock.now() + 60)
    house.trouble = "the disk is nearly full"
    await house.go_on(300)
    assert world.sent == []
    [row] = await house.rows(number)
    assert (row.state, row.attempts) == (State.WAITING, 0)  # not even leased
    why = await house.reason(number)
    assert (why.reason, why.detail) == (WaitReason.STORE, "the disk is nearly full")
    assert await house.reason(await house.send("eve@b.example")) == why
    house.trouble = None
    await house.go_on(1, 1.0)
    assert sorted(world.recipients()) == ["bob@b.example", "eve@b.example"]


async def test_a_lookup_that_crashes_is_a_failed_attempt_and_no_end_of_the_queue(house, world, monkeypatch):
    async def crashes(domain):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(world, "route", crashes)
        number = await house.send("bob@b.example")
        await house.rest()
    assert "a bug" in (await house.reason(number)).detail
    await house.go_on(60)
    assert world.recipients() == ["bob@b.example"]


async def test_a_queue_that_is_cut_claims_nothing_for_the_room_that_comes(tmp_path, clock, world):
    await world.route("b.example")
    world.hold = asyncio.Event()
    async with open_house(tmp_path, clock, world, window_per_site=4) as house:
        numbers = [await house.send(f"x{n}@b.example") for n in range(12)]
        await house.rest()
        assert len(world.sent) == 4
        house.cut()  # an error of the queue would end this house
        await house.rest()
        rows = [(await house.rows(number))[0] for number in numbers]
        assert {row.state for row in rows} == {State.WAITING}
        assert sum(row.unknown for row in rows) == 4
        assert house.runner.count == 0


async def test_a_site_is_not_reminded_anew_of_a_wait_it_knows_of(house, clock):
    await house.send("x@b.example")
    await house.rest()
    site, why = house.runner.book.get(site_id("mx.b.example")), Waiting(WaitReason.QUOTA, clock.now() + HOUR, "enough")
    for _ in range(100):  # as each claim of other domains' mail there does
        house.runner.window.hush(site, 1, why)
    assert site.hushed == {1: why}
    assert len([one for one in house.runner.book.due(clock.now() + HOUR) if one is site]) < 5


async def test_a_full_disk_at_the_time_of_upkeep_does_not_end_the_queue(house, world):
    class Begun:
        is_large = True

        def note(self, attempts):
            """There is still room for these."""

        def shrink(self):
            """Nothing to do."""

        def shrunk(self, now_leased):
            raise OSError(errno.ENOSPC, "No space left on device")

    house.runner._begun = Begun()
    await house.go_on(120)
    await house.send("bob@b.example")
    await house.rest()
    assert world.recipients() == ["bob@b.example"]
