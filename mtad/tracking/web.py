"""Web: the public endpoints: pixel, redirect, unsubscribe. Anybody may ask; only what we signed is answered.

Room: tracking. May import: mail. The answer comes from the token alone; what happened is noted behind it, in memory,
and written with the store's next transaction. No key is asked, nothing is looked up, no cookie is set.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import idna
from aiohttp import web

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.token import PATHS, Mark, Purpose, Tokens
from mtad.tracking import pages
from mtad.tracking.clients import agent_text
from mtad.tracking.peers import client_of
from mtad.tracking.rates import Rates
from mtad.tracking.recorder import Hit
from mtad.tracking.settings import TrackingSettings

log = log_module.get("tracking")

MAX_BODY = 4096  # octets of a one-click POST
BODY_S = 10.0  # how long it may take to come
MAX_TARGET = 8000  # octets of a Location

_PURPOSES = {path.strip("/"): purpose for purpose, path in PATHS.items()}
_UNSUBSCRIBES = frozenset((Purpose.UNSUBSCRIBE, Purpose.UNSUBSCRIBE_TAGS, Purpose.UNSUBSCRIBE_LIST))
_PLAIN = re.compile(r"https?://(?![/?#@])[!#$&-;=?-Z\[\]_a-z~%]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_MULTIPART_FIELD = re.compile(
    rb'name="?List-Unsubscribe"?[ \t]*\r?\n(?:[^\r\n]++\r?\n)*+\r?\n[ \t]*+One-Click[ \t]*\r?\n', re.IGNORECASE
)

_COMMON = {
    "Server": "mtad",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_IMAGE = {**_COMMON, "Content-Type": "image/gif", "Cross-Origin-Resource-Policy": "cross-origin"}
_PAGE = {
    **_COMMON,
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": pages.POLICY,
    "X-Frame-Options": "DENY",
}


class Recording(Protocol):
    def note(self, hit: Hit) -> bool:
        """False: there is no room for it."""


class TrackingPages:
    """The handler. `answer` takes any request of the tracking host; `add_to` gives an application our paths only.

    unwell: why the store cannot take a wish to leave at present; None when it can.
    """

    def __init__(
        self,
        *,
        tokens: Tokens,
        recorder: Recording,
        clock: Clock,
        settings: TrackingSettings,
        unwell: Callable[[], str | None],
    ) -> None:
        self._tokens, self._recorder, self._clock, self._settings = tokens, recorder, clock, settings
        self._unwell = unwell
        self._rates = Rates(settings.requests_per_s, settings.burst)

    def add_to(self, app: web.Application) -> None:
        """No middleware of ours is needed: every answer, also to what is wrong, is made here."""
        for path in PATHS.values():
            app.router.add_route("*", path + "{token:.*}", self.answer)

    def app(self) -> web.Application:
        """An application of nothing else, for a listener of its own: whatever is asked there is answered here."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Exception:
            log.exception("request-crashed", method=request.method, path=request.path[:60])
            return _page(pages.BROKEN, 500)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        headers = request.headers
        forwarded = headers.getall("X-Forwarded-For", ()) if self._settings.proxies else ()
        peer = client_of(request.remote or "", forwarded, self._settings.proxies)
        if not self._rates.allow(peer.group, self._clock.steady()):
            return _page(pages.TOO_MANY, 429, {"Retry-After": "5"})
        _, kind, token = (request.path + "//").split("/", 2)
        purpose, token = _PURPOSES.get(kind), token[:-2]
        if purpose is None:
            return _page(pages.NOT_FOUND, 404)
        methods = ("GET", "HEAD", "POST") if purpose in _UNSUBSCRIBES else ("GET", "HEAD")
        if request.method not in methods:
            return _page(pages.NOT_ALLOWED, 405, {"Allow": ", ".join(methods)})
        mark = self._tokens.read_link(purpose, token)
        if mark is None:
            return _page(pages.NOT_FOUND, 404)
        prefetch = _prefetched(request)
        hit = Hit(purpose, mark.recipient_id, mark.target, peer, agent_text(headers.get("User-Agent")), prefetch)
        match purpose:
            case Purpose.OPEN:
                return self._open(request, hit)
            case Purpose.CLICK:
                return self._click(request, hit, mark)
            case _:
                return await self._unsubscribe(request, hit)

    def _open(self, request: web.BaseRequest, hit: Hit) -> web.Response:
        if request.method == "GET":
            self._recorder.note(hit)
        return web.Response(body=pages.PIXEL, headers=_IMAGE)

    def _click(self, request: web.BaseRequest, hit: Hit, mark: Mark) -> web.Response:
        location = location_of(mark.target)
        if location is None:
            return _page(pages.NOT_FOUND, 404)
        if request.method == "GET":
            self._recorder.note(hit)
        return web.Response(status=302, headers={**_COMMON, "Location": location})

    async def _unsubscribe(self, request: web.BaseRequest, hit: Hit) -> web.Response:
        """RFC 8058 §3.1 for POST: it does its work without a question, a cookie or a redirect."""
        if request.method == "HEAD":
            return _page(pages.ASK[hit.purpose], 200)
        if request.method == "GET" and (hit.prefetch or not self._settings.unsubscribe_on_get):
            return _page(pages.ASK[hit.purpose], 200)
        if request.method == "POST":
            body = await _body(request)
            if body is None:
                return _page(pages.TOO_LARGE, 413, {"Connection": "close"})
            if not _is_one_click(body):
                return _page(pages.ASK[hit.purpose], 400)
        # Nobody is told that he is off the list while it cannot be written.
        if self._unwell() is not None or not self._recorder.note(hit):
            return _page(pages.LATER, 503, {"Retry-After": "120"})
        return _page(pages.DONE[hit.purpose], 200)


def _page(body: bytes, status: int, more: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={**_PAGE, **more} if more else _PAGE)


def _prefetched(request: web.BaseRequest) -> bool:
    """The browser fetches ahead of its user (Fetch Standard, Sec-Purpose; the others are older names)."""
    headers = request.headers
    said = headers.get("Sec-Purpose") or headers.get("Purpose") or headers.get("X-Moz") or headers.get("X-Purpose")
    return said is not None and ("prefetch" in said.lower() or "preview" in said.lower())


async def _body(request: web.BaseRequest) -> bytes | None:
    """None: larger than MAX_BODY, or not all of it came in time."""
    if (request.content_length or 0) > MAX_BODY:
        return None
    found = b""
    try:
        async with asyncio.timeout(BODY_S):
            while len(found) <= MAX_BODY:
                piece = await request.content.read(MAX_BODY + 1)
                if not piece:
                    return found
                found += piece
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        return None
    return None


def _is_one_click(body: bytes) -> bool:
    """As application/x-www-form-urlencoded or multipart/form-data (RFC 8058 §3.2)."""
    if _MULTIPART_FIELD.search(body):
        return True
    try:
        fields = parse_qsl(body.decode("ascii"), max_num_fields=20)
    except ValueError:
        return False
    name, value = (word.lower() for word in pages.ONE_CLICK)
    return any(key.strip().lower() == name and said.strip().lower() == value for key, said in fields)


def location_of(target: str) -> str | None:
    """The target of a click as a Location: a URI (RFC 3986) also when it was an IRI (RFC 3987). None: no place to
    send anybody to.
    """
    if _PLAIN.fullmatch(target):
        return target if len(target) <= MAX_TARGET else None
    if _CONTROL.search(target):
        return None
    try:
        parts = urlsplit(target.strip())
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            return None
        place = _ascii_place(parts.netloc, parts.hostname)
        rest = (quote(part, safe=_SAFE, encoding="utf-8", errors="strict") for part in parts[2:])
        location = urlunsplit((parts.scheme, place, *rest))
    except (ValueError, idna.IDNAError):
        return None
    return location if _PLAIN.fullmatch(location) and len(location) <= MAX_TARGET else None


def _ascii_place(place: str, host: str) -> str:
    """ "user@bücher.example:81" -> "user@xn--bcher-kva.example:81"."""
    if place.isascii():
        return place
    before, at, after = place.rpartition("@")
    _, colon, port = after.partition(":")
    user = quote(before, safe=_SAFE) + at if at else ""
    return user + idna.encode(host, uts46=True).decode("ascii") + colon + port
