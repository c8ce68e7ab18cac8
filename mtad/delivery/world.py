"""World: the way out to other servers: the MX of a domain, or the smarthost, with what TLS must prove.

Room: delivery. May import: mail. What the queue calls its transport.
"""

from mtad.delivery.client import Connection
from mtad.delivery.connect import Connector
from mtad.delivery.mx import Route, Router
from mtad.delivery.tls import Requirement, TlsPolicies
from mtad.mail.reply import Deferred, Failed


class World:
    """One for the daemon. fixed_key None: sites are made of the hosts of each route."""

    fixed_key: str | None = None

    def __init__(self, router: Router, policies: TlsPolicies, connector: Connector) -> None:
        self._router, self._policies, self._connector = router, policies, connector
        self.known = router.known

    async def route(self, domain: str) -> Route | Deferred | Failed:
        return await self._router.route(domain)

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> Connection | Deferred | Failed:
        async def ask(host: str) -> Requirement | Deferred:
            return await self._policies.requirement(route, host, require_tls, skip_verification)

        return await self._connector.open([host.name for host in route.hosts], route.port, source, ask)
