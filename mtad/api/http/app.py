"""App: the API as one handler beside the other pages: finds the row, asks for the key, reads the request, answers.

Room: api. May import: mail, message, storage. Every answer is JSON unless a row says otherwise, and carries
X-Request-Id; an error tells neither traces nor paths.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from aiohttp import web

from mtad import log as log_module
from mtad.api.http.answers import Answer, Forbidden, NotFound, Wrong, said
from mtad.api.http.bodies import Bodies
from mtad.api.http.call import Call, Chapter, Needs, Principal
from mtad.api.http.forms import read_body, read_query
from mtad.api.http.keys import Keys, refused
from mtad.api.http.params import Params
from mtad.api.http.table import Found, Table
from mtad.clock import Clock
from mtad.mail.address import BadAddress, ascii_domain
from mtad.mail.reply import Refused
from mtad.message.variables import Unfillable
from mtad.storage.accounts import DomainRow

log = log_module.get("api")

_NOBODY = Principal(0, "", None)


class Domains(Protocol):
    def find(self, name: str) -> DomainRow | None:
        """A domain of ours by its name in lower case and A-labels."""


class HttpApi:
    """base_url: ours where the configuration names it, "" to take what the caller called us. token: fresh random text
    for request ids. folder: for large bodies.
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
        base_url: Callable[[], str],
        max_body: int = 62_914_560,
        memory: int = 104_857_600,
    ) -> None:
        self.table = Table(row for chapter in chapters for row in chapter.rows())
        self._keys, self._domains, self._clock, self._token = keys, domains, clock, token
        self._base_url = base_url
        self._bodies = Bodies(folder, max_body, memory)

    def add_to(self, app: web.Application) -> None:
        """Everything that no other route of `app` answers."""
        app.router.add_route("*", "/{path:.*}", self.handle)

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
        except Exception:
            log.exception("request-crashed", req=request_id, method=request.method, row=path)
            result = said("Internal error", 500)
        if result.status >= 400 or request.method != "GET":
            took_s = self._clock.steady() - started
            log.info("request", req=request_id, method=request.method, row=path, status=result.status, took_s=took_s)
        return _response(result, request_id)

    async def _answer(self, request: web.BaseRequest, found: Found, request_id: str) -> Answer:
        row = found.row
        principal = self._admit(request, row.needs, found)
        domain = self._domain(found)
        query = read_query(request.rel_url.raw_query_string)
        async with self._bodies.read(request) as octets:
            form = read_body(octets, request.headers.get("Content-Type", ""))
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
                base_url=self._base_of(request),
                peer=request.remote or "",
                now=self._clock.now(),
                request_id=request_id,
                found_domain=domain,
            )
            return await row.handler(call)

    def _admit(self, request: web.BaseRequest, needs: Needs, found: Found) -> Principal:
        if needs is Needs.OPEN:
            return _NOBODY
        principal = self._keys.principal(request.headers.get("Authorization", ""))
        if principal is None:
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

    def _base_of(self, request: web.BaseRequest) -> str:
        return self._base_url() or f"{request.scheme}://{request.host}"


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
