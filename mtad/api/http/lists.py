"""Lists: mailing lists, of the account and not of a domain. Their members: `members`.

Room: api. May import: mail. Addresses, levels and texts are read and checked by the operations.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api.base import NotThere
from mtad.api.http.answers import Answer, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted, links, paged, read_page
from mtad.api.list_desk import ListDesk
from mtad.api.list_operations import ListOperations
from mtad.mail.lists import MailingList

TAKEN = "Duplicate object"

_PARAMS = (
    Param("address", 'at a domain of ours; "Name <address>" sets the name too', required=True),
    Param("name"),
    Param("description"),
    Param("access_level", "readonly: only our own users write to it; members: subscribed members too; everyone"),
    Param("reply_preference", "where answers go: list or sender"),
)
_CHANGES = tuple(Param(one.name, one.about) for one in _PARAMS)
_PAGING = (Param("address", "only this one"), Param("limit", kind="integer"), Param("skip", kind="integer"))
_PAGES = (Param("limit", kind="integer"), Param("page"), Param("address"))


class Lists:
    def __init__(self, operations: ListOperations, desk: ListDesk) -> None:
        self._operations, self._desk = operations, desk

    def rows(self) -> Sequence[Row]:
        row, one = partial(Row, chapter="Mailing lists", versions=(2, 3)), "/lists/{list}"
        check = partial(row, path=f"{one}/validate", versions=(3, 4), stub=True)
        return (
            row(method="GET", path="/lists", handler=self.list, about="All lists", params=_PAGING),
            row(
                method="GET",
                path="/lists/pages",
                handler=self.pages,
                about="All lists, page by page",
                params=_PAGES,
                versions=(3,),
            ),
            row(method="POST", path="/lists", handler=self.create, about="Add a list", params=_PARAMS),
            row(method="GET", path=one, handler=self.show, about="One list"),
            row(method="PUT", path=one, handler=self.update, about="Change a list", params=_CHANGES),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a list with its members"),
            row(method="GET", path=f"{one}/stats", handler=self.stats, about="What became of its mail"),
            check(method="GET", handler=self.validation, about="How far the check of its addresses has come"),
            check(method="POST", handler=self.validate, about="Have its addresses checked"),
            check(method="DELETE", handler=self.stop_validation, about="Stop the check"),
        )

    async def list(self, call: Call) -> Answer:
        limit, skip = call.params.limit(), call.params.skip()
        wanted = call.params.text("address", "").strip()
        if wanted:
            try:
                found = [await self._operations.list_show(wanted)]
            except NotThere:
                found = []
            return counted([shown(one) for one in found[skip:]], len(found))
        page = await carried_out(self._operations.list_list(limit, skip))
        return counted([shown(one) for one in page.items], page.total)

    async def pages(self, call: Call) -> Answer:
        if call.old:
            return await self.list(call)
        page = read_page(call, "address")
        found = await self._desk.lists(page.limit, page.pivot.strip().casefold() or None, page.backwards)
        return paged([shown(one) for one in found], links(call, page, "address", [one.key for one in found]))

    async def create(self, call: Call) -> Answer:
        params = call.params
        made = await carried_out(
            self._operations.list_add(
                params.need("address"),
                params.text("name", ""),
                params.text("description", ""),
                params.text("access_level", "").strip() or "readonly",
                params.text("reply_preference", "").strip() or "list",
            ),
            taken=TAKEN,
        )
        return said("Mailing list has been created", list=shown(made))

    async def show(self, call: Call) -> Answer:
        return answer({"list": shown(await carried_out(self._operations.list_show(call["list"])))})

    async def update(self, call: Call) -> Answer:
        """What is not said stays; neither address nor level can be blank, so blank is not said."""
        params = call.params
        changed = await carried_out(
            self._operations.list_set(
                call["list"],
                params.text("address", "").strip() or None,
                params.text("name"),
                params.text("description"),
                params.text("access_level", "").strip() or None,
                params.text("reply_preference", "").strip() or None,
            ),
            taken=TAKEN,
        )
        return said("Mailing list has been updated", list=shown(changed))

    async def delete(self, call: Call) -> Answer:
        removed = await carried_out(self._operations.list_remove(call["list"]))
        return said(f"Mailing list has been {'deleted' if call.old else 'removed'}", address=removed.address)

    async def stats(self, call: Call) -> Answer:
        found = await carried_out(self._operations.list_stats(call["list"]))
        return answer(
            {
                "total": {
                    "complained": found.complained,
                    "delivered": found.delivered,
                    "clicked": found.clicked,
                    "opened": found.opened,
                    "unsubscribed": found.unsubscribed,
                    "bounced": found.bounced,
                },
                "unique": {
                    "clicked": {"link": found.links, "recipient": found.clickers},
                    "opened": {"recipient": found.openers},
                },
            }
        )

    async def validation(self, call: Call) -> Answer:
        """Addresses are not checked by asking their hosts: none has been processed."""
        of = await carried_out(self._operations.list_show(call["list"]))
        return answer({"id": of.address, "status": "created", "quantity": of.members_count, "records_processed": 0})

    async def validate(self, call: Call) -> Answer:
        of = await carried_out(self._operations.list_show(call["list"]))
        return said("Addresses of mailing lists are not validated here", id=of.address)

    async def stop_validation(self, call: Call) -> Answer:
        await carried_out(self._operations.list_show(call["list"]))
        return said("Validation job canceled")


def shown(one: MailingList) -> dict[str, Any]:
    return {
        "address": one.address,
        "name": one.name,
        "description": one.description,
        "access_level": one.access_level.value,
        "reply_preference": one.reply_preference.value,
        "created_at": gmt(one.created_at),
        "members_count": one.members_count,
    }
