import asyncio

from mtad.cli.follow import OVERLAP_S, PAGE, POLL_S, follow
from mtad.mail.event import Event, EventType
from mtad.mail.ids import floor_at, made_at
from tests.virtualclock import VirtualClock


def event(number):
    return Event(number, EventType.ACCEPTED, 0.0, "", "", "", "", 0, {}, {})


class Followed:
    """What follow yields, with a journal that grows between looks."""

    def __init__(self, clock, seen=()):
        self.clock, self.journal, self.yielded = clock, list(seen), []
        self._task = asyncio.create_task(self._follow(tuple(seen)))

    async def _look(self, after):
        return sorted((e for e in self.journal if e.id > after), key=lambda e: e.id)[:PAGE]

    async def _follow(self, seen):
        async for one in follow(self._look, seen, self.clock):
            self.yielded.append(one.id)

    async def next_look(self):
        while not self.clock.sleepers:
            await asyncio.sleep(0)
        self.clock.advance(POLL_S)
        for _ in range(10):
            await asyncio.sleep(0)
        while not self.clock.sleepers:
            await asyncio.sleep(0)

    async def end(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_each_new_event_is_told_once_and_what_was_shown_is_not_told_again():
    clock = VirtualClock()
    base = floor_at(clock.now())
    followed = Followed(clock, [event(base + 1)])
    await followed.next_look()
    followed.journal += [event(base + 5), event(base + 7)]
    await followed.next_look()
    await followed.next_look()
    assert followed.yielded == [base + 5, base + 7]
    await followed.end()


async def test_an_event_committed_after_a_younger_one_is_not_lost():
    clock = VirtualClock()
    base = floor_at(clock.now())
    followed = Followed(clock)
    followed.journal.append(event(base + 9))
    await followed.next_look()
    followed.journal.append(event(base + 3))  # happened before, committed later
    await followed.next_look()
    assert followed.yielded == [base + 9, base + 3]
    await followed.end()


async def test_more_than_a_page_at_once_is_told_whole():
    clock = VirtualClock()
    base = floor_at(clock.now())
    followed = Followed(clock)
    await followed.next_look()
    followed.journal += [event(base + n) for n in range(1, 2 * PAGE + 10)]
    await followed.next_look()
    assert followed.yielded == [base + n for n in range(1, 2 * PAGE + 10)]
    await followed.end()


async def test_looks_go_on_from_the_newest_event_told():
    clock = VirtualClock()
    looked = []

    async def look(after):
        looked.append(after)
        return [event(floor_at(clock.now()) + 1)]

    events = follow(look, (), clock)
    await anext(events)
    waiting = asyncio.create_task(anext(events))
    while not clock.sleepers:
        await asyncio.sleep(0)
    clock.advance(10 * OVERLAP_S)
    await waiting
    assert made_at(looked[-1]) - made_at(looked[0]) < POLL_S  # the newest told is still the first one
    waiting = asyncio.create_task(anext(events))
    while not clock.sleepers:
        await asyncio.sleep(0)
    clock.advance(POLL_S)
    await waiting
    assert made_at(looked[-1]) > made_at(looked[0]) + 9 * OVERLAP_S
    await events.aclose()
