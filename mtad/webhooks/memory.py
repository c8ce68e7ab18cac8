"""Memory: how many octets of posts may be under way at one time, so that large messages do not fill the machine.

Room: webhooks. Who comes first goes first, but for those whose own host has its share: one that hangs must not keep
the posts of others waiting. What is larger than a share goes alone.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

POSTS_OCTETS = 134_217_728  # of all posts under way; half of it at one host
SMALL_OCTETS = 65_536  # not counted: the number of posts at one time is bound enough


@dataclass(slots=True)
class Room:
    """What one post takes. place: the host it goes to."""

    octets: int
    place: str


@dataclass(slots=True)
class _Waiting:
    room: Room
    turn: "asyncio.Future[None]"


class Memory:
    """used: octets of all rooms. Making posts of large messages, which takes some times their size, is done one at a
    time.
    """

    def __init__(self, limit: int = POSTS_OCTETS) -> None:
        self._limit, self._limit_each = limit, limit // 2
        self._of_each: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._making = asyncio.Lock()
        self.used = 0

    @asynccontextmanager
    async def room(self, octets: int, place: str) -> AsyncIterator[Room]:
        """Wait until there is room for so many octets, and hold it."""
        room = Room(octets if octets > SMALL_OCTETS else 0, place)
        if room.octets:
            await self._enter(room)
        try:
            yield room
        finally:
            self.resize(room, 0)

    @asynccontextmanager
    async def making(self, octets: int) -> AsyncIterator[None]:
        """Wait for one's turn to make a post of a message of that size."""
        if octets <= SMALL_OCTETS:
            yield
            return
        async with self._making:
            yield

    def resize(self, room: Room, octets: int) -> None:
        """It takes that much now: what the size of a post is, is known when it is made."""
        self._add(room, octets - room.octets)
        room.octets = octets
        self._next()

    def _add(self, room: Room, octets: int) -> None:
        self.used += octets
        self._of_each[room.place] += octets
        if not self._of_each[room.place]:
            del self._of_each[room.place]

    async def _enter(self, room: Room) -> None:
        if not self._waiting and self._fits(room):
            self._add(room, room.octets)
            return
        waiting = _Waiting(room, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._next()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if not waiting.turn.cancelled():
                self._add(room, -room.octets)
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            self._next()
            raise

    def _next(self) -> None:
        """Let in who may come, in their order."""
        kept: deque[_Waiting] = deque()
        while self._waiting:
            one = self._waiting.popleft()
            if one.turn.done():
                continue  # he was cancelled, and has not run since
            if self._fits(one.room):
                self._add(one.room, one.room.octets)
                one.turn.set_result(None)
                continue
            kept.append(one)
            if self._has_share(one.room):
                break  # he is the next: whoever comes behind him would keep him waiting
        self._waiting = kept + self._waiting

    def _fits(self, room: Room) -> bool:
        return not self.used or (self.used + room.octets <= self._limit and self._has_share(room))

    def _has_share(self, room: Room) -> bool:
        taken = self._of_each.get(room.place, 0)
        return not taken or taken + room.octets <= self._limit_each
