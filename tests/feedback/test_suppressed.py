import asyncio
import sqlite3
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.feedback.suppressed import AGAIN_S, Bloom, SuppressedAddresses
from mtad.mail.suppression import Suppressed, Why
from mtad.storage import suppressions
from mtad.storage.database import open_database
from tests.virtualclock import VirtualClock

NOW = 1_700_000_000.0
BOB = "bob@b.example"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def database(tmp_path, clock):
    async with open_database(tmp_path, clock, cache_octets=1_000_000, readers=1) as database:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(database.writer.run())
            try:
                yield database
            finally:
                database.writer.stop()


async def leave(database, *addresses, domain=1):
    rows = [(domain, address, "*", NOW) for address in addresses]
    await database.writer.write(lambda connection: suppressions.add_unsubscribes(connection, rows))


@given(numbers=st.sets(st.integers(0, (1 << 61) - 1), max_size=300))
def test_what_is_in_the_filter_is_always_found(numbers):
    bloom = Bloom(100)
    for number in numbers:
        bloom.add(number)
    assert all(bloom.has(number) for number in numbers)


def test_a_full_filter_gives_few_false_alarms():
    bloom = Bloom(5000)
    for n in range(5000):
        bloom.add(hash(f"in{n}") & ((1 << 61) - 1))
    alarms = sum(bloom.has(hash(f"out{n}") & ((1 << 61) - 1)) for n in range(20_000))
    assert alarms < 20_000 * 0.02


async def test_until_it_is_loaded_everything_goes_to_the_store(database, clock):
    filter_ = SuppressedAddresses(database, clock)
    assert filter_.maybe(1, BOB)
    assert await filter_.find(1, BOB, ()) is None
    await filter_.load()
    assert not filter_.maybe(1, BOB)


async def test_all_three_tables_are_loaded_and_every_spelling_is_found(database, clock):
    await leave(database, BOB)
    await database.writer.write(
        lambda connection: suppressions.add_bounces(connection, [(2, "eve@b.example", "550", "no", "r", NOW)])
    )
    await database.writer.write(
        lambda connection: suppressions.add_complaints(connection, [(3, "straße@b.example".casefold(), NOW)])
    )
    filter_ = SuppressedAddresses(database, clock)
    await filter_.load()
    assert filter_.maybe(1, "Bob@B.example")
    assert filter_.maybe(2, "eve@b.example")
    assert filter_.maybe(3, "STRASSE@b.example")
    assert not filter_.maybe(1, "eve@b.example")
    assert not filter_.maybe(4, BOB)
    assert await filter_.find(1, "BOB@b.example", ("news",)) == Suppressed(Why.UNSUBSCRIBE)


async def test_what_is_noted_is_found_at_once(database, clock):
    filter_ = SuppressedAddresses(database, clock)
    await filter_.load()
    filter_.note(7, BOB)
    assert filter_.maybe(7, BOB)
    assert not filter_.maybe(7, "eve@b.example")
    assert not filter_.maybe(8, BOB)


async def test_what_is_noted_while_it_is_loaded_is_not_lost(database, clock):
    """Noted, but committed only when the tables have been read."""
    filter_ = SuppressedAddresses(database, clock)
    loading = asyncio.create_task(filter_.load())
    await asyncio.sleep(0)
    filter_.note_all([(1, BOB)])
    await loading
    assert filter_.maybe(1, BOB)


async def test_a_full_filter_is_made_anew_with_more_room(database, clock):
    filter_ = SuppressedAddresses(database, clock, smallest=8)
    running = asyncio.create_task(filter_.run())
    names = [f"u{n}@b.example" for n in range(500)]
    for at in range(0, 500, 50):
        filter_.note_all([(1, name) for name in names[at : at + 50]])
        await leave(database, *names[at : at + 50])
    async with asyncio.timeout(10):
        while sum(filter_.maybe(1, f"other{n}@b.example") for n in range(500)) > 25:
            await leave(database)  # a commit's time
    assert all(filter_.maybe(1, name) for name in names)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_filter_as_large_as_it_may_be_stays(database, clock):
    filter_ = SuppressedAddresses(database, clock, smallest=8, largest=16)
    await leave(database, *[f"u{n}@b.example" for n in range(100)])
    running = asyncio.create_task(filter_.run())
    while filter_.maybe(2, BOB):
        await asyncio.sleep(0)
    filter_.note_all([(1, f"u{n}@b.example") for n in range(100, 200)])
    assert all(filter_.maybe(1, f"u{n}@b.example") for n in range(200))
    commits = database.writer.commits
    await leave(database)
    assert database.writer.commits == commits + 1  # nobody began to load it anew
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_store_that_cannot_be_read_is_tried_again(clock):
    class Broken:
        calls = 0

        @property
        def writer(self):
            return self

        async def write(self, work):
            self.calls += 1
            raise sqlite3.OperationalError("disk I/O error")

    broken = Broken()
    filter_ = SuppressedAddresses(broken, clock)
    running = asyncio.create_task(filter_.run())
    while not clock.sleepers:
        await asyncio.sleep(0)
    assert filter_.maybe(1, BOB)
    clock.advance(AGAIN_S)
    while broken.calls < 2:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_question_costs_next_to_nothing(database, clock):
    await leave(database, *[f"u{n}@b.example" for n in range(1000)])
    filter_ = SuppressedAddresses(database, clock)
    await filter_.load()

    def cost_us(domain, address):
        return min(timeit.repeat(lambda: filter_.maybe(domain, address), number=2000, repeat=5)) / 2000 * 1e6

    # Generous limits: other things run on this machine.
    assert cost_us(2, BOB) < 2
    assert cost_us(1, "nobody@b.example") < 10
    assert cost_us(1, "u7@b.example") < 20
