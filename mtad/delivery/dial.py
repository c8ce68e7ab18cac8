"""Dialing: a connected TCP socket to one address.

Room: delivery. Used by delivery.connect, which bounds its time.
"""

import asyncio
import socket
from typing import Protocol


class Dialer(Protocol):
    async def dial(self, address: str, port: int, source: str) -> socket.socket:
        """A connected, non-blocking socket. source: our address, "" lets the system choose. Raises OSError."""
        ...


class SystemDialer:
    """The machine's own network."""

    async def dial(self, address: str, port: int, source: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        return sock
