import asyncio
import json

import pytest
import uvloop

from mtad.api import connections as connections_module
from mtad.api.connections import Connections, group_of
from mtad.config import parse_networks
from tests.api.test_server import END, HOST, ask, listening, parted

LAST = b"GET /tell HTTP/1.1\r\n" + HOST + END


def test_there_are_so_many_in_all_and_of_one_address():
    places = Connections(3, 2)
    a, b = places.admit("192.0.2.1"), places.admit("192.0.2.1")
    assert places.admit("192.0.2.1") is None
    c = places.admit("192.0.2.2")
    assert places.admit("192.0.2.3") is None
    assert (places.total, places.refused) == (3, 2)
    for one in (a, b, c):
        places.leave(one)
    assert places.total == 0
    assert places.admit("192.0.2.1") is not None


def test_a_site_of_ipv6_is_one_and_a_mapped_address_is_what_it_means():
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff:2") != group_of("2001:db8:0:1::1")
    assert group_of("::ffff:192.0.2.1") == group_of("192.0.2.1") != group_of("192.0.2.2")
    assert group_of("fe80::1%eth0") == group_of("fe80::2%eth1")


def test_who_stands_for_many_may_have_all_there_are():
    places = Connections(3, 1, parse_networks(("192.0.2.0/28", "2001:db8::/32")))
    assert None not in [places.admit(peer) for peer in ("192.0.2.1", "192.0.2.1", "2001:db8::1")]
    assert places.admit("192.0.2.1") is None


async def _scene() -> None:
    places = Connections(10, 2)
    async with listening(places) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        while places.total < 2:
            await asyncio.sleep(0)
        status, headers, body = parted(await ask(port, b"POST /tell HTTP/1.1\r\n" + HOST + END + b"x" * 100_000))
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "10")
        assert "connections" in json.loads(body)["message"]
        assert (places.total, places.refused) == (2, 1)
        for _, writer in held:
            writer.close()
        while places.total:
            await asyncio.sleep(0)
        assert parted(await ask(port, LAST))[0] == 200
        while places.total or places.lingering:
            await asyncio.sleep(0)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_too_many_is_told_so_whatever_it_sends_and_there_is_room_again_when_another_leaves(loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_scene())


async def test_who_does_not_leave_when_told_is_cut_off(monkeypatch):
    monkeypatch.setattr(connections_module, "LINGER_S", 0.01)
    places = Connections(1, 0)
    async with listening(places) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        while places.lingering:
            await asyncio.sleep(0)
        writer.close()


async def test_a_flood_is_cut_without_a_word(monkeypatch):
    monkeypatch.setattr(connections_module, "MAX_LINGERING", 0)
    async with listening(Connections(1, 0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await asyncio.gather(reader.read(), return_exceptions=True)
        assert said == [b""] or isinstance(said[0], ConnectionError)
        writer.close()
