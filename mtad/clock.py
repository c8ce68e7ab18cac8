"""Clock: the time of day, a steady time, and waiting. Nobody else asks for any of them.

May be imported by every room. `VirtualClock` in tests/ keeps the same shape, so an 8-hour ladder runs in
milliseconds.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """now(): epoch seconds (UTC). steady(): seconds that never jump, for measuring how long a thing took."""

    def now(self) -> float: ...
    def steady(self) -> float: ...
    async def sleep(self, wait_s: float) -> None: ...
    async def nap(self, wake: asyncio.Event, at_most_s: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    steady = staticmethod(time.monotonic)

    async def sleep(self, wait_s: float) -> None:
        await asyncio.sleep(max(0.0, wait_s))

    async def nap(self, wake: asyncio.Event, at_most_s: float) -> None:
        """Return when `wake` is set or `at_most_s` seconds have gone by, whichever is first."""
        try:
            async with asyncio.timeout(max(0.0, at_most_s)):
                await wake.wait()
        except TimeoutError:
            return


async def complete(work: Coroutine[Any, Any, T]) -> T:
    """Let `work` end even when we are cancelled meanwhile; then pass the cancel on."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
