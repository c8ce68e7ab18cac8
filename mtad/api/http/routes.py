"""Routes: what becomes of mail that comes in; of the account, not of a domain.

Room: api. May import: message. Expressions and actions are read and checked by the operations.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted
from mtad.api.http.params import Params
from mtad.api.route_operations import RouteOperations, RouteView
from mtad.message.headers import MAX_HEADER

_NOT_FOUND = "Route not found"

_PARAMS = (
    Param("priority", "lower ones are looked at first; 0", "integer"),
    Param("description"),
    Param("expression", "match_recipient, match_header, catch_all, joined by and, or, not", required=True),
    Param("action", "forward, store or stop", required=True, many=True),
)
_CHANGES = tuple(Param(one.name, one.about, one.kind, many=one.many) for one in _PARAMS)
_TEST = (
    Param("address", "whom the message is for", required=True),
    Param("message", "the message, or its header; without it there are no header fields", "file"),
)
_PAGING = (Param("limit", kind="integer"), Param("skip", kind="integer"))


class Routes:
    def __init__(self, operations: RouteOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        row, one = partial(Row, chapter="Routes", versions=(2, 3)), "/routes/{id}"
        address = (Param("address", required=True),)
        return (
            row(method="GET", path="/routes", handler=self.list, about="All routes", params=_PAGING),
            row(method="POST", path="/routes", handler=self.create, about="Add a route", params=_PARAMS),
            row(method="GET", path="/routes/match", handler=self.match, about="Which takes an address", params=address),
            row(method="POST", path="/routes/test", handler=self.test, about="What each says, and why", params=_TEST),
            row(method="GET", path=one, handler=self.show, about="One route"),
            row(method="PUT", path=one, handler=self.update, about="Change a route", params=_CHANGES),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a route"),
        )

    async def list(self, call: Call) -> Answer:
        found = await carried_out(self._operations.route_list(call.params.limit(), call.params.skip()))
        return counted([_shown(one) for one in found.items], found.total)

    async def create(self, call: Call) -> Answer:
        params = call.params
        expression, actions = params.text("expression", "").strip(), _actions(params)
        if not expression:
            raise _required("expression")
        if not actions:
            raise _required("action")
        priority, description = params.integer("priority", 0), params.text("description", "")
        made = await carried_out(self._operations.route_add(expression, actions, priority, description))
        return said("Route has been created", route=_shown(made))

    async def show(self, call: Call) -> Answer:
        found = await carried_out(self._operations.route_show(call["id"]), _NOT_FOUND)
        return answer({"route": _shown(found)})

    async def update(self, call: Call) -> Answer:
        """What is not said stays."""
        params = call.params
        actions = _actions(params) if "action" in params else None
        if actions == ():
            raise _required("action")
        expression = params.text("expression")
        if expression is not None and not expression.strip():
            raise _required("expression")
        changed = await carried_out(
            self._operations.route_set(
                call["id"], expression, actions, params.integer("priority"), params.text("description")
            ),
            _NOT_FOUND,
        )
        return said("Route has been updated", **_shown(changed))

    async def delete(self, call: Call) -> Answer:
        await carried_out(self._operations.route_remove(call["id"]), _NOT_FOUND)
        return said("Route has been deleted", id=call["id"].strip().lower())

    async def match(self, call: Call) -> Answer:
        found = await carried_out(self._operations.route_match(call.params.need("address")))
        if found is None:
            raise NotFound(_NOT_FOUND)
        return answer({"route": _shown(found)})

    async def test(self, call: Call) -> Answer:
        """What would be done, and nothing is."""
        verdicts = await carried_out(self._operations.route_test(call.params.need("address"), _header(call)))
        return answer({"routes": verdicts})


def _header(call: Call) -> bytes:
    """The beginning of a message, with the line ends of the wire. "" there is none."""
    upload = next((one for one in call.files if one.name == "message"), None)
    content = upload.content if upload is not None else call.params.text("message", "").encode("utf-8", "replace")
    return content[:MAX_HEADER].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _actions(params: Params) -> tuple[str, ...]:
    return tuple(text.strip() for text in params.all("action") if text.strip())


def _required(name: str) -> BadRequest:
    return BadRequest(f"'{name}' parameter is required")


def _shown(one: RouteView) -> dict[str, Any]:
    return {
        "id": one.id,
        "priority": one.priority,
        "description": one.description,
        "expression": one.expression,
        "actions": one.actions,
        "created_at": gmt(one.created_at),
    }
