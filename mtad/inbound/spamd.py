"""Spamd: SpamAssassin's daemon is asked what it thinks of a message.

Room: inbound. Imported only where a spamd is configured: aiospamc brings a good deal of memory with it. It writes the
request and reads the answer; the connection is ours, since it has to be bounded in time and size and closed whatever
happens. spamd is asked for SYMBOLS: the score and the names of the rules, not the message again.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable

from aiospamc.client import Client  # type: ignore[import-untyped]
from aiospamc.connections import ConnectionManager  # type: ignore[import-untyped]
from aiospamc.header_values import SpamValue  # type: ignore[import-untyped]
from aiospamc.requests import Request  # type: ignore[import-untyped]
from aiospamc.responses import Response  # type: ignore[import-untyped]
from loguru import logger as library_log

from mtad import log as log_module
from mtad.inbound.spam import Scan, Spam, SpamSettings

log = log_module.get("inbound")
library_log.disable("aiospamc")  # it would print the messages it cannot read, and not to our log

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]  # to spamd; raises OSError

_MAX_ANSWER = 65_536  # octets
_MAX_RULES = 100
_RULE = re.compile(r"[A-Za-z0-9_]{1,64}")


def dialer(settings: SpamSettings) -> Dial:
    """The real way to spamd."""
    if settings.socket is not None:
        path = settings.socket
        return lambda: asyncio.open_unix_connection(path)
    return lambda: asyncio.open_connection(settings.host, settings.port)


class Spamd:
    def __init__(self, settings: SpamSettings, dial: Dial) -> None:
        self._settings = settings
        self._client = Client(_Connection(dial))
        self._slots = asyncio.Semaphore(settings.at_once)

    @property
    def fail_closed(self) -> bool:
        """Mail waits while there is no answer."""
        return self._settings.fail_closed

    async def scan(self, head: bytes, content: bytes) -> Spam:
        """head: fields to stand above the content, such as the Received that says who is talking to us."""
        if len(content) > self._settings.max_octets:
            return Spam(Scan.TOO_LARGE, reason=f"longer than {self._settings.max_octets} octets")
        request = Request("SYMBOLS", body=head + content)
        try:
            async with asyncio.timeout(self._settings.time_limit_s), self._slots:
                response = await self._client.request(request)
            return _read(response, self._settings.threshold)
        except TimeoutError:
            reason = f"no answer within {self._settings.time_limit_s:g} s"
        except Exception as error:  # the library's own, OSError, and what a strange answer leads to
            reason = f"{type(error).__name__}: {error}"[:200]
        log.warning("spamd-unavailable", cause=reason)
        return Spam(Scan.UNAVAILABLE, reason=reason)


class _Connection(ConnectionManager):  # type: ignore[misc]
    """One request, one connection: spamd closes it behind its answer."""

    def __init__(self, dial: Dial) -> None:
        super().__init__("spamd")
        self._dial = dial

    async def request(self, data: bytes) -> bytes:
        reader, writer = await self._dial()
        try:
            writer.write(data)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            return _readable(await _all_of(reader))
        finally:
            writer.transport.abort()  # nothing is left to be said either way


def _readable(answer: bytes) -> bytes:
    """aiospamc takes a body of nothing but a line end, which spamd sends when no rule has hit, for a missing one."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return head + end + b"\n\n" if body == b"\r\n" else answer


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    while piece := await reader.read(8192):
        answer += piece
        if len(answer) > _MAX_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(answer)


def _read(response: Response, threshold: float) -> Spam:
    """Raises KeyError or ValueError for an answer without a score."""
    said = response.headers["Spam"]
    if not isinstance(said, SpamValue) or not math.isfinite(said.score) or not math.isfinite(said.threshold):
        raise ValueError("the answer has no score")
    rules = _RULE.findall(response.body.decode("ascii", "replace"))[:_MAX_RULES]
    limit = threshold or said.threshold
    return Spam(Scan.DONE, said.score, limit, said.score >= limit if threshold else said.value, tuple(rules))
