"""The official Python client, sync and async, on mailing lists and their members: its own examples."""

import asyncio
import json

import pytest
from mailgun.client import AsyncClient, Client

from mtad.api.http.lists import Lists
from mtad.api.http.members import Members
from mtad.api.list_desk import ListDesk
from mtad.api.operations import Operations
from tests.api.http.house import DOMAIN, KEY, open_house, serve

DEV, BOB, EVE = f"python_sdk@{DOMAIN}", "bob+1@example.net", "eve@example.net"


@pytest.fixture
async def base(tmp_path):
    async with open_house(tmp_path) as house:
        operations = Operations(
            database=house.database,
            outgoing=house.outgoing,
            ids=house.ids,
            clock=house.clock,
            runner=None,
            changed=house.tenants.load,
            hostname="mail.example.com",
        )
        desk = ListDesk(house.database)
        async with serve(house, [Lists(operations, desk), Members(operations, desk)]) as client:
            yield client.base


@pytest.fixture(params=["sync", "async"])
async def ask(request, base):
    """ask("lists", "create", data=…) -> the JSON of the client's answer, which must have the status."""

    def checked(found, status):
        assert found.status_code == status, found.text
        return found.json()

    if request.param == "sync":

        async def call(family, verb, status=200, **more):
            def work():
                with Client(auth=("api", KEY), api_url=base) as client:
                    return getattr(getattr(client, family), verb)(**more)

            return checked(await asyncio.to_thread(work), status)

        yield call
        return
    async with AsyncClient(auth=("api", KEY), api_url=base) as client:

        async def call_async(family, verb, status=200, **more):
            return checked(await getattr(getattr(client, family), verb)(**more), status)

        yield call_async


async def test_lists(ask):
    form = {"address": DEV, "description": "Mailgun developers list"}
    made = await ask("lists", "create", data=form, domain=DOMAIN)
    assert (made["message"], made["list"]["address"]) == ("Mailing list has been created", DEV)
    assert (await ask("lists", "create", 400, data=form, domain=DOMAIN))["message"] == "Duplicate object"
    assert (await ask("lists", "get", domain=DOMAIN, filters={"limit": 5}))["items"] == [made["list"]]
    assert (await ask("lists_pages", "get", domain=DOMAIN))["items"] == [made["list"]]
    assert (await ask("lists", "get", domain=DOMAIN, address=DEV))["list"] == made["list"]
    changed = await ask("lists", "put", data={"description": "Again"}, domain=DOMAIN, address=DEV)
    assert changed["list"] == {**made["list"], "description": "Again"}
    gone = await ask("lists", "delete", domain=DOMAIN, address=DEV)
    assert gone == {"address": DEV, "message": "Mailing list has been removed"}
    assert (await ask("lists", "get", 404, domain=DOMAIN, address=DEV))["message"] == f"Mailing list {DEV} not found"


@pytest.mark.filterwarnings("ignore:DEPRECATED API CALL:DeprecationWarning")  # the client's own
async def test_the_check_of_addresses(ask):
    await ask("lists", "create", data={"address": DEV}, domain=DOMAIN)
    here = {"domain": DOMAIN, "address": DEV, "validate": True}
    assert (await ask("lists", "create", **here))["id"] == DEV
    assert (await ask("lists", "get", **here))["id"] == DEV
    assert (await ask("lists", "delete", **here))["message"]


async def test_members(ask):
    await ask("lists", "create", data={"address": DEV}, domain=DOMAIN)
    here = {"domain": DOMAIN, "address": DEV}
    form = {"subscribed": True, "address": BOB, "name": "Bob Bar", "description": "Dev", "vars": '{"age": 26}'}
    member = {"address": BOB, "name": "Bob Bar", "subscribed": True, "vars": {"age": 26}}
    assert (await ask("lists_members", "create", data=form, **here))["member"] == member
    taken = f"Address already exists '{BOB}'"
    assert (await ask("lists_members", "create", 400, data=form, **here))["message"] == taken
    assert (await ask("lists_members", "get", **here)) == {"total_count": 1, "items": [member]}
    assert (await ask("lists_members_pages", "get", **here))["items"] == [member]
    assert (await ask("lists_members", "get", member_address=BOB, **here))["member"] == member
    changed = await ask("lists_members", "put", data={"subscribed": True, "name": "Foo"}, member_address=BOB, **here)
    assert changed["member"] == {**member, "name": "Foo"}
    many = {"upsert": True, "members": json.dumps([{"address": EVE, "name": "Eve", "subscribed": "True"}, BOB])}
    put = await ask("lists_members", "create", data=many, multiple=True, **here)
    assert (put["list"]["members_count"], bool(put["task-id"])) == (2, True)
    assert len((await ask("lists_members", "get", filters={"subscribed": "yes"}, **here))["items"]) == 2
    gone = await ask("lists_members", "delete", member_address=BOB, **here)
    assert gone["member"] == {"address": BOB}
    assert (await ask("lists_members", "get", 404, member_address=BOB, **here))["message"]


async def test_every_member_is_met_once_on_the_pages(ask):
    await ask("lists", "create", data={"address": DEV}, domain=DOMAIN)
    here = {"domain": DOMAIN, "address": DEV}
    everyone = [f"u{place:03}@example.net" for place in range(250)]
    await ask("lists_members", "create", data={"members": json.dumps(everyone)}, multiple=True, **here)
    found, filters = [], {"limit": 100}
    while items := (await ask("lists_members_pages", "get", filters=filters, **here))["items"]:
        found += [one["address"] for one in items]
        # The client leads from page to page by the pivot.
        filters = {"limit": 100, "page": "next", "pivot": found[-1], "address": found[-1]}
    assert found == everyone
