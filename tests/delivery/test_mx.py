import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.config import DeliveryConfig, DnsConfig
from mtad.delivery.dns import AddressAnswer, Answer, DnsResolver, Found, MxAnswer, TxtAnswer
from mtad.delivery.mx import MAX_HOSTS, MxHost, Route, Router, cut_loop, in_order
from mtad.delivery.ourselves import Ourselves
from mtad.mail.reply import Deferred, Failed, Phase
from tests.dnsserver import DnsServer
from tests.virtualclock import VirtualClock

NONE = Answer[str](Found.NO_DATA, (), 300.0)
TROUBLE = Answer[str](Found.TROUBLE, (), 10.0, "no answer within 5 s")


class Zone:
    """A Resolver that knows what it was told; every other name is no domain."""

    def __init__(self) -> None:
        self.mx_of: dict[str, MxAnswer] = {}
        self.addresses_of: dict[str, AddressAnswer] = {}
        self.asked: Counter[str] = Counter()

    def host(self, name: str, *addresses: str) -> "Zone":
        self.addresses_of[name] = Answer(Found.RECORDS, addresses, 300.0)
        return self

    def domain(self, name: str, *hosts: tuple[int, str], ttl_s: float = 300.0) -> "Zone":
        self.mx_of[name] = Answer(Found.RECORDS, tuple(MxHost(host, preference) for preference, host in hosts), ttl_s)
        return self

    async def mx(self, name: str) -> MxAnswer:
        self.asked[name] += 1
        return self.mx_of.get(name, NONE if name in self.addresses_of else Answer(Found.NO_DOMAIN, (), 300.0))

    async def addresses(self, name: str, *, ipv6: bool = True) -> AddressAnswer:
        return self.addresses_of.get(name, NONE)

    async def txt(self, name: str) -> TxtAnswer:
        raise AssertionError("nobody asks for texts here")


@pytest.fixture
def zone() -> Zone:
    return Zone().host("a.mx", "8.8.8.1").host("b.mx", "8.8.8.2").host("c.mx", "8.8.8.3", "2a00::3")


def router(zone: Zone, clock: VirtualClock | None = None, *, ours: Ourselves | None = None, **more: object) -> Router:
    private = bool(more.pop("allow_private", False))
    entries = int(str(more.pop("entries", 100)))
    config = DeliveryConfig(**more)
    ours = ours or Ourselves()
    return Router(config, zone, clock or VirtualClock(), random.Random(1), ours, allow_private=private, entries=entries)


def names(route: object) -> list[str]:
    assert isinstance(route, Route), route
    return [host.name for host in route.hosts]


async def test_hosts_are_tried_by_preference(zone):
    zone.domain("example.org", (30, "c.mx"), (10, "a.mx"), (20, "b.mx"))
    found = await router(zone).route("Example.org")
    assert found == Route("example.org", (MxHost("a.mx", 10), MxHost("b.mx", 20), MxHost("c.mx", 30)), 25)


async def test_hosts_of_one_preference_change_places_from_call_to_call(zone):
    zone.domain("example.org", (10, "a.mx"), (10, "b.mx"), (20, "c.mx"))
    routes = router(zone)
    orders = {tuple(names(await routes.route("example.org"))) for _ in range(50)}
    assert orders == {("a.mx", "b.mx", "c.mx"), ("b.mx", "a.mx", "c.mx")}
    assert zone.asked["example.org"] == 1


async def test_a_domain_without_mx_is_its_own_host(zone):
    zone.host("example.org", "8.8.8.8")
    assert names(await router(zone).route("example.org")) == ["example.org"]


async def test_a_null_mx_takes_no_mail(zone):
    zone.domain("example.org", (0, ".")).host("example.org", "8.8.8.8")
    found = await router(zone).route("example.org")
    assert isinstance(found, Failed)
    assert (found.reply.code, found.reply.enhanced) == (556, "5.1.10")


async def test_a_null_mx_among_others_is_left_out(zone):
    zone.domain("example.org", (0, "."), (10, "a.mx"))
    assert names(await router(zone).route("example.org")) == ["a.mx"]


async def test_no_domain_and_neither_mx_nor_address_is_code_498(zone):
    zone.addresses_of["empty.example"] = NONE
    for domain in ("nowhere.example", "empty.example"):
        found = await router(zone).route(domain)
        assert isinstance(found, Failed)
        assert (found.reply.code, found.reply.detail) == (498, "1.2")
        assert domain in found.reply.text


async def test_mx_hosts_without_any_address_are_code_498_and_named(zone):
    zone.domain("example.org", (10, "gone.mx"), (20, "private.mx")).host("private.mx", "10.0.0.1")
    found = await router(zone).route("example.org")
    assert isinstance(found, Failed)
    assert (found.reply.code, found.reply.detail) == (498, "4.4")
    assert "gone.mx has no address" in found.reply.text
    assert "private.mx has only 10.0.0.1" in found.reply.text


async def test_trouble_in_dns_is_for_later(zone):
    zone.mx_of["example.org"] = Answer(Found.TROUBLE, (), 10.0, "SERVFAIL")
    zone.domain("example.net", (10, "slow.mx"), (20, "gone.mx")).addresses_of["slow.mx"] = TROUBLE
    zone.addresses_of["example.com"] = TROUBLE
    for domain in ("example.org", "example.net", "example.com"):
        found = await router(zone).route(domain)
        assert isinstance(found, Deferred), domain
        assert (found.reply.enhanced, found.phase, found.hop) == ("4.4.3", Phase.DNS, None)


async def test_trouble_is_not_remembered(zone):
    zone.mx_of["example.org"] = Answer(Found.TROUBLE, (), 10.0, "SERVFAIL")
    routes = router(zone)
    assert isinstance(await routes.route("example.org"), Deferred)
    zone.domain("example.org", (10, "a.mx"))
    assert names(await routes.route("example.org")) == ["a.mx"]


async def test_a_host_dns_is_in_trouble_with_does_not_hold_up_the_others(zone):
    zone.domain("example.org", (10, "slow.mx"), (20, "b.mx")).addresses_of["slow.mx"] = TROUBLE
    assert names(await router(zone).route("example.org")) == ["slow.mx", "b.mx"]


async def test_mx_records_that_name_no_host_are_for_later(zone):
    zone.domain("example.org", (10, "192.0.2.1"), (20, "bad host"), (30, "x" * 64))
    assert isinstance(await router(zone).route("example.org"), Deferred)
    zone.domain("example.net", (10, "192.0.2.1"), (20, "a.mx"))
    assert names(await router(zone).route("example.net")) == ["a.mx"]


async def test_where_we_are_an_mx_only_preferred_hosts_get_the_mail(zone):
    zone.domain("example.org", (10, "a.mx"), (20, "b.mx"), (20, "us.mx"), (30, "c.mx")).host("us.mx", "8.8.8.9")
    assert names(await router(zone, ours=Ourselves(frozenset({"us.mx"}))).route("example.org")) == ["a.mx"]
    by_address = Ourselves(has_address=lambda address, port: (address, port) == ("8.8.8.9", 25))
    assert names(await router(zone, ours=by_address).route("example.org")) == ["a.mx"]
    assert len(names(await router(zone, ours=by_address, port=26).route("example.org"))) == 4


async def test_a_domain_whose_best_mx_we_are_is_a_loop(zone):
    zone.domain("example.org", (10, "us.mx"), (20, "b.mx"))
    found = await router(zone, ours=Ourselves(frozenset({"us.mx"}))).route("example.org")
    assert isinstance(found, Failed)
    assert (found.reply.enhanced, found.phase) == ("5.4.6", Phase.LOCAL)


async def test_hosts_are_limited_to_the_most_preferred(zone):
    for number in range(60):
        zone.host(f"h{number}.mx", "8.8.8.8")
    zone.domain("example.org", *[(number, f"h{number}.mx") for number in range(60)])
    assert names(await router(zone).route("example.org")) == [f"h{number}.mx" for number in range(MAX_HOSTS)]


async def test_private_mx_addresses_need_permission(zone):
    zone.domain("example.org", (10, "in.mx")).host("in.mx", "10.0.0.1")
    assert isinstance(await router(zone).route("example.org"), Failed)
    assert await router(zone).addresses("in.mx") == ()
    assert names(await router(zone, allow_private=True).route("example.org")) == ["in.mx"]
    assert await router(zone, allow_private=True).addresses("in.mx") == ("10.0.0.1",)


async def test_addresses_of_a_host_are_given_or_the_reason_why_not(zone):
    zone.addresses_of["slow.mx"] = TROUBLE
    assert await router(zone).addresses("c.mx") == ("2a00::3", "8.8.8.3")
    assert await router(zone, ipv6=False).addresses("c.mx") == ("8.8.8.3",)
    assert (await router(zone).look_up("slow.mx")).why == "DNS gave no address of slow.mx (no answer within 5 s)"
    assert (await router(zone).look_up("gone.mx")).why == "gone.mx has no address"


async def test_an_address_literal_is_its_own_host(zone):
    routes = router(zone, allow_private=True)
    found = await routes.route("[127.0.0.1]")
    assert names(found) == ["127.0.0.1"]
    assert await routes.addresses("127.0.0.1") == ("127.0.0.1",)
    assert names(await routes.route("[IPv6:2001:db8::1]")) == ["2001:db8::1"]


@pytest.mark.parametrize("domain", ["[127.0.0.1]", "[IPv6:::1]", "[10.0.0.1]", "[IPv6:::ffff:10.0.0.1]"])
async def test_a_private_address_literal_needs_permission(zone, domain):
    found = await router(zone).route(domain)
    assert isinstance(found, Failed)
    assert found.reply.enhanced == "5.1.2"
    assert await router(zone).addresses(domain.strip("[]").removeprefix("IPv6:")) == ()


async def test_what_only_looks_like_a_literal_fails(zone):
    for domain in ("[300.1.1.1]", "[0.0.0.0]", "[]", "[example.org]", "[IPv6:fe80::1%eth0]"):
        assert isinstance(await router(zone, allow_private=True).route(domain), Failed)


async def test_a_literal_of_ours_is_a_loop(zone):
    ours = Ourselves(has_address=lambda address, port: address == "8.8.8.9")
    found = await router(zone, ours=ours).route("[8.8.8.9]")
    assert isinstance(found, Failed)
    assert found.reply.enhanced == "5.4.6"


async def test_a_smarthost_takes_everything_without_mx_and_may_be_private(zone):
    zone.host("relay.lan", "10.0.0.5", "0.0.0.0")
    routes = router(zone, relay="Relay.lan:2525")
    expected = Route("relay.lan", (MxHost("relay.lan", 0),), 2525, relay=True)
    assert await routes.route("example.org") == expected
    assert routes.known("anything.example") == expected
    assert await routes.addresses("relay.lan") == ("10.0.0.5",)
    assert not zone.asked


@pytest.mark.parametrize(
    ("relay", "addresses"),
    [("127.0.0.1:2525", ("127.0.0.1",)), ("[::1]:2525", ("::1",)), ("localhost:2525", ("::1", "127.0.0.1"))],
)
async def test_a_smarthost_on_this_machine_needs_no_dns(zone, relay, addresses):
    routes = router(zone, relay=relay)
    (host,) = names(await routes.route("example.org"))
    assert await routes.addresses(host) == addresses


async def test_known_asks_nobody_and_knows_what_was_routed(zone):
    zone.domain("example.org", (10, "a.mx"))
    routes = router(zone)
    assert routes.known("example.org") is None
    await routes.route("example.org")
    assert names(routes.known("example.org")) == ["a.mx"]
    await routes.route("nowhere.example")
    assert routes.known("nowhere.example") is None


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0.0, 60), (300.0, 300), (1e6, 3600)])
async def test_a_route_is_kept_for_its_ttl_from_a_minute_to_an_hour(zone, ttl_s, kept_s):
    clock = VirtualClock()
    routes = router(zone.domain("example.org", (10, "a.mx"), ttl_s=ttl_s), clock)
    await routes.route("example.org")
    clock.advance(kept_s - 1)
    assert routes.known("example.org") is not None
    clock.advance(1)
    assert routes.known("example.org") is None
    await routes.route("example.org")
    assert zone.asked["example.org"] == 2


async def test_failures_are_remembered_until_forgotten(zone):
    routes = router(zone)
    await routes.route("new.example")
    zone.domain("new.example", (10, "a.mx"))
    assert isinstance(await routes.route("new.example"), Failed)
    routes.forget("new.example")
    assert names(await routes.route("new.example")) == ["a.mx"]


async def test_only_so_many_domains_are_kept(zone):
    routes = router(zone, entries=2)
    for number in range(4):
        await routes.route(zone.domain(f"d{number}.example", (10, "a.mx")) and f"d{number}.example")
    assert [routes.known(f"d{number}.example") is not None for number in range(4)] == [False, False, True, True]


async def test_it_finds_its_way_through_real_dns_and_cnames():
    async with DnsServer() as server:
        server.add("alias.example", "CNAME", "example.org")
        server.add("example.org", "MX", "20 b.example.org", "10 a.example.org")
        server.add("a.example.org", "A", "127.0.0.1")
        server.add("b.example.org", "AAAA", "::1")
        clock = VirtualClock()
        resolver = DnsResolver(DnsConfig(nameservers=(server.address,)), clock)
        routes = Router(DeliveryConfig(), resolver, clock, random.Random(1), allow_private=True)
        assert names(await routes.route("alias.example")) == ["a.example.org", "b.example.org"]
        assert await routes.addresses("b.example.org") == ("::1",)
        assert isinstance(await routes.route("nowhere.example"), Failed)


HOSTS = st.lists(st.builds(MxHost, st.sampled_from("abcdefgh"), st.integers(0, 5)), max_size=10, unique=True)


@given(HOSTS, st.randoms(use_true_random=False))
def test_the_order_keeps_every_host_and_never_goes_back_in_preference(hosts, rng):
    ordered = in_order(hosts, rng)
    assert Counter(ordered) == Counter(hosts)
    assert [host.preference for host in ordered] == sorted(host.preference for host in hosts)


@given(HOSTS, st.data())
def test_after_the_cut_no_host_could_send_the_mail_back_to_us(hosts, data):
    ours = set(data.draw(st.lists(st.sampled_from(hosts), max_size=3))) if hosts else set()
    left = cut_loop(hosts, ours)
    assert all(host.preference < own.preference for host in left for own in ours)
    assert ours or left == tuple(hosts)
