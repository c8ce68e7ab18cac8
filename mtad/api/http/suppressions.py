"""Suppressions: /<domain>/bounces, unsubscribes, complaints and whitelists.

Room: api. May import: mail, storage. Under /v2 lists have limit and skip and unsubscribes are shown tag by tag; else
they have pages and unsubscribes are shown by address. Nothing here names a row of the store: that is the desk's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mtad.api.base import Impossible
from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.asking import carried_out, plainly
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.many import file_text, not_too_many
from mtad.api.http.paging import counted, links, paged, read_page
from mtad.api.http.params import mailboxes, missing
from mtad.api.suppression_desk import MAX_IMPORT, SuppressionDesk
from mtad.api.suppression_rows import (
    SuppressionRow,
    read_code,
    read_moment,
    read_tags,
    read_value,
    read_words,
)
from mtad.storage.suppressions import Entry, Left, Table

_STARTED = "file uploaded successfully for processing. standby..."
_ID = re.compile(r"[0-9a-f]{24}")

_DATE = Param("created_at", "RFC 2822 date or Unix seconds; now")
_ADDRESS = Param("address", required=True)


@dataclass(frozen=True, slots=True)
class _List:
    """What one table is called in paths and texts. one: the member of a single entry under /v2."""

    table: Table
    word: str
    one: str
    params: Sequence[Param]
    not_found: str
    removed: str
    cleared: str


_BOUNCES = _List(
    Table.BOUNCES,
    "bounces",
    "bounce",
    (_ADDRESS, Param("code", "550"), Param("error", "what the host said"), _DATE),
    "Address not found in bounces table",
    "Bounced address has been removed",
    "Bounced addresses for this domain have been removed",
)
_UNSUBSCRIBES = _List(
    Table.UNSUBSCRIBES,
    "unsubscribes",
    "unsubscribe",
    (_ADDRESS, Param("tag", "* is all mail of the domain", many=True), _DATE),
    "Address not found in unsubscribers table",
    "Unsubscribe event has been removed",
    "Unsubscribe addresses for this domain have been removed",
)
_COMPLAINTS = _List(
    Table.COMPLAINTS,
    "complaints",
    "complaint",
    (_ADDRESS, _DATE),
    "No spam complaints found for this address",
    "Spam complaint has been removed",
    "Complaint addresses for this domain have been removed",
)
_WHITELISTS = _List(
    Table.ALLOWLIST,
    "whitelists",
    "whitelist",
    (Param("address", "or domain"), Param("domain"), Param("reason")),
    "Address/Domain not found in whitelists table",
    "Whitelist address/domain has been removed",
    "Allowlist addresses/domains for this domain have been removed",
)
_LISTS = {one.word: one for one in (_BOUNCES, _UNSUBSCRIBES, _COMPLAINTS, _WHITELISTS)} | {"allowlist": _WHITELISTS}


class Suppressions:
    def __init__(self, desk: SuppressionDesk) -> None:
        self._desk = desk

    def rows(self) -> Sequence[Row]:
        return [row for word, spec in _LISTS.items() for row in self._under(f"/{{domain}}/{word}", spec)]

    def _under(self, base: str, spec: _List) -> Sequence[Row]:
        row = partial(Row, chapter="Suppressions", versions=(3,) if spec is _WHITELISTS else (2, 3))
        one, what = f"{base}/{{address}}", spec.word
        paging = (Param("limit", kind="integer"), Param("page"), Param("address"), Param("term"))
        tag = (Param("tag", "remove only this one"),) if spec is _UNSUBSCRIBES else ()
        shown, add = partial(self.show, spec), partial(self.add, spec)
        return (
            row(method="GET", path=base, handler=partial(self.list, spec), about=f"The {what}", params=paging),
            row(method="POST", path=base, handler=add, about=f"Add to the {what}", params=spec.params),
            row(method="DELETE", path=base, handler=partial(self.clear, spec), about=f"Remove all {what}"),
            row(
                method="POST",
                path=f"{base}/import",
                handler=partial(self.load, spec),
                about=f"Add to the {what} from a CSV file",
                params=(Param("file", "CSV in UTF-8, whose first line names the columns", "file", required=True),),
            ),
            row(method="GET", path=one, handler=shown, about=f"One of the {what}"),
            row(method="DELETE", path=one, handler=partial(self.remove, spec), about="Remove it", params=tag),
        )

    # --- reading ---

    async def list(self, spec: _List, call: Call) -> Answer:
        if not call.old:
            return await self._page(spec, call)
        limit, skip, domain = call.params.limit(), call.params.skip(), call.domain.id
        if spec is _UNSUBSCRIBES:
            total, left = await self._desk.left_part(domain, limit, skip)
            return counted([_left(one, domain) for one in left], total)
        total, entries = await self._desk.part(domain, spec.table, limit, skip)
        return counted([_item(spec, one, call.old) for one in entries], total)

    async def _page(self, spec: _List, call: Call) -> Answer:
        page = read_page(call, "address")
        beyond = page.pivot.strip().casefold()
        if spec is _WHITELISTS and beyond and "@" not in beyond:
            beyond = f"@{beyond}"
        term = call.params.text("term", "").strip().casefold()
        found = await self._desk.page(call.domain.id, spec.table, page.limit, beyond or None, page.backwards, term)
        paging = links(call, page, "address", [one.address for one in found], keep=("term",))
        return paged([_item(spec, one, call.old) for one in found], paging)

    async def show(self, spec: _List, call: Call) -> Answer:
        value = _value(spec, call)
        if call.old and spec is _UNSUBSCRIBES:
            left = await self._desk.left_by(call.domain.id, value) if value else []
            return counted([_left(one, call.domain.id) for one in left], len(left))
        entry = await self._desk.entry(call.domain.id, spec.table, value) if value else None
        if entry is None:
            raise NotFound(spec.not_found)
        item = _item(spec, entry, call.old)
        return answer({spec.one: item, **item} if call.old else item)

    # --- adding ---

    async def add(self, spec: _List, call: Call) -> Answer:
        if isinstance(call.body, list):
            return await self._add_all(spec, call, call.body)
        read = partial(_from_json, spec, call.body) if isinstance(call.body, dict) else partial(_from_form, spec, call)
        row = _checked(read)
        await self._desk.add(call.domain.id, spec.table, [row])
        if spec is _WHITELISTS:
            return answer({"message": "Address/Domain has been added to the whitelists table", **_allowed(row.value)})
        return said(f"Address has been added to the {spec.word} table", address=row.value)

    async def _add_all(self, spec: _List, call: Call, body: Sequence[object]) -> Answer:
        some = enumerate(not_too_many(body), 1)
        rows = [_checked(partial(_from_json, spec, one), f"entry {place}: ") for place, one in some]
        await self._desk.add(call.domain.id, spec.table, rows)
        return said(f"{_how_many(spec, len(rows))} been added to the {spec.word} table")

    async def load(self, spec: _List, call: Call) -> Answer:
        """When this answers, all of it is done."""
        text = file_text(call, "file", MAX_IMPORT)
        await carried_out(self._desk.add_file(call.domain.id, spec.table, text))
        return said(_STARTED, 202)

    # --- removing ---

    async def remove(self, spec: _List, call: Call) -> Answer:
        domain, tag = call.domain.id, call.params.text("tag", "").strip()
        value = _value(spec, call)
        if spec is _UNSUBSCRIBES and _ID.fullmatch(call["address"].lower()):
            left = await self._desk.left_of_id(domain, call["address"].lower())
            value, tag = (left.address, left.tag) if left else ("", "")
        if not value or not await self._desk.remove(domain, spec.table, value, tag):
            raise NotFound(spec.not_found)
        if spec is _WHITELISTS:
            return said(spec.removed, value=value.removeprefix("@"))
        return said(spec.removed, address=value)

    async def clear(self, spec: _List, call: Call) -> Answer:
        await self._desk.clear(call.domain.id, spec.table)
        return said(spec.cleared)


def _item(spec: _List, entry: Entry, old: bool) -> dict[str, Any]:
    date = gmt(entry.created_at)
    match spec.table:
        case Table.BOUNCES:
            return {"address": entry.address, "code": entry.code, "error": entry.words, "created_at": date}
        case Table.UNSUBSCRIBES:
            return {"address": entry.address, "tags": entry.tags, "created_at": date}
        case Table.COMPLAINTS:
            return {"address": entry.address, "count": entry.count, "created_at": date}
        case Table.ALLOWLIST:
            return {**_allowed(entry.address), "reason": entry.words, "createdAt": date}


def _left(left: Left, domain_id: int) -> dict[str, Any]:
    date = gmt(left.created_at)
    return {"id": left.id(domain_id), "address": left.address, "tag": left.tag, "created_at": date}


def _allowed(value: str) -> dict[str, str]:
    if value.startswith("@"):
        return {"type": "domain", "value": value[1:]}
    return {"type": "address", "value": value}


def _value(spec: _List, call: Call) -> str:
    """Of the path, in the form for comparing; "" it is no address, so nothing has it."""
    try:
        return read_value(spec.table, call["address"])
    except Impossible:
        return ""


def _how_many(spec: _List, number: int) -> str:
    if spec is _WHITELISTS:
        return "1 address/domain has" if number == 1 else f"{number} addresses/domains have"
    if number == 1:
        return "1 address has"
    return f"{number} complaint addresses have" if spec is _COMPLAINTS else f"{number} addresses have"


def _checked(read: "partial[SuppressionRow]", where: str = "") -> SuppressionRow:
    try:
        return read()
    except BadRequest as error:
        raise BadRequest(where + error.message) from None
    except Impossible as error:
        raise BadRequest(where + plainly(error)) from None


def _from_form(spec: _List, call: Call) -> SuppressionRow:
    """Of a form `tag` counts, not `tags`."""
    params = call.params
    found = {name: params.text(name, "") for name in ("address", "domain", "code", "error", "reason", "created_at")}
    return _row(spec, found, params.all("tag"))


def _from_json(spec: _List, body: object) -> SuppressionRow:
    if not isinstance(body, Mapping):
        raise BadRequest("it is no object")
    tags = body.get("tags", body.get("tag"))
    tags = [] if tags is None else tags if isinstance(tags, list) else [tags]
    if not all(isinstance(tag, str) for tag in tags):
        raise BadRequest("tags must be texts")
    return _row(spec, {name: _text(name, value) for name, value in body.items() if name not in ("tag", "tags")}, tags)


def _text(name: str, value: object) -> str:
    if isinstance(value, list | dict | bool):
        raise BadRequest(f"{name[:60]} must be a text")
    return "" if value is None else str(value)


def _row(spec: _List, found: Mapping[str, str], tags: Sequence[str]) -> SuppressionRow:
    address, domain = found.get("address", "").strip(), found.get("domain", "").strip()
    if spec is _WHITELISTS:
        if bool(address) == bool(domain):
            raise BadRequest("exactly one of address and domain is needed")
        value = read_value(spec.table, f"@{domain.lstrip('@')}") if domain else _address(address)
        return SuppressionRow(value, words=read_words(found.get("reason", "")))
    if not address:
        raise missing("address")
    return SuppressionRow(
        _address(address),
        read_code(found.get("code", "")) if spec is _BOUNCES else "",
        read_words(found.get("error", "")),
        read_tags(tags) if spec is _UNSUBSCRIBES else (),
        read_moment(found.get("created_at", "")),
    )


def _address(text: str) -> str:
    """With or without a name before it, in the form for comparing."""
    found = mailboxes("address", text)
    if len(found) != 1:
        raise BadRequest("address parameter is not a valid address")
    return found[0].address.key
