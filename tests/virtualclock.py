"""A clock that stands still until a test moves it. Same shape as mtad.clock.Clock."""

import asyncio


class VirtualClock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._steady = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    def steady(self) -> float:
        return self._steady

    @property
    def sleepers(self) -> int:
        """How many wait for the time to go on."""
        return len(self._sleepers)

    async def sleep(self, wait_s: float) -> None:
        await self.nap(asyncio.Event(), wait_s)

    async def nap(self, wake: asyncio.Event, at_most_s: float) -> None:
        """Both the test's advance() and the caller's own event end it."""
        if wake.is_set():
            return
        entry = (self._steady + max(0.0, at_most_s), asyncio.Event())
        self._sleepers.append(entry)
        woken, over = asyncio.ensure_future(wake.wait()), asyncio.ensure_future(entry[1].wait())
        try:
            await asyncio.wait((woken, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            over.cancel()
            self._sleepers.remove(entry)

    def advance(self, by_s: float) -> None:
        """Move both times on; the naps that are over end when the loop runs next."""
        self._now += by_s
        self._steady += by_s
        for until, over in self._sleepers:
            if until <= self._steady:
                over.set()
