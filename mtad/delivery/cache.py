"""Cache: what was found out, kept for its time; and one question for all who ask it together.

Room: delivery. Both are bounded: TtlCache by its number of entries, Flights by the number of callers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from mtad.clock import Clock

V = TypeVar("V")


class TtlCache(Generic[V]):
    """Least recently used out first; an entry past its time is gone. Times are the clock's steady seconds."""

    __slots__ = ("_entries", "_kept", "_steady")

    def __init__(self, clock: Clock, entries: int) -> None:
        self._steady, self._entries = clock.steady, max(1, entries)
        self._kept: dict[str, tuple[float, V]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> V | None:
        """None: never put, pushed out, or past its time."""
        entry = self._kept.pop(key, None)
        if entry is None or entry[0] <= self._steady():
            return None
        self._kept[key] = entry  # now the youngest
        return entry[1]

    def put(self, key: str, value: V, keep_s: float) -> None:
        self._kept.pop(key, None)
        if keep_s <= 0:
            return
        if len(self._kept) >= self._entries:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._steady() + keep_s, value)

    def drop(self, key: str) -> None:
        self._kept.pop(key, None)


class _Flight(Generic[V]):
    """One question under way."""

    __slots__ = ("answer", "ended")

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.answer: tuple[V] | None = None  # None at the end: whoever asked was cancelled, or raised


class Flights(Generic[V]):
    """Many callers with one key make one piece of work. Cancelling one caller does not hurt the others."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight[V]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[V]]) -> V:
        """The first caller works, the others wait for its answer; if it fails, the next one takes over."""
        while (flight := self._under_way.get(key)) is not None:
            await flight.ended.wait()
            if flight.answer is not None:
                return flight.answer[0]
        flight = self._under_way[key] = _Flight()
        try:
            answer = await work()
            flight.answer = (answer,)
            return answer
        finally:
            del self._under_way[key]
            flight.ended.set()
