"""DKIM: the keys that sign, under /dkim/keys for all domains and /domains/<domain>/keys for one.

Room: api. Pages of /dkim/keys are one opaque text: the way, and the key it starts from.
"""

import base64
import binascii
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from mtad.api.account_operations import AccountOperations
from mtad.api.dkim_operations import MAX_PEM
from mtad.api.http.answers import Answer, BadRequest, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.domains import KEY_SIZES, record_object
from mtad.api.http.paging import paged
from mtad.api.http.params import DEFAULT_LIMIT
from mtad.api.results import DkimKeyItem

_DOMAIN, _SELECTOR = Param("signing_domain"), Param("selector")
_BOTH = (Param("signing_domain", required=True), Param("selector", required=True))
_NOT_FOUND = "domain key not found"


class Dkim:
    def __init__(self, operations: AccountOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        row = partial(Row, chapter="DKIM keys", versions=(1,), limited=True, path="/dkim/keys")
        of_one = partial(Row, chapter="DKIM keys", versions=(4,), limited=True)
        paging = (Param("page", "as in a link of an answer"), Param("limit", kind="integer"))
        given = (Param("bits", "1024 or 2048", "integer"), Param("pem", "a private key, as text or file", "file"))
        key = "/domains/{domain}/keys/{selector}"
        return (
            row(method="GET", handler=self.list, about="All keys", params=(_DOMAIN, _SELECTOR, *paging)),
            row(method="POST", handler=self.create, about="Add a key", params=(*_BOTH, *given)),
            row(method="DELETE", handler=self.delete, about="Remove a key", params=_BOTH),
            of_one(method="GET", path="/domains/{domain}/keys", handler=self.of_domain, about="A domain's keys"),
            of_one(method="PUT", path=f"{key}/activate", handler=self.activate, about="Sign with a key"),
            of_one(method="PUT", path=f"{key}/deactivate", handler=self.deactivate, about="Sign with it no more"),
        )

    async def of_domain(self, call: Call) -> Answer:
        found = await carried_out(self._operations.dkim_list(call.domain.name))
        return answer({"items": [_item(key) for key in found]})

    async def list(self, call: Call) -> Answer:
        params = call.params
        # Its first client sends limit=0 and page=string as samples: both mean nothing here.
        limit = params.limit() if params.integer("limit", DEFAULT_LIMIT) else DEFAULT_LIMIT
        domain, selector = params.text("signing_domain", "").strip(), params.text("selector", "").strip()
        found = await carried_out(self._operations.dkim_list(domain, selector))
        word, pivot = _read_page(params.text("page", ""))
        page = _page(found, word, pivot, limit)
        return paged([_item(key) for key in page], _links(call, page, pivot, limit))

    async def create(self, call: Call) -> Answer:
        domain, selector = call.params.need("signing_domain"), call.params.need("selector")
        bits = call.params.integer("bits", 2048)
        if bits not in KEY_SIZES:
            raise BadRequest("bits parameter is neither 1024 nor 2048")
        key = await carried_out(self._operations.dkim_add(domain, selector, bits, _pem(call)), "Domain not found")
        return answer(_item(key))

    async def delete(self, call: Call) -> Answer:
        domain, selector = call.params.need("signing_domain"), call.params.need("selector")
        await carried_out(self._operations.dkim_remove(domain, selector), _NOT_FOUND)
        return said("success")

    async def activate(self, call: Call) -> Answer:
        return await self._switch(call, True)

    async def deactivate(self, call: Call) -> Answer:
        return await self._switch(call, False)

    async def _switch(self, call: Call, active: bool) -> Answer:
        name, selector = call.domain.name, call["selector"]
        key = await carried_out(self._operations.dkim_activate(name, selector, active), _NOT_FOUND)
        message = "domain key activated" if active else "domain key deactivated"
        return said(message, authority=key.domain, selector=key.selector, active=key.active)


def _item(key: DkimKeyItem) -> dict[str, Any]:
    return {"signing_domain": key.domain, "selector": key.selector, "dns_record": record_object(key.record)}


def _pem(call: Call) -> str:
    """Of a file, or a plain parameter; "": there is none, and a key is made."""
    for upload in call.files:
        if upload.name == "pem" and len(upload.content) <= MAX_PEM:
            return upload.content.decode("ascii", "replace")
        if upload.name == "pem":
            raise BadRequest("pem parameter is too long for a key")
    return call.params.text("pem", "").strip()


# The order of all keys: by domain, then selector. A blank cannot be in either.
def _place(key: DkimKeyItem) -> str:
    return f"{key.domain} {key.selector}"


def _page(keys: Sequence[DkimKeyItem], word: str, pivot: str, limit: int) -> Sequence[DkimKeyItem]:
    ordered = sorted(keys, key=_place)
    match word:
        case "next" if pivot:
            return [key for key in ordered if _place(key) > pivot][:limit]
        case "previous" if pivot:
            return [key for key in ordered if _place(key) < pivot][-limit:]
        case "previous" | "last":
            return ordered[-limit:]
        case _:
            return ordered[:limit]


def _links(call: Call, page: Sequence[DkimKeyItem], pivot: str, limit: int) -> dict[str, str]:
    last, first = (_place(page[-1]), _place(page[0])) if page else (pivot, pivot)
    kept = [(name, call.params.text(name, "")) for name in ("signing_domain", "selector") if name in call.params]

    def link(word: str, place: str) -> str:
        mark = base64.urlsafe_b64encode(f"{word} {place}".encode()).decode("ascii").rstrip("=")
        return f"{call.url}?{urlencode([('page', mark), *kept, ('limit', str(limit))], quote_via=quote)}"

    return {
        "first": link("first", ""),
        "next": link("next", last),
        "previous": link("previous", first),
        "last": link("last", ""),
    }


def _read_page(text: str) -> tuple[str, str]:
    """(word, place): what no link of ours has is the first page."""
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        word, _, place = octets.decode("ascii").partition(" ")
    except (binascii.Error, ValueError):
        return "first", ""
    return (word, place) if word in ("first", "next", "previous", "last") else ("first", "")
