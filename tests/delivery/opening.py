"""How the tests of delivery open a session with a scripted peer."""

from mtad.clock import SystemClock
from mtad.config import DeliveryConfig
from mtad.delivery.client import Connection
from mtad.delivery.connect import Connector
from mtad.delivery.dial import SystemDialer
from mtad.delivery.tls import Level, Requirement, TlsMemory, client_context
from mtad.mail.envelope import Transaction

BODY = b"Subject: x\r\n\r\nhello\r\n"


def transaction(*recipients, body=BODY, **rest):
    return Transaction("ann@s.example", recipients or ("bob@x.example",), (body,), len(body), **rest)


class Opening:
    """A Connector whose every host is 127.0.0.1 (or `addresses`), and what it asks for."""

    def __init__(self, level=Level.NONE, dialer=None, addresses=None, ca_file=None, **config):
        self.requirement = Requirement(level, (), "a test says so")
        self.addresses = addresses or {}
        self.memory = TlsMemory(SystemClock())
        self.connector = Connector(
            DeliveryConfig(**config),
            "here.example",
            self._addresses,
            dialer or SystemDialer(),
            SystemClock(),
            self.memory,
            lambda requirement: client_context(requirement, ca_file),
        )

    async def _addresses(self, host):
        return self.addresses.get(host, ("127.0.0.1",))

    async def _ask(self, host):
        return self.requirement

    async def open(self, port, *hosts, source=""):
        return await self.connector.open(hosts or ("mx.example",), port, source, self._ask)


async def connected(peer, **config) -> Connection:
    opened = await Opening(**config).open(peer.port)
    assert isinstance(opened, Connection), opened
    return opened
