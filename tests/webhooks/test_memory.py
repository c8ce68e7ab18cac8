"""How many octets of posts are under way at one time."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.webhooks.memory import SMALL_OCTETS, Memory

MEGA = 1_000_000


class Crowd:
    """Posts that hold their room until they are let go."""

    def __init__(self, limit: int) -> None:
        self.memory, self.inside, self.tasks = Memory(limit), [], {}

    async def come(self, name: str, octets: int, place: str) -> None:
        self.tasks[name] = asyncio.create_task(self._stay(name, octets, place))
        await asyncio.sleep(0)

    async def _stay(self, name: str, octets: int, place: str) -> None:
        async with self.memory.room(octets, place):
            self.inside.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(name)

    async def go(self, name: str) -> None:
        self.tasks[name].cancel()
        for _ in range(3):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_posts_wait_while_there_is_no_room_and_come_in_their_order():
    crowd = Crowd(10 * MEGA)
    for number in range(6):
        await crowd.come(f"p{number}", 4 * MEGA, f"host{number}")
    assert crowd.inside == ["p0", "p1"]
    assert crowd.memory.used == 8 * MEGA
    await crowd.go("p0")
    assert crowd.inside == ["p1", "p2"]
    await crowd.go("p3")  # who waits may leave
    await crowd.go("p1")
    assert crowd.inside == ["p2", "p4"]
    await crowd.close()
    assert crowd.memory.used == 0


async def test_a_host_that_hangs_keeps_half_and_the_others_go_on():
    crowd = Crowd(10 * MEGA)
    for number in range(4):
        await crowd.come(f"hung{number}", 3 * MEGA, "hung")
    await crowd.come("well", 4 * MEGA, "well")
    assert crowd.inside == ["hung0", "well"]
    await crowd.close()


async def test_what_is_larger_than_there_is_room_goes_alone_and_is_not_passed_for_ever():
    crowd = Crowd(10 * MEGA)
    await crowd.come("first", 4 * MEGA, "a")
    await crowd.come("giant", 30 * MEGA, "b")
    await crowd.come("second", 4 * MEGA, "c")
    assert crowd.inside == ["first"]
    await crowd.go("first")
    assert crowd.inside == ["giant"]
    await crowd.go("giant")
    assert crowd.inside == ["second"]
    await crowd.close()


async def test_who_is_cancelled_while_he_waits_breaks_nobody_who_leaves_before_he_has_run():
    memory = Memory(MEGA)
    async with memory.room(MEGA, "a") as room:
        waits = asyncio.create_task(memory.room(MEGA, "b").__aenter__())
        await asyncio.sleep(0)
        waits.cancel()  # his future is cancelled at once, and he runs later
        memory.resize(room, 0)
        assert memory.used == 0
    await asyncio.gather(waits, return_exceptions=True)
    assert waits.cancelled()
    assert memory.used == 0


async def test_small_posts_do_not_wait():
    crowd = Crowd(MEGA)
    await crowd.come("large", MEGA, "a")
    await crowd.come("small", SMALL_OCTETS, "a")
    assert crowd.inside == ["large", "small"]
    await crowd.close()


async def test_what_a_post_takes_is_known_when_it_is_made():
    memory = Memory(10 * MEGA)
    async with memory.room(9 * MEGA, "a") as room:
        memory.resize(room, 2 * MEGA)
        async with asyncio.timeout(1), memory.room(8 * MEGA, "b"):
            assert memory.used == 10 * MEGA
    assert memory.used == 0


async def test_large_posts_are_made_one_at_a_time():
    memory = Memory()
    async with memory.making(MEGA):
        async with memory.making(1):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), memory.making(MEGA):
                raise AssertionError("two at a time")


@given(
    st.lists(st.tuples(st.integers(SMALL_OCTETS + 1, 12 * MEGA), st.sampled_from("abc")), max_size=12),
    st.lists(st.integers(0, 11), max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_there_is_never_more_than_the_limit_or_one_alone_and_everybody_comes_in(posts, leaving):
    async def run():
        crowd = Crowd(10 * MEGA)
        sizes = {f"p{n}": octets for n, (octets, _) in enumerate(posts)}

        def check():
            assert crowd.memory.used == sum(sizes[name] for name in crowd.inside)
            assert crowd.memory.used <= 10 * MEGA or len(crowd.inside) == 1

        for number, (octets, place) in enumerate(posts):
            await crowd.come(f"p{number}", octets, place)
            check()
        for number in leaving:
            if f"p{number}" in crowd.tasks:
                await crowd.go(f"p{number}")
                check()
        while crowd.inside:
            await crowd.go(crowd.inside[0])
            check()
        assert all(task.done() for task in crowd.tasks.values())
        await crowd.close()

    asyncio.run(run())
