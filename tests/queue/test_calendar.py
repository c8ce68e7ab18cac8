"""Hours, days and a month of the queue on a clock that tests move: each of these takes well under a second."""

import asyncio
from collections import Counter

import pytest

from mtad.mail.event import EventType
from mtad.mail.waiting import WaitReason
from mtad.queue.shaping import load_shaping
from mtad.storage.outgoing import State
from tests.queue.house import Ours, World, later, open_house
from tests.virtualclock import VirtualClock

HOUR, DAY = 3600.0, 86_400.0
NEW = "192.0.2.1"
ONE_BY_ONE = "[default]\nmax_rate = 0\nmax_connections = 1\nmax_recipients = 1\n"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


async def test_the_whole_ladder_of_eight_hours_is_told_step_by_step(tmp_path, clock, world):
    world.answers["b.example"] = later
    async with open_house(tmp_path, clock, world) as house:
        number = await house.send("bob@b.example")
        await house.go_on(8 * HOUR + 60, 60.0)
        accepted, *failures = await house.events(number)
        assert accepted.type is EventType.ACCEPTED
        assert {e.type for e in failures[:-1]} == {EventType.FAILED_TEMPORARY}
        told = [e.detail["delivery-status"] for e in failures]
        assert [status["attempt-no"] for status in told] == list(range(1, 14))
        waits = [status.get("retry-seconds") for status in told]
        assert waits == [60, 300, 600, 900, 1800, *[3600] * 6, 3510, None]
        assert failures[-1].type is EventType.FAILED_PERMANENT
        assert (failures[-1].detail["reason"], told[-1]["code"]) == ("old", 602)
        assert told[-1]["last-reply"] == "451 4.3.0 try later"
        assert (await house.check()).faults == ()


async def test_a_host_that_comes_back_in_the_last_minute_still_gets_the_mail(tmp_path, clock, world):
    world.dead.add("b.example")
    async with open_house(tmp_path, clock, world) as house:
        number = await house.send("bob@b.example")
        await house.go_on(8 * HOUR - 120, 60.0)
        world.dead.clear()
        await house.go_on(120, 10.0)
        assert [row.state for row in await house.rows(number)] == [State.DELIVERED]


async def test_scheduled_mail_waits_three_days_even_over_a_restart_and_may_then_be_tried_for_eight_hours(
    tmp_path, clock, world
):
    at = clock.now() + 3 * DAY
    world.answers["b.example"] = later
    async with open_house(tmp_path, clock, world) as house:
        number = await house.send("bob@b.example", deliver_at=at)
        await house.go_on(DAY, HOUR)
        why = await house.reason(number)
        assert (why.reason, why.until) == (WaitReason.SCHEDULED, at)
    async with open_house(tmp_path, clock, world) as house:
        await house.go_on(2 * DAY - 1, HOUR)
        assert world.sent == []
        await house.go_on(1)
        assert [when for when, _ in world.sent] == [at]
        await house.go_on(8 * HOUR - 600, 600.0)
        assert [row.state for row in await house.rows(number)] == [State.WAITING]
        await house.go_on(660, 60.0)
        assert [row.state for row in await house.rows(number)] == [State.FAILED]


async def test_a_new_source_address_sends_what_its_thirty_days_allow_and_then_all(tmp_path, clock, world):
    days = [2 + day // 10 for day in range(30)]
    text = f"{ONE_BY_ONE}[warmup]\nhour_share = 1\nper_day = {days}"
    ours, began = Ours(pools={1: (NEW,)}), clock.now()
    shaping = load_shaping(text, "shaping.toml")
    async with open_house(tmp_path, clock, world, shaping=shaping, ours=ours) as house:
        number = await house.send(*[f"r{n}@b.example" for n in range(60)])
        await house.go_on(15 * DAY, 6 * HOUR)
        why = await house.reason(number)
        assert why.reason is WaitReason.WARM_UP
        assert "day 16 of its warm-up: the 3 messages of that day are sent" in why.detail
    async with open_house(tmp_path, clock, world, shaping=shaping, ours=ours) as house:  # it goes on where it was
        await house.send(*[f"s{n}@b.example" for n in range(60)])
        await house.go_on(15 * DAY, 6 * HOUR)
        sent = Counter(int((at - began) // DAY) for at, _ in world.sent)
        assert [sent[day] for day in range(30)] == days
        await house.go_on(DAY, 6 * HOUR)
        assert len(world.recipients()) == len(set(world.recipients())) == 120
        assert set(world.sources) == {NEW}
        assert (await house.check()).faults == ()


async def test_only_the_hours_share_of_a_day_of_warm_up_leaves_in_an_hour(tmp_path, clock, world):
    text = f"{ONE_BY_ONE}[warmup]\nhour_share = 0.25\nper_day = [8]"
    shaping, began = load_shaping(text, "shaping.toml"), clock.now()
    async with open_house(tmp_path, clock, world, shaping=shaping, ours=Ours(pools={1: (NEW,)})) as house:
        await house.send(*[f"r{n}@b.example" for n in range(12)])
        await house.go_on(DAY + 60, 600.0)
        hours = Counter(int((at - began) // HOUR) for at, tx in world.sent for _ in tx.recipients)
        assert hours == {0: 2, 1: 2, 2: 2, 3: 2, 24: 4}


@pytest.mark.parametrize(("connections", "recipients"), [(1, 50), (5, 1), (5, 50)])
async def test_many_connections_and_many_recipients_at_once_send_no_more_than_a_warm_up_allows(
    tmp_path, clock, world, connections, recipients
):
    limits = f"max_rate = 0\nmax_connections = {connections}\nmax_recipients = {recipients}\n"
    shaping = load_shaping(f"[default]\n{limits}[warmup]\nhour_share = 0.25\nper_day = [8]", "shaping.toml")
    async with open_house(tmp_path, clock, world, shaping=shaping, ours=Ours(pools={1: (NEW,)})) as house:
        began, world.hold = clock.now(), asyncio.Event()
        await house.send(*[f"r{n}@b.example" for n in range(6)])
        await house.send(*[f"r{n}@d.example" for n in range(6)])
        await house.rest()
        assert len(world.recipients()) == 2
        world.hold.set()
        await house.go_on(DAY + 60, 600.0)
        hours = Counter(int((at - began) // HOUR) for at, tx in world.sent for _ in tx.recipients)
        assert hours == {0: 2, 1: 2, 2: 2, 3: 2, 24: 4}


async def test_what_could_not_be_sent_takes_nothing_of_a_warm_up(tmp_path, clock, world):
    world.dead.add("dead.example")
    shaping = load_shaping("[default]\nmax_rate = 0\n[warmup]\nhour_share = 1\nper_day = [8]", "shaping.toml")
    async with open_house(tmp_path, clock, world, shaping=shaping, ours=Ours(pools={1: (NEW,)})) as house:
        for n in range(12):
            await house.send(f"r{n}@dead.example")
        await house.go_on(600)
        await house.send("bob@b.example")
        await house.rest()
        assert world.recipients() == ["bob@b.example"]
