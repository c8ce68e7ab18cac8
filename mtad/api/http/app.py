"""App: the API as one handler beside the other pages: finds the row, asks for the key, reads the request, answers.

Room: api. May import: mail, message, storage. Every answer is JSON unless a row says otherwise, and carries
X-Request-Id; an error tells neither traces nor paths.
"""

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aiohttp import web

from mtad import log as log_module
from mtad.api.http.answers import Answer, Forbidden, NotFound, TooMany, Wrong, answer, said
from mtad.api.http.bodies import Bodies
from mtad.api.http.call import Call, Chapter, Needs, Principal
from mtad.api.http.forms import read_body, read_query
from mtad.api.http.keys import Keys, refused
from mtad.api.http.limits import PER_MINUTE, PerMinute, Standing, WrongKeys
from mtad.api.http.openapi import describe
from mtad.api.http.params import Params
from mtad.api.http.table import Found, Table
from mtad.clock import Clock
from mtad.config import ApiConfig
from mtad.mail.address import BadAddress, ascii_domain
from mtad.mail.reply import Refused
from mtad.message.variables import Unfillable
from mtad.storage.accounts import DomainRow

log = log_module.get("api")

_LARGE = 262_144  # octets of a body that is read beside the loop: percent signs take a second for each 10 MB
_NOBODY = Principal(0, "", None)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?", re.ASCII)


class Domains(Protocol):
    def find(self, name: str) -> DomainRow | None:
        """A domain of ours by its name in lower case and A-labels."""


class Client(Protocol):
    """Who is at the other end. text: his address. group: what failures are counted for, as a /64 of IPv6."""

    @property
    def text(self) -> str: ...
    @property
    def group(self) -> str: ...


class HttpApi:
    """base_url: ours where the configuration names it, "" to take what the caller called us. token: fresh random text
    for request ids. folder: for large bodies. client: who a request comes from, by the address that is connected and
    the values of X-Forwarded-For.
    """

    def __init__(
        self,
        *,
        chapters: Iterable[Chapter],
        keys: Keys,
        domains: Domains,
        clock: Clock,
        token: Callable[[], str],
        folder: Path,
        client: Callable[[str, Sequence[str]], Client],
        config: ApiConfig,
    ) -> None:
        self.table = Table(row for chapter in chapters for row in chapter.rows())
        self._keys, self._domains, self._clock, self._token = keys, domains, clock, token
        self._client, self._config = client, config
        self._bodies = Bodies(folder, config.max_body_octets, config.body_memory_octets)
        self._per_minute = PerMinute(PER_MINUTE if config.rate_limits else 0)
        self._wrong_keys = WrongKeys()

    def add_to(self, app: web.Application) -> None:
        """The description, and everything that no other route of `app` answers."""
        app.router.add_get("/openapi.json", self.describe)
        app.router.add_route("*", "/{path:.*}", self.handle)

    async def describe(self, request: web.BaseRequest) -> web.StreamResponse:
        """What is told here is in the manual too: no key is asked."""
        return _response(answer(describe(self.table.rows, self._config.base_url)), self._token())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._token()
        started = self._clock.steady()
        path = "?"
        try:
            found = self.table.find(request.method, request.rel_url.raw_path)
            path = found.row.path
            result = await self._answer(request, found, request_id)
        except Wrong as wrong:
            result = wrong.answer()
        except Unfillable as error:
            result = said(str(error), 400)
        except Refused as refusal:
            result = _refused(refusal)
        except sqlite3.Error as error:
            log.error("request-without-store", req=request_id, method=request.method, row=path, cause=error)
            result = said("The message store has a problem; try again later", 503)
        except Exception:
            log.exception("request-crashed", req=request_id, method=request.method, row=path)
            result = said("Internal error", 500)
        if result.status >= 400 or request.method != "GET":
            took_s = self._clock.steady() - started
            log.info("request", req=request_id, method=request.method, row=path, status=result.status, took_s=took_s)
        return _response(result, request_id)

    async def _answer(self, request: web.BaseRequest, found: Found, request_id: str) -> Answer:
        row = found.row
        client = self._client(request.remote or "", request.headers.getall("X-Forwarded-For", ()))
        principal = await self._admit(request, found, client)
        standing = self._per_minute.count(self._clock.now()) if row.limited else None
        if standing is not None and not standing.allowed:
            raise _too_many(standing, self._clock.now())
        domain = self._domain(found)
        query = read_query(request.rel_url.raw_query_string)
        async with self._bodies.read(request) as octets:
            kind = request.headers.get("Content-Type", "")
            large = len(octets) > _LARGE
            form = await asyncio.to_thread(read_body, octets, kind) if large else read_body(octets, kind)
            del octets  # the parts hold what is needed of it
            call = Call(
                method=request.method,
                version=found.version,
                path=found.path,
                variables=found.variables,
                params=Params([*query, *form.pairs]),
                files=form.files,
                body=form.body,
                headers=request.headers,
                principal=principal,
                base_url=self._base_of(request, client),
                peer=client.text,
                now=self._clock.now(),
                request_id=request_id,
                found_domain=domain,
            )
            result = await row.handler(call)
        if standing is None:
            return result
        return replace(result, headers={**result.headers, **standing.headers(call.now)})

    async def _admit(self, request: web.BaseRequest, found: Found, client: Client) -> Principal:
        needs = found.row.needs
        if needs is Needs.OPEN:
            return _NOBODY
        principal = self._keys.principal(request.headers.get("Authorization", ""))
        if principal is None:
            await self._hold_back(client)
            raise refused()
        if principal.domain is not None:
            asked = _domain_name(found.variables.get("domain", ""))
            if needs is not Needs.SENDING or asked != principal.domain:
                raise Forbidden(f"This key may only send messages of {principal.domain}")
        return principal

    def _domain(self, found: Found) -> DomainRow | None:
        if "domain" not in found.variables:
            return None
        name = found.variables["domain"]
        row = self._domains.find(_domain_name(name))
        if row is None:
            raise NotFound(f"Domain not found: {name[:255]}")
        return row

    async def _hold_back(self, client: Client) -> None:
        """Who guesses keys waits longer for each answer; keys that are right do not wait."""
        wait_s = self._wrong_keys.failed(client.group, self._clock.steady())
        if wait_s is None:
            raise TooMany("Too many wrong keys from your address", headers={"Retry-After": "10"})
        try:
            if wait_s:
                log.info("wrong-key", peer=client.text, wait_s=wait_s)
                await self._clock.sleep(wait_s)
        finally:
            self._wrong_keys.answered(client.group)

    def _base_of(self, request: web.BaseRequest, client: Client) -> str:
        """A proxy of ours says by which scheme it was asked."""
        if self._config.base_url:
            return self._config.base_url
        scheme, host = request.scheme, request.host
        if client.text != request.remote and request.headers.get("X-Forwarded-Proto", "").lower() == "https":
            scheme = "https"
        return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"


def _too_many(standing: Standing, now: float) -> TooMany:
    wait_s = standing.retry_s(now)
    text = f"More than {standing.limit} requests in a minute; try again in {wait_s} seconds"
    return TooMany(text, headers=standing.headers(now), **{"retry-seconds": wait_s})


def _domain_name(text: str) -> str:
    try:
        return ascii_domain(text)
    except BadAddress:
        return ""


def _refused(refusal: Refused) -> Answer:
    """What the store or the queue says: 503 to come back later, 400 not to."""
    reply = refusal.reply
    return said(reply.text, 503 if not reply.is_permanent else 413 if reply.code == 552 else 400)


def _response(result: Answer, request_id: str) -> web.Response:
    response = web.Response(body=result.body, status=result.status, headers=result.headers)
    response.headers["Content-Type"] = result.content_type
    response.headers["X-Request-Id"] = request_id
    response.headers["Server"] = "mtad"
    return response
