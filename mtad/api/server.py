"""Server: aiohttp's, with our own words where it would use its own.

Room: api. What the HTTP parser refuses never reaches an application, and so no middleware: aiohttp answers it itself,
as text, with the parser's words and the versions of Python and of itself. Here every answer of a port is one of ours.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import http_exceptions, web

from mtad import log as log_module
from mtad.api.connections import Connections, TurnedAway
from mtad.api.errors import message as said
from mtad.api.errors import of_exception

log = log_module.get("api")

METHODS = "DELETE, GET, HEAD, PATCH, POST, PUT"
_INTERNAL = "Internal error"


class Runner(web.AppRunner):
    """token: fresh random text for request ids. connections: how many there may be. options: of aiohttp's
    RequestHandler, as max_line_size.
    """

    def __init__(
        self,
        app: web.Application,
        token: Callable[[], str],
        connections: Connections,
        *,
        shutdown_timeout: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout, **options)
        self._token, self._connections, self._options = token, connections, options

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            token=self._token,
            connections=self._connections,
            request_factory=made.request_factory,
            access_log=None,
            **self._options,
        )


class _Server(web.Server):
    def __init__(
        self,
        handler: Any,
        *,
        token: Callable[[], str],
        connections: Connections,
        request_factory: Any,
        **options: Any,
    ) -> None:
        super().__init__(handler, request_factory=request_factory)
        self.token, self.places, self._of_connections = token, connections, options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._of_connections)


class _Connection(web.RequestHandler):
    __slots__ = ("_place", "_places", "_token")

    def __init__(self, manager: _Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._token, self._places = manager.token, manager.places
        self._place: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        name = transport.get_extra_info("peername")
        self._place = self._places.admit(str(name[0]) if name else "")
        if self._place is not None:
            super().connection_made(transport)
            return
        instead = TurnedAway(self._places)
        transport.set_protocol(instead)
        instead.connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._place is not None:
            self._places.leave(self._place)
            self._place = None
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """exc: the parser's, or what a handler of ours let out. Raises ConnectionError when an answer has begun."""
        request_id = self._token()
        if isinstance(exc, http_exceptions.HttpProcessingError):
            log.info("request-unreadable", req=request_id, peer=request.remote, cause=type(exc).__name__)
        else:
            log.exception("request-crashed", req=request_id, status=status)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and there cannot be another")
        answer = _answer(status, exc)
        answer.headers["X-Request-Id"] = request_id
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """What aiohttp says before any middleware, as to an Expect it does not know, comes by here."""
        if isinstance(resp, web.HTTPException):
            resp = of_exception(resp)
        if not resp.prepared:
            resp.headers["Server"] = "mtad"
            if resp.status >= 400 and "X-Request-Id" not in resp.headers:
                resp.headers["X-Request-Id"] = self._token()
        return await super().finish_response(request, resp, start_time)


def _answer(status: int, exc: BaseException | None) -> web.Response:
    """Nothing of what the parser says: it quotes the request, and tells which parser it is."""
    match exc:
        case http_exceptions.BadHttpMethod():
            answer = said("Method Not Allowed", 405)
            answer.headers["Allow"] = METHODS
            return answer
        case http_exceptions.LineTooLong():
            return said("The request line or a header field is too long", 400)
        case http_exceptions.InvalidHeader():
            return said("A header field is malformed", 400)
        case http_exceptions.HttpProcessingError():
            return said("This is no HTTP request that can be read", 400)
        case _:
            return said("Gateway Timeout" if status == 504 else _INTERNAL, status)
