"""Follow: new events as they are committed, each once.

Room: cli. An event gets its id when it happens and is seen when it is committed, a moment later and not always in
that order. So each look goes back OVERLAP_S behind the newest id, and what was seen is left out.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from mtad.clock import Clock
from mtad.mail.event import Event
from mtad.mail.ids import floor_at, made_at

POLL_S = 0.5
OVERLAP_S = 2.0
PAGE = 1000


async def follow(
    look: Callable[[int], Awaitable[Sequence[Event]]], seen: Sequence[Event], clock: Clock
) -> AsyncIterator[Event]:
    """look(after): up to PAGE events with ids above `after`, oldest first. seen: those that were shown already."""
    newest = seen[-1].id if seen else floor_at(clock.now())
    shown = {event.id for event in seen}
    while True:
        after = floor_at(made_at(newest) - OVERLAP_S)
        shown = {number for number in shown if number > after}
        while True:
            page = await look(after)
            for event in page:
                if event.id not in shown:
                    shown.add(event.id)
                    newest = max(newest, event.id)
                    yield event
            if len(page) < PAGE:
                break
            after = page[-1].id
        await clock.sleep(POLL_S)
