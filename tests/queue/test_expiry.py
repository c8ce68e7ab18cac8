"""Mail that nobody may try for eight hours fails like any other, and says that it was never tried and why."""

import asyncio

import pytest

from mtad.mail.event import EventType
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue import expire
from mtad.queue.shaping import load_shaping
from mtad.storage.outgoing import State
from mtad.storage.sites import site_id
from tests.queue.house import World, later, open_house
from tests.queue.test_actions import says
from tests.virtualclock import VirtualClock

HOUR = 3600.0
LONG = "[[default.reply]]\nmatch = 'your domain'\naction = 'suspend-tenant'\nfor_s = 86400\n"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    shaping = load_shaping("[default]\nmax_rate = 0\n" + LONG, "shaping.toml")
    async with open_house(tmp_path, clock, world, shaping=shaping) as made:
        yield made


async def failure(house, number):
    """The delivery-status of the only permanent failure."""
    [event] = [e for e in await house.events(number) if e.type is EventType.FAILED_PERMANENT]
    assert event.detail["reason"] == "old"
    assert (await house.check()).faults == ()
    assert (house.runner.count, house.memory.used) == (0, 0)
    return event.detail["delivery-status"]


async def test_mail_for_a_suspended_site_grows_too_old(house, world, clock):
    await house.operator.suspend("mx.b.example", None, "maintenance")
    number = await house.send("bob@b.example")
    await house.go_on(8 * HOUR - 60, 300.0)
    assert [row.state for row in await house.rows(number)] == [State.WAITING]
    await house.go_on(120)
    status = await failure(house, number)
    assert (status["code"], status["attempt-no"]) == (602, 0)
    assert (status["message"], status["description"]) == ("", "Too old after 8 h: never tried: maintenance")
    assert world.sent == []


async def test_what_was_tried_before_says_so_and_what_the_host_said(house, world, clock):
    world.answers["b.example"] = later
    number = await house.send("bob@b.example")
    await house.go_on(70, 10.0)
    await house.operator.suspend("mx.b.example", None, "maintenance")
    await house.go_on(8 * HOUR, 300.0)
    status = await failure(house, number)
    assert status["attempt-no"] == 2
    assert status["description"] == (
        "Too old after 8 h: 2 attempts failed, and then it waited: maintenance; the last reply was: 451 4.3.0 try later"
    )


async def test_mail_of_a_paused_domain_grows_too_old_and_that_of_others_does_not(house, world):
    house.ours.held[1] = "unpaid"
    number = await house.send("bob@b.example")
    other = await house.send("eve@b.example", domain="c.example", sender="cy@c.example", deliver_at=10 * HOUR)
    await house.go_on(8 * HOUR + 60, 300.0)
    assert (await failure(house, number))["description"].endswith("never tried: the sending domain is paused: unpaid")
    assert [row.state for row in await house.rows(other)] == [State.DELIVERED]


async def test_mail_of_a_paused_domain_grows_too_old_at_a_site_that_was_forgotten(house, world, clock):
    await world.route("b.example")
    number = await house.send("bob@b.example", deliver_at=clock.now() + HOUR)
    await house.go_on(300)
    house.ours.held[1] = "unpaid"
    assert len(house.runner.book) == 1
    await house.go_on(9 * HOUR + 900, 300.0)
    assert (await failure(house, number))["attempt-no"] == 0


async def test_mail_of_a_domain_that_a_site_does_not_want_grows_too_old(house, world):
    world.answers["b.example"] = says("your domain")
    tried = await house.send("bob@b.example")
    await house.rest()
    never = await house.send("tom@b.example")
    await house.go_on(8 * HOUR + 60, 300.0)
    assert (await failure(house, tried))["attempt-no"] == 1
    assert (await failure(house, never))["description"] == (
        "Too old after 8 h: never tried: mx.b.example said: 451 4.7.0 your domain"
    )
    assert len(world.sent) == 1


async def test_mail_that_our_own_pace_holds_back_does_not(house, world, clock):
    house.ours.pools[1] = ("192.0.2.1",)
    house.ours.gates["192.0.2.1"] = Waiting(WaitReason.WARM_UP, clock.now() + 12 * HOUR, "warming")
    number = await house.send("bob@b.example")
    await house.go_on(11 * HOUR, 900.0)
    assert [row.state for row in await house.rows(number)] == [State.WAITING]
    house.ours.gates.clear()
    await house.go_on(2 * HOUR, 900.0)
    assert [row.state for row in await house.rows(number)] == [State.DELIVERED]


async def test_a_thousand_of_them_grow_too_old_in_one_round_of_upkeep(house, world):
    await house.operator.suspend("mx.b.example", None, "maintenance")
    number = await house.send(*[f"r{n}@b.example" for n in range(1000)])
    await house.go_on(8 * HOUR + 60, 1800.0)
    assert {row.state for row in await house.rows(number)} == {State.FAILED}
    assert (await house.check()).counts.failed == 1000


async def test_others_are_looked_at_while_much_grows_too_old(house, world, clock, monkeypatch):
    monkeypatch.setattr(expire, "_BATCH", 5)
    await house.operator.suspend("mx.b.example", None, "maintenance")
    number = await house.send(*[f"x{n}@b.example" for n in range(300)])
    await house.go_on(8 * HOUR - 20, 300.0)
    await house.send("ann@d.example")
    await house.rest()
    clock.advance(40)
    tally = house.operator._settler.tally
    async with asyncio.timeout(10):
        while not tally.failed:
            await asyncio.sleep(0)
    house.runner.book.get(site_id("mx.d.example")).late.add(1)  # so that fresh mail waits for a look at its site
    await house.send("eve@d.example")
    async with asyncio.timeout(10):
        while "eve@d.example" not in world.recipients():
            await asyncio.sleep(0)
    assert tally.failed < 300
    await house.rest()
    assert {row.state for row in await house.rows(number)} == {State.FAILED}
    assert (await house.check()).faults == ()
