"""Domains with source addresses of their own: each sends from its own, and waits for its own alone."""

import asyncio

import pytest

from mtad.mail.waiting import Waiting, WaitReason
from tests.queue.house import World, open_house
from tests.virtualclock import VirtualClock

DAY = 86_400.0
NEWS, SECOND = "192.0.2.26", "192.0.2.27"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as made:
        made.ours.pools[2] = (NEWS,)
        yield made


def sources(world):
    return {(domain, source) for domain, source, *_ in world.opened}


async def both_send(house, to="b.example"):
    """One message of each domain."""
    await house.send(f"one@{to}", domain="a.example")
    await house.send(f"two@{to}", domain="c.example")


async def test_a_pool_is_used_where_nothing_else_names_an_address(house, world):
    await both_send(house)
    await house.rest()
    assert sources(world) == {("b.example", ""), ("b.example", NEWS)}
    assert sorted(world.recipients()) == ["one@b.example", "two@b.example"]


async def test_a_domain_with_two_addresses_uses_both_when_one_is_not_enough(house, world):
    house.ours.pools[2] = (NEWS, SECOND)
    world.hold = asyncio.Event()  # connections are busy till then
    for n in range(40):
        await house.send(f"r{n}@b.example", domain="c.example")
    await house.rest()
    assert {source for _, source in sources(world)} == {NEWS, SECOND}
    world.hold.set()
    await house.rest()
    assert len(world.recipients()) == 40


async def test_an_address_that_must_wait_holds_up_its_own_domain_only(house, world, clock):
    warming = Waiting(WaitReason.WARM_UP, clock.now() + DAY, "the 50 messages of that day are sent")
    house.ours.gates[NEWS] = warming
    for _ in range(3):
        await both_send(house)
        await house.go_on(60)
    assert world.recipients() == ["one@b.example"] * 3
    assert {house.operator.explain(row) for row in await house.waiting()} == {warming}
    house.ours.gates.clear()
    await house.go_on(DAY, 1800.0)
    assert world.recipients().count("two@b.example") == 3
    assert house.runner.count == 0


async def test_mail_whose_addresses_all_wait_is_explained_by_them_and_not_by_others(house, clock):
    house.ours.gates[""] = Waiting(WaitReason.WARM_UP, clock.now() + DAY, "the other one")
    house.ours.gates[NEWS] = Waiting(WaitReason.WARM_UP, clock.now() + DAY / 2, "this one")
    await house.send("two@b.example", domain="c.example")
    await house.rest()
    [row] = await house.waiting()
    assert house.operator.explain(row).detail == "this one"


async def test_an_operator_who_asks_for_a_retry_ends_the_wait_at_the_site(house, world, clock):
    house.ours.gates[NEWS] = Waiting(WaitReason.WARM_UP, clock.now() + DAY, "warming")
    await house.send("two@b.example", domain="c.example")
    await house.rest()
    house.ours.gates.clear()
    await house.operator.retry(None, ())
    await house.go_on(2, 1.0)
    assert world.recipients() == ["two@b.example"]


async def test_a_dead_site_seen_from_one_address_is_still_tried_from_the_other(house, world):
    world.dead.add("b.example")
    await house.send("two@b.example", domain="c.example")
    await house.rest()
    world.dead.clear()
    await house.send("one@b.example", domain="a.example")
    await house.rest()
    assert world.recipients() == ["one@b.example"]
