"""Fetch: one small file over HTTPS from a stranger, with everything about it bounded.

Room: delivery. Source: RFC 8461 §3.3. The host's certificate must be good; redirects are not followed; only public
addresses are connected to, looked up through our own resolver.
"""

import asyncio
import socket
import ssl

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from mtad.delivery.addresses import addresses_of
from mtad.delivery.dns import Resolver
from mtad.delivery.policies import FetchFailed
from mtad.delivery.sts import MAX_POLICY

_HEADERS = {"Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": "mtad"}


class HttpsFetch:
    """A `policies.Fetch`. context: default verifies against the system's authorities."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        timeout_s: float = 15.0,
        allow_private: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._names = _Names(resolver, allow_private)
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | bool = context or True  # the one aiohttp has anyway

    async def __call__(self, url: str) -> tuple[int, str, bytes]:
        """Status, Content-Type, body of at most 64 KiB. Raises FetchFailed."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(url)
        except TimeoutError as error:
            raise FetchFailed(f"no answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(f"{type(error).__name__}: {error}"[:200]) from error

    async def _get(self, url: str) -> tuple[int, str, bytes]:
        connector = aiohttp.TCPConnector(resolver=self._names, ssl=self._context, force_close=True)
        jar = aiohttp.DummyCookieJar()
        # No environment: a proxy variable must not decide whom we ask. A session each: fetches are rare.
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=jar, trust_env=False, auto_decompress=False, headers=_HEADERS
        ) as session:
            async with session.get(url, allow_redirects=False) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_POLICY:
                        raise FetchFailed(f"longer than {MAX_POLICY} octets")
                return response.status, response.headers.get("Content-Type", ""), bytes(body)


class _Names(AbstractResolver):
    """Our resolver in aiohttp's shape."""

    def __init__(self, resolver: Resolver, allow_private: bool) -> None:
        self._resolver, self._private = resolver, allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = await self._resolver.addresses(host)
        found = addresses_of(host, answer.records, ipv6=True, private=self._private)
        if not found.addresses:
            raise socket.gaierror(socket.EAI_NONAME, answer.why or found.why)
        return [_result(host, address, port) for address in found.addresses]

    async def close(self) -> None:
        """Nothing to close: the resolver is the daemon's."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": flags}
