import pytest

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
