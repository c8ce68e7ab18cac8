"""What an owner of mtad has: an application that takes posts, and a name server; each in a thread of its own.

The application is a small aiohttp one: who reads the posts is not who wrote them.
"""

import asyncio
import hashlib
import hmac
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.dnsserver import DnsServer
from tests.live import wait_until


class Threaded:
    """Runs main() on a loop of its own from __enter__ to __exit__."""

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=type(self).__name__)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        await self.main(self._serve)

    async def _serve(self) -> None:
        self._ready.set()
        await self._over.wait()

    async def main(self, serve: Callable[[], Awaitable[None]]) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Post:
    """fields: in order, texts. files: name -> (file name, content type, octets)."""

    path: str
    content_type: str
    headers: dict[str, str]
    fields: list[tuple[str, str]]
    files: dict[str, tuple[str, str, bytes]]
    at: float = field(default_factory=time.monotonic)

    def __getitem__(self, name: str) -> str:
        return next(value for key, value in self.fields if key == name)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.fields)

    def is_signed(self, key: str) -> bool:
        """As the manual tells receivers to look."""
        mine = hmac.new(key.encode(), (self["timestamp"] + self["token"]).encode(), hashlib.sha256).hexdigest()
        return [name for name, _ in self.fields[-3:]] == ["timestamp", "token", "signature"] and hmac.compare_digest(
            mine, self["signature"]
        )


class Application(Threaded):
    """posts: all that came, in order. answers: what a path says to its posts, one after the other; then 200.

    hang: paths that never answer.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: dict[str, list[int]] = defaultdict(list)
        self.hang: set[str] = set()
        self.port = 0

    async def main(self, serve: Callable[[], Awaitable[None]]) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            await serve()
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        form = await request.post()
        fields, files = [], {}
        for name, value in form.items():
            if isinstance(value, web.FileField):
                files[name] = (value.filename, value.content_type, value.file.read())
            else:
                fields.append((name, str(value)))
        path = request.match_info["path"]
        if path in self.hang:
            await asyncio.sleep(3600)
        said = self.answers[path].pop(0) if self.answers[path] else 200
        self.posts.append(Post(request.path_qs[1:], request.content_type, dict(request.headers), fields, files))
        return web.Response(status=said)

    def url(self, path: str, user: str = "") -> str:
        return f"http://{user}{'@' if user else ''}127.0.0.1:{self.port}/{path}"

    def at(self, path: str) -> list[Post]:
        return [post for post in list(self.posts) if post.path == path]

    def got(self, path: str, count: int = 1, timeout: float = 15.0) -> list[Post]:
        """The posts to the path, once there are so many. AssertionError when they do not come."""
        wait_until(lambda: len(self.at(path)) >= count, timeout, f"{count} posts at {path}; {len(self.at(path))} came")
        return self.at(path)

    def one(self, path: str) -> Post:
        [post] = self.got(path)
        return post


class NameServer(Threaded):
    """zones: called with the server before it is asked."""

    def __init__(self, zones: Callable[[DnsServer], Any]) -> None:
        self._zones = zones
        self.address = ""

    async def main(self, serve: Callable[[], Awaitable[None]]) -> None:
        async with DnsServer() as server:
            self._zones(server)
            self.server, self.address = server, server.address
            await serve()
