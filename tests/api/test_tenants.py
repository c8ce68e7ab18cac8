import asyncio

import pytest

from mtad.api.passwords import make_hash
from mtad.api.tenants import Tenants
from mtad.clock import SystemClock
from mtad.config import DeliveryConfig
from mtad.storage import accounts
from tests.api.house import open_house

NEWS, BULK, PLAIN = "192.0.2.26", "192.0.2.27", "192.0.2.25"
POOLS = {"news": (NEWS,), "both": (NEWS, BULK)}


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, SystemClock()) as made:
        yield made


async def tenants(house, pool, **config):
    """With ours.example in that pool, and its id."""
    await house.database.writer.write(lambda connection: accounts.set_domain(connection, "ours.example", pool, None))
    made = Tenants(house.database, DeliveryConfig(**config))
    await made.load()
    return made, made.id_of("ours.example")


@pytest.mark.parametrize(
    ("config", "every", "default"),
    [
        ({}, ("",), ("",)),
        ({"pools": POOLS}, ("", NEWS, BULK), ("",)),
        ({"sources": (PLAIN,), "pools": POOLS}, (PLAIN, NEWS, BULK), (PLAIN,)),
        ({"sources": (PLAIN, NEWS), "pools": POOLS}, (PLAIN, NEWS, BULK), (PLAIN, NEWS)),
        ({"sources": (NEWS,), "pools": {"news": (NEWS,)}}, (NEWS,), (NEWS,)),
    ],
)
async def test_pools_need_no_other_addresses_to_be_used(house, config, every, default):
    held, domain_id = await tenants(house, "news" if config.get("pools") else "", **config)
    assert held.all_sources() == every
    assert held.sources(domain_id) == ((NEWS,) if config.get("pools") else default)
    assert held.sources(999) == default  # a domain without a pool, or none of ours any more


async def test_a_domain_whose_pool_is_configured_no_more_sends_as_one_without(house):
    held, domain_id = await tenants(house, "gone", sources=(PLAIN,), pools=POOLS)
    assert held.sources(domain_id) == (PLAIN,)


async def test_limits_are_those_of_the_domains_that_have_one(house):
    held, domain_id = await tenants(house, "")
    assert held.hourly_limits() == {}
    await house.database.writer.write(
        lambda connection: accounts.set_domain(connection, "ours.example", None, None, 500)
    )
    await held.load()
    assert held.hourly_limits() == {domain_id: 500}


class LateAnswer:
    """A store whose next answer is held back until `go`; `held` is set when it is there."""

    def __init__(self, database):
        self._database, self.held, self.go = database, asyncio.Event(), asyncio.Event()

    async def read(self, work):
        found = await self._database.read(work)
        if not self.held.is_set():
            self.held.set()
            await self.go.wait()
        return found


async def test_a_password_that_is_changed_while_it_is_checked_is_not_remembered_as_right(house):
    async def set_password(password):
        row = ("ann@ours.example", 1, make_hash(password), 0.0)
        await house.database.writer.write(lambda connection: accounts.set_credential(connection, *row))

    await set_password("the old one")
    late = LateAnswer(house.database)
    held = Tenants(late, DeliveryConfig())
    checked = asyncio.create_task(held.verify("ann@ours.example", "the old one"))
    await late.held.wait()
    await set_password("the new one")
    await held.load()
    late.go.set()
    assert await checked == "ours.example"  # it was right when it was looked at
    assert await held.verify("ann@ours.example", "the old one") is None
    assert await held.verify("ann@ours.example", "the new one") == "ours.example"
