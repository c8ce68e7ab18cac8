import asyncio
import threading

import pytest

from mtad.feedback.suppressed import SuppressedAddresses
from mtad.mail.event import EventType
from mtad.mail.waiting import WaitReason
from mtad.queue.shaping import load_shaping
from mtad.storage import suppressions
from mtad.storage.outgoing import State
from tests.queue.house import World, later, never, open_house
from tests.virtualclock import VirtualClock

HOUR = 3600.0
DAY = 24 * HOUR


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


async def test_the_house_rests_only_when_the_threads_of_the_store_do(house):
    slow = threading.Event()
    reading = asyncio.create_task(house.database.read(lambda connection: slow.wait(10)))
    resting = asyncio.create_task(house.rest())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not resting.done()
    slow.set()
    await resting
    assert reading.done()


async def test_what_is_taken_is_delivered_and_forgotten(house, world):
    number = await house.send("bob@b.example", "eve@d.example")
    await house.rest()
    assert sorted(world.recipients()) == ["bob@b.example", "eve@d.example"]
    assert {row.state for row in await house.rows(number)} == {State.DELIVERED}
    assert [e.type for e in await house.events(number)].count(EventType.DELIVERED) == 2
    assert (house.runner.count, house.memory.used) == (0, 0)
    assert (await house.check()).faults == ()


async def test_a_host_that_always_says_later_is_tried_for_eight_hours(house, world):
    world.answers["b.example"] = later
    number = await house.send("bob@b.example")
    await house.go_on(8 * HOUR + 60, 60.0)
    [row] = await house.rows(number)
    assert row.state is State.FAILED
    events = await house.events(number)
    assert events[-1].type is EventType.FAILED_PERMANENT
    assert events[-1].detail["reason"] == "old"
    hourly = [7260 + HOUR * n for n in range(6)]
    assert [at - world.sent[0][0] for at, _ in world.sent] == [0, 60, 360, 960, 1860, 3660, *hourly, 8 * HOUR]
    assert (await house.check()).faults == ()


async def test_scheduled_mail_leaves_at_its_time_and_not_before(house, world, clock):
    at = clock.now() + 3 * DAY - 60
    number = await house.send("bob@b.example", deliver_at=at)
    await house.go_on(3 * DAY - 120, HOUR)
    assert world.sent == []
    [row] = await house.waiting()
    assert house.operator.explain(row).reason is WaitReason.SCHEDULED
    await house.go_on(180)
    assert [when >= at for when, _ in world.sent] == [True]
    assert [row.state for row in await house.rows(number)] == [State.DELIVERED]


async def test_scheduled_mail_does_not_go_to_who_left_meanwhile(house, world, clock, monkeypatch):
    known = SuppressedAddresses(house.database, clock)
    await known.load()
    monkeypatch.setattr(house.runner._contents, "_suppressing", known)
    number = await house.send("bob@b.example", "eve@b.example", deliver_at=clock.now() + HOUR)
    await house.go_on(HOUR / 2, HOUR)
    [row] = await house.database.read(
        lambda connection: connection.execute("SELECT id FROM domains WHERE name = 'a.example'").fetchall()
    )
    left = (row[0], "bob@b.example", suppressions.ALL, clock.now())
    known.note(*left[:2])
    await house.database.writer.write(lambda connection: suppressions.add_unsubscribes(connection, [left]))
    await house.go_on(HOUR)
    assert world.recipients() == ["eve@b.example"]
    [failed] = [one for one in await house.events(number) if one.type is EventType.FAILED_PERMANENT]
    assert (failed.recipient, failed.detail["reason"]) == ("bob@b.example", "suppress-unsubscribe")
    assert failed.detail["delivery-status"]["code"] == 606
    assert (await house.check()).faults == ()


async def test_a_dead_site_does_not_delay_the_others(house, world):
    world.dead.add("dead.example")
    for n in range(30):
        await house.send(f"r{n}@dead.example")
    await house.send("bob@b.example")
    await house.rest()
    assert world.recipients() == ["bob@b.example"]
    assert len(world.dialled) < 30
    world.dead.clear()
    await house.go_on(2 * HOUR)
    assert len(world.recipients()) == 31


async def test_an_attempt_cut_off_by_the_daemons_death_is_counted_and_made_again(tmp_path, clock, world):
    async with open_house(tmp_path / "dies", clock, world) as dies:
        world.hold = asyncio.Event()
        number = await dies.send("bob@b.example")
        await dies.rest()
        assert world.recipients() == ["bob@b.example"]  # the host has it, and has not answered yet
        await dies.copy_store(tmp_path / "again")
    world.hold, world.sent = None, []
    async with open_house(tmp_path / "again", clock, world) as again:
        kinds = [e.type for e in await again.events(number)]
        assert kinds == [EventType.ACCEPTED, EventType.INTERRUPTED, EventType.DELIVERED]
        [row] = await again.rows(number)
        assert (row.attempts, row.unknown) == (2, 1)
        assert world.recipients() == ["bob@b.example"]
        assert (await again.check()).faults == ()


async def test_a_suspended_site_waits_with_the_reason_until_it_is_resumed(house, world):
    await house.send("x@b.example")
    await house.rest()
    world.sent.clear()
    await house.operator.suspend("mx.b.example", None, "maintenance")
    await house.send("bob@b.example")
    await house.go_on(HOUR)
    assert world.sent == []
    [row] = await house.waiting()
    why = house.operator.explain(row)
    assert why.reason is WaitReason.SITE_SUSPENDED
    assert "maintenance" in why.detail
    await house.operator.resume("mx.b.example")
    await house.go_on(5, 1.0)
    assert world.recipients() == ["bob@b.example"]


async def test_a_paused_queue_begins_nothing_until_it_goes_on(house, world):
    house.operator.pause("backup")
    await house.send("bob@b.example")
    await house.go_on(60)
    assert world.sent == []
    [row] = await house.waiting()
    why = house.operator.explain(row)
    assert (why.reason, why.detail) == (WaitReason.PAUSED, "backup")
    house.operator.unpause()
    await house.go_on(5, 1.0)
    assert world.recipients() == ["bob@b.example"]


async def test_mail_of_a_paused_domain_waits_alone(house, world):
    house.ours.held[1] = "unpaid"
    await house.send("bob@b.example")
    await house.send("eve@b.example", domain="c.example", sender="cy@c.example")
    await house.go_on(60)
    assert world.recipients() == ["eve@b.example"]
    [row] = await house.waiting()
    assert house.operator.explain(row).reason is WaitReason.DOMAIN_PAUSED


async def test_an_unwell_store_stops_deliveries_and_they_go_on_by_themselves(house, world):
    house.trouble = "the disk is nearly full"
    await house.send("bob@b.example")
    await house.go_on(10, 1.0)
    assert world.sent == []
    [row] = await house.waiting()
    assert house.operator.explain(row).reason is WaitReason.STORE
    house.trouble = None
    await house.go_on(10, 1.0)
    assert world.recipients() == ["bob@b.example"]


async def test_a_retry_is_explained_with_the_words_of_the_host_and_can_be_hurried(house, world):
    world.answers["b.example"] = later
    await house.send("bob@b.example")
    await house.rest()
    [row] = await house.waiting()
    why = house.operator.explain(row)
    assert why.reason is WaitReason.RETRY
    assert "try later" in why.detail
    world.answers.clear()
    assert await house.operator.retry(None, []) == 1
    await house.go_on(2, 1.0)
    assert await house.waiting() == []


async def test_one_letter_waits_for_no_more_of_anothers_blast_than_is_in_memory(tmp_path, clock, world):
    """20 are in memory, and up to half of that is claimed with it: the 1,000 behind them have to wait."""
    await world.route("b.example")
    async with open_house(tmp_path, clock, world, window_per_site=20) as house:
        world.hold = asyncio.Event()
        for n in range(1020):
            await house.send(f"r{n}@b.example")
        await house.rest()
        await house.send("eve@b.example", domain="c.example", sender="cy@c.example")
        world.hold.set()
        await house.rest()
        assert len(world.recipients()) == 1021
        assert world.recipients().index("eve@b.example") <= 30


async def test_two_domains_with_much_mail_for_one_site_go_side_by_side(tmp_path, clock, world):
    await world.route("b.example")
    shaping = load_shaping("[default]\nmax_rate = 0\nmax_connections = 1\n", "shaping.toml")
    async with open_house(tmp_path, clock, world, shaping=shaping, window_per_site=20) as house:
        world.hold = asyncio.Event()
        for n in range(200):
            await house.send(f"a{n}@b.example")
        for n in range(100):
            await house.send(f"c{n}@b.example", domain="c.example", sender="cy@c.example")
        world.hold.set()
        await house.rest()
        whose = [one[0] for one in world.recipients()]
        assert (whose.count("a"), whose.count("c")) == (200, 100)
        for at in range(20, 200, 20):  # after what was in memory, until one has no more
            assert 6 <= whose[at : at + 20].count("c") <= 14


async def test_a_blast_to_one_site_fills_its_own_window_and_not_that_of_others(tmp_path, clock, world):
    await world.route("b.example")
    async with open_house(tmp_path, clock, world, window_per_site=20, window=40) as house:
        world.hold = asyncio.Event()
        for n in range(100):
            await house.send(f"r{n}@b.example")
        await house.rest()
        assert house.runner.count == 20
        world.hold, blast = None, world.hold
        await house.send("eve@d.example")
        await house.rest()
        assert world.recipients()[-1] == "eve@d.example"
        blast.set()


@pytest.mark.parametrize(
    ("sender", "more", "told"),
    [
        ("out@side.example", {}, True),
        ("ann@a.example", {}, False),
        (None, {}, False),
        ("out@side.example", {"notify": {0: "NEVER"}}, False),
        ("out@side.example", {"notify": {0: "FAILURE,DELAY"}}, True),
    ],
)
async def test_only_a_foreign_sender_who_wants_it_is_told_of_a_failure(house, world, sender, more, told):
    world.answers["b.example"] = never
    await house.send("bob@b.example", sender=sender, **more)
    await house.go_on(5, 1.0)
    reports = [tx for _, tx in world.sent if tx.recipients == ("out@side.example",)]
    assert len(reports) == told == house.notifier.sent
    for report in reports:
        assert report.reverse_path == ""
        assert b"no such user" in b"".join(report.chunks)
    assert (await house.check()).faults == ()


async def test_a_report_that_fails_is_not_reported(house, world):
    world.answers["b.example"] = world.answers["side.example"] = never
    await house.send("bob@b.example", sender="out@side.example")
    await house.go_on(5, 1.0)
    assert house.notifier.sent == 1
    assert len(world.sent) == 2
