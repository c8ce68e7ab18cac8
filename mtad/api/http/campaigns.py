"""Campaigns: the names under which a domain's mail is counted; what is told of each is in campaign_reports.py.

Room: api. Names and ids are read and checked by the operations.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api.campaign_operations import CampaignOperations, CampaignView
from mtad.api.http.answers import Answer, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted

NOT_FOUND = "Campaign not found"
_TAKEN = "A campaign with this id is there already"
_CREATE = (
    Param("name", "What people see: 1 to 64 characters", required=True),
    Param("id", "What messages and paths say: 1 to 64 ASCII characters; one is made if there is none"),
)
_CHANGE = (Param("name", "What people see"), Param("id", "A new id; the data stay with the campaign"))
_PAGING = (Param("limit", kind="integer"), Param("skip", kind="integer"))


class Campaigns:
    def __init__(self, operations: CampaignOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        row, base = partial(Row, chapter="Campaigns", versions=(2, 3)), "/{domain}/campaigns"
        one = base + "/{id}"
        return (
            row(method="GET", path=base, handler=self.list, about="The campaigns of a domain", params=_PAGING),
            row(method="POST", path=base, handler=self.create, about="Add a campaign", params=_CREATE),
            row(method="GET", path=one, handler=self.show, about="A campaign with its counts"),
            row(method="PUT", path=one, handler=self.change, about="Change a campaign", params=_CHANGE),
            row(method="POST", path=one, handler=self.change, about="The same as PUT", params=_CHANGE),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a campaign and all its data"),
        )

    async def list(self, call: Call) -> Answer:
        limit, skip = call.params.limit(), call.params.skip()
        found = await carried_out(self._operations.campaign_list(call.domain.name, limit, skip))
        return counted([_shown(one) for one in found.items], found.total)

    async def show(self, call: Call) -> Answer:
        found = await carried_out(self._operations.campaign_show(call.domain.name, call["id"]), NOT_FOUND)
        return answer(_shown(found))

    async def create(self, call: Call) -> Answer:
        name, id = call.params.need("name"), call.params.text("id", "")
        made = await carried_out(self._operations.campaign_add(call.domain.name, name, id), taken=_TAKEN)
        return said("Campaign created", campaign=_shown(made))

    async def change(self, call: Call) -> Answer:
        """What is not said stays; nor is an empty id one."""
        name, id = call.params.text("name"), call.params.text("id", "").strip() or None
        changed = await carried_out(
            self._operations.campaign_set(call.domain.name, call["id"], name, id), NOT_FOUND, _TAKEN
        )
        return said("Campaign updated", campaign=_shown(changed))

    async def delete(self, call: Call) -> Answer:
        await carried_out(self._operations.campaign_remove(call.domain.name, call["id"]), NOT_FOUND)
        return said("Campaign has been deleted", id=call["id"].strip())


def _shown(one: CampaignView) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "created_at": gmt(one.created_at),
        "submitted_count": one.submitted,
        "delivered_count": one.delivered,
        "opened_count": one.opened,
        "clicked_count": one.clicked,
        "bounced_count": one.bounced,
        "dropped_count": one.dropped,
        "unsubscribed_count": one.unsubscribed,
        "complained_count": one.complained,
    }
