"""A real browser without a window: Chromium, driven through its DevTools protocol; and a small site on loopback.

Nothing leaves the machine: names lead nowhere, and the browser's own services are off.
"""

import asyncio
import itertools
import json
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp

# That of its brother with a window: the name of a headless one is taken for a program's.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0"),
    *(f"--user-agent={AGENT}", "about:blank"),
)
PATIENCE_S = 30.0
_LOOK_S = 0.05
_SERVER_ERROR = -32000  # JSON-RPC: what was asked cannot be done now

Answer = TypeVar("Answer")


class Site:
    """Pages by path, as html; 404 for others. asked: every path, in order."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                found = site.pages.get(self.path)
                body = (found or "").encode()
                self.send_response(200 if found is not None else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="site")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"


class NotNowError(Exception):
    """The page went, or is not drawn yet, while it was asked."""


class Browser:
    """One page of it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said = json.loads((await self._socket.receive(timeout=PATIENCE_S)).data)
            if said.get("id") == number:
                if said.get("error", {}).get("code") == _SERVER_ERROR:
                    raise NotNowError(said["error"]["message"])
                assert "error" not in said, said
                return dict(said["result"])

    async def open(self, url: str) -> None:
        said = await self.call("Page.navigate", url=url)
        assert "errorText" not in said, said
        await self.until("[location.href, document.readyState].join(' ')", f"{url} complete")

    async def click(self, selector: str) -> None:
        """With the mouse, in the middle of it."""
        corners = await self._patiently(lambda: self._corners(selector))
        at = {"x": (corners[0] + corners[4]) / 2, "y": (corners[1] + corners[5]) / 2}
        for kind in ("mousePressed", "mouseReleased"):
            with suppress(NotNowError):  # the page went by the click itself
                await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    async def _corners(self, selector: str) -> list[float]:
        root = await self.call("DOM.getDocument")
        node = await self.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        if not node["nodeId"]:
            raise NotNowError(f"no {selector} on the page")
        return list((await self.call("DOM.getBoxModel", nodeId=node["nodeId"]))["model"]["content"])

    async def value(self, expression: str) -> Any:
        """Worked out by the protocol, also while the page's own scripts may not run."""
        said = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return said["result"].get("value")

    async def until(self, expression: str, wanted: object) -> None:
        async def look() -> None:
            found = await self.value(expression)
            if found != wanted:
                raise NotNowError(f"{expression} is {found!r}")

        await self._patiently(look)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await ask()
            except NotNowError:
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def open_browser(program: Path, folder: Path, *, scripts: bool) -> AsyncIterator[Browser]:
    """folder: for its profile. scripts: pages may run theirs."""
    port_file = folder / "DevToolsActivePort"
    log = (folder.parent / "browser.log").open("wb")
    process = subprocess.Popen(
        [str(program), *_OPTIONS, f"--user-data-dir={folder}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
                assert process.poll() is None, "the browser ended at its start"
                await asyncio.sleep(_LOOK_S)
        port = port_file.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                [page] = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                await browser.call("Page.enable")
                if not scripts:
                    await browser.call("Emulation.setScriptExecutionDisabled", value=True)
                yield browser
    finally:
        process.kill()
        process.wait()
        log.close()
