import asyncio
from collections.abc import AsyncIterator

import dns.message
import dns.rdata
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mtad.config import DnsConfig
from mtad.delivery.dns import MAX_RECORDS, Answer, DnsResolver, Found, MxHost, _mx_hosts, _qname, merged
from tests.dnsserver import NEGATIVE_TTL_S, DnsServer
from tests.virtualclock import VirtualClock


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as running:
        yield running


def resolver_for(server: DnsServer, clock: VirtualClock | None = None, **config: object) -> DnsResolver:
    return DnsResolver(DnsConfig(nameservers=(server.address,), **config), clock or VirtualClock())


async def test_mx_hosts_come_by_preference_in_lower_case_with_the_ttl_left_to_the_caller(server):
    server.add("example.org", "MX", "20 b.example.org", "10 A.Example.ORG", ttl=77)
    answer = await resolver_for(server).mx("Example.org")
    assert answer == Answer(Found.RECORDS, (MxHost("a.example.org", 10), MxHost("b.example.org", 20)), 77.0)


async def test_the_null_mx_is_a_dot(server):
    server.add("example.org", "MX", "0 .")
    assert (await resolver_for(server).mx("example.org")).records == (MxHost(".", 0),)


async def test_no_such_domain_no_such_type_and_trouble_are_three_things(server):
    server.add("example.org", "A", "192.0.2.1")
    server.fail("broken.example")
    resolver = resolver_for(server)
    assert await resolver.mx("nowhere.example") == Answer(Found.NO_DOMAIN, (), NEGATIVE_TTL_S)
    assert await resolver.mx("example.org") == Answer(Found.NO_DATA, (), NEGATIVE_TTL_S)
    trouble = await resolver.mx("broken.example")
    assert trouble.found is Found.TROUBLE
    assert "SERVFAIL" in trouble.why


@pytest.mark.parametrize("rcode", ["REFUSED", "FORMERR", "NOTIMP", "YXDOMAIN"])
async def test_any_other_refusal_is_trouble(server, rcode):
    server.fail("broken.example", rcode)
    assert (await resolver_for(server).txt("broken.example")).found is Found.TROUBLE


async def test_a_silent_name_server_is_trouble_within_the_time_limit(server):
    server.silence("slow.example")
    started = asyncio.get_running_loop().time()
    answer = await resolver_for(server, timeout_s=0.2).mx("slow.example")
    assert answer.found is Found.TROUBLE
    assert "0.2 s" in answer.why
    assert asyncio.get_running_loop().time() - started < 2


async def test_a_name_server_that_fails_hands_over_to_the_next(server):
    async with DnsServer() as bad:
        bad.fail("example.org")
        server.add("example.org", "TXT", '"yes"')
        config = DnsConfig(nameservers=(bad.address, server.address))
        assert (await DnsResolver(config, VirtualClock()).txt("example.org")).records == ("yes",)


async def test_addresses_are_ipv6_first_and_ipv6_can_be_left_unasked(server):
    server.add("mx.example.org", "A", "192.0.2.1", "192.0.2.2")
    server.add("mx.example.org", "AAAA", "2001:db8::1")
    resolver = resolver_for(server)
    answer = await resolver.addresses("mx.example.org", ipv6=False)
    assert sorted(answer.records) == ["192.0.2.1", "192.0.2.2"]
    assert server.count("mx.example.org", "AAAA") == 0
    answer = await resolver.addresses("mx.example.org")
    assert answer.records[0] == "2001:db8::1"
    assert sorted(answer.records[1:]) == ["192.0.2.1", "192.0.2.2"]


async def test_a_cname_is_followed(server):
    server.add("www.example.org", "CNAME", "real.example.org", ttl=30)
    server.add("real.example.org", "A", "192.0.2.7")
    answer = await resolver_for(server).addresses("www.example.org")
    assert answer.records == ("192.0.2.7",)
    assert answer.ttl_s == 30


async def test_a_cname_loop_is_trouble(server):
    server.add("a.example.org", "CNAME", "b.example.org")
    server.add("b.example.org", "CNAME", "a.example.org")
    assert (await resolver_for(server, timeout_s=0.3).mx("a.example.org")).found is Found.TROUBLE


async def test_the_strings_of_a_text_are_joined_and_octets_kept(server):
    server.add("example.org", "TXT", '"v=spf1 " "-all"', '"\\255"')
    assert sorted((await resolver_for(server).txt("example.org")).records) == ["v=spf1 -all", "\xff"]


async def test_answers_are_kept_for_their_ttl_the_negative_ones_and_trouble_too(server):
    clock = VirtualClock()
    resolver = resolver_for(server, clock)
    server.add("example.org", "MX", "10 mx.example.org", ttl=60)
    server.fail("broken.example")
    for name in ("example.org", "broken.example", "nowhere.example"):
        assert await resolver.mx(name) == await resolver.mx(name.upper() + ".")
        assert server.count(name) == 1
    clock.advance(11)
    await resolver.mx("broken.example")
    assert server.count("broken.example") == 2
    clock.advance(50)
    await resolver.mx("example.org")
    assert server.count("example.org") == 2


async def test_the_cache_is_bounded(server):
    resolver = resolver_for(server, cache_entries=3)
    for number in range(10):
        await resolver.mx(f"d{number}.example")
    assert len(resolver._cache) == 3


async def test_many_who_ask_together_make_one_query(server):
    server.add("example.org", "MX", "10 mx.example.org", ttl=0)
    gate = server.hold("example.org")
    resolver = resolver_for(server)
    asking = [asyncio.create_task(resolver.mx("example.org")) for _ in range(50)]
    await server.until_asked("example.org")
    asking[0].cancel()
    gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.records for answer in answers[1:]} == {(MxHost("mx.example.org", 10),)}
    assert server.count("example.org") == 2  # the cancelled one, then one for all the others


async def test_a_truncated_answer_is_asked_for_again_over_tcp(server):
    values = [f"{number} mx{number}.a-rather-long-name-that-fills-the-packet.example.org" for number in range(150)]
    server.add("example.org", "MX", *values)
    server.truncate("example.org")
    answer = await resolver_for(server).mx("example.org")
    assert server.over_tcp == 1
    assert [host.preference for host in answer.records] == list(range(MAX_RECORDS))


async def test_large_answers_are_given_but_not_kept(server):
    server.add("example.org", "TXT", *[f'"{number:0200}"' for number in range(30)])
    server.truncate("example.org")
    resolver = resolver_for(server)
    assert len((await resolver.txt("example.org")).records) == 30
    assert len(resolver._cache) == 0


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "x" * 64 + ".example", "a." * 140, "bücher.example", "a\\000b.example"]
)
async def test_what_is_no_name_is_no_domain_and_nobody_is_asked(server, name):
    answer = await resolver_for(server).mx(name)
    assert answer.found is Found.NO_DOMAIN
    assert server.asked == []


def test_it_works_on_uvloop():
    async def ask() -> tuple[Answer[MxHost], Answer[str]]:
        async with DnsServer() as server:
            server.add("example.org", "MX", "10 mx.example.org")
            server.add("mx.example.org", "AAAA", "2001:db8::1")
            server.truncate("example.org")
            resolver = resolver_for(server)
            return await resolver.mx("example.org"), await resolver.addresses("mx.example.org")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        hosts, addresses = runner.run(ask())
    assert hosts.records == (MxHost("mx.example.org", 10),)
    assert addresses.records == ("2001:db8::1",)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_none(text):
    name = _qname(text)
    assert name is None or name.is_absolute()


@given(st.binary(min_size=3, max_size=80))
def test_any_mx_record_dns_can_carry_is_read(wire):
    try:
        record = dns.rdata.from_wire("IN", "MX", wire, 0, len(wire))
    except Exception:
        return
    (host,) = _mx_hosts([record])
    assert host.name == host.name.lower()
    assert 0 <= host.preference < 65_536


def test_records_of_one_type_outweigh_trouble_with_the_other():
    good = Answer(Found.RECORDS, ("192.0.2.1",), 60.0)
    bad = Answer[str](Found.TROUBLE, (), 10.0, "no answer")
    none = Answer[str](Found.NO_DATA, (), 300.0)
    assert merged(bad, good) == Answer(Found.RECORDS, ("192.0.2.1",), 10.0)
    assert merged(none, bad) == bad
    assert merged(none, none) == none
