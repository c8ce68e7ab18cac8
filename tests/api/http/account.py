"""The chapters on domains and what belongs to them, over a real store, with a DNS server of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mtad.api.http.credentials import Credentials
from mtad.api.http.dkim import Dkim
from mtad.api.http.domains import Domains
from mtad.api.http.settings import Settings
from mtad.api.http.webhooks import Webhooks
from mtad.api.operations import Operations
from mtad.clock import Clock, SystemClock
from mtad.config import DnsConfig
from mtad.delivery.dns import DnsResolver
from mtad.storage import accounts
from mtad.webhooks.poster import Answer
from tests.api.http.house import Client, House, open_house, serve
from tests.dnsserver import DnsServer

HOST = "mail.example.net"  # our name
WEB = "links.example.net"  # where links lead


class Posting:
    """tested: (id, domain, URL) of each sample. says: what the receiver answers."""

    def __init__(self) -> None:
        self.tested: list[tuple[str, str, str]] = []
        self.says = Answer(200, "", 0.01)

    async def reload(self) -> None:
        """Nothing is posted here."""

    def stir(self) -> None:
        """Nothing is posted here."""

    async def test(self, kind, domain, url):
        self.tested.append((kind.value, domain, url))
        return self.says


@dataclass
class Account:
    house: House
    operations: Operations
    dns: DnsServer
    posting: Posting
    client: Client

    async def json(self, *args, **more):
        return await self.client.json(*args, **more)

    async def row(self, name: str):
        """A domain as it is stored."""
        return next(row for row in await self.house.database.read(accounts.domains) if row.name == name)


@asynccontextmanager
async def open_account(folder: Path, clock: Clock | None = None, **more) -> AsyncIterator[Account]:
    """more: of ApiConfig; no limits by the minute unless it says so."""
    clock = clock or SystemClock()
    async with DnsServer() as server, open_house(folder, clock) as house:
        operations = Operations(
            database=house.database,
            outgoing=house.outgoing,
            ids=house.ids,
            clock=clock,
            runner=None,
            changed=house.tenants.load,
            hostname=HOST,
        )
        operations.names = lambda: DnsResolver(DnsConfig(nameservers=(server.address,), timeout_s=1.0), clock)
        operations.web_host = lambda: WEB
        operations.posting = posting = Posting()
        chapters = [
            Domains(operations),
            Credentials(operations),
            Settings(operations),
            Dkim(operations),
            Webhooks(operations, house.database),
        ]
        async with serve(house, chapters, **{"rate_limits": False, **more}) as client:
            yield Account(house, operations, server, posting, client)
