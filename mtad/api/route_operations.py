"""Route operations: what becomes of mail that comes in, and why.

Room: api. May import: mail, message, storage, inbound.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, shorten
from mtad.inbound.routes.compiled import compile_route
from mtad.inbound.routes.engine import RouteTable
from mtad.inbound.routes.explain import RouteVerdict, explain
from mtad.inbound.routes.lexing import BadRoute
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.message.headers import scan
from mtad.storage import routes
from mtad.storage.routes import RouteRow

log = log_module.get("api")

MAX_ROUTES = 10_000
MAX_PAGE = 1000  # routes of one answer
MAX_DESCRIPTION = 1000  # characters
MAX_PRIORITY = 2**31 - 1  # and as far below 0


@dataclass(frozen=True, slots=True)
class RouteView:
    """id: 24 hexadecimal digits. expression, actions: as they were given."""

    id: str
    priority: int
    description: str
    expression: str
    actions: tuple[str, ...]
    created_at: float


@dataclass(frozen=True, slots=True)
class RouteList:
    """total: of all routes; items: the part that was asked for, in the order they are looked at."""

    total: int
    items: tuple[RouteView, ...]


class Routing(Protocol):
    """The routes in force in the running daemon."""

    @property
    def table(self) -> RouteTable: ...

    async def load(self) -> None:
        """They have changed."""


class RouteOperations(Base):
    """routing: set by the daemon; None: no daemon runs."""

    routing: Routing | None = None

    async def route_add(
        self, expression: str, actions: tuple[str, ...], priority: int = 0, description: str = ""
    ) -> RouteView:
        """Priorities are looked at from the lowest up, equal ones in the order they were added."""
        row = RouteRow(self._ids.next(), priority, description, expression, actions, self._clock.now())
        _check(row)
        if await self._read(routes.count) >= MAX_ROUTES:
            raise Impossible(f"there are {MAX_ROUTES} routes, and more are not possible")
        await self._write(lambda connection: routes.add(connection, row))
        log.info("route-added", route=row.id, priority=priority)
        await self._routes_changed()
        return _view(row)

    async def route_list(self, limit: int = 100, skip: int = 0) -> RouteList:
        if not 0 <= limit <= MAX_PAGE or not 0 <= skip <= MAX_PRIORITY:
            raise Impossible(f"limit is 0 to {MAX_PAGE}, and skip 0 or more")
        total, rows = await self._read(lambda connection: routes.page(connection, limit, skip))
        return RouteList(total, tuple(_view(row) for row in rows))

    async def route_show(self, id: str) -> RouteView:
        return _view(await self._route(id))

    async def route_set(
        self,
        id: str,
        expression: str | None = None,
        actions: tuple[str, ...] | None = None,
        priority: int | None = None,
        description: str | None = None,
    ) -> RouteView:
        """None: as it is. actions replace all there were."""
        old = await self._route(id)
        new = replace(
            old,
            expression=old.expression if expression is None else expression,
            actions=old.actions if actions is None else actions,
            priority=old.priority if priority is None else priority,
            description=old.description if description is None else description,
        )
        _check(new)
        if not await self._write(lambda connection: routes.replace(connection, new)):
            raise _no_route(id)
        log.info("route-set", route=new.id, priority=new.priority)
        await self._routes_changed()
        return _view(new)

    async def route_remove(self, id: str) -> None:
        row = await self._route(id)
        if not await self._write(lambda connection: routes.remove(connection, row.number)):
            raise _no_route(id)
        log.info("route-removed", route=row.id)
        await self._routes_changed()

    async def route_match(self, address: str) -> RouteView | None:
        """The first route that takes mail for the address when it has no headers; None: none does."""
        table, recipient = await self._table(), _address(address)
        row = await asyncio.to_thread(table.first, recipient)
        return _view(row) if row else None

    async def route_test(self, recipient: str, headers: bytes = b"") -> tuple[RouteVerdict, ...]:
        """What every route says to a message. headers: its beginning, at least to the blank line, with CRLF."""
        table, address = await self._table(), _address(recipient)
        return await asyncio.to_thread(explain, table, address, scan(headers), self._clock.steady)

    async def _table(self) -> RouteTable:
        """The one in force, else what the store holds."""
        if self.routing is not None:
            return self.routing.table
        rows = await self._read(routes.routes)
        table, _ = await asyncio.to_thread(RouteTable.of, rows, self._clock.steady)
        return table

    async def _route(self, id: str) -> RouteRow:
        number = routes.from_public_id(id)
        row = await self._read(lambda connection: routes.find(connection, number)) if number is not None else None
        if row is None:
            raise _no_route(id)
        return row

    async def _routes_changed(self) -> None:
        if self.routing is not None:
            await self.routing.load()


def _check(row: RouteRow) -> None:
    if len(row.description) > MAX_DESCRIPTION:
        raise Impossible(f"a description has at most {MAX_DESCRIPTION} characters")
    if not -MAX_PRIORITY <= row.priority <= MAX_PRIORITY:
        raise Impossible(f"a priority is a number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    if any("\ud800" <= c <= "\udfff" for c in row.description):
        raise Impossible("the description has half a character (a lone surrogate)")
    try:
        compile_route(row)
    except BadRoute as error:
        raise Impossible(str(error)) from None


def _address(text: str) -> Address:
    try:
        return parse_address(text.strip())
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no address: {error}") from None


def _view(row: RouteRow) -> RouteView:
    return RouteView(row.id, row.priority, row.description, row.expression, row.actions, row.created_at)


def _no_route(id: str) -> NotThere:
    return NotThere(f"no route {shorten(id)}; `mtad route list` shows those there are")
