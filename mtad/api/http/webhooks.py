"""Webhooks: where news of a domain is posted, by id; the key the posts are signed with.

Room: api. May import: storage, webhooks. Older ids have one URL and show it as `url`, the newer ones have up to three
and show `urls`; no object has both, as clients tell the families apart by that.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from mtad.api.base import shorten
from mtad.api.http.answers import Answer, BadRequest, NotCarriedOut, NotFound, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.params import Params, missing
from mtad.api.webhook_operations import MAX_URLS, WebhookOperations
from mtad.storage import webhooks
from mtad.storage.database import Database
from mtad.webhooks.kinds import Kind
from mtad.webhooks.targets import BadTarget, parse_target

_NOT_FOUND = "Webhook not found"
_URL = Param("url", "up to 3 for one of the newer ids", required=True, many=True)
_TYPES = Param("event_types", "ids, in several values or with commas between", many=True)
_CREATE = (Param("id", "of the kind of news; or event_types"), _TYPES, _URL)

Urls = Mapping[Kind, Sequence[str]]


class Webhooks:
    def __init__(self, operations: WebhookOperations, database: Database) -> None:
        self._operations, self._database = operations, database
        self._turn = asyncio.Lock()  # what is there is looked at, and then changed

    def rows(self) -> Sequence[Row]:
        row = partial(Row, chapter="Webhooks", versions=(2, 3), limited=True)
        all_ = partial(Row, chapter="Webhooks", versions=(2, 3, 4), limited=True, path="/domains/{domain}/webhooks")
        newest = partial(Row, chapter="Webhooks", versions=(4,), limited=True, path="/domains/{domain}/webhooks")
        one = "/domains/{domain}/webhooks/{id}"
        key = partial(Row, chapter="Webhooks", versions=(5,), path="/accounts/http_signing_key")
        return (
            all_(method="GET", handler=self.list, about="All webhooks that are set"),
            all_(method="POST", handler=self.create, about="Set a webhook", params=_CREATE),
            newest(method="PUT", handler=self.add, about="Post several kinds of news to a URL", params=(_TYPES, _URL)),
            newest(method="DELETE", handler=self.remove_url, about="Post nothing to a URL", params=(_URL,)),
            row(method="GET", path=one, handler=self.show, about="One webhook"),
            row(method="PUT", path=one, handler=self.update, about="Replace its URLs", params=(_URL,)),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a webhook"),
            row(
                method="PUT",
                path=f"{one}/test",
                handler=self.test,
                about="Post a sample now",
                params=(Param("url", "another than those that are set"),),
            ),
            key(method="GET", handler=self.signing_key, about="The key posts are signed with"),
            key(method="POST", handler=self.new_signing_key, about="Make a new one"),
        )

    async def list(self, call: Call) -> Answer:
        return answer({"webhooks": _objects(await self._urls(call))})

    async def show(self, call: Call) -> Answer:
        kind = _known(call["id"])
        found = (await self._urls(call)).get(kind) if kind else None
        if kind is None or not found:
            raise NotFound(_NOT_FOUND)
        return answer({"webhook": _object(kind, found)})

    async def create(self, call: Call) -> Answer:
        if "id" not in call.params and "event_types" in call.params:
            return await self._add(call, "Webhook has been created")
        kind = _kind(call.params.need("id"))
        urls = _urls(call.params, kind)
        async with self._turn:
            if kind in await self._urls(call):
                raise BadRequest(f"Webhook for '{kind}' is set already")
            return await self._set(call, kind, urls, "Webhook has been created")

    async def update(self, call: Call) -> Answer:
        kind = _kind(call["id"])
        urls = _urls(call.params, kind)
        async with self._turn:
            if kind not in await self._urls(call):
                raise NotFound(_NOT_FOUND)
            return await self._set(call, kind, urls, "Webhook has been updated")

    async def delete(self, call: Call) -> Answer:
        kind = _kind(call["id"])
        async with self._turn:
            found = (await self._urls(call)).get(kind)
            if not found:
                raise NotFound(_NOT_FOUND)
            await carried_out(self._operations.webhook_set(call.domain.name, kind, ()), _NOT_FOUND)
        return said("Webhook has been deleted", webhook=_object(kind, found))

    async def add(self, call: Call) -> Answer:
        return await self._add(call, "Webhook has been updated")

    async def _add(self, call: Call, message: str) -> Answer:
        """One URL more for each of the kinds; an older id has it instead of the one it had."""
        kinds, url = _kinds(call.params), _checked(call.params.need("url"))
        async with self._turn:
            there = await self._urls(call)
            wanted = {kind: _with(kind, there.get(kind, ()), url) for kind in kinds}
            for kind, urls in wanted.items():
                await carried_out(self._operations.webhook_set(call.domain.name, kind, urls))
            return said(message, webhooks=_objects(await self._urls(call)))

    async def remove_url(self, call: Call) -> Answer:
        url = call.params.need("url")
        async with self._turn:
            there = await self._urls(call)
            having = [kind for kind, urls in there.items() if url in urls]
            if not having:
                raise NotFound(_NOT_FOUND)
            for kind in having:
                left = tuple(one for one in there[kind] if one != url)
                await carried_out(self._operations.webhook_set(call.domain.name, kind, left))
            return said("Webhook has been deleted", webhooks=_objects(await self._urls(call)))

    async def test(self, call: Call) -> Answer:
        """With several URLs set, the answer is that of the first that does not take the sample."""
        kind, url = _kind(call["id"]), call.params.text("url", "").strip()
        given = (_checked(url),) if url else (await self._urls(call)).get(kind, ())
        if not given:
            raise NotFound(_NOT_FOUND)
        answers = [await carried_out(self._operations.webhook_test(call.domain.name, kind, one)) for one in given]
        results = [one for some in answers for one in some]
        result = next((one for one in results if one.status is None or not 200 <= one.status < 300), results[0])
        if result.status is None:
            raise NotCarriedOut(f"The receiver did not answer: {result.error}")
        return answer({"code": result.status, "message": f"The receiver answered {result.status}"})

    async def signing_key(self, call: Call) -> Answer:
        return said("success", http_signing_key=await self._operations.webhook_key())

    async def new_signing_key(self, call: Call) -> Answer:
        return said("success", http_signing_key=await self._operations.webhook_key(new=True))

    async def _set(self, call: Call, kind: Kind, urls: tuple[str, ...], message: str) -> Answer:
        await carried_out(self._operations.webhook_set(call.domain.name, kind, urls))
        return said(message, webhook=_object(kind, (await self._urls(call)).get(kind, urls)))

    async def _urls(self, call: Call) -> dict[Kind, tuple[str, ...]]:
        """As they were given, with user and password: a client compares them with what it has."""
        found: dict[Kind, tuple[str, ...]] = {}
        for row in await self._database.read(webhooks.webhooks):
            if row.domain_id == call.domain.id:
                kind = Kind(row.name)
                found[kind] = (*found.get(kind, ()), row.url)
        return found


def _object(kind: Kind, urls: Sequence[str]) -> dict[str, Any]:
    return {"url": urls[-1]} if kind.is_form else {"urls": list(urls)}


def _objects(found: Urls) -> dict[str, Any]:
    return {kind.value: _object(kind, urls) for kind, urls in found.items()}


def _known(text: str) -> Kind | None:
    try:
        return Kind(text.strip().lower())
    except ValueError:
        return None


def _kind(text: str) -> Kind:
    kind = _known(text)
    if kind is None:
        raise BadRequest(f"'{shorten(text)}' is no webhook id")
    return kind


def _kinds(params: Params) -> list[Kind]:
    names = [name.strip() for text in params.all("event_types") for name in text.split(",") if name.strip()]
    if not names:
        raise missing("event_types")
    return list(dict.fromkeys(_kind(name) for name in names))


def _urls(params: Params, kind: Kind) -> tuple[str, ...]:
    """At least one, each of them usable; an older id takes the last of them."""
    found = tuple(dict.fromkeys(text.strip() for text in params.all("url") if text.strip()))
    if not found:
        raise missing("url")
    found = found[-1:] if kind.is_form else found
    if len(found) > MAX_URLS:
        raise BadRequest(f"more than {MAX_URLS} urls")
    return tuple(_checked(url) for url in found)


def _checked(url: str) -> str:
    try:
        parse_target(url)
    except BadTarget as error:
        raise BadRequest(f"url parameter: {error}") from None
    return url


def _with(kind: Kind, there: Sequence[str], url: str) -> tuple[str, ...]:
    if kind.is_form:
        return (url,)
    urls = tuple(dict.fromkeys((*there, url)))
    if len(urls) > MAX_URLS:
        raise BadRequest(f"{kind} has {MAX_URLS} urls already")
    return urls
