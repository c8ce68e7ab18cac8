"""The way out as the queue calls it: what a message asks of TLS, against a host whose certificate proves nothing."""

import random

import pytest
import trustme

from mtad.clock import SystemClock
from mtad.config import DeliveryConfig
from mtad.delivery.client import Connection
from mtad.delivery.connect import Connector
from mtad.delivery.dial import SystemDialer
from mtad.delivery.mx import MxHost, Route, Router
from mtad.delivery.tls import TlsMemory, TlsPolicies, client_context
from mtad.delivery.world import World
from mtad.mail.reply import Deferred, Phase
from tests.delivery.test_connect import CA, server_tls
from tests.scripted import Peer


@pytest.fixture
def open_(tmp_path):
    """open_(peer, require_tls, skip_verification) -> what World.open gives for a host named mx.example."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def ask(peer, *asked):
        config, clock = DeliveryConfig(mta_sts=False), SystemClock()

        async def addresses(host):
            return ("127.0.0.1",)

        router = Router(config, None, clock, random.Random(1))
        connector = Connector(
            config,
            "here.example",
            addresses,
            SystemDialer(),
            clock,
            TlsMemory(clock),
            lambda requirement: client_context(requirement, str(tmp_path / "ca.pem")),
        )
        world = World(router, TlsPolicies(config, None, None, clock), connector)
        return await world.open(Route("x.example", (MxHost("mx.example", 10),), peer.port), "", *asked)

    return ask


async def closed(opened):
    opened.close()
    await opened.wait_closed()


STRANGERS = [server_tls("other.example"), server_tls(ca=trustme.CA())]


@pytest.mark.parametrize("tls", STRANGERS, ids=["another name", "another authority"])
async def test_a_message_that_requires_tls_asks_who_answers_unless_it_skips_that(open_, tls):
    async with Peer(tls=tls) as peer:
        refused = await open_(peer, True)
        assert isinstance(refused, Deferred)
        assert refused.phase is Phase.TLS
        assert refused.reply.text.endswith("TLS is needed because the message requires it")
        opened = await open_(peer, True, True)
        assert isinstance(opened, Connection)
        assert (opened.hop.tls, opened.hop.verified) == ("TLSv1.3", False)
        await closed(opened)
        opened = await open_(peer, False)  # opportunistic: any certificate will do
        assert opened.hop.tls
        await closed(opened)


async def test_skipping_the_check_does_not_skip_tls(open_):
    async with Peer() as peer:
        refused = await open_(peer, True, True)
        assert isinstance(refused, Deferred)
        assert "offers no STARTTLS" in refused.reply.text


async def test_a_host_that_proves_itself_gets_a_message_that_requires_tls(open_):
    async with Peer("DSN", tls=server_tls()) as peer:
        opened = await open_(peer, True)
        assert (opened.hop.verified, opened.hop.dsn) == (True, True)
        await closed(opened)
