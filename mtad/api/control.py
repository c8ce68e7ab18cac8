"""Control: the unix socket by which commands reach the running daemon, both ends of it.

Room: api. POST /<operation> with its arguments as a JSON object; 200 and its result as JSON, or 4xx/5xx and
{"message": …}. Who may open the socket may do everything: it is the owner's alone, mode 0600.
"""

import contextlib
import inspect
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_type_hints

import aiohttp
from aiohttp import web

from mtad import log as log_module
from mtad.api.base import Impossible, NotThere
from mtad.api.codec import BadShape, from_json, read_as, read_members, to_json
from mtad.api.errors import errors_to_json, hide_versions
from mtad.api.operations import OFFERED, Operations

log = log_module.get("api")

P = ParamSpec("P")
T = TypeVar("T")

SOCKET = "control.sock"
MAX_REQUEST = 1_048_576  # octets
MAX_PATH = 107  # octets, Linux unix(7)
_HELLO_S = 10.0
_ANSWER_S = 600.0  # a check of a large store takes its time
_OPERATIONS = web.AppKey("operations", Operations)


class NotRunning(Exception):
    """Nobody listens on the socket."""


class Desk(Protocol):
    """Where a command asks for an operation: `await desk.ask(Operations.queue_drop, ids, why)`.

    live: a daemon answers, so that things move and can say why they wait.
    """

    @property
    def live(self) -> bool: ...

    async def ask(
        self, operation: Callable[Concatenate[Operations, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


class Direct:
    """The operations themselves, in this process."""

    live = False

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def ask(
        self, operation: Callable[Concatenate[Operations, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await operation(self._operations, *args, **kwargs)


class Remote:
    """The same over the socket. Raises Impossible as the operation does."""

    live = True

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(
        self, operation: Callable[Concatenate[Operations, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        given = inspect.signature(operation).bind(None, *args, **kwargs).arguments
        del given["self"]
        name = operation.__name__
        try:
            async with self._session.post(f"http://mtad/{name}", data=to_json(given)) as response:
                answer = from_json(await response.read())
                if response.status != 200:
                    raise Impossible(str(answer.get("message", response.reason)))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Impossible(f"the daemon did not answer: {str(error) or 'it took too long'}") from None
        except BadShape as error:
            raise Impossible(f"the daemon's answer cannot be read: {error}") from None
        result: T = read_as(_shape(name)[2], answer)
        return result


@asynccontextmanager
async def reach(folder: Path) -> AsyncIterator[Remote]:
    """The daemon that works in `folder`. Raises NotRunning, or Impossible when it is not ours to talk to."""
    path = socket_path(folder)
    limits = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_HELLO_S)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path), timeout=limits) as session:
        await _hello(session, path)
        yield Remote(session)


async def _hello(session: aiohttp.ClientSession, path: str) -> None:
    try:
        async with session.get("http://mtad/", timeout=aiohttp.ClientTimeout(total=_HELLO_S)) as response:
            await response.read()
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise Impossible(f"{path} belongs to somebody else: run this as its owner, or as root") from None
        raise NotRunning(path) from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Impossible(
            f"a daemon listens on {path} but does not answer: {str(error) or 'it took too long'}"
        ) from None


@asynccontextmanager
async def serve_control(folder: Path, operations: Operations) -> AsyncIterator[None]:
    """Listen on folder/control.sock. The caller holds the folder's lock, so a socket left there is a dead one."""
    path = socket_path(folder)
    _remove(path)
    runner = web.AppRunner(control_app(operations), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.SockSite(runner, _bound(path), backlog=16).start()  # the site closes the socket
        yield
    finally:
        await runner.cleanup()
        _remove(path)


def _bound(path: str) -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind(path)
        os.chmod(path, 0o600)  # before listen(): until then nobody can connect
    except OSError:
        door.close()
        raise
    return door


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def socket_path(folder: Path) -> str:
    """Seen from here when that is shorter: the kernel allows little. Raises Impossible when both are too long."""
    absolute = str(folder.absolute() / SOCKET)
    path = absolute if len(os.fsencode(absolute)) <= MAX_PATH else os.path.relpath(absolute)
    if len(os.fsencode(path)) > MAX_PATH:
        raise Impossible(f"{absolute} is too long a name for a socket (at most {MAX_PATH} octets): use another folder")
    return path


def control_app(operations: Operations) -> web.Application:
    app = web.Application(middlewares=[errors_to_json], client_max_size=MAX_REQUEST)
    app[_OPERATIONS] = operations
    app.on_response_prepare.append(hide_versions)
    app.router.add_get("/", _greet)
    app.router.add_post("/{operation}", _call)
    return app


async def _greet(request: web.Request) -> web.Response:
    """What a client asks first, to know that somebody is there."""
    return _answer({"pid": os.getpid()}, 200)


async def _call(request: web.Request) -> web.Response:
    name = request.match_info["operation"]
    operation = OFFERED.get(name)
    if operation is None:
        return _answer({"message": f"no operation {name[:60]!r}: this daemon is of another version"}, 404)
    hints, required, _ = _shape(name)
    try:
        given = from_json(await request.read() or b"{}")
        arguments = read_members(hints, required, read_as(dict[str, Any], given, "the body"), name)
        work: Coroutine[Any, Any, Any] = operation(request.app[_OPERATIONS], **arguments)
        return _answer(await work, 200)
    except NotThere as error:
        return _answer({"message": str(error)}, 404)
    except (BadShape, Impossible) as error:
        return _answer({"message": str(error)}, 400)
    except sqlite3.Error as error:
        log.error("operation-failed", operation=name, cause=repr(error))
        return _answer({"message": f"the store could not do it: {error}"}, 503)


def _answer(value: object, status: int) -> web.Response:
    return web.Response(body=to_json(value), status=status, content_type="application/json", charset="utf-8")


@lru_cache(maxsize=64)
def _shape(name: str) -> tuple[dict[str, Any], frozenset[str], Any]:
    """Hints of the arguments, those that must be given, hint of the result."""
    operation = OFFERED[name]
    hints = get_type_hints(operation)
    result = hints.pop("return")
    parameters = [one for one in inspect.signature(operation).parameters.values() if one.name != "self"]
    return hints, frozenset(one.name for one in parameters if one.default is one.empty), result
