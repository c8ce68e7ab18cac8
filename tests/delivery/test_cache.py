import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.cache import Flights, TtlCache
from tests.virtualclock import VirtualClock


def test_an_entry_is_gone_when_its_time_is_over():
    clock = VirtualClock()
    cache = TtlCache[str](clock, 10)
    cache.put("a", "one", 60)
    clock.advance(59.9)
    assert cache.get("a") == "one"
    clock.advance(0.1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_the_least_recently_used_entry_makes_room():
    cache = TtlCache[int](VirtualClock(), 2)
    cache.put("a", 1, 60)
    cache.put("b", 2, 60)
    cache.get("a")
    cache.put("c", 3, 60)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_nothing_is_kept_for_no_time_and_a_dropped_entry_is_gone():
    cache = TtlCache[int](VirtualClock(), 2)
    cache.put("a", 1, 60)
    cache.put("a", 2, 0)
    assert cache.get("a") is None
    cache.put("b", 1, 60)
    cache.drop("b")
    assert cache.get("b") is None


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(-1, 100)), max_size=50), st.integers(1, 5))
def test_the_cache_never_holds_more_than_its_number_of_entries(puts, entries):
    cache = TtlCache[int](VirtualClock(), entries)
    for key, keep_s in puts:
        cache.put(key, 1, keep_s)
        assert len(cache) <= entries


async def test_callers_that_ask_together_share_one_piece_of_work():
    flights, gate, done = Flights[int](), asyncio.Event(), []

    async def work() -> int:
        await gate.wait()
        done.append(1)
        return 7

    callers = [asyncio.create_task(flights.run("a", work)) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*callers) == [7] * 20
    assert len(done) == 1


async def test_a_cancelled_leader_hands_the_work_to_the_next_and_a_cancelled_follower_harms_nobody():
    flights, gate, begun = Flights[int](), asyncio.Event(), []

    async def work() -> int:
        begun.append(1)
        await gate.wait()
        return 7

    leader, follower, last = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    leader.cancel()
    follower.cancel()
    await asyncio.gather(leader, follower, return_exceptions=True)
    gate.set()
    assert await last == 7
    assert len(begun) == 2
    assert leader.cancelled()
    assert follower.cancelled()


async def test_an_exception_reaches_its_caller_and_the_next_caller_tries_anew():
    flights = Flights[int]()

    async def breaks() -> int:
        raise OSError("broken")

    async def works() -> int:
        return 1

    with pytest.raises(OSError, match="broken"):
        await flights.run("a", breaks)
    assert await flights.run("a", works) == 1
