import asyncio

import pytest

from mtad.delivery.dns import AddressAnswer, Answer, Found, MxAnswer, TxtAnswer
from mtad.delivery.policies import FetchFailed, Policies
from mtad.delivery.sts import Mode, Policy
from tests.virtualclock import VirtualClock

DAY = 86_400.0


class Domain:
    """example.org as it is seen from outside: its TXT record and its web server."""

    def __init__(self) -> None:
        self.id: str | None = "1"
        self.txt_found = Found.RECORDS
        self.ttl_s = 300.0
        self.status, self.kind = 200, "text/plain; charset=utf-8"
        self.mode, self.mx, self.max_age_s = "enforce", "mx.example.org", 7 * DAY
        self.down = False
        self.gate: asyncio.Event | None = None
        self.texts, self.fetched = 0, 0

    async def txt(self, name: str) -> TxtAnswer:
        assert name == "_mta-sts.example.org"
        self.texts += 1
        if self.txt_found is not Found.RECORDS:
            return Answer(self.txt_found, (), 10.0, "trouble")
        return Answer(Found.RECORDS, (f"v=STSv1; id={self.id}",), self.ttl_s)

    async def fetch(self, url: str) -> tuple[int, str, bytes]:
        assert url == "https://mta-sts.example.org/.well-known/mta-sts.txt"
        self.fetched += 1
        if self.gate:
            await self.gate.wait()
        if self.down:
            raise FetchFailed("connection refused")
        body = f"version: STSv1\nmode: {self.mode}\nmx: {self.mx}\nmax_age: {int(self.max_age_s)}\n"
        return self.status, self.kind, body.encode()

    async def mx(self, name: str) -> MxAnswer:
        raise AssertionError("not asked for")

    async def addresses(self, name: str, *, ipv6: bool = True) -> AddressAnswer:
        raise AssertionError("not asked for")


@pytest.fixture
def domain() -> Domain:
    return Domain()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def policies(domain, clock) -> Policies:
    return Policies(domain, domain.fetch, clock)


async def patterns(policies: Policies) -> tuple[str, ...] | None:
    policy = await policies.policy("example.org")
    return policy and policy.patterns


async def test_a_policy_is_fetched_once_and_kept(policies, domain, clock):
    assert await policies.policy("example.org") == Policy(Mode.ENFORCE, ("mx.example.org",), int(7 * DAY))
    await policies.policy("example.org")
    assert (domain.texts, domain.fetched) == (1, 1)
    clock.advance(301)
    await policies.policy("example.org")
    assert (domain.texts, domain.fetched) == (2, 1)


async def test_a_new_id_brings_the_new_policy(policies, domain, clock):
    await policies.policy("example.org")
    domain.id, domain.mx = "2", "new.example.org"
    assert await patterns(policies) == ("mx.example.org",)
    clock.advance(301)
    assert await patterns(policies) == ("new.example.org",)


async def test_a_policy_is_fetched_anew_each_day_so_that_it_does_not_run_out(policies, domain, clock):
    await policies.policy("example.org")
    clock.advance(DAY + 1)
    assert await patterns(policies) == ("mx.example.org",)
    assert domain.fetched == 2


@pytest.mark.parametrize("trouble", ["down", "status", "kind", "mode"])
async def test_when_the_fetch_fails_the_old_policy_stays_until_its_age_is_over(policies, domain, clock, trouble):
    await policies.policy("example.org")
    domain.id = "2"
    bad = {"down": True, "status": 302, "kind": "text/html", "mode": "broken"}
    setattr(domain, trouble, bad[trouble])
    clock.advance(6 * DAY)
    assert await patterns(policies) == ("mx.example.org",)
    fetched = domain.fetched
    await policies.policy("example.org")
    assert domain.fetched == fetched, "a failed fetch is not tried again for each message"
    clock.advance(2 * DAY)
    assert await policies.policy("example.org") is None


@pytest.mark.parametrize("found", [Found.NO_DOMAIN, Found.NO_DATA, Found.TROUBLE])
async def test_a_record_that_went_away_does_not_end_a_policy_in_force(policies, domain, clock, found):
    await policies.policy("example.org")
    domain.txt_found = found
    clock.advance(6 * DAY)
    assert await patterns(policies) == ("mx.example.org",)
    clock.advance(DAY)
    assert await policies.policy("example.org") is None


async def test_a_policy_ends_at_its_age_even_between_two_looks(policies, domain, clock):
    domain.max_age_s, domain.ttl_s = 600, 3600
    await policies.policy("example.org")
    domain.down = True
    clock.advance(599)
    assert await patterns(policies) == ("mx.example.org",)
    clock.advance(1)
    assert await policies.policy("example.org") is None


async def test_without_a_record_nothing_is_fetched(policies, domain, clock):
    domain.txt_found = Found.NO_DOMAIN
    assert await policies.policy("example.org") is None
    assert await policies.policy("example.org") is None
    assert (domain.texts, domain.fetched) == (1, 0)


async def test_after_trouble_in_dns_the_record_is_looked_for_again_soon(policies, domain, clock):
    domain.txt_found = Found.TROUBLE
    assert await policies.policy("example.org") is None
    domain.txt_found = Found.RECORDS
    clock.advance(31)
    assert await patterns(policies) == ("mx.example.org",)


async def test_a_domain_that_came_back_is_seen_after_five_minutes(policies, domain, clock):
    domain.down = True
    assert await policies.policy("example.org") is None
    domain.down = False
    clock.advance(301)
    assert await patterns(policies) == ("mx.example.org",)


async def test_many_who_ask_together_make_one_fetch(policies, domain):
    domain.gate = asyncio.Event()
    asking = [asyncio.create_task(policies.policy("example.org")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[1].cancel()
    domain.gate.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(one, Policy) for one in found) == 19
    assert (domain.texts, domain.fetched) == (1, 1)
