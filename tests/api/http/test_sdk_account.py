"""The official Python client, sync and async, on what is not in the other files of this client: its own examples."""

import asyncio
import json

import pytest
from mailgun.builders import MailgunTemplateBuilder
from mailgun.client import AsyncClient, Client

from mtad.api.http.routes import Routes
from mtad.api.http.stored import StoredMessages
from mtad.api.http.stubs import Stubs
from mtad.api.http.suppressions import Suppressions
from mtad.api.http.templates import Render, TemplateChapter
from mtad.api.operations import Operations
from mtad.api.suppression_desk import SuppressionDesk
from mtad.api.templates import Templates
from mtad.mail.event import EventType
from mtad.storage.outgoing import Accept, State
from mtad.storage.record import Records
from tests.api.http.house import DOMAIN, KEY, open_house, serve

BOB = "bob+1@example.net"
LISTS = {
    "bounces": ("bounce_address", {"address": BOB, "code": 550, "error": "Test error"}, "bounce_csv"),
    "unsubscribes": ("unsubscribe_address", {"address": BOB, "tag": "*"}, "unsubscribe_csv"),
    "complaints": ("complaint_address", {"address": BOB, "tag": "compl_test_tag"}, "complaints_csv"),
    "whitelists": ("whitelist_address", {"address": BOB, "tag": "whitel_test"}, "whitelist_csv"),
}


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path) as house:
        yield house


@pytest.fixture
async def base(house):
    operations = Operations(
        database=house.database,
        outgoing=house.outgoing,
        ids=house.ids,
        clock=house.clock,
        runner=None,
        changed=house.tenants.load,
        hostname="mail.example.com",
    )
    using = Templates(house.database)
    chapters = [
        Suppressions(SuppressionDesk(house.database, house.clock, None)),
        TemplateChapter(house.database, house.ids, house.clock, using),
        house.messages(render=Render(using)),
        Routes(operations),
        StoredMessages(house.database, house.outgoing, house.submit),
        Stubs(["192.0.2.1"]),
    ]
    async with serve(house, chapters) as client:
        yield client.base


@pytest.fixture(params=["sync", "async"])
async def ask(request, base):
    """ask("bounces", "create", data=…) -> the status and JSON of the client's answer."""
    if request.param == "sync":

        async def call(family, verb, **more):
            def work():
                with Client(auth=("api", KEY), api_url=base) as client:
                    return getattr(getattr(client, family), verb)(**more)

            found = await asyncio.to_thread(work)
            return found.status_code, found.json()

        yield call
        return
    async with AsyncClient(auth=("api", KEY), api_url=base) as client:

        async def call_async(family, verb, **more):
            found = await getattr(getattr(client, family), verb)(**more)
            return found.status_code, found.json()

        yield call_async


@pytest.mark.parametrize("family", list(LISTS))
async def test_suppressions(ask, family):
    name, form, field = LISTS[family]
    status, made = await ask(family, "create", data=form, domain=DOMAIN)
    assert (status, made.get("address", made.get("value"))) == (200, BOB)
    status, one = await ask(family, "get", domain=DOMAIN, **{name: BOB})
    assert (status, one.get("address", one.get("value"))) == (200, BOB)
    status, listed = await ask(family, "get", domain=DOMAIN, filters={"limit": 10})
    assert (status, listed["items"]) == (200, [one])
    files = {field: b"address,created_at\neve@example.net,\nbad,\n"}
    status, _ = await ask(f"{family}_import", "create", domain=DOMAIN, files=files)
    assert status == 202
    single = {"address": "cy@example.net"}
    json_type = {"Content-Type": "application/json"}
    assert (await ask(family, "create", data=single, domain=DOMAIN, headers=json_type))[0] == 200
    assert (await ask(family, "create", data=[single, single], domain=DOMAIN, headers=json_type))[0] == 200
    assert len((await ask(family, "get", domain=DOMAIN))[1]["items"]) == 3
    assert (await ask(family, "delete", domain=DOMAIN, **{name: BOB}))[0] == 200
    assert (await ask(family, "get", domain=DOMAIN, **{name: BOB}))[0] == 404
    assert (await ask(family, "delete", domain=DOMAIN))[0] == 200
    assert (await ask(family, "get", domain=DOMAIN))[1]["items"] == []


@pytest.mark.parametrize(("family", "where"), [("templates", {"domain": DOMAIN}), ("account_templates", {})])
async def test_templates(ask, house, family, where):
    form = (
        MailgunTemplateBuilder(name="Welcome")
        .set_description("About")
        .set_template_content("Hello {{name}}")
        .set_engine("handlebars")
        .set_tag("v1")
        .set_version_comment("first")
        .set_headers({"Subject": "For {{name}}"})
        .build()
    )
    one = {**where, "template_name": "welcome"}
    status, made = await ask(family, "create", data=form, **where)
    assert (status, made["template"]["version"]["tag"]) == (200, "v1")
    assert [t["name"] for t in (await ask(family, "get", **where))[1]["items"]] == ["welcome"]
    assert (await ask(family, "put", data={"description": "new"}, **one))[0] == 200
    status, found = await ask(family, "get", filters={"active": "yes"}, **one)
    assert (status, found["template"]["description"]) == (200, "new")
    version = {"tag": "v2", "template": "Hi {{name}}", "engine": "handlebars", "active": "no"}
    assert (await ask(family, "create", data=version, versions=True, **one))[0] == 200
    status, found = await ask(family, "get", versions=True, **one)
    assert [v["tag"] for v in found["template"]["versions"]] == ["v1", "v2"]
    two = {**one, "versions": True, "tag": "v2"}
    assert (await ask(family, "put", data={"active": "yes", "comment": "Updated"}, **two))[0] == 200
    assert (await ask(family, "get", **two))[1]["template"]["version"]["active"] is True
    filters = {"comment": "An updated version comment"}
    assert (await ask(family, "put", filters=filters, copy=True, new_tag="v3", **two))[0] == 200
    message = {
        "from": f"ann@{DOMAIN}",
        "to": "bob@example.net",
        "template": "welcome",
        "t:version": "v1",
        "t:variables": json.dumps({"name": "Bob"}),
    }
    assert (await ask("messages", "create", data=message, domain=DOMAIN))[0] == 200
    assert (await house.only()).message["Subject"] == "For Bob"
    assert (await ask(family, "delete", **two))[0] == 200
    assert (await ask(family, "delete", **one))[0] == 200
    assert (await ask(family, "delete", **where))[0] == 200
    assert (await ask(family, "get", **one))[0] == 404


async def test_routes(ask):
    form = {
        "priority": 0,
        "description": "Sample route",
        "expression": f"match_recipient('.*@{DOMAIN}')",
        "action": ["forward('http://myhost.com/messages/')", "stop()"],
    }
    status, made = await ask("routes", "create", data=form)
    assert (status, made["route"]["actions"]) == (200, form["action"])
    one = {"route_id": made["route"]["id"]}
    assert (await ask("routes", "get", **one))[1] == {"route": made["route"]}
    assert (await ask("routes", "get", filters={"skip": 0, "limit": 1}))[1]["total_count"] == 1
    assert (await ask("routes_match", "get", filters={"address": f"x@{DOMAIN}"}))[1] == {"route": made["route"]}
    status, changed = await ask("routes", "put", data={**form, "priority": 2}, **one)
    assert (status, changed["priority"]) == (200, 2)
    assert (await ask("routes", "delete", **one))[0] == 200
    assert (await ask("routes_match", "get", filters={"address": f"x@{DOMAIN}"}))[0] == 404


async def test_addresses_pools_and_validation(ask):
    assert await ask("ips", "get") == (200, {"items": ["192.0.2.1"], "total_count": 1})
    assert (await ask("ips", "get", ip="192.0.2.1"))[1]["ip"] == "192.0.2.1"
    assert (await ask("domains_ips", "get", domain=DOMAIN))[1]["items"] == ["192.0.2.1"]
    assert (await ask("ippools", "get"))[1]["ip_pools"] == []
    status, judged = await ask("addressvalidate", "get", filters={"address": BOB})
    assert (status, judged["address"], judged["result"]) == (200, BOB, "unknown")


async def test_a_stored_message_is_sent_again(ask, base, house):
    content, number, now = b"Message-ID: <m@x>\r\nSubject: x\r\n\r\ntext\r\n", house.ids.take(2), house.clock.now()
    records = Records([(house.ids.next(), int(EventType.STORED), 1, number, number + 1, None)])
    records.stored.append((house.ids.next(), "k1", 1, number, f'["bob@{DOMAIN}"]', "", now))
    row = (number + 1, number, 1, 0, f"bob@{DOMAIN}", int(State.DELIVERED), 1, None, None, None, None, None)
    fields = (number, 1, "", len(content), 1, 4096, None, b"{}", None, None)
    accept = Accept(fields, content, [row], records)
    await house.database.writer.write(lambda c: house.outgoing.accept(c, [accept]))
    place = f"{base}/v3/domains/{DOMAIN}/messages/k1"
    status, said = await ask(
        "resend_message", "create", data={"to": [BOB, "c@d.example"]}, domain=DOMAIN, storage_url=place
    )
    assert (status, said) == (200, {"id": "<m@x>", "message": "Queued. Thank you."})
    assert (await house.stored())[-1].recipients == [BOB, "c@d.example"]
