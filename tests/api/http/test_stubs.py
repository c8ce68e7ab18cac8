import pytest

from mtad.api.http.stubs import Stubs
from tests.api.http.house import DOMAIN, open_house, serve

RUNNING = {"is_disabled": False, "disabled": {"until": "", "reason": ""}}
PARTS = {"local_part": "postmaster", "domain": "x.org", "display_name": None}
PARSED = {"parsed": ["A <a@x.org>"], "unparseable": ["x.org"]}
ADDRESS = {"address": "postmaster@x.org", "is_valid": True, "parts": PARTS, "did_you_mean": None}


@pytest.fixture
async def client(tmp_path):
    dropped: list[int] = []

    async def drop(domain_id: int) -> None:
        dropped.append(domain_id)

    stubs = Stubs(["192.0.2.1"], drop)
    async with open_house(tmp_path) as house, serve(house, [stubs]) as client:
        client.dropped = dropped
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status", "wanted"),
    [
        ("GET", f"/v3/domains/{DOMAIN}/sending_queues", 200, {"regular": RUNNING, "scheduled": RUNNING}),
        ("DELETE", f"/v3/{DOMAIN}/envelopes", 200, {"message": "done"}),
        ("GET", "/v3/ips", 200, {"items": ["192.0.2.1"], "total_count": 1}),
        ("GET", "/v3/ips/192.0.2.1", 200, {"ip": "192.0.2.1", "rdns": "", "dedicated": True}),
        ("GET", "/v3/ips/192.0.2.9", 404, {"message": "IP not found"}),
        ("GET", f"/v3/domains/{DOMAIN}/ips", 200, {"items": ["192.0.2.1"], "total_count": 1}),
        ("POST", f"/v3/domains/{DOMAIN}/ips", 200, {"message": "success"}),
        ("DELETE", f"/v3/domains/{DOMAIN}/ips/192.0.2.1", 200, {"message": "success"}),
        ("GET", "/v1/ip_pools", 200, {"message": "success", "ip_pools": []}),
        ("GET", "/v3/ip_pools", 200, {"message": "success", "ip_pools": []}),
        ("POST", "/v3/ip_pools", 200, {"message": "success"}),
        ("GET", "/v3/ip_pools/1", 404, {"message": "Pool not found"}),
        ("PATCH", "/v3/ip_pools/1", 200, {"message": "success"}),
        ("DELETE", "/v3/ip_pools/1", 200, {"message": "success"}),
        ("GET", "/v3/address/validate?address=postmaster@x.org", 200, ADDRESS),
        ("GET", "/v3/address/validate", 400, {"message": "address parameter is missing"}),
        ("GET", "/v3/address/parse?addresses=A+%3Ca@x.org%3E,x.org", 200, PARSED),
        ("GET", "/v3/address/parse", 400, {"message": "addresses parameter is missing"}),
        ("GET", "/v5/accounts/subaccounts", 404, {"message": "Not Found"}),
        ("GET", "/v5/users", 404, {"message": "Not Found"}),
        ("GET", "/v1/keys", 404, {"message": "Not Found"}),
        ("GET", "/v1/alerts/events", 404, {"message": "Not Found"}),
        ("GET", "/v2/bounce-classification/config", 404, {"message": "Not Found"}),
    ],
)  # fmt: skip
async def test_what_clients_may_ask_is_answered_in_shape(client, method, path, status, wanted):
    assert await client.json(method, path, status) == wanted


async def test_dropping_the_envelopes_drops_what_the_domain_has_queued(client):
    await client.json("DELETE", f"/v3/{DOMAIN}/envelopes")
    assert client.dropped == [1]


async def test_an_address_is_judged_by_its_form(client):
    for method, given in (
        ("GET", {"params": {"address": "postmaster@x.org"}}),
        ("POST", {"data": {"address": "x.org"}}),
    ):
        found = await client.json(method, "/v4/address/validate", **given)
        assert found["is_role_address"] == (method == "GET")
        assert found["result"] == ("unknown" if method == "GET" else "undeliverable")
    assert (await client.json("GET", "/v3/address/validate?address=x.org"))["is_valid"] is False
