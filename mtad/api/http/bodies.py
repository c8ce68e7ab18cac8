"""Bodies: the octets of a request -> its parameters and files.

Room: api. What comes in is kept in memory up to INLINE octets and behind that in a file without a name; it is read
back whole only when there is room for it, so that many large requests at once take disk, and not memory.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from aiohttp import web

from mtad import log as log_module
from mtad.api.http.answers import BadRequest, TooLarge, TooSlow, Unavailable

log = log_module.get("api")

INLINE = 65_536  # octets of one body held while it comes in
ON_DISK = 2_147_483_648  # octets of all bodies that are not answered yet: the store needs the disk too
PIECE_S = 30.0  # the longest pause within a body
GROWTH = 4  # a body, its parts, the message made of it, and the message with our trace


class Allowance:
    """Octets that may be in memory together. Who wants more than is left waits his turn; nobody overtakes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, octets: int) -> AsyncIterator[None]:
        """More than the limit is as much as there is."""
        wanted = min(octets, self.limit)
        await self._wait(wanted)
        try:
            yield
        finally:
            self.used -= wanted
            self._serve()

    async def _wait(self, wanted: int) -> None:
        if not self._queue and self.used + wanted <= self.limit:
            self.used += wanted
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.used -= wanted
            elif (wanted, turn) in self._queue:  # not where his turn came before he could say that he is gone
                self._queue.remove((wanted, turn))
            self._serve()
            raise

    def _serve(self) -> None:
        while self._queue and self.used + self._queue[0][0] <= self.limit:
            wanted, turn = self._queue.popleft()
            if not turn.done():
                self.used += wanted
                turn.set_result(None)


class Bodies:
    """folder: where large bodies are kept while they are read. most: octets of one body, after it is inflated."""

    def __init__(self, folder: Path, most: int, memory: int) -> None:
        self._folder, self._most, self._allowance = folder, most, Allowance(memory)
        self._held = 0  # octets of all bodies

    @asynccontextmanager
    async def read(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The body, as long as the `with` lasts. Raises TooLarge, TooSlow, Unavailable and BadRequest."""
        if not request.can_read_body:
            yield b""
            return
        if (request.content_length or 0) > self._most:
            raise too_large(self._most)
        given = False
        try:
            with tempfile.SpooledTemporaryFile(INLINE, dir=str(self._folder)) as file:
                async with self._taken_in(request, file) as size, self._allowance.take(size * GROWTH):
                    file.seek(0)
                    given = True  # and not held here: who asked lets go of it when it is taken to pieces
                    yield file.read()
        except OSError as error:
            if given:
                raise
            log.error("body-not-kept", octets=self._held, cause=error)
            raise Unavailable("The disk takes no large requests at present; try again later") from None

    @asynccontextmanager
    async def _taken_in(self, request: web.BaseRequest, file: IO[bytes]) -> AsyncIterator[int]:
        """All of it is in the file, and is counted as long as the `with` lasts; its size."""
        size = 0
        try:
            while piece := await self._piece(request):
                if size + len(piece) > self._most:
                    raise too_large(self._most)
                if self._held + len(piece) > ON_DISK:
                    raise Unavailable("Too many large requests at one time; try again later")
                size += len(piece)
                self._held += len(piece)
                file.write(piece)
            yield size
        finally:
            self._held -= size

    async def _piece(self, request: web.BaseRequest) -> bytes:
        """b"" at the end."""
        try:
            async with asyncio.timeout(PIECE_S):
                return await request.content.readany()
        except TimeoutError:
            raise TooSlow("The request body did not come in time") from None
        except (web.RequestPayloadError, ConnectionError):  # the second: nobody is there any more to be told
            raise BadRequest("The request body is broken off or badly encoded") from None


def too_large(most: int) -> TooLarge:
    return TooLarge(f"The request body is larger than {most // 1_048_576} MiB")
