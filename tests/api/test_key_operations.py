import aiohttp
import pytest

from mtad.api.base import Impossible, NotThere
from mtad.api.http.keys import LENT_S, Keys, hash_of, reachable
from mtad.api.key_operations import KeyOperations
from mtad.storage import accounts, keys
from tests.api.house import open_house
from tests.virtualclock import VirtualClock


def basic(key: str) -> str:
    return aiohttp.encode_basic_auth("api", key)


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
def desk(house):
    return KeyOperations(
        database=house.database,
        outgoing=house.outgoing,
        ids=house.ids,
        clock=house.clock,
        runner=None,
        changed=None,
        hostname="mail.ours.example",
    )


@pytest.fixture
def held(house, desk):
    desk.lending = Keys(house.database, house.clock)
    return desk.lending


async def test_a_key_is_made_opens_and_is_revoked_at_once(desk, held, house):
    made = await desk.key_add(" ci  server ")
    assert (made.name, made.domain) == ("ci server", "")
    assert held.principal(basic(made.key)).domain is None
    (item,) = await desk.key_list()
    assert (item.id, item.name) == (made.id, "ci server")
    await desk.key_revoke(made.id)
    assert held.principal(basic(made.key)) is None
    assert await desk.key_list() == ()


async def test_only_a_hash_of_a_key_is_kept(desk, house):
    made = await desk.key_add("x")
    (row,) = await house.database.read(keys.keys)
    assert row.hash == hash_of(made.key)
    assert made.key.encode() not in b"".join(path.read_bytes() for path in house.database.path.parent.glob("mtad.*"))
    assert row.hash.hex() not in repr(row)


async def test_a_key_of_a_domain_goes_with_it(desk, held, house):
    made = await desk.key_add("x", "Ours.Example")
    assert held.principal(basic(made.key)).domain == "ours.example"
    await house.database.writer.write(lambda c: accounts.remove_domain(c, "ours.example"))
    assert await desk.key_list() == ()


@pytest.mark.parametrize(
    ("name", "domain", "said"),
    [
        (" ", "", "a key needs a name"),
        ("a\x1bb", "", "a key needs a name"),
        ("x" * 101, "", "a key needs a name"),
        ("x", "nowhere.example", "no domain of ours"),
        ("x", "no domain", "no domain name"),
        ("twice", "", "there is a key named 'twice' already"),
    ],
)
async def test_what_cannot_be_is_told(desk, name, domain, said):
    await desk.key_add("twice")
    with pytest.raises(Impossible, match=said):
        await desk.key_add(name, domain)
    assert len(await desk.key_list()) == 1


async def test_a_key_that_is_not_there_cannot_be_revoked(desk):
    with pytest.raises(NotThere, match="no key 7"):
        await desk.key_revoke(7)


async def test_a_key_is_lent_by_a_running_daemon_for_some_minutes(desk, held, house):
    held.url = "http://127.0.0.1:8025"
    lent = await desk.key_lend("ours.example")
    assert lent.url == held.url
    assert held.principal(basic(lent.key)).domain == "ours.example"
    assert await desk.key_list() == ()
    house.clock.advance(LENT_S)
    assert held.principal(basic(lent.key)) is None


async def test_no_key_is_lent_without_daemon_listener_or_domain(desk, house):
    with pytest.raises(Impossible, match="no daemon is running"):
        await desk.key_lend("ours.example")
    desk.lending = Keys(house.database, house.clock)
    with pytest.raises(Impossible, match=r"http\.listen"):
        await desk.key_lend("ours.example")
    desk.lending.url = "http://x"
    with pytest.raises(NotThere, match="no domain of ours"):
        await desk.key_lend("other.example")


@pytest.mark.parametrize(
    ("listener", "wanted"),
    [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[2001:db8::1]:1", "[2001:db8::1]:1"),
    ],
)
def test_a_listener_is_reached_from_this_machine(listener, wanted):
    assert reachable(listener) == wanted
