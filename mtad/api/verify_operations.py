"""Verify operations: are the records of a domain in DNS?

Room: api. May import: storage.
"""

import asyncio
import sqlite3
from collections.abc import Coroutine
from typing import Any

from mtad import log as log_module
from mtad.api.base import Impossible
from mtad.api.domain_views import DomainViews, no_domain
from mtad.api.http.dnscheck import Check, Names, Valid, check_cname, check_dkim, check_mx, check_spf, in_time
from mtad.api.results import DnsRecord, DomainView
from mtad.storage import accounts
from mtad.storage.accounts import DnsCheckRow

log = log_module.get("api")

AT_ONCE = 2  # domains being looked up: each may hold a thread that logins need too, for as long as DNS takes


class VerifyOperations(DomainViews):
    _turns: asyncio.Semaphore | None = None

    async def domain_verify(self, name: str) -> DomainView:
        """Ask DNS for the domain's records now, and keep what it said."""
        if self.names is None:
            raise Impossible("no daemon is running that could ask DNS")
        self._turns = self._turns or asyncio.Semaphore(AT_ONCE)
        async with self._turns:
            view, names = await self.domain_show(name), self.names()
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(in_time(self._look_up(names, view, record))) for record in view.records]
        checks = [(record, task.result()) for record, task in zip(view.records, asked, strict=True)]
        now = self._clock.now()
        if not await self._write(lambda connection: _keep_checks(connection, view, checks, now)):
            raise no_domain(view.name)
        seen = {record.kind: check.valid.value for record, check in checks if record.active}
        log.info("domain-checked", domain=view.name, **seen)
        await self._changed()
        return await self.domain_show(view.name)

    def _look_up(self, names: Names, view: DomainView, record: DnsRecord) -> Coroutine[Any, Any, Check]:
        match record.kind:
            case "spf":
                sources = self._sources_of(view.pool)
                return check_spf(names, view.name, self._hostname, sources, self._clock.now())
            case "dkim":
                return check_dkim(names, record.name, record.value)
            case "mx":
                return check_mx(names, view.name, self._hostname)
            case _:
                return check_cname(names, record.name, record.value)


def _keep_checks(
    connection: sqlite3.Connection, view: DomainView, checks: list[tuple[DnsRecord, Check]], now: float
) -> bool:
    """False: the domain is there no more."""
    rows = [
        DnsCheckRow(
            view.number,
            record.type,
            record.name,
            record.value,
            check.valid.value,
            "" if check.valid is Valid.UNKNOWN else check.valid.value,
            check.found,
            check.why,
        )
        for record, check in checks
    ]
    if not accounts.set_dns_checks(connection, view.number, rows, now):
        return False
    for record, check in checks:
        if record.kind == "web" and check.valid is not Valid.UNKNOWN:
            there = check.valid is Valid.VALID
            accounts.set_web_cname(connection, view.number, view.settings.web_prefix, there)
    return True
