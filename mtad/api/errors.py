"""Errors: whatever goes wrong on an HTTP port is answered by {"message": "…"}, and nothing is told of versions.

Room: api. Source: the HTTP API's rule that every error body is a JSON object with one readable English string.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from mtad import log as log_module
from mtad.api.codec import to_json

log = log_module.get("api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SAID = {
    404: "Not Found",
    405: "Method Not Allowed",
    413: "The request is too large",
}


def message(text: str, status: int) -> web.Response:
    return web.Response(
        body=to_json({"message": text}), status=status, content_type="application/json", charset="utf-8"
    )


def of_exception(error: web.HTTPException) -> web.Response:
    answer = message(_SAID.get(error.status, error.reason), error.status)
    if "Allow" in error.headers:  # RFC 9110 §15.5.6: a 405 names what may be done
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


@web.middleware
async def errors_to_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return of_exception(error)
    except Exception:
        log.exception("request-crashed", method=request.method, path=request.path[:200])
        return message("Internal error", 500)


async def hide_versions(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: aiohttp would tell the versions of Python and itself."""
    response.headers["Server"] = "mtad"
