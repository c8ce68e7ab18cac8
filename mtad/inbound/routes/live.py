"""Live: the routes that are in force, read from the store and read again when they change.

Room: inbound. May import: mail, message, storage.
"""

import asyncio

from mtad import log as log_module
from mtad.clock import Clock
from mtad.inbound.routes.engine import Decision, RouteTable
from mtad.inbound.routes.explain import RouteVerdict, explain
from mtad.inbound.routes.looking import Headers
from mtad.inbound.routes.patterns import Budget
from mtad.mail.address import Address, without_password
from mtad.message.headers import HeaderBlock
from mtad.storage.database import Database
from mtad.storage.routes import routes

log = log_module.get("inbound")


class Routes:
    """Call load() before use and after each change. `table` is replaced, never changed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self.table = RouteTable((), clock.steady)
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """What was compiled before is kept; the rest is compiled in a thread: ten thousand patterns take a second."""
        async with self._turn:
            rows = await self._database.read(routes)
            self.table, faults = await asyncio.to_thread(RouteTable.of, rows, self._clock.steady, self.table)
        for fault in faults:
            log.error("route-unusable", route=fault.route, expression=fault.about, cause=fault.why)

    def budget(self) -> Budget:
        """For all that is decided of one message."""
        return Budget(self._clock.steady)

    async def decide(self, recipient: Address, headers: Headers, peer: str) -> Decision:
        """peer: who brought the message, for the log."""
        table = self.table
        if table.may_be_slow:
            decision = await asyncio.to_thread(table.decide, recipient, headers)
        else:
            decision = table.decide(recipient, headers)
        for fault in decision.faults:
            if (fault.route, fault.about) in headers.told:
                continue
            headers.told.add((fault.route, fault.about))
            log.warning(
                "route-fault",
                peer=peer,
                rcpt=recipient,
                route=fault.route,
                about=without_password(fault.about)[:200],
                cause=fault.why,
            )
        return decision

    def may_take(self, address: Address) -> bool:
        """For the answer to RCPT: could any route match mail for this address?"""
        return self.table.may_take(address)

    async def explain(self, recipient: Address, headers: HeaderBlock) -> tuple[RouteVerdict, ...]:
        return await asyncio.to_thread(explain, self.table, recipient, headers, self._clock.steady)
