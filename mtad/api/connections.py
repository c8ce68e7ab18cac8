"""Connections: how many there may be at an HTTP port, in all and of one address; and what the others are told.

Room: api. Who is one too many gets a whole answer and the end of the connection, and costs neither a task nor a parser.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from mtad.api.codec import to_json
from mtad.config import IPNetwork

LINGER_S = 1.0  # until who was turned away must have read why
MAX_LINGERING = 100  # more are cut without a word
_RETRY_S = 10


class Connections:
    """trusted: networks, as of reverse proxies, to whom limit_each does not apply. total: open now. refused: since the
    start. `admit` and `leave` come in pairs; an admit that refuses needs none.
    """

    def __init__(self, limit: int, limit_each: int, trusted: Sequence[IPNetwork] = ()) -> None:
        self._limit, self._limit_each, self._trusted = limit, limit_each, tuple(trusted)
        self._of_each: dict[str, int] = {}
        self.total = self.refused = self.lingering = 0

    def admit(self, peer: str) -> str | None:
        """What to hand to `leave`. peer: an address, "" of a socket without. None: one too many."""
        group = group_of(peer)
        count = self._of_each.get(group, 0)
        if self.total >= self._limit or (count >= self._limit_each and not self._is_trusted(peer)):
            self.refused += 1
            return None
        self._of_each[group] = count + 1
        self.total += 1
        return group

    def leave(self, group: str) -> None:
        self.total -= 1
        self._of_each[group] -= 1
        if not self._of_each[group]:
            del self._of_each[group]

    def _is_trusted(self, peer: str) -> bool:
        address = _address(peer)
        return address is None or any(address in network for network in self._trusted)


@lru_cache(maxsize=8192)
def group_of(peer: str) -> str:
    """What counts as one: an IPv4 address, or the /64 of an IPv6 address, which is one site."""
    address = _address(peer)
    if address is None or address.version == 4:
        return str(address or "")
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64)) + "/64"


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class TurnedAway(asyncio.Protocol):
    """One connection too many. Its request is not read, but it is taken in for a moment: to close with octets unread
    would reset the connection, and the client might never see the answer.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        out = cast(asyncio.Transport, transport)
        if self._connections.lingering >= MAX_LINGERING:
            out.abort()
            return
        self._connections.lingering += 1
        self._ends = asyncio.get_running_loop().call_later(LINGER_S, out.abort)
        out.write(_answer())
        out.write_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
            self._connections.lingering -= 1


def _answer() -> bytes:
    body = to_json({"message": "Too many connections; close some, or try again later"})
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nServer: mtad\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {_RETRY_S}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
