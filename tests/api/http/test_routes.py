import re

import aiohttp
import pytest

from mtad.api.http.routes import Routes
from mtad.api.operations import Operations
from mtad.inbound.routes.compiled import compile_route
from mtad.storage import routes
from tests.api.http.house import KEY, open_house, serve
from tests.virtualclock import VirtualClock

BASE = "/v3/routes"
NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
BOB = 'match_recipient("bob@.*")'
FORM = [("expression", BOB), ("action", 'forward("http://x.org/m/")'), ("action", "stop()")]


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
async def client(house):
    operations = Operations(
        database=house.database,
        outgoing=house.outgoing,
        ids=house.ids,
        clock=house.clock,
        runner=None,
        changed=house.tenants.load,
        hostname="mail.example.com",
    )
    async with serve(house, [Routes(operations)]) as client:
        yield client


@pytest.fixture
def add(client):
    async def call(expression=BOB, *actions, **more):
        form = [("expression", expression), *(("action", one) for one in actions or ("stop()",)), *more.items()]
        return (await client.json("POST", BASE, data=form))["route"]

    return call


@pytest.mark.parametrize("version", [2, 3])
async def test_a_route_is_added_and_shown(client, version):
    form = [*FORM, ("priority", "5"), ("description", "Bob's")]
    made = await client.json("POST", f"/v{version}/routes", data=form)
    assert made["message"] == "Route has been created"
    assert re.fullmatch("[0-9a-f]{24}", made["route"]["id"])
    assert made["route"] == {
        "id": made["route"]["id"],
        "priority": 5,
        "description": "Bob's",
        "expression": BOB,
        "actions": ['forward("http://x.org/m/")', "stop()"],
        "created_at": NOW,
    }
    assert await client.json("GET", f"/v{version}/routes/{made['route']['id']}") == {"route": made["route"]}


async def test_a_route_may_be_json_and_has_defaults(client):
    made = (await client.json("POST", BASE, json={"expression": "catch_all()", "action": ["store()", "stop()"]}))[
        "route"
    ]
    assert (made["priority"], made["description"], made["actions"]) == (0, "", ["store()", "stop()"])


async def test_routes_are_listed_by_priority_and_then_by_age(client, add):
    made = [(await add(priority=str(n)))["id"] for n in (3, 1, 2, 1)]
    order = [made[1], made[3], made[2], made[0]]
    found = await client.json("GET", BASE)
    assert (found["total_count"], [one["id"] for one in found["items"]]) == (4, order)
    found = await client.json("GET", f"{BASE}?limit=2&skip=1")
    assert (found["total_count"], [one["id"] for one in found["items"]]) == (4, order[1:3])


async def test_what_is_not_said_stays_as_it_is(client, add):
    made = await add(BOB, "store()", "stop()", priority="4", description="old")
    url = f"{BASE}/{made['id']}"
    assert await client.json("PUT", url, data={"priority": "-1"}) == {
        **made,
        "priority": -1,
        "message": "Route has been updated",
    }
    changed = await client.json("PUT", url, data=[("action", "stop()"), ("description", "")])
    assert (changed["actions"], changed["description"], changed["expression"]) == (["stop()"], "", BOB)
    assert (await client.json("PUT", url, data={"expression": "catch_all()"}))["expression"] == "catch_all()"
    shown = (await client.json("GET", url))["route"]
    assert (shown["priority"], shown["expression"], shown["actions"]) == (-1, "catch_all()", ["stop()"])


async def test_a_route_is_removed(client, add):
    made = await add()
    url = f"{BASE}/{made['id']}"
    assert await client.json("DELETE", url) == {"message": "Route has been deleted", "id": made["id"]}
    for method in ("GET", "PUT", "DELETE"):
        assert await client.json(method, url, 404) == {"message": "Route not found"}
    assert await client.json("GET", f"{BASE}/nonsense", 404) == {"message": "Route not found"}
    assert (await client.json("GET", BASE))["total_count"] == 0


async def test_the_first_route_for_an_address_is_found(client, add):
    await add('match_header("Subject", ".*")', priority="0")
    bob = await add(BOB, priority="1")
    await add('match_recipient(".*")', priority="2")
    everybody = (await client.json("GET", f"{BASE}/match?address=eve%40x.org"))["route"]
    assert everybody["expression"] == 'match_recipient(".*")'
    assert await client.json("GET", f"{BASE}/match?address=Bob%40x.org") == {"route": bob}
    await client.json("DELETE", f"{BASE}/{everybody['id']}")
    assert await client.json("GET", f"{BASE}/match?address=eve%40x.org", 404) == {"message": "Route not found"}
    assert await client.json("GET", f"{BASE}/match", 400) == {"message": "address parameter is missing"}
    assert "is no address" in (await client.json("GET", f"{BASE}/match?address=nobody", 400))["message"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"expression": BOB}, "'action' parameter is required"),
        ({"expression": BOB, "action": " "}, "'action' parameter is required"),
        ({"action": "stop()"}, "'expression' parameter is required"),
        ({"expression": "match_recipient(", "action": "stop()"}, ""),
        ({"expression": 'match_recipient("(")', "action": "stop()"}, ""),
        ({"expression": BOB, "action": "explode()"}, ""),
        ({"expression": f'match_recipient("{"x" * 4000}")', "action": "stop()"}, "4000"),
        ({"expression": BOB, "action": "stop()", "priority": "high"}, "'priority' parameter is not an integer"),
        ({"expression": BOB, "action": "stop()", "priority": "9" * 18}, "a priority is a number"),
        ({"expression": BOB, "action": "stop()", "description": "x" * 1001}, "a description has at most"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_changes(client, add, form, said):
    found = await client.json("POST", BASE, 400, data=form)
    assert found["message"]
    assert said in found["message"]
    made = await add("catch_all()")
    partial = {name: value for name, value in form.items() if name not in ("expression", "action") or value != BOB}
    if said.startswith("'") and "priority" not in form:
        partial = {"action": ""} if "action" in said else {"expression": " "}
    await client.json("PUT", f"{BASE}/{made['id']}", 400, data=partial)
    assert await client.json("GET", f"{BASE}/{made['id']}") == {"route": made}


@pytest.mark.parametrize("as_file", [True, False])
async def test_each_route_tells_why_it_would_take_a_message_or_not(client, house, add, as_file):
    hello = await add('match_header("subject", "Hello (.*)")', r'forward("http://x.org/in?about=\1")', "stop()")
    later = await add("catch_all()", "store()", priority="9")
    message = b"From: a@x.org\nSubject: Hello b&c\n\ntext\n"
    form = aiohttp.FormData({"address": "bob@x.org"})
    form.add_field("message", message if as_file else message.decode(), filename="m.eml" if as_file else None)
    first, second = (await client.json("POST", f"{BASE}/test", data=form))["routes"]
    assert (first["id"], first["verdict"]) == (hello["id"], "matched")
    assert first["captures"] == [{"reference": "\\1", "text": "b&c"}]
    assert first["actions"] == [
        {"action": "forward", "kind": "url", "to": "http://x.org/in?about=b%26c"},
        {"action": "stop", "kind": "", "to": ""},
    ]
    assert (second["id"], second["verdict"]) == (later["id"], "not reached")
    assert hello["id"] in second["why"]
    without = (await client.json("POST", f"{BASE}/test", data={"address": "bob@x.org"}))["routes"]
    assert [one["verdict"] for one in without] == ["no match", "matched"]
    assert without[0]["conditions"][0]["note"] == "the message has no subject header"


async def test_octets_that_are_no_text_are_no_hindrance(client, add):
    await add('match_header("subject", ".*")', "stop()")
    form = aiohttp.FormData({"address": "bob@x.org"})
    form.add_field("message", b"Subject: \xff\xfe\x00 =?utf-8?q?=ED=A0=80?=\r\n\r\n", filename="m.eml")
    assert [one["verdict"] for one in (await client.json("POST", f"{BASE}/test", data=form))["routes"]] == ["matched"]


async def test_a_test_needs_an_address(client):
    assert "address" in (await client.json("POST", f"{BASE}/test", 400))["message"]
    assert (await client("POST", f"{BASE}/test", data={"address": "nobody"})).status == 400


async def test_what_is_stored_is_what_the_engine_reads(client, house, add):
    made = await add(BOB, 'store(notify="http://x.org/n")')
    (row,) = await house.database.read(routes.routes)
    assert row.id == made["id"]
    compile_route(row)


async def test_routes_are_the_accounts_own(client, house):
    await house.add_key(f"{KEY}-sending", "mg.example.com")
    assert (await client("GET", BASE, key=f"{KEY}-sending")).status == 403
