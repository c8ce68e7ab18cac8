import asyncio
import itertools
import json
import logging
import re
from collections.abc import Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mtad.api.connections import Connections
from mtad.api.server import Runner

HOST = b"Host: x.example\r\n"
END = b"Connection: close\r\n\r\n"


async def tell(request: web.Request) -> web.Response:
    return web.Response(text=(await request.read()).decode(), content_type="text/x-mine")


async def crash(request: web.Request) -> web.Response:
    raise RuntimeError("the secret of /var/lib/mtad")


async def gone(request: web.Request) -> web.Response:
    raise web.HTTPGone(text="aiohttp")


async def half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise RuntimeError("behind the first half")


@asynccontextmanager
async def listening(connections=None, **options):
    """The port of an application without middleware."""
    app, numbers = web.Application(), itertools.count(1)
    app.router.add_route("*", "/tell", tell)
    app.router.add_get("/crash", crash)
    app.router.add_get("/gone", gone)
    app.router.add_get("/half", half)
    runner = Runner(app, lambda: f"request-{next(numbers)}", connections or Connections(100, 100), **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(port: int, *pieces: bytes) -> bytes:
    """All that is said until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def parted(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}, body


def said_by_us(answer: bytes, words: Iterable[str]) -> tuple[int, str]:
    """The status and the message of an answer that tells nothing else."""
    status, headers, body = parted(answer)
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["server"] == "mtad"
    assert re.fullmatch(r"request-\d+", headers["x-request-id"])
    for word in ("aiohttp", "python", "llhttp", *words):
        assert word.encode().lower() not in answer.lower()
    found = json.loads(body)
    assert set(found) == {"message"}
    return status, found["message"]


REFUSED = [
    ("bad header", b"GET /tell HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    ("bad header name", b"GET /tell HTTP/1.1\r\nHost: x\r\nso(me: x\r\n\r\n", 400),
    ("NUL", b"GET /tell HTTP/1.1\r\nHost: x\r\nsome: a\0b\r\n\r\n", 400),
    ("two lengths", b"POST /tell HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    ("length and chunks", b"POST /tell HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("unknown method", b"FROBNICATE /tell HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 405),
    ("no HTTP", b"GET /tell SPDY/1\r\n\r\n", 400),
    ("unknown version", b"GET /tell HTTP/9.9\r\n\r\n", 400),
    ("spaces in the path", b"GET /te ll x HTTP/1.1\r\n\r\n", 400),
    ("long line", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("long field", b"GET /tell HTTP/1.1\r\nsome: " + b"a" * 9000 + b"\r\n\r\n", 400),
    ("many fields", b"GET /tell HTTP/1.1\r\n" + b"some: x\r\n" * 500 + b"\r\n", 400),
    ("bad size", b"POST /tell HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n", 400),
    ("unknown Expect", b"POST /tell HTTP/1.1\r\n" + HOST + b"Expect: frob\r\nContent-Length: 0\r\n" + END, 417),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "status"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
async def test_what_cannot_be_read_is_answered_in_our_words(octets, status, caplog):
    caplog.set_level(logging.INFO)
    async with listening() as port:
        found = said_by_us(await ask(port, octets), ["frob", "some", "colon", "aaaa", "many", "spdy", "line:"])
        assert found[0] == status
        assert found[1]
    assert not [one for one in caplog.records if not one.name.startswith("mtad")]
    if status != 417:
        assert "request-unreadable room=api req=request-1 peer=127.0.0.1" in caplog.text


async def test_a_405_names_what_may_be_done():
    async with listening() as port:
        assert "POST" in parted(await ask(port, REFUSED[5][1]))[1]["allow"]


async def test_a_body_in_bad_chunks_is_answered_once_and_ends_the_connection():
    async with listening() as port:
        head = b"POST /tell HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        answer = await ask(port, head, b"zz\r\nsome\r\n0\r\n\r\n")
        assert answer.count(b"HTTP/1.") == 1
        assert said_by_us(answer, ["some", "zz"])[0] == 400


async def test_garbage_behind_an_answered_request_is_answered_too():
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /tell HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"\x16\x03\x01\r\n\r\n")
        assert said_by_us(await asyncio.wait_for(reader.read(), 10), [])[0] == 405
        writer.close()


async def test_a_crash_tells_nothing_but_is_in_the_log(caplog):
    async with listening() as port:
        answer = await ask(port, b"GET /crash HTTP/1.1\r\n" + HOST + END)
        assert said_by_us(answer, ["secret", "Traceback"]) == (500, "Internal error")
        assert said_by_us(await ask(port, b"GET /gone HTTP/1.1\r\n" + HOST + END), []) == (410, "Gone")
    assert "the secret of" in caplog.text
    assert "request-crashed room=api req=request-1 status=500" in caplog.text


async def test_an_answer_that_has_begun_is_cut_and_not_followed_by_another():
    async with listening() as port:
        answer = await ask(port, b"GET /half HTTP/1.1\r\n" + HOST + END)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"behind" not in answer


async def test_a_good_answer_is_left_as_it_is_but_for_the_name():
    async with listening(max_line_size=20_000) as port:
        path = b"/tell?" + b"a" * 15_000
        answer = await ask(port, b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n" + END + b"hi")
        status, headers, body = parted(answer)
        assert (status, body, headers["content-type"]) == (200, b"hi", "text/x-mine; charset=utf-8")
        assert headers["server"] == "mtad"
