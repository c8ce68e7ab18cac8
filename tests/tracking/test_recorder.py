import asyncio
import itertools

import pytest

from mtad.mail.ids import IdSource
from mtad.mail.token import Purpose
from mtad.storage.tracked import IDS_PER_VISIT
from mtad.tracking import recorder as module
from mtad.tracking.clients import Clients
from mtad.tracking.peers import peer_of
from mtad.tracking.places import Places
from mtad.tracking.recorder import PARSES_AT_ONCE, Hit, Recorder
from tests.tracking.house import BOB, FIREFOX, RULES
from tests.virtualclock import VirtualClock


class Lane:
    """A lane of a writer that takes nothing by itself."""

    def __init__(self):
        self.items = []

    def tell(self, item):
        self.items.append(item)


def hit(agent=FIREFOX, purpose=Purpose.OPEN, **more):
    return Hit(purpose, BOB, "", peer_of("192.0.2.5"), agent, **more)


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def recorder(lane, clock):
    made = Recorder(lane=lane, ids=IdSource(clock.now), clients=Clients(RULES), places=Places(None), clock=clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.run())
        yield made
        made.stop()


async def until(true):
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0)


async def test_each_visit_has_ids_of_its_own_in_order(recorder, lane):
    for _ in range(3):
        assert recorder.note(hit())
    await until(lambda: recorder.recorded == 3)
    ids = [visit.event_id for visit in lane.items]
    assert all(later - earlier >= IDS_PER_VISIT for earlier, later in itertools.pairwise(ids))
    assert lane.items[0].client.name == "Firefox"


async def test_what_waits_is_recorded_when_it_stops(lane, clock):
    recorder = Recorder(lane=lane, ids=IdSource(clock.now), clients=Clients(RULES), places=Places(None), clock=clock)
    for _ in range(1200):
        recorder.note(hit())
    recorder.stop()
    await recorder.run()
    assert len(lane.items) == 1200


async def test_a_store_that_takes_nothing_bounds_what_waits(recorder, lane, clock, monkeypatch):
    recorder.note(hit())
    await until(lambda: recorder.recorded == 1)
    lane.items.clear()
    monkeypatch.setattr(module, "MOST", 50)
    taken = 0
    for n in range(500):
        taken += recorder.note(hit())
        if n % 10 == 0:
            await asyncio.sleep(0)
    await until(lambda: clock.sleepers)
    taken += sum(recorder.note(hit()) for _ in range(100))
    assert len(lane.items) + len(recorder._waiting) == taken
    assert len(recorder._waiting) == 50
    assert len(lane.items) < 50 + module.BATCH
    assert recorder.lost == 600 - taken > 0
    lane.items.clear()
    clock.advance(module.FULL_S)
    await until(lambda: recorder.recorded == taken + 1)
    assert recorder.note(hit())


async def test_new_user_agents_without_end_are_not_all_parsed(recorder, lane):
    for n in range(PARSES_AT_ONCE + 200):
        recorder.note(hit(f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0"))
    await until(lambda: recorder.recorded == PARSES_AT_ONCE + 200)
    names = [visit.client.name for visit in lane.items]
    assert (names.count("Firefox"), names.count("Unknown")) == (PARSES_AT_ONCE, 200)
    recorder.note(hit("curl/8 of the unparsed"))
    await until(lambda: recorder.recorded == PARSES_AT_ONCE + 201)
    assert lane.items[-1].client.bot == "generic"


async def test_a_prefetch_is_no_person(recorder, lane):
    recorder.note(hit(prefetch=True))
    await until(lambda: recorder.recorded == 1)
    assert (lane.items[0].client.bot, lane.items[0].client.counted) == ("prefetch", False)


class Stumbling(Clients):
    """Its parser cannot read what holds "odd"."""

    def parsed(self, agent):
        if "odd" in agent:
            raise RuntimeError("a fault of the parser")
        return super().parsed(agent)


async def test_a_client_that_the_parser_stumbles_over_is_recorded_and_the_next_ones_too(lane, clock):
    made = Recorder(lane=lane, ids=IdSource(clock.now), clients=Stumbling(RULES), places=Places(None), clock=clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(made.run())
        made.note(hit("odd/1.0"))
        await until(lambda: made.recorded == 1)
        made.note(hit())
        await until(lambda: made.recorded == 2)
        made.stop()
    assert [(visit.user_agent, visit.client.name) for visit in lane.items] == [
        ("odd/1.0", "Unknown"),
        (FIREFOX, "Firefox"),
    ]
