"""Poster: one POST to a receiver: an address that may be talked to, bounded time, the answer's status.

Room: webhooks. Every connection's address is checked in the moment its socket is made, so it does not matter how the
address was spelt, where the name pointed a second ago, or who answers for it.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mtad import __version__
from mtad.clock import Clock
from mtad.webhooks.payload import Body
from mtad.webhooks.settings import WebhookConfig
from mtad.webhooks.targets import Target, is_allowed

# A name -> its addresses. Raises OSError, in words.
Lookup = Callable[[str], Awaitable[Sequence[str]]]

_MAX_ANSWER = 65_536  # octets of a body we take so that the connection can be used again
_REFUSED = "no posts are made to this address (http.allow_private_targets)"


@dataclass(frozen=True, slots=True)
class Answer:
    """status None: there was none; error says why, in a line."""

    status: int | None
    error: str
    took_s: float


@dataclass(slots=True)
class _Way:
    """How a request went out. kept: by a connection that was there before."""

    kept: bool = False


class Poster:
    """Use `open_poster`."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock, config: WebhookConfig) -> None:
        self._session, self._clock, self._config = session, clock, config

    async def post(self, target: Target, body: Body) -> Answer:
        """Never raises, but for a cancellation."""
        started = self._clock.steady()
        status, error, again = await self._once(target, body)
        if again:
            status, error, _ = await self._once(target, body)
        return Answer(status, error, self._clock.steady() - started)

    async def _once(self, target: Target, body: Body) -> tuple[int | None, str, bool]:
        """Status, error, and whether to try again now: a receiver may close a kept connection just as we use it.

        One that closes a new connection has got the post, and may have done what it says.
        """
        headers = {"Content-Type": body.content_type}
        if target.authorization:
            headers["Authorization"] = target.authorization
        status: int | None = None
        way = _Way()
        try:
            async with self._session.post(
                URL(target.url, encoded=True),
                data=body.content,
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=way,
            ) as response:
                status = response.status
                if not response.content.at_eof():
                    await self._drain(response)
        except TimeoutError:
            return status, "" if status else "timed out", False
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            if status is None:
                lost = isinstance(problem, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
                return None, _said(problem), lost and way.kept
        return status, "", False

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        """Nobody reads what a receiver says beyond its status; a long or slow one costs it the connection."""
        taken = 0
        try:
            async with asyncio.timeout(self._config.body_s):
                async for chunk in response.content.iter_any():
                    taken += len(chunk)
                    if taken > _MAX_ANSWER:
                        break
                else:
                    return
        except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
            pass
        response.close()


def _said(problem: Exception) -> str:
    """In the system's words where it has some: libraries word the same refusal each in its own way."""
    cause: BaseException = problem.os_error if isinstance(problem, aiohttp.ClientConnectorError) else problem
    number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) else None
    text = os.strerror(number) if number else getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:200]


@asynccontextmanager
async def open_poster(
    config: WebhookConfig, clock: Clock, lookup: Lookup, context: ssl.SSLContext | None = None
) -> AsyncIterator[Poster]:
    """context: None is the system's authorities. Connections stay open for the next post."""
    connector = aiohttp.TCPConnector(
        resolver=_Names(lookup),
        ssl=context or True,  # the one aiohttp has anyway
        limit=0,  # the sender counts
        keepalive_timeout=4.0,  # common servers close after 5 s
        ttl_dns_cache=30,
        socket_factory=_guarded(config.allow_private),
    )
    limits = aiohttp.ClientTimeout(total=config.total_s, connect=config.connect_s)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=limits,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"mtad/{__version__}", "Accept": "*/*"},
        trust_env=False,  # a proxy of the environment would look names up behind the guard's back
        auto_decompress=False,
        requote_redirect_url=False,
        trace_configs=[_tracing()],
    ) as session:
        yield Poster(session, clock, config)


def _tracing() -> aiohttp.TraceConfig:
    """Tells each request's _Way; nothing else says which connection it got."""

    async def kept(
        session: aiohttp.ClientSession, context: Any, params: aiohttp.TraceConnectionReuseconnParams
    ) -> None:
        context.trace_request_ctx.kept = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(kept)
    return tracing


def _guarded(private: bool) -> Callable[[aiohttp.connector.AddrInfoType], socket.socket]:
    def make(info: aiohttp.connector.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), private):
            raise OSError(0, _REFUSED)
        return socket.socket(family, kind, protocol)

    return make


class _Names(AbstractResolver):
    """A Lookup in aiohttp's shape."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._lookup(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """The lookup is the daemon's."""


async def system_lookup(name: str) -> Sequence[str]:
    """By the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
