import pytest
from aiohttp import FormData
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.api.http import dkim
from mtad.api.results import DkimKeyItem, DnsRecord
from mtad.message.dkim import public_record
from mtad.storage import accounts
from tests.api.http.account import open_account
from tests.api.http.house import DOMAIN, OTHER
from tests.inbound.zones import ED_KEY, RSA_KEY, RSA_RECORD
from tests.virtualclock import VirtualClock

KEYS = "/v1/dkim/keys"


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path, VirtualClock()) as account:
        yield account


@pytest.fixture
def add(account):
    async def call(selector, domain=DOMAIN, **more):
        return await account.json("POST", KEYS, data={"signing_domain": domain, "selector": selector, **more})

    return call


def pem(key, form=serialization.PrivateFormat.PKCS8, lock=None):
    return key.private_bytes(serialization.Encoding.PEM, form, lock or serialization.NoEncryption())


def signing(account):
    return [signer.selector for signer in account.house.tenants.signers(1)]


async def test_a_key_is_made_shown_and_removed(account, add):
    made = await add("Smtp")
    record = made["dns_record"]
    assert (made["signing_domain"], made["selector"]) == (DOMAIN, "smtp")
    assert record.pop("value").startswith("v=DKIM1; k=rsa; p=")
    assert record == {
        "record_type": "TXT",
        "name": f"smtp._domainkey.{DOMAIN}",
        "valid": "unknown",
        "is_active": True,
        "cached": [],
    }
    query = f"?signing_domain={DOMAIN}&selector=smtp"
    assert [item["selector"] for item in (await account.json("GET", KEYS + query))["items"]] == ["smtp"]
    assert await account.json("DELETE", KEYS + query) == {"message": "success"}
    assert (await account.json("GET", KEYS))["items"] == []
    assert (await account.json("DELETE", KEYS + query, 404))["message"] == "domain key not found"
    assert signing(account) == []


@pytest.mark.parametrize(("bits", "size"), [({"bits": "1024"}, 234), ({"bits": "2048"}, 410), ({}, 410)])
async def test_a_key_has_the_size_that_was_asked_for(add, bits, size):
    assert len((await add("s", **bits))["dns_record"]["value"]) == size


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("key", [RSA_KEY, ED_KEY], ids=["rsa", "ed25519"])
async def test_a_key_of_ones_own_is_taken(account, add, as_file, key):
    if as_file:
        form = FormData({"signing_domain": DOMAIN, "selector": "own", "bits": "2048"})
        form.add_field("pem", pem(key), filename="server.key")
        made = await account.json("POST", KEYS, data=form)
    else:
        made = await add("own", pem=pem(key).decode())
    assert made["dns_record"]["value"] == public_record(key)
    assert signing(account) == ["own"]


async def test_a_key_of_the_older_form_is_taken(add):
    text = pem(RSA_KEY, serialization.PrivateFormat.TraditionalOpenSSL).decode()
    assert (await add("old", pem=text))["dns_record"]["value"] == RSA_RECORD


LOCKED = pem(RSA_KEY, lock=serialization.BestAvailableEncryption(b"secret")).decode()
CURVE = pem(ec.generate_private_key(ec.SECP256R1())).decode()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"pem": "nonsense"}, "the key cannot be used"),
        ({"pem": LOCKED}, "the key cannot be used"),
        ({"pem": CURVE}, "DKIM signs with RSA or Ed25519 keys"),
        ({"pem": "x" * 20_000}, "too long"),
        ({"bits": "512"}, "bits parameter is neither 1024 nor 2048"),
        ({"bits": "x"}, "'bits' parameter is not an integer"),
        ({"selector": "a;b"}, "no selector"),
        ({"selector": "x" * 64}, "no selector"),
        ({"selector": ""}, "selector parameter is missing"),
        ({"signing_domain": ""}, "signing_domain parameter is missing"),
    ],
)
async def test_what_can_be_no_key_is_400_and_not_repeated(account, more, said):
    data = {"signing_domain": DOMAIN, "selector": "s", **more}
    found = await account.json("POST", KEYS, 400, data=data)
    assert said in found["message"]
    assert "PRIVATE" not in found["message"]
    assert await account.house.database.read(accounts.dkim_keys) == []


async def test_a_key_for_a_domain_of_others_is_404(account):
    found = await account.json("POST", KEYS, 404, data={"signing_domain": "nowhere.example", "selector": "s"})
    assert found == {"message": "Domain not found"}
    await account.json("DELETE", f"{KEYS}?signing_domain=nowhere.example&selector=s", 404)


async def test_a_selector_is_given_once(account, add):
    await add("s")
    data = {"signing_domain": DOMAIN, "selector": "S"}
    assert "already" in (await account.json("POST", KEYS, 400, data=data))["message"]
    await add("s", OTHER)


async def test_a_domain_has_so_many_keys_and_no_more(account, monkeypatch, add):
    monkeypatch.setattr("mtad.api.dkim_operations.MAX_KEYS", 2)
    await add("a", pem=pem(ED_KEY).decode())
    await add("b", pem=pem(RSA_KEY).decode())
    data = {"signing_domain": DOMAIN, "selector": "c", "pem": pem(RSA_KEY).decode()}
    assert "that is the most" in (await account.json("POST", KEYS, 400, data=data))["message"]


async def test_what_signs_is_the_active_keys(account, add):
    await add("first", pem=pem(RSA_KEY).decode())
    second = await add("second", pem=pem(ED_KEY).decode())
    assert not second["dns_record"]["is_active"]  # nobody can have published it yet
    assert signing(account) == ["first"]
    found = await account.json("PUT", f"/v4/domains/{DOMAIN}/keys/second/activate")
    assert found == {"message": "domain key activated", "authority": DOMAIN, "selector": "second", "active": True}
    assert signing(account) == ["first", "second"]
    found = await account.json("PUT", f"/v4/domains/{DOMAIN}/keys/first/deactivate")
    assert found == {"message": "domain key deactivated", "authority": DOMAIN, "selector": "first", "active": False}
    assert signing(account) == ["second"]
    items = (await account.json("GET", f"/v4/domains/{DOMAIN}/keys"))["items"]
    assert {item["selector"]: item["dns_record"]["is_active"] for item in items} == {"first": False, "second": True}
    await account.json("PUT", f"/v4/domains/{DOMAIN}/keys/third/activate", 404)


async def test_the_keys_of_one_domain_do_not_show_those_of_another(account, add):
    await add("a")
    await add("b", OTHER)
    items = (await account.json("GET", f"/v4/domains/{OTHER}/keys"))["items"]
    assert [(item["signing_domain"], item["selector"]) for item in items] == [(OTHER, "b")]
    assert [item["selector"] for item in (await account.json("GET", KEYS))["items"]] == ["a", "b"]


async def test_pages_lead_through_all_keys_by_their_links(account, add):
    for selector, domain in (("a", DOMAIN), ("b", DOMAIN), ("a", OTHER), ("c", OTHER), ("d", OTHER)):
        await add(selector, domain, pem=pem(ED_KEY).decode())
    page = await account.json("GET", f"{KEYS}?limit=2")
    seen, pages = [], 0
    while page["items"] and pages < 9:
        seen += [(item["signing_domain"], item["selector"]) for item in page["items"]]
        assert set(page["paging"]) == {"first", "next", "previous", "last"}
        page = await account.json("GET", page["paging"]["next"].removeprefix(account.client.base))
        pages += 1
    assert seen == [(DOMAIN, "a"), (DOMAIN, "b"), (OTHER, "a"), (OTHER, "c"), (OTHER, "d")]
    back = await account.json("GET", page["paging"]["previous"].removeprefix(account.client.base))
    assert [item["selector"] for item in back["items"]] == ["a", "c"]
    last = await account.json("GET", page["paging"]["last"].removeprefix(account.client.base))
    assert [item["selector"] for item in last["items"]] == ["c", "d"]


@pytest.mark.parametrize("query", ["page=string&limit=0", "page=%C3%A9", "page=" + "x" * 500, "limit=5000"])
async def test_a_page_that_is_none_of_ours_is_the_first(account, add, query):
    await add("a", pem=pem(ED_KEY).decode())
    assert len((await account.json("GET", f"{KEYS}?{query}"))["items"]) == 1


def items(places):
    record = DnsRecord("", "TXT", "", "")
    return [DkimKeyItem(domain, selector, "", True, 0.0, record) for domain, selector in places]


@settings(max_examples=50)
@given(
    places=st.sets(
        st.tuples(st.sampled_from(["a.b", "a-b.c", "a.b.c", "b"]), st.text("ab.-1", max_size=3)), max_size=12
    ),
    limit=st.integers(1, 5),
)
def test_no_key_is_on_two_pages_and_none_is_left_out(places, limit):
    keys, forth, back = items(places), [], []
    page = dkim._page(keys, "first", "", limit)
    while page:
        forth += page
        page = dkim._page(keys, "next", dkim._place(page[-1]), limit)
    page = dkim._page(keys, "last", "", limit)
    while page:
        back = [*page, *back]
        page = dkim._page(keys, "previous", dkim._place(page[0]), limit)
    assert forth == back == sorted(keys, key=dkim._place)


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_page_is_read(text):
    word, place = dkim._read_page(text)
    assert word in ("first", "next", "previous", "last")
    assert isinstance(place, str)
