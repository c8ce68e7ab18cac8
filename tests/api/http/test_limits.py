import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.http.bodies import Allowance
from mtad.api.http.limits import FAILURES_S, MAX_ADDRESSES, MAX_WAITING, PerMinute, WrongKeys


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_window_of_a_minute_holds_more_than_the_limit(gaps, limit):
    counter, now, allowed = PerMinute(limit), 1000.0, []
    for gap in gaps:
        now += gap
        standing = counter.count(now)
        assert 0 <= standing.remaining <= limit
        if standing.allowed:
            allowed.append(now)
        else:
            assert 1 <= standing.retry_s(now) <= 60
            assert counter.count(now + standing.retry_s(now) + 1e-6).allowed  # no clock is that exact
            return
    assert all(sum(at <= one < at + 60 for one in allowed) <= 2 * limit for at in allowed)


def test_a_clock_set_back_shuts_nobody_out():
    counter = PerMinute(1)
    assert counter.count(1e9).allowed
    assert counter.count(1e9 - 3600).allowed


def test_failures_wait_longer_are_forgotten_and_do_not_pile_up():
    keys = WrongKeys()
    waits = []
    for _ in range(12):
        waits.append(keys.failed("a", 0.0))
        keys.answered("a")
    assert waits == [0, 0, 0, 0.25, 0.5, 1, 2, 4, 8, 8, 8, 8]
    assert keys.failed("b", 0.0) == 0
    assert keys.failed("a", FAILURES_S) == 0


def test_only_so_many_answers_to_one_address_are_held_back_together():
    keys = WrongKeys()
    assert None not in [keys.failed("a", 0.0) for _ in range(MAX_WAITING)]
    assert keys.failed("a", 0.0) is None
    keys.answered("a")
    assert keys.failed("a", 0.0) is not None


def test_addresses_are_remembered_up_to_a_bound():
    keys = WrongKeys()
    for number in range(MAX_ADDRESSES + 10):
        keys.failed(str(number), 0.0)
    assert len(keys._seen) == MAX_ADDRESSES


async def test_what_is_taken_together_never_is_more_than_there_is():
    allowance, together, most = Allowance(100), 0, 0

    async def work(octets):
        nonlocal together, most
        async with allowance.take(octets):
            together += min(octets, 100)
            most = max(most, together)
            await asyncio.sleep(0)
            together -= min(octets, 100)

    async with asyncio.TaskGroup() as tasks:
        for octets in (30, 30, 60, 500, 10, 100, 1, 99, 0, 50):
            tasks.create_task(work(octets))
    assert most <= 100
    assert allowance.used == 0


@pytest.mark.parametrize("granted", [True, False])
async def test_who_gives_up_waiting_takes_nothing_with_him(granted):
    allowance = Allowance(10)
    first = allowance.take(10)
    await first.__aenter__()

    async def wait():
        async with allowance.take(5):
            pass

    waiting, behind = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    if granted:
        await first.__aexit__(None, None, None)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if not granted:
        await first.__aexit__(None, None, None)
    await behind
    assert allowance.used == 0


async def test_who_is_cancelled_while_he_waits_is_cancelled_also_when_room_comes_before_he_has_run():
    allowance = Allowance(10)
    async with allowance.take(10):
        waits = asyncio.create_task(allowance.take(10).__aenter__())
        await asyncio.sleep(0)
        waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert waits.cancelled()
    assert allowance.used == 0
