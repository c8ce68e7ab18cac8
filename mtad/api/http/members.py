"""Members: who is on a mailing list.

Room: api. May import: mail. Addresses and variables are read and checked by the operations.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TypeVar

from mtad.api.base import Impossible, NotThere
from mtad.api.http.answers import Answer, BadRequest, answer, said
from mtad.api.http.asking import carried_out, plainly
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.lists import shown
from mtad.api.http.many import file_text, not_too_many
from mtad.api.http.paging import counted, links, paged, read_page
from mtad.api.list_desk import MAX_IMPORT, ListDesk, MemberExists, MemberView
from mtad.api.list_rows import NoMailbox, read_entry
from mtad.api.member_operations import MemberOperations
from mtad.mail.address import key_of
from mtad.mail.lists import MailingList, MemberEntry

T = TypeVar("T")


_UPDATED = "Mailing list has been updated"
_SUBSCRIBED = Param("subscribed", "no: keeps the place, and gets no mail; yes", "boolean")
_UPSERT = Param("upsert", "yes: who is a member is changed; no", "boolean")
_FIELDS = (Param("name"), Param("vars", "for the text of the list's mail", "object"), _SUBSCRIBED)
_PARAMS = (Param("address", 'or "Name <address>"', required=True), *_FIELDS, _UPSERT)
_LIMIT = Param("limit", kind="integer")
_JSON = (
    Param("members", "JSON array of up to 1000 addresses or objects like a member", "string", required=True),
    Param("subscribed", "of those who do not say so themselves", "boolean"),
    _UPSERT,
)
_CSV = (
    Param("members", "CSV in UTF-8: address, name, subscribed, vars; others are variables", "file", required=True),
    *_JSON[1:],
)


class Members:
    def __init__(self, operations: MemberOperations, desk: ListDesk) -> None:
        self._operations, self._desk = operations, desk

    def rows(self) -> Sequence[Row]:
        row, base = partial(Row, chapter="Mailing lists", versions=(2, 3)), "/lists/{list}/members"
        one, paging = f"{base}/{{member}}", (_SUBSCRIBED, Param("address"), _LIMIT)
        add_all = partial(row, method="POST", handler=self.add_all, about="Add many", params=_JSON)
        load = partial(row, method="POST", handler=self.load, about="Add those of a CSV file", params=_CSV)
        return (
            row(
                method="GET",
                path=base,
                handler=self.list,
                about="The members",
                params=(*paging, Param("skip", kind="integer")),
            ),
            row(
                method="GET",
                path=f"{base}/pages",
                handler=self.pages,
                about="The members, page by page",
                params=(*paging, Param("page")),
                versions=(3,),
            ),
            row(method="POST", path=base, handler=self.add, about="Add a member", params=_PARAMS),
            add_all(path=f"{base}.json"),
            add_all(path=f"{base}/json", versions=(3,)),
            load(path=f"{base}.csv"),
            load(path=f"{base}/csv", versions=(3,)),
            row(method="GET", path=one, handler=self.show, about="One member"),
            row(
                method="PUT",
                path=one,
                handler=self.update,
                about="Change a member",
                params=(Param("address"), *_FIELDS),
            ),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a member"),
        )

    # --- reading ---

    async def list(self, call: Call) -> Answer:
        limit, skip, subscribed = call.params.limit(), call.params.skip(), call.params.flag("subscribed")
        wanted = call.params.text("address", "").strip()
        if wanted:
            found = await self._only(call["list"], wanted, subscribed)
            return counted(found[skip:], len(found))
        page = await carried_out(self._operations.member_list(call["list"], limit, skip, subscribed))
        return counted(page.items, page.total)

    async def _only(self, of: str, address: str, subscribed: bool | None) -> Sequence[MemberView]:
        await carried_out(self._operations.member_list(of, 0))  # the list must be there
        try:
            found = await self._operations.member_show(of, address)
        except NotThere:
            return []
        return [found] if subscribed is None or found.subscribed == subscribed else []

    async def pages(self, call: Call) -> Answer:
        if call.old:
            return await self.list(call)
        page, subscribed = read_page(call, "address"), call.params.flag("subscribed")
        beyond = page.pivot.strip().casefold() or None
        found = await carried_out(self._desk.members(call["list"], page.limit, subscribed, beyond, page.backwards))
        keys = [key_of(one.address) for one in found]
        return paged(found, links(call, page, "address", keys, keep=("subscribed",)))

    async def show(self, call: Call) -> Answer:
        return answer({"member": await carried_out(self._operations.member_show(call["list"], call["member"]))})

    # --- one of them ---

    async def add(self, call: Call) -> Answer:
        params = call.params
        made = await _asked(
            self._operations.member_add(
                call["list"],
                params.need("address"),
                params.text("name"),
                params.flag("subscribed"),
                _variables(call),
                params.flag("upsert", False),
            )
        )
        return said("Mailing list member has been created", member=made)

    async def update(self, call: Call) -> Answer:
        """What is not said stays; blank addresses, flags and variables are not said."""
        params = call.params
        changed = await _asked(
            self._operations.member_set(
                call["list"],
                call["member"],
                params.text("address", "").strip() or None,
                params.text("name"),
                params.flag("subscribed"),
                _variables(call),
            )
        )
        return said("Mailing list member has been updated", member=changed)

    async def delete(self, call: Call) -> Answer:
        address = await carried_out(self._operations.member_remove(call["list"], call["member"]))
        return said("Mailing list member has been deleted", member={"address": address})

    # --- many ---

    async def add_all(self, call: Call) -> Answer:
        """Done before the answer, as is `load`."""
        params = call.params
        upsert, subscribed = params.flag("upsert", False), params.flag("subscribed")
        some = _array(call)
        entries = await asyncio.to_thread(_entries, some, subscribed, upsert)
        changed = await _asked(self._desk.put(call["list"], entries, upsert))
        return _put(call, changed)

    async def load(self, call: Call) -> Answer:
        params = call.params
        text = file_text(call, "members", MAX_IMPORT)
        changed = await _asked(
            self._desk.load(call["list"], text, params.flag("subscribed"), params.flag("upsert", False))
        )
        return _put(call, changed)


async def _asked(work: Awaitable[T]) -> T:
    async def reworded() -> T:
        try:
            return await work
        except MemberExists as error:
            raise BadRequest(f"Address already exists '{error.address}'") from None

    return await carried_out(reworded())


def _variables(call: Call) -> str | None:
    return call.params.text("vars", "").strip() or None


def _put(call: Call, changed: MailingList) -> Answer:
    return answer({"message": _UPDATED, "list": shown(changed), "task-id": call.request_id.replace("-", "")})


def _array(call: Call) -> Sequence[object]:
    """Of a JSON body, or of a form's field with JSON in it."""
    given = call.body.get("members") if isinstance(call.body, dict) else call.body
    if given is None or isinstance(given, str):
        call.params.need("members")
        given = call.params.json("members")
    if not isinstance(given, list):
        raise BadRequest("members parameter is not a JSON array")
    return not_too_many(given)


def _entries(some: Sequence[object], subscribed: bool | None, upsert: bool) -> Sequence[MemberEntry]:
    """upsert: those without an address are left out."""
    found = []
    for place, one in enumerate(some, 1):
        try:
            found.append(read_entry(one, subscribed))
        except Impossible as error:
            if not (upsert and isinstance(error, NoMailbox)):
                raise BadRequest(f"entry {place}: {plainly(error)}") from None
    return found
