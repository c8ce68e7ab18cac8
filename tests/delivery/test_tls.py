import asyncio
import ssl

import pytest
import trustme

from mtad.config import DeliveryConfig
from mtad.delivery.dns import AddressAnswer, Answer, Found, MxAnswer, TxtAnswer
from mtad.delivery.mx import MxHost, Route
from mtad.delivery.policies import FetchFailed
from mtad.delivery.tls import Level, Requirement, TlsMemory, TlsPolicies, client_context
from mtad.mail.reply import Deferred, Phase
from tests.virtualclock import VirtualClock

ROUTE = Route("example.org", (MxHost("mx.example.org", 10),), 25)
RELAY = Route("relay.lan", (MxHost("relay.lan", 0),), 2525, relay=True)


class World:
    """Domains with a policy: domain -> mode. Their policies allow mx.<domain> and *.hosts.example."""

    def __init__(self, **modes: str) -> None:
        self.modes = {name.replace("_", "."): mode for name, mode in modes.items()}
        self.asked: list[str] = []

    async def txt(self, name: str) -> TxtAnswer:
        self.asked.append(name)
        if name.removeprefix("_mta-sts.") in self.modes:
            return Answer(Found.RECORDS, ("v=STSv1; id=1",), 300.0)
        return Answer(Found.NO_DOMAIN, (), 300.0)

    async def fetch(self, url: str) -> tuple[int, str, bytes]:
        domain = url.removeprefix("https://mta-sts.").partition("/")[0]
        if self.modes[domain] == "down":
            raise FetchFailed("connection refused")
        text = f"version: STSv1\nmode: {self.modes[domain]}\nmx: mx.{domain}\nmx: *.hosts.example\nmax_age: 86400\n"
        return 200, "text/plain", text.encode()

    async def mx(self, name: str) -> MxAnswer:
        raise AssertionError("not asked for")

    async def addresses(self, name: str, *, ipv6: bool = True) -> AddressAnswer:
        raise AssertionError("not asked for")


def policies(world: World, overrides: dict[str, Level] | None = None, **config: object) -> TlsPolicies:
    return TlsPolicies(DeliveryConfig(**config), world, world.fetch, VirtualClock(), overrides)


async def level(
    found: TlsPolicies,
    route: Route = ROUTE,
    host: str = "mx.example.org",
    *,
    required: bool = False,
    skip: bool = False,
) -> Level:
    requirement = await found.requirement(route, host, required, skip)
    assert isinstance(requirement, Requirement), requirement
    assert requirement.why
    return requirement.level


@pytest.mark.parametrize("configured", list(Level))
async def test_without_anything_else_the_config_decides(configured):
    assert await level(policies(World(), tls=configured.value)) is configured


@pytest.mark.parametrize(
    ("configured", "skipping"),
    [("none", "required"), ("opportunistic", "required"), ("required", "required"), ("verified", "verified")],
)
async def test_a_message_that_requires_tls_raises_the_level_and_never_lowers_it(configured, skipping):
    world, relayed = policies(World(), tls=configured), policies(World(), relay_tls=configured, relay="relay.lan:25")
    for found, route in ((world, ROUTE), (relayed, RELAY)):
        assert await level(found, route, required=True) is Level.VERIFIED
        assert await level(found, route, required=True, skip=True) == skipping
        assert await level(found, route, skip=True) == configured  # it says nothing where TLS is not required


async def test_implicit_tls_to_the_relay_is_verified_whatever_a_message_skips():
    found = policies(World(), relay="relay.lan:465", relay_tls="implicit")
    for required, skip in ((False, False), (True, False), (True, True)):
        requirement = await found.requirement(RELAY, "relay.lan", required, skip)
        assert isinstance(requirement, Requirement)
        assert (requirement.level, requirement.implicit) == (Level.VERIFIED, True)
    direct = await found.requirement(ROUTE, "mx.example.org", True, False)
    assert isinstance(direct, Requirement)
    assert not direct.implicit


async def test_an_enforced_policy_asks_for_a_verified_host_it_names():
    found = policies(World(example_org="enforce"))
    for host in ("mx.example.org", "a.hosts.example"):
        requirement = await found.requirement(ROUTE, host, False)
        assert isinstance(requirement, Requirement)
        assert requirement.level is Level.VERIFIED
        assert requirement.names == ("mx.example.org", "*.hosts.example")
        assert "MTA-STS" in requirement.why


async def test_a_host_the_enforced_policy_does_not_name_gets_nothing():
    refused = await policies(World(example_org="enforce")).requirement(ROUTE, "mx.evil.example", False)
    assert isinstance(refused, Deferred)
    assert (refused.reply.enhanced, refused.phase) == ("4.7.5", Phase.TLS)
    assert "mx.evil.example" in refused.reply.text


@pytest.mark.parametrize("mode", ["testing", "none", "down"])
async def test_a_policy_that_is_not_enforced_changes_nothing(mode):
    found = policies(World(example_org=mode))
    assert await level(found) is Level.OPPORTUNISTIC
    assert await level(found, host="mx.evil.example") is Level.OPPORTUNISTIC


async def test_a_message_does_not_weaken_an_enforced_policy():
    found = policies(World(example_org="enforce"))
    assert await level(found, required=True) is Level.VERIFIED
    assert await level(found, required=True, skip=True) is Level.VERIFIED
    assert isinstance(await found.requirement(ROUTE, "mx.evil.example", True, True), Deferred)


async def test_the_operators_word_for_a_domain_is_above_its_policy():
    world = World(example_org="enforce")
    found = policies(world, {"example.org": Level.NONE})
    assert await level(found) is Level.NONE
    assert await level(found, required=True) is Level.VERIFIED
    assert await level(found, required=True, skip=True) is Level.REQUIRED
    assert world.asked == []


async def test_policies_are_not_asked_for_where_there_can_be_none():
    world = World(example_org="enforce")
    assert await level(policies(world, mta_sts=False)) is Level.OPPORTUNISTIC
    literal = Route("[192.0.2.1]", (MxHost("192.0.2.1", 0),), 25)
    assert await level(policies(world), literal, "192.0.2.1") is Level.OPPORTUNISTIC
    assert await level(policies(world, relay="relay.lan:25", relay_tls="verified"), RELAY) is Level.VERIFIED
    assert world.asked == []


def requires(level: Level) -> Requirement:
    return Requirement(level, (), "a test")


def test_a_host_whose_handshake_failed_is_spoken_to_in_the_clear_for_a_while():
    clock = VirtualClock()
    memory = TlsMemory(clock, keep_s=600)
    opportunistic = requires(Level.OPPORTUNISTIC)
    assert not memory.skips("mx.example.org", opportunistic)
    memory.failed("mx.example.org", opportunistic)
    assert memory.skips("mx.example.org", opportunistic)
    assert not memory.skips("other.example.org", opportunistic)
    clock.advance(600)
    assert not memory.skips("mx.example.org", opportunistic)


@pytest.mark.parametrize("mandatory", [Level.REQUIRED, Level.VERIFIED])
def test_where_tls_is_mandatory_the_memory_has_no_say(mandatory):
    memory = TlsMemory(VirtualClock())
    memory.failed("a.example", requires(mandatory))
    assert not memory.skips("a.example", requires(Level.OPPORTUNISTIC))
    memory.failed("b.example", requires(Level.OPPORTUNISTIC))
    assert not memory.skips("b.example", requires(mandatory))


def test_the_memory_is_bounded():
    memory = TlsMemory(VirtualClock(), entries=2)
    for name in "abc":
        memory.failed(name, requires(Level.OPPORTUNISTIC))
    assert [memory.skips(name, requires(Level.OPPORTUNISTIC)) for name in "abc"] == [False, True, True]


def test_contexts_are_made_once_and_check_what_the_level_says():
    verified = client_context(requires(Level.VERIFIED))
    assert verified is client_context(requires(Level.VERIFIED))
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    for unchecked in (Level.OPPORTUNISTIC, Level.REQUIRED):
        context = client_context(requires(unchecked))
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ValueError, match="no context"):
        client_context(requires(Level.NONE))


@pytest.mark.parametrize(
    ("asked", "certificate", "trusted", "accepted"),
    [
        (Level.VERIFIED, "mx.example.org", True, True),
        (Level.VERIFIED, "other.example.org", True, False),
        (Level.VERIFIED, "mx.example.org", False, False),
        (Level.REQUIRED, "other.example.org", False, True),
        (Level.OPPORTUNISTIC, "other.example.org", False, True),
    ],
)
async def test_a_handshake_comes_about_only_with_what_must_be_proved(asked, certificate, trusted, accepted, tmp_path):
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certificate).configure_cert(server_context)
    context = client_context(requires(asked), str(ca_file) if trusted else None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="mx.example.org")
        except ssl.SSLCertVerificationError:
            assert not accepted
        else:
            writer.close()
            await writer.wait_closed()
            assert accepted
