"""The HTTP listeners of the daemon: who sends no whole request does not stay."""

import asyncio

import pytest
from aiohttp import web

from mtad import daemon
from mtad.api.connections import Connections


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["nothing", "half", "one"]
)
async def test_a_connection_without_a_whole_request_is_closed(monkeypatch, begun):
    monkeypatch.setattr(daemon, "HTTP_IDLE_S", 0.05)
    async with daemon._served(web.Application(), Connections(9, 9), "http.listen", ["127.0.0.1:0"]) as [address]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(begun)
        async with asyncio.timeout(5):
            said = await reader.read()
        assert said.startswith(b"HTTP/1.1 404") if begun.endswith(b"\r\n\r\n") else said == b""
        writer.close()
        await writer.wait_closed()
