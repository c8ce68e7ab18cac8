import asyncio
import io
import json
import re
from urllib.parse import urlsplit

import aiohttp
import pytest

from mtad.api.http.lists import Lists
from mtad.api.http.many import MAX_ADDED
from mtad.api.http.members import Members
from mtad.api.list_desk import MAX_IMPORT, ListDesk
from mtad.api.list_rows import MAX_DESCRIPTION, MAX_NAME, MAX_VARIABLES
from mtad.api.operations import Operations
from mtad.mail.event import EventType
from mtad.mail.lists import list_label
from mtad.mail.metric import Metric
from mtad.storage import lists
from mtad.storage.record import Records, record
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
DEV, OPS = f"dev@{DOMAIN}", f"ops@{OTHER}"
BOB, EVE = "bob@example.net", "eve@example.net"
URL = f"/v3/lists/{DEV}"
MEMBERS = f"{URL}/members"
LIST = {
    "address": DEV,
    "name": "",
    "description": "",
    "access_level": "readonly",
    "reply_preference": "list",
    "created_at": NOW,
    "members_count": 0,
}
MEMBER = {"address": BOB, "name": "", "subscribed": True, "vars": {}}
NO_LIST = {"message": f"Mailing list {DEV} not found"}
NO_MEMBER = {"message": f"Member {BOB} of mailing list {DEV} not found"}
EXISTS = {"message": f"Address already exists '{BOB}'"}


class Listing:
    """told: the keys of the lists that the daemon was told have changed, each time."""

    def __init__(self):
        self.told = []

    async def changed(self, *keys):
        self.told.append(keys)


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
async def listing():
    return Listing()


@pytest.fixture
async def client(house, listing):
    operations = Operations(
        database=house.database,
        outgoing=house.outgoing,
        ids=house.ids,
        clock=house.clock,
        runner=None,
        changed=house.tenants.load,
        hostname="mail.example.com",
    )
    operations.listing, desk = listing, ListDesk(house.database)
    async with serve(house, [Lists(operations, desk), Members(operations, desk)], max_body_octets=64_000_000) as client:
        yield client


@pytest.fixture
async def dev(client):
    return (await client.json("POST", "/v3/lists", data={"address": DEV}))["list"]


@pytest.fixture
async def bob(client, dev):
    data = {"address": BOB, "name": "Bob", "vars": '{"age": 26}'}
    return (await client.json("POST", MEMBERS, data=data))["member"]


async def members(client, **query):
    found = await client.json("GET", MEMBERS, params=query) if query else await client.json("GET", MEMBERS)
    assert len(found["items"]) == found["total_count"]
    return found["items"]


async def counted(client):
    """members_count of the list."""
    return (await client.json("GET", URL))["list"]["members_count"]


# --- lists ---


@pytest.mark.parametrize("version", [2, 3])
async def test_a_list_is_added_shown_and_found(client, listing, version):
    form = {
        "address": DEV,
        "name": "Developers",
        "description": "All of us",
        "access_level": "members",
        "reply_preference": "sender",
    }
    made = await client.json("POST", f"/v{version}/lists", data=form)
    assert made == {"message": "Mailing list has been created", "list": {**LIST, **form}}
    assert await client.json("GET", f"/v{version}/lists/{DEV}") == {"list": made["list"]}
    assert await client.json("GET", f"/v{version}/lists") == {"total_count": 1, "items": [made["list"]]}
    assert listing.told == [(DEV,)]


async def test_a_list_has_defaults_and_may_be_json(client):
    assert (await client.json("POST", "/v3/lists", json={"address": DEV}))["list"] == LIST


@pytest.mark.parametrize(
    ("data", "address", "name"),
    [
        ({"address": f"Developers <{DEV}>"}, DEV, "Developers"),
        ({"address": f'"Dev, all" <{DEV}>'}, DEV, "Dev, all"),
        ({"address": f"=?utf-8?q?Gr=C3=B6=C3=9Fe?= <{DEV}>"}, DEV, "Größe"),
        ({"address": f"Developers <{DEV}>", "name": "Us"}, DEV, "Us"),
        ({"address": f" Dev+1@{DOMAIN.upper()} "}, f"Dev+1@{DOMAIN}", ""),
    ],
)
async def test_the_address_may_have_a_name_before_it(client, data, address, name):
    made = (await client.json("POST", "/v3/lists", data=data))["list"]
    assert (made["address"], made["name"]) == (address, name)
    assert (await client.json("GET", f"/v3/lists/{address.lower().replace('+', '%2B')}"))["list"] == made
    assert (await client.json("GET", f"/v3/lists/{address}"))["list"] == made


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "address parameter is missing"),
        ({"address": ""}, "address parameter is missing"),
        ({"address": "dev"}, "'dev' is no address: an address is local-part@domain"),
        ({"address": f"{DEV}, {DEV}"}, f"'{DEV}, {DEV}' is no address"),
        ({"address": "dev@elsewhere.example"}, "elsewhere.example is no domain of ours, so no list can be there"),
        ({"address": f"dev@sub.{DOMAIN}"}, f"sub.{DOMAIN} is no domain of ours, so no list can be there"),
        ({"address": DEV, "access_level": "all"}, "'all' is no access level: write readonly, members or everyone"),
        ({"address": DEV, "reply_preference": "me"}, "'me' is no reply preference: write list or sender"),
        ({"address": DEV, "name": "x" * (MAX_NAME + 1)}, "a name has at most 1000 characters"),
        ({"address": DEV, "description": "x" * (MAX_DESCRIPTION + 1)}, "a description has at most 10000 characters"),
    ],
)
async def test_what_is_no_list_is_refused(client, listing, data, message):
    assert await client.json("POST", "/v3/lists", 400, data=data) == {"message": message}
    assert (await client.json("GET", "/v3/lists"))["total_count"] == 0
    assert listing.told == []


async def test_an_address_is_of_one_list(client, dev):
    duplicate = {"message": "Duplicate object"}
    assert await client.json("POST", "/v3/lists", 400, data={"address": DEV.upper()}) == duplicate
    await client.json("POST", "/v3/lists", data={"address": OPS})
    assert await client.json("PUT", f"/v3/lists/{OPS}", 400, data={"address": DEV}) == duplicate


async def test_what_is_not_said_of_a_list_stays(client, dev, listing):
    async def put(**data):
        found = await client.json("PUT", URL, data=data)
        assert found["message"] == "Mailing list has been updated"
        return found["list"]

    assert await put(access_level="everyone") == {**dev, "access_level": "everyone"}
    assert await put(name="Dev", description="All", access_level="", address="") == {
        **dev,
        "access_level": "everyone",
        "name": "Dev",
        "description": "All",
    }
    assert (await put(name=""))["name"] == ""
    assert (await put(reply_preference="sender"))["access_level"] == "everyone"
    assert len(listing.told) == 5
    assert await client.json("PUT", URL, 400, data={"address": "x@elsewhere.example"}) == {
        "message": "elsewhere.example is no domain of ours, so no list can be there"
    }


async def test_a_list_with_another_address_keeps_its_members(client, listing, dev, bob):
    changed = (await client.json("PUT", URL, data={"address": f"Ops <{OPS}>"}))["list"]
    assert listing.told[-1] == (DEV, OPS)
    assert changed == {**dev, "address": OPS, "name": "Ops", "members_count": 1}
    assert await client.json("GET", URL, 404) == NO_LIST
    assert (await client.json("GET", f"/v3/lists/{OPS}/members"))["items"] == [bob]


@pytest.mark.parametrize(("version", "word"), [(2, "deleted"), (3, "removed")])
async def test_a_list_is_removed_with_its_members(client, house, dev, bob, version, word):
    removed = await client.json("DELETE", f"/v{version}/lists/{DEV}")
    assert removed == {"address": DEV, "message": f"Mailing list has been {word}"}
    assert await client.json("GET", URL, 404) == NO_LIST
    left = await house.database.read(
        lambda c: c.execute("SELECT (SELECT count(*) FROM lists), (SELECT count(*) FROM list_members)").fetchone()
    )
    assert left == (0, 0)
    await client.json("POST", "/v3/lists", data={"address": DEV})
    assert await members(client) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "") for method in ("GET", "PUT", "DELETE")),
        *(("GET", f"/{tail}") for tail in ("stats", "members", "members/pages", f"members/{BOB}", "validate")),
        *(("POST", f"/{tail}") for tail in ("members", "members.json", "members.csv", "members/json", "validate")),
        *((method, f"/members/{BOB}") for method in ("PUT", "DELETE")),
        ("GET", "/members?address=bob@example.net"),
    ],
)
async def test_an_unknown_list_is_404(client, method, path):
    # Names for every kind of call, so that the list is what is missing.
    data = {"address": BOB, "members": f'["{BOB}"]' if "json" in path else f"{BOB}\n"} if method != "GET" else None
    if path == "":
        data = {}
    assert await client.json(method, URL + path, 404, data=data) == NO_LIST
    assert await client.json("GET", "/v3/lists/nonsense", 404) == {"message": "Mailing list nonsense not found"}


async def test_lists_are_listed_in_parts_and_by_address(client):
    made = [
        (await client.json("POST", "/v3/lists", data={"address": f"{name}@{DOMAIN}"}))["list"]
        for name in ("c", "A", "b")
    ]
    order = [made[1], made[2], made[0]]
    assert await client.json("GET", "/v3/lists") == {"total_count": 3, "items": order}
    assert await client.json("GET", "/v3/lists?limit=1&skip=1") == {"total_count": 3, "items": order[1:2]}
    assert await client.json("GET", f"/v3/lists?address=C@{DOMAIN}") == {"total_count": 1, "items": made[:1]}
    assert await client.json("GET", f"/v3/lists?address=d@{DOMAIN}") == {"total_count": 0, "items": []}
    assert await client.json("GET", "/v2/lists/pages") == {"total_count": 3, "items": order}
    assert (await client.json("GET", "/v3/lists?limit=0", 400))["message"] == "'limit' parameter must be 1 or more"


async def walked(client, path, word):
    """Every item, page by page, and the order of the pages."""
    found, pages = [], 0
    url = path
    while True:
        page = await client.json("GET", url)
        assert set(page["paging"]) == {"first", "next", "previous", "last"}
        assert all(link.startswith(f"{client.base}{urlsplit(path).path}?") for link in page["paging"].values())
        if not page["items"]:
            return found, pages
        found = [*found, *page["items"]] if word == "next" else [*page["items"], *found]
        pages += 1
        parts = urlsplit(page["paging"][word])
        url = f"{parts.path}?{parts.query}"


async def test_lists_are_listed_page_by_page_both_ways(client):
    for place in range(5):
        await client.json("POST", "/v3/lists", data={"address": f"l{place}@{DOMAIN}"})
    items = (await client.json("GET", "/v3/lists"))["items"]
    assert await walked(client, "/v3/lists/pages?limit=2", "next") == (items, 3)
    assert await walked(client, "/v3/lists/pages?limit=2&page=last", "previous") == (items, 3)


async def test_who_went_beyond_the_last_page_or_before_the_first_goes_back_to_what_was_there(client):
    for place in range(3):
        await client.json("POST", "/v3/lists", data={"address": f"l{place}@{DOMAIN}"})
    items = (await client.json("GET", "/v3/lists"))["items"]

    async def there_and_back(path: str, on: str, back: str) -> list[dict]:
        beyond = await client.json("GET", path)
        assert beyond["items"] == []
        assert beyond["paging"][on].endswith(path)
        return (await client.json("GET", "/v3" + beyond["paging"][back].partition("/v3")[2]))["items"]

    path = "/v3/lists/pages?page={}&address=l{}%40" + DOMAIN + "&limit=2"
    assert await there_and_back(path.format("next", 2), "next", "previous") == items[1:]
    assert await there_and_back(path.format("previous", 0), "previous", "next") == items[:2]


async def test_a_list_tells_what_became_of_its_mail(client, house, dev):
    zero = {"complained": 0, "delivered": 0, "clicked": 0, "opened": 0, "unsubscribed": 0, "bounced": 0}
    unique = {"clicked": {"link": 0, "recipient": 0}, "opened": {"recipient": 0}}
    assert await client.json("GET", f"{URL}/stats") == {"total": zero, "unique": unique}
    number = (await house.database.read(lambda c: lists.find(c, DEV))).number
    hour = int(house.clock.now()) // 3600
    counts = [
        (domain, list_label(label), int(metric), hour - past, n)
        for domain, label, metric, past, n in (
            (1, number, Metric.DELIVERED_SMTP, 0, 9),
            (1, number, Metric.DELIVERED_SMTP, 700, 1),
            (2, number, Metric.DELIVERED_SMTP, 0, 1),  # when it was at another domain
            (1, number + 1, Metric.DELIVERED_SMTP, 0, 100),
            (1, number, Metric.FAILED_BOUNCE, 0, 2),
            (1, number, Metric.FAILED_DELAYED, 0, 1),
            (1, number, Metric.FAILED_OTHER, 0, 50),
            (1, number, Metric.OPENED, 0, 6),
            (1, number, Metric.OPENED_UNIQUE, 0, 4),
            (1, number, Metric.CLICKED, 0, 5),
            (1, number, Metric.CLICKED_UNIQUE, 0, 3),
            (1, number, Metric.UNSUBSCRIBED, 0, 2),
            (1, number, Metric.COMPLAINED, 0, 1),
        )
    ]
    clicks = [
        (100, number, "http://a.example/", ""),
        (101, number, "http://a.example/", ""),
        (102, number, "http://b.example/", ""),
        (103, number, "http://c.example/", "scanner"),
        (104, number + 1, "http://d.example/", ""),
        (105, None, "http://e.example/", ""),
    ]

    def write(connection):
        events = []
        for message, of, url, bot in clicks:
            connection.execute(
                "INSERT INTO messages (id, domain_id, reverse_path, size, recipients, flags, about, options)"
                " VALUES (?, 1, '', 1, 1, 0, '{}', ?)",
                (message, json.dumps({"list_number": of}).encode() if of else b""),
            )
            detail = json.dumps({"url": url, "client-info": {"bot": bot}}).encode()
            events.append((message + 1000, int(EventType.CLICKED), 1, message, message + 1, detail))
        record(connection, Records(events=events, counts=counts))

    await house.database.writer.write(write)
    assert await client.json("GET", f"{URL}/stats") == {
        "total": {"complained": 1, "delivered": 11, "clicked": 5, "opened": 6, "unsubscribed": 2, "bounced": 3},
        "unique": {"clicked": {"link": 2, "recipient": 3}, "opened": {"recipient": 4}},
    }


async def test_the_check_of_addresses_is_a_stub(client, dev):
    assert (await client.json("POST", f"{URL}/validate"))["id"] == DEV
    assert (await client.json("GET", f"{URL}/validate"))["records_processed"] == 0


# --- one member ---


@pytest.mark.parametrize("version", [2, 3])
async def test_a_member_is_added_and_shown(client, dev, version):
    base = f"/v{version}/lists/{DEV}/members"
    form = {"address": BOB, "name": "Bob", "vars": '{"gender": "male", "age": 26}', "subscribed": "no"}
    member = {"address": BOB, "name": "Bob", "subscribed": False, "vars": {"gender": "male", "age": 26}}
    assert await client.json("POST", base, data=form) == {
        "member": member,
        "message": "Mailing list member has been created",
    }
    assert await client.json("GET", f"{base}/{BOB}") == {"member": member}
    assert await client.json("GET", base) == {"total_count": 1, "items": [member]}
    assert await counted(client) == 1


@pytest.mark.parametrize(
    ("data", "member"),
    [
        ({"address": BOB}, MEMBER),
        ({"address": f"Bob <{BOB}>"}, {**MEMBER, "name": "Bob"}),
        ({"address": f"Bob <{BOB}>", "name": "Rob"}, {**MEMBER, "name": "Rob"}),
        ({"address": "Bob+1@EXAMPLE.net", "subscribed": "True"}, {**MEMBER, "address": "Bob+1@example.net"}),
        ({"address": BOB, "subscribed": "False", "vars": ""}, {**MEMBER, "subscribed": False}),
    ],
)
async def test_a_member_has_defaults(client, dev, data, member):
    assert (await client.json("POST", MEMBERS, data=data))["member"] == member
    assert await members(client) == [member]
    assert await client.json("GET", f"{MEMBERS}/{member['address'].upper()}") == {"member": member}


async def test_a_member_may_be_json(client, dev):
    body = {"address": BOB, "vars": {"a": {"b": [1, None]}}, "subscribed": False, "name": "B\0o\nb"}
    member = {"address": BOB, "name": "B o b", "subscribed": False, "vars": {"a": {"b": [1, None]}}}
    assert (await client.json("POST", MEMBERS, json=body))["member"] == member


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "address parameter is missing"),
        ({"address": "bob"}, "'bob' is no address: an address is local-part@domain"),
        ({"address": BOB, "vars": "{"}, "vars is not valid JSON"),
        ({"address": BOB, "vars": "[1]"}, "vars is not a JSON object"),
        ({"address": BOB, "vars": json.dumps({"a": "x" * MAX_VARIABLES})}, "vars is larger than 16 KiB"),
        ({"address": BOB, "subscribed": "maybe"}, "subscribed parameter is neither yes nor no"),
        ({"address": BOB, "upsert": "2"}, "upsert parameter is neither yes nor no"),
        ({"address": BOB, "name": "x" * 1001}, "a name has at most 1000 characters"),
    ],
)
async def test_what_is_no_member_is_refused(client, dev, data, message):
    assert await client.json("POST", MEMBERS, 400, data=data) == {"message": message}
    assert await members(client) == []


async def test_who_is_a_member_is_changed_only_when_that_is_asked_for(client, bob):
    again = {"address": BOB.upper(), "name": "Robert"}
    shouted = {"message": "Address already exists 'BOB@example.net'"}
    assert await client.json("POST", MEMBERS, 400, data=again) == shouted
    assert await client.json("POST", MEMBERS, 400, data={**again, "upsert": "no"}) == shouted
    assert await members(client) == [bob]
    for upsert in ("yes", "true", "True"):
        changed = (await client.json("POST", MEMBERS, data={**again, "upsert": upsert}))["member"]
        assert changed == {**bob, "name": "Robert"}
    assert await counted(client) == 1


async def test_adding_again_does_not_subscribe_who_has_left_unless_it_says_so(client, bob):
    url, form = f"{MEMBERS}/{BOB}", {"address": BOB, "upsert": "yes"}
    await client.json("PUT", url, data={"subscribed": "no"})
    assert not (await client.json("POST", MEMBERS, data=form))["member"]["subscribed"]
    await client.json("POST", f"{MEMBERS}.json", data={"members": json.dumps([BOB]), "upsert": "yes"})
    await load(client, f"address\n{BOB}\n", upsert="yes")
    assert not (await client.json("GET", url))["member"]["subscribed"]
    assert (await client.json("POST", MEMBERS, data={**form, "subscribed": "yes"}))["member"]["subscribed"]


async def test_what_is_not_said_of_a_member_stays(client, bob):
    async def put(**data):
        found = await client.json("PUT", f"{MEMBERS}/{BOB}", data=data)
        assert found["message"] == "Mailing list member has been updated"
        return found["member"]

    assert await put() == bob
    assert await put(subscribed="no") == {**bob, "subscribed": False}
    assert await put(vars='{"b": 2}', subscribed="") == {**bob, "subscribed": False, "vars": {"b": 2}}
    assert await put(name="", vars="", address="") == {**bob, "name": "", "subscribed": False, "vars": {"b": 2}}
    assert await put(vars="{}", subscribed="yes") == {**bob, "name": "", "vars": {}}
    assert await client.json("PUT", f"{MEMBERS}/{BOB}", 400, data={"vars": "x"}) == {
        "message": "vars is not valid JSON"
    }


async def test_a_member_gets_another_address_unless_somebody_has_it(client, bob):
    await client.json("POST", MEMBERS, data={"address": EVE})
    taken = {"message": f"Address already exists '{EVE}'"}
    assert await client.json("PUT", f"{MEMBERS}/{BOB}", 400, data={"address": EVE}) == taken
    changed = await client.json("PUT", f"{MEMBERS}/{BOB}", data={"address": "Rob@example.net"})
    assert changed["member"] == {**bob, "address": "Rob@example.net"}
    assert await client.json("GET", f"{MEMBERS}/{BOB}", 404) == NO_MEMBER
    assert await counted(client) == 2


async def test_a_member_is_removed(client, bob):
    assert await client.json("DELETE", f"{MEMBERS}/{BOB}") == {
        "member": {"address": BOB},
        "message": "Mailing list member has been deleted",
    }
    for method in ("GET", "PUT", "DELETE"):
        assert await client.json(method, f"{MEMBERS}/{BOB}", 404) == NO_MEMBER
    assert await counted(client) == 0


async def test_json_and_csv_are_no_members(client, dev):
    for word in ("json", "csv"):
        assert await client.json("GET", f"{MEMBERS}/{word}", 404) == {
            "message": f"Member {word} of mailing list {DEV} not found"
        }


async def test_members_are_listed_in_parts_by_subscription_and_by_address(client, dev):
    some = [{"address": f"u{place}@x.org", "subscribed": place % 2 == 0} for place in range(5)]
    await client.json("POST", f"{MEMBERS}.json", json={"members": some})
    everyone = await members(client)
    assert [one["address"] for one in everyone] == [one["address"] for one in some]
    assert await members(client, subscribed="yes") == everyone[::2]
    assert await members(client, subscribed="False") == everyone[1::2]
    assert await members(client, address="U3@x.org") == everyone[3:4]
    assert await members(client, address="u3@x.org", subscribed="yes") == []
    assert await members(client, address="nobody") == []
    assert await client.json("GET", f"{MEMBERS}?limit=2&skip=1&subscribed=yes") == {
        "total_count": 3,
        "items": [everyone[2], everyone[4]],
    }
    assert (await client.json("GET", f"/v2/lists/{DEV}/members/pages?limit=1"))["total_count"] == 5
    for query, expected in (("", everyone), ("&subscribed=yes", everyone[::2]), ("&subscribed=no", everyone[1::2])):
        base = f"{MEMBERS}/pages?limit=2{query}"
        assert (await walked(client, base, "next"))[0] == expected
        assert (await walked(client, f"{base}&page=last", "previous"))[0] == expected


async def test_an_empty_page_has_all_four_links_and_keeps_the_pivot(client, dev):
    page = await client.json("GET", f"{MEMBERS}/pages?page=next&address=z%40x.org&subscribed=yes&limit=5")
    assert page["items"] == []
    assert page["paging"]["next"].endswith("?page=next&address=z%40x.org&subscribed=yes&limit=5")
    assert all("subscribed=yes" in link for link in page["paging"].values())


# --- many members ---


@pytest.mark.parametrize("path", [".json", "/json"])
@pytest.mark.parametrize("how", ["form", "json", "text in json", "multipart"])
async def test_many_are_added_by_json(client, dev, path, how):
    some = [
        BOB,
        f"Eve <{EVE}>",
        {"address": "Pat <pat@x.org>", "name": "Patricia", "vars": {"a": 1}, "subscribed": False},
        {"address": "tom@x.org", "vars": '{"b": "2"}', "subscribed": "yes", "name": None},
    ]
    text = json.dumps(some)
    more = {
        "form": {"data": {"members": text, "subscribed": "no"}},
        "json": {"json": {"members": some, "subscribed": False}},
        "text in json": {"json": {"members": text, "subscribed": "no"}},
        "multipart": {"data": _parts(members=text, subscribed="no")},
    }[how]
    answer = await client.json("POST", f"{MEMBERS}{path}", **more)
    assert re.fullmatch("[0-9a-z]+", answer.pop("task-id"))
    assert answer == {"message": "Mailing list has been updated", "list": {**LIST, "members_count": 4}}
    assert await members(client) == [
        {**MEMBER, "subscribed": False},
        {"address": EVE, "name": "Eve", "subscribed": False, "vars": {}},
        {"address": "pat@x.org", "name": "Patricia", "subscribed": False, "vars": {"a": 1}},
        {"address": "tom@x.org", "name": "", "subscribed": True, "vars": {"b": "2"}},
    ]


def _parts(**fields):
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, value)
    return form


@pytest.mark.parametrize(
    ("some", "message"),
    [
        ([EVE, BOB], EXISTS["message"]),
        ([EVE, "tom@x.org", {"address": "EVE@example.net"}], "Address already exists 'EVE@example.net'"),
        ([EVE, "tom"], "entry 2: 'tom' is no address: an address is local-part@domain"),
        ([EVE, {"name": "Tom"}], "entry 2: address and name of a member are texts"),
        ([EVE, {"address": "tom@x.org", "vars": "{"}], "entry 2: vars is not valid JSON"),
        ([EVE, {"address": "tom@x.org", "vars": [1]}], "entry 2: vars is not a JSON object"),
        ([EVE, {"address": "tom@x.org", "subscribed": "x"}], "entry 2: subscribed is neither yes nor no"),
        ([EVE, 7], "entry 2: a member is an address, or an object with one"),
        ([], f"the array must have 1 to {MAX_ADDED} entries; it has 0"),
        ([EVE] * (MAX_ADDED + 1), f"the array must have 1 to {MAX_ADDED} entries; it has 1001"),
        ({"address": EVE}, "members parameter is not a JSON array"),
    ],
)
async def test_without_upsert_all_are_added_or_none(client, bob, some, message):
    answer = await client.json("POST", f"{MEMBERS}.json", 400, data={"members": json.dumps(some)})
    assert answer == {"message": message}
    assert await members(client) == [bob]


@pytest.mark.parametrize(
    ("data", "message"),
    [({}, "members parameter is missing"), ({"members": "[x]"}, "members parameter is not valid JSON")],
)
async def test_what_is_no_array_of_members_is_refused(client, bob, data, message):
    assert await client.json("POST", f"{MEMBERS}.json", 400, data=data) == {"message": message}


async def test_with_upsert_members_are_changed_and_bad_addresses_left_out(client, bob):
    some = [{"address": BOB, "name": "Robert"}, "nobody", {"name": "x"}, {"address": EVE}, EVE]
    answer = await client.json("POST", f"{MEMBERS}.json", json={"members": some, "upsert": True})
    assert answer["list"]["members_count"] == 2
    assert await members(client) == [{**bob, "name": "Robert"}, {**MEMBER, "address": EVE}]
    bad = {"members": [{"address": EVE, "vars": "x"}], "upsert": True}
    assert (await client.json("POST", f"{MEMBERS}.json", 400, json=bad))["message"] == "entry 1: vars is not valid JSON"


async def test_a_thousand_members_are_added_at_once(client, dev):
    some = [f"u{place:04}@x.org" for place in range(MAX_ADDED)]
    answer = await client.json("POST", f"{MEMBERS}.json", json={"members": some})
    assert answer["list"]["members_count"] == MAX_ADDED
    assert [one["address"] for one in (await client.json("GET", f"{MEMBERS}?limit=1000"))["items"]] == some


# --- CSV ---


async def load(client, text, status=200, *, path=".csv", name="members", **fields):
    form = aiohttp.FormData()
    content = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    form.add_field(name, content, filename="m.csv", content_type="text/csv")
    for field, value in fields.items():
        form.add_field(field, value)
    return await client.json("POST", f"{MEMBERS}{path}", status, data=form)


@pytest.mark.parametrize("path", [".csv", "/csv"])
async def test_a_file_may_name_its_columns_and_others_are_variables(client, dev, path):
    text = (
        "\ufeffName,ADDRESS,vars,subscribed,City\r\n"
        f'Bob,{BOB},"{{""age"": 26}}",no,Bern\r\n'
        f"\r\n,Eve <{EVE}>,,,\r\n"
        "Pat,pat@x.org\r\n"
    )
    answer = await load(client, text, path=path)
    assert answer["task-id"]
    assert (answer["message"], answer["list"]["members_count"]) == ("Mailing list has been updated", 3)
    assert await members(client) == [
        {"address": BOB, "name": "Bob", "subscribed": False, "vars": {"age": 26, "City": "Bern"}},
        {"address": EVE, "name": "Eve", "subscribed": True, "vars": {"City": ""}},
        {"address": "pat@x.org", "name": "Pat", "subscribed": True, "vars": {}},
    ]


async def test_a_file_without_names_of_columns_has_address_and_name(client, dev):
    await load(client, f"{BOB},Bob,more\n{EVE}\n", subscribed="no")
    assert await members(client) == [
        {"address": BOB, "name": "Bob", "subscribed": False, "vars": {}},
        {"address": EVE, "name": "", "subscribed": False, "vars": {}},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"address\n{EVE}\n{BOB}\n", EXISTS["message"]),
        (f"{EVE}\nEVE@example.net\n", "Address already exists 'EVE@example.net'"),
        (f"{EVE}\nnobody\n", "line 2: 'nobody' is no address: an address is local-part@domain"),
        (f"address,vars\n{EVE},x\n", "line 2: vars is not valid JSON"),
        (f"address,subscribed\n{EVE},x\n", "line 2: subscribed is neither yes nor no"),
        ("name\nEve\n", "the first line must name the columns, `address` among them, or begin with an address"),
        (b"\xff@x.org\n", "The file is not UTF-8"),
        ("", "members parameter is missing"),
    ],
)
async def test_without_upsert_a_file_is_taken_whole_or_not_at_all(client, bob, text, message):
    assert await load(client, text, 400) == {"message": message}
    assert await members(client) == [bob]


async def test_with_upsert_members_of_a_file_are_changed_and_bad_addresses_left_out(client, bob):
    await load(client, f"address,name\n{BOB},Robert\nnobody,x\n{EVE},\n{EVE},Eve\n", upsert="yes")
    assert await members(client) == [{**bob, "name": "Robert"}, {**MEMBER, "address": EVE, "name": "Eve"}]
    assert (await load(client, f"address,vars\n{EVE},x\n", 400, upsert="yes"))["message"] == (
        "line 2: vars is not valid JSON"
    )


async def test_a_large_file_is_written_in_pieces_and_a_fault_at_its_end_changes_nothing(client, dev):
    text = "".join(f"u{place:05}@x.org,User {place}\n" for place in range(2500))
    assert (await load(client, text + "nobody\n", 400))["message"].startswith("line 2501: 'nobody' is no address")
    assert await members(client) == []
    assert (await load(client, text))["list"]["members_count"] == 2500
    assert (await load(client, text, 400))["message"] == "Address already exists 'u00000@x.org'"
    assert (await load(client, text, upsert="yes"))["list"]["members_count"] == 2500


async def test_a_file_has_a_bound(client, dev):
    assert await load(client, b"a" * (MAX_IMPORT + 1), 413) == {"message": "The file is larger than 25 MiB"}


# --- together ---


async def test_of_two_who_add_the_same_member_one_is_told_so(client, dev):
    answers = await asyncio.gather(*(client("POST", MEMBERS, data={"address": BOB}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    assert await counted(client) == 1
