import asyncio
import io
import re
from itertools import chain
from urllib.parse import urlsplit

import aiohttp
import pytest

from mtad.api.http.suppressions import Suppressions
from mtad.api.suppression_desk import MAX_IMPORT, SuppressionDesk
from mtad.feedback.suppressed import SuppressedAddresses
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

NEW, OLD = f"/v3/{DOMAIN}", f"/v2/{DOMAIN}"
NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
THEN = "Thu, 13 Oct 2011 18:02:00 GMT"
BOB = "bob@example.net"
LISTS = ("bounces", "unsubscribes", "complaints", "whitelists")
NOT_FOUND = {
    "bounces": "Address not found in bounces table",
    "unsubscribes": "Address not found in unsubscribers table",
    "complaints": "No spam complaints found for this address",
    "whitelists": "Address/Domain not found in whitelists table",
    "allowlist": "Address/Domain not found in whitelists table",
}
REMOVED = {
    "bounces": "Bounced address has been removed",
    "unsubscribes": "Unsubscribe event has been removed",
    "complaints": "Spam complaint has been removed",
}
CLEARED = {
    "bounces": "Bounced addresses for this domain have been removed",
    "unsubscribes": "Unsubscribe addresses for this domain have been removed",
    "complaints": "Complaint addresses for this domain have been removed",
    "whitelists": "Allowlist addresses/domains for this domain have been removed",
}


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
async def filter_(house):
    """What deliveries ask."""
    made = SuppressedAddresses(house.database, house.clock)
    await made.load()
    return made


@pytest.fixture
async def client(house, filter_):
    chapter = Suppressions(SuppressionDesk(house.database, house.clock, filter_.note))
    async with serve(house, [chapter]) as client:
        yield client


async def items(client, word, base=NEW):
    return (await client.json("GET", f"{base}/{word}"))["items"]


def upload(text, name="file"):
    made = aiohttp.FormData()
    file = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    made.add_field(name, file, filename="a.csv", content_type="text/csv")
    return made


# --- adding and reading ---


@pytest.mark.parametrize(
    ("word", "form", "new", "old"),
    [
        (
            "bounces",
            {"address": "Bob <BOB@Example.net>", "code": "5.1.1", "error": "no\r\nsuch user", "created_at": THEN},
            {"address": BOB, "code": "5.1.1", "error": "no such user", "created_at": THEN},
            {"address": BOB, "code": "5.1.1", "error": "no such user", "created_at": THEN},
        ),
        (
            "bounces",
            {"address": BOB},
            {"address": BOB, "code": "550", "error": "", "created_at": NOW},
            {"address": BOB, "code": "550", "error": "", "created_at": NOW},
        ),
        (
            "complaints",
            {"address": BOB, "created_at": "1318528920"},
            {"address": BOB, "count": 1, "created_at": THEN},
            {"address": BOB, "count": 1, "created_at": THEN},
        ),
    ],
)
async def test_what_is_added_by_form_is_shown_in_both_shapes(client, word, form, new, old):
    found = await client.json("POST", f"{NEW}/{word}", data=form)
    assert found == {"message": f"Address has been added to the {word} table", "address": BOB}
    assert await client.json("GET", f"{NEW}/{word}/{BOB}") == new
    assert await client.json("GET", f"{OLD}/{word}/BOB%40example.net") == {word.removesuffix("s"): old, **old}
    assert await items(client, word) == [new]
    assert await client.json("GET", f"{OLD}/{word}") == {"total_count": 1, "items": [old]}
    assert await client.json("GET", f"/v3/{OTHER}/{word}/{BOB}", 404) == {"message": NOT_FOUND[word]}


async def test_an_unsubscribe_is_shown_by_address_and_for_old_clients_by_tag(client):
    for tag in ("News", "*"):
        found = await client.json("POST", f"{OLD}/unsubscribes", data={"address": BOB, "tag": tag})
        assert found == {"message": "Address has been added to the unsubscribes table", "address": BOB}
    assert await client.json("GET", f"{NEW}/unsubscribes/{BOB}") == {
        "address": BOB,
        "tags": ["*", "news"],
        "created_at": NOW,
    }
    old = await client.json("GET", f"{OLD}/unsubscribes")
    assert old["total_count"] == 2
    assert [(one["address"], one["tag"], one["created_at"]) for one in old["items"]] == [
        (BOB, "*", NOW),
        (BOB, "news", NOW),
    ]
    assert all(re.fullmatch("[0-9a-f]{24}", one["id"]) for one in old["items"])
    assert await client.json("GET", f"{OLD}/unsubscribes/{BOB}") == old
    assert await client.json("GET", f"{OLD}/unsubscribes?limit=1&skip=1") == {
        "total_count": 2,
        "items": old["items"][1:],
    }


@pytest.mark.parametrize("name", ["nobody@example.net", "nonsense"])
async def test_an_address_that_never_left_is_404_but_for_old_clients(client, name):
    assert await client.json("GET", f"{OLD}/unsubscribes/{name}") == {"total_count": 0, "items": []}
    for word in ("bounces", "unsubscribes", "complaints", "whitelists", "allowlist"):
        assert await client.json("GET", f"{NEW}/{word}/{name}", 404) == {"message": NOT_FOUND[word]}
        assert await client.json("DELETE", f"{NEW}/{word}/{name}", 404) == {"message": NOT_FOUND[word]}


@pytest.mark.parametrize(
    ("more", "tags"),
    [
        ({"data": {"address": BOB}}, ["*"]),
        ({"data": {"address": BOB, "tags": "news"}}, ["*"]),
        ({"data": [("address", BOB), ("tag", "a"), ("tag", "b")]}, ["a", "b"]),
        ({"json": {"address": BOB, "tags": ["A", "b"], "tag": "c"}}, ["a", "b"]),
        ({"json": {"address": BOB, "tags": "a"}}, ["a"]),
        ({"json": {"address": BOB, "tag": "c"}}, ["c"]),
        ({"json": {"address": BOB, "tags": []}}, ["*"]),
        ({"json": {"address": BOB}}, ["*"]),
    ],
)
async def test_a_form_says_tag_and_json_says_tags(client, more, tags):
    found = await client.json("POST", f"{NEW}/unsubscribes", **more)
    assert found == {"message": "Address has been added to the unsubscribes table", "address": BOB}
    assert (await client.json("GET", f"{NEW}/unsubscribes/{BOB}"))["tags"] == tags


async def test_adding_again_updates_and_complaints_count(client):
    for error in ("full", "gone"):
        await client.json("POST", f"{NEW}/bounces", data={"address": BOB, "error": error})
        await client.json("POST", f"{NEW}/complaints", json={"address": BOB})
    assert [one["error"] for one in await items(client, "bounces")] == ["gone"]
    assert [one["count"] for one in await items(client, "complaints")] == [2]


@pytest.mark.parametrize("word", ["whitelists", "allowlist"])
async def test_addresses_and_domains_are_allowed(client, word):
    found = await client.json("POST", f"{NEW}/{word}", data={"address": BOB, "tag": "x"})
    assert found == {
        "message": "Address/Domain has been added to the whitelists table",
        "type": "address",
        "value": BOB,
    }
    found = await client.json("POST", f"{NEW}/{word}", json={"domain": "Example.org", "reason": "ours"})
    assert (found["type"], found["value"]) == ("domain", "example.org")
    domain = {"type": "domain", "value": "example.org", "reason": "ours", "createdAt": NOW}
    assert await client.json("GET", f"{NEW}/{word}/example.org") == domain
    assert await items(client, word) == [domain, {"type": "address", "value": BOB, "reason": "", "createdAt": NOW}]
    assert await client.json("DELETE", f"{NEW}/{word}/EXAMPLE.org") == {
        "message": "Whitelist address/domain has been removed",
        "value": "example.org",
    }
    assert await items(client, "whitelists") == await items(client, "allowlist") != []


@pytest.mark.parametrize(
    ("word", "number", "message"),
    [
        ("bounces", 2, "2 addresses have been added to the bounces table"),
        ("bounces", 1, "1 address has been added to the bounces table"),
        ("unsubscribes", 3, "3 addresses have been added to the unsubscribes table"),
        ("complaints", 2, "2 complaint addresses have been added to the complaints table"),
        ("complaints", 1, "1 address has been added to the complaints table"),
        ("whitelists", 2, "2 addresses/domains have been added to the whitelists table"),
        ("bounces", 1000, "1000 addresses have been added to the bounces table"),
    ],
)
async def test_an_array_of_many_is_added_together(client, word, number, message):
    entries = [{"address": f"u{n}@example.net", "code": 550 + n % 2} for n in range(number)]
    assert await client.json("POST", f"{NEW}/{word}", json=entries) == {"message": message}
    assert (await client.json("GET", f"{OLD}/{word}?limit=1"))["total_count"] == number


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"address": "nobody"}, "entry 3: address parameter is not a valid address"),
        ({"address": "a@x.org, b@x.org"}, "entry 3: address parameter is not a valid address"),
        ({}, "entry 3: address parameter is missing"),
        ({"address": None}, "entry 3: address parameter is missing"),
        ({"address": ["a@x.org"]}, "entry 3: address must be a text"),
        ({"address": "a@x.org", "created_at": "soon"}, "entry 3: 'soon' is no date"),
        ({"address": "a@x.org", "created_at": -1}, "entry 3: '-1' is no date"),
        ({"address": "a@x.org", "tags": [1]}, "entry 3: tags must be texts"),
        ({"address": "a@x.org", "tags": ["t" * 129]}, "entry 3: 'ttt"),
        ({"address": "a@x.org", "tags": [f"t{n}" for n in range(101)]}, "entry 3: there are more than 100 tags"),
        ("a@x.org", "entry 3: it is no object"),
    ],
)
async def test_of_an_array_with_a_fault_nothing_is_added(client, filter_, wrong, said):
    good = [{"address": f"u{n}@example.net"} for n in range(2)]
    found = await client.json("POST", f"{NEW}/unsubscribes", 400, json=[*good, wrong, good[0]])
    assert found["message"].startswith(said)
    assert await items(client, "unsubscribes") == []
    assert not filter_.maybe(1, "u0@example.net")


@pytest.mark.parametrize("entries", [[], [{"address": BOB}] * 1001])
async def test_an_array_has_1_to_1000_entries(client, entries):
    found = await client.json("POST", f"{NEW}/bounces", 400, json=entries)
    assert found["message"] == f"the array must have 1 to 1000 entries; it has {len(entries)}"


@pytest.mark.parametrize(
    ("word", "form", "said"),
    [
        ("bounces", {}, "address parameter is missing"),
        ("bounces", {"address": "nobody"}, "address parameter is not a valid address"),
        ("bounces", {"address": BOB, "code": "no"}, "'no' is no code: write 550 or 5.1.1"),
        ("complaints", {"address": BOB, "created_at": "soon"}, "'soon' is no date"),
        ("whitelists", {}, "exactly one of address and domain is needed"),
        ("whitelists", {"address": BOB, "domain": "x.org"}, "exactly one of address and domain is needed"),
        ("whitelists", {"domain": "a b"}, "'@a b' is no address"),
    ],
)
async def test_what_is_wrong_is_said(client, word, form, said):
    for more in ({"data": form}, {"json": form}):
        found = await client.json("POST", f"{NEW}/{word}", 400, **more)
        assert found["message"].startswith(said)
    assert await items(client, word) == []


@pytest.mark.parametrize("date", [THEN, "Thu, 13 Oct 2011 18:02:00 UTC", "Thu, 13 Oct 2011 18:02:00 -0000", 1318528920])
async def test_dates_are_read_in_every_form_clients_send(client, date):
    await client.json("POST", f"{NEW}/bounces", json=[{"address": BOB, "created_at": date}])
    assert (await items(client, "bounces"))[0]["created_at"] == THEN


@pytest.mark.parametrize("word", ["bounces", "unsubscribes", "complaints"])
async def test_a_delivery_after_the_answer_knows_the_address(client, filter_, word):
    assert not filter_.maybe(1, BOB)
    await client.json("POST", f"{NEW}/{word}", data={"address": BOB})
    assert filter_.maybe(1, BOB)
    assert await filter_.find(1, BOB, ()) is not None
    await client.json("POST", f"{NEW}/{word}", json=[{"address": "a@x.org"}, {"address": "b@x.org"}])
    await client.json("POST", f"{NEW}/{word}/import", 202, data=upload("address\nc@x.org\n"))
    for name in "abc":
        assert filter_.maybe(1, f"{name}@x.org")
        assert await filter_.find(1, f"{name}@x.org", ()) is not None
    assert not filter_.maybe(2, BOB)


# --- pages ---


@pytest.mark.parametrize("word", LISTS)
async def test_the_links_lead_through_all_pages_and_back(client, word):
    names = [f"u{n:02}+x@example.net" for n in range(25)]
    await client.json("POST", f"{NEW}/{word}", json=[{"address": name} for name in names])
    await client.json("POST", f"/v3/{OTHER}/{word}", json=[{"address": "other@example.net"}])
    key = "value" if word == "whitelists" else "address"

    async def page(url):
        assert url.startswith(client.base + NEW)
        return await client.json("GET", url.removeprefix(client.base))

    seen, found = [], await client.json("GET", f"{NEW}/{word}?limit=10")
    while found["items"]:
        seen.append([one[key] for one in found["items"]])
        found = await page(found["paging"]["next"])
    assert [len(some) for some in seen] == [10, 10, 5]
    assert list(chain.from_iterable(seen)) == names
    found = await page(found["paging"]["last"])
    assert [one[key] for one in found["items"]] == names[-10:]
    found = await page(found["paging"]["previous"])
    assert [one[key] for one in found["items"]] == names[5:15]
    found = await page(found["paging"]["previous"])
    assert [one[key] for one in found["items"]] == names[:5]
    found = await page(found["paging"]["first"])
    assert [one[key] for one in found["items"]] == names[:10]


async def test_a_domain_of_the_whitelists_leads_on_by_its_value_too(client):
    for domain in ("a.org", "b.org", "c.org"):
        await client.json("POST", f"{NEW}/whitelists", data={"domain": domain})
    for pivot in ("a.org", "@a.org", "A.org"):
        found = await client.json("GET", f"{NEW}/whitelists?page=next&address={pivot}")
        assert [one["value"] for one in found["items"]] == ["b.org", "c.org"]


async def test_a_term_stays_in_all_links(client):
    for name in ("ann", "anna", "bob"):
        await client.json("POST", f"{NEW}/bounces", data={"address": f"{name}@x.org"})
    found = await client.json("GET", f"{NEW}/bounces?term=ANN&limit=1")
    assert [one["address"] for one in found["items"]] == ["ann@x.org"]
    assert all("term=ANN" in link for link in found["paging"].values())
    found = await client.json("GET", f"{NEW}/bounces?{urlsplit(found['paging']['next']).query}&limit=5")
    assert [one["address"] for one in found["items"]] == ["anna@x.org"]


async def test_old_lists_are_read_by_limit_and_skip(client):
    for n in range(5):
        await client.json("POST", f"{OLD}/complaints", data={"address": f"u{n}@x.org"})
    found = await client.json("GET", f"{OLD}/complaints?limit=2&skip=3")
    assert (found["total_count"], [one["address"] for one in found["items"]]) == (5, ["u3@x.org", "u4@x.org"])
    assert set(found) == {"total_count", "items"}


# --- removing ---


@pytest.mark.parametrize("word", list(REMOVED))
@pytest.mark.parametrize("base", [NEW, OLD])
async def test_what_is_removed_is_gone(client, word, base):
    for name in (BOB, "eve+1@example.net"):
        await client.json("POST", f"{base}/{word}", data={"address": name})
    found = await client.json("DELETE", f"{base}/{word}/eve%2B1%40EXAMPLE.net")
    assert found == {"message": REMOVED[word], "address": "eve+1@example.net"}
    assert await client.json("DELETE", f"{base}/{word}/eve+1@example.net", 404) == {"message": NOT_FOUND[word]}
    assert [one["address"] for one in await items(client, word)] == [BOB]


@pytest.mark.parametrize("word", LISTS)
async def test_a_whole_list_is_removed_at_once(client, word):
    for base in (NEW, f"/v3/{OTHER}"):
        await client.json("POST", f"{base}/{word}", json=[{"address": f"u{n}@x.org"} for n in range(3)])
    assert await client.json("DELETE", f"{NEW}/{word}") == {"message": CLEARED[word]}
    assert await items(client, word) == []
    assert len(await items(client, word, f"/v3/{OTHER}")) == 3
    assert await client.json("DELETE", f"{NEW}/{word}") == {"message": CLEARED[word]}


async def test_one_tag_is_removed_by_its_name_or_by_its_id(client, house):
    async def tags():
        found = await client.json("GET", f"{OLD}/unsubscribes/{BOB}")
        return {one["tag"]: one["id"] for one in found["items"]}

    await client.json("POST", f"{NEW}/unsubscribes", json={"address": BOB, "tags": ["a", "b", "c"]})
    await client.json("POST", f"{NEW}/unsubscribes", json={"address": "eve@x.org", "tags": ["b"]})
    ids = await tags()
    assert len(set(ids.values())) == 3
    found = await client.json("DELETE", f"{OLD}/unsubscribes/{BOB}?tag=A")
    assert found == {"message": "Unsubscribe event has been removed", "address": BOB}
    assert list(await tags()) == ["b", "c"]
    found = await client.json("DELETE", f"{NEW}/unsubscribes/{ids['b'].upper()}")
    assert found == {"message": "Unsubscribe event has been removed", "address": BOB}
    assert list(await tags()) == ["c"]
    for gone in (ids["a"], ids["b"], "0" * 24, "f" * 24):
        await client.json("DELETE", f"{NEW}/unsubscribes/{gone}", 404)
    await client.json("DELETE", f"/v3/{OTHER}/unsubscribes/{ids['c']}", 404)
    house.clock.advance(10)
    await client.json("POST", f"{NEW}/unsubscribes", json={"address": BOB, "tags": ["c"]})
    await client.json("DELETE", f"{NEW}/unsubscribes/{ids['c']}", 404)  # he left again since
    assert list(await tags()) == ["c"]
    assert len(await items(client, "unsubscribes")) == 2


async def test_an_id_is_found_among_many_of_its_second(client):
    names = [f"u{n}@x.org" for n in range(6000)]
    text = "address,created_at\n" + "".join(f"{name},1700000000.25\n" for name in names)
    await client.json("POST", f"{NEW}/unsubscribes/import", 202, data=upload(text))
    (last,) = (await client.json("GET", f"{OLD}/unsubscribes/u999@x.org"))["items"]
    found = await client.json("DELETE", f"{OLD}/unsubscribes/{last['id']}")
    assert found["address"] == "u999@x.org"
    assert (await client.json("GET", f"{OLD}/unsubscribes?limit=1"))["total_count"] == 5999


# --- files ---


@pytest.mark.parametrize(
    ("word", "field", "text", "found"),
    [
        (
            "bounces",
            "bounce_csv",
            "address,code,error,created_at\r\n"
            'Bob@Example.net,551,"a, ""b""",1318528920\r\nnobody,1,,\r\neve@x.org,,,\r\n',
            [
                {"address": BOB, "code": "551", "error": 'a, "b"', "created_at": THEN},
                {"address": "eve@x.org", "code": "550", "error": "", "created_at": NOW},
            ],
        ),
        (
            "unsubscribes",
            "file",
            f'\ufeffaddress,tags,extra\n{BOB},"News, b",x\neve@x.org,,\n',
            [
                {"address": BOB, "tags": ["b", "news"], "created_at": NOW},
                {"address": "eve@x.org", "tags": ["*"], "created_at": NOW},
            ],
        ),
        (
            "unsubscribes",
            "file",
            f'tag,Address,created_at\nnews,{BOB},"{THEN}"',
            [{"address": BOB, "tags": ["news"], "created_at": THEN}],
        ),
        ("complaints", "complaints_csv", f"address\r{BOB}\r", [{"address": BOB, "count": 1, "created_at": NOW}]),
        (
            "whitelists",
            "whitelist_csv",
            f"address,domain\n{BOB},\n,x.org\n,\nbad,\n",
            [
                {"type": "domain", "value": "x.org", "reason": "", "createdAt": NOW},
                {"type": "address", "value": BOB, "reason": "", "createdAt": NOW},
            ],
        ),
    ],
)
async def test_a_file_is_read_whatever_its_field_is_called(client, word, field, text, found):
    said = await client.json("POST", f"{NEW}/{word}/import", 202, data=upload(text, field))
    assert said == {"message": "file uploaded successfully for processing. standby..."}
    assert await items(client, word) == found


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("name,code\nx,550\n", 400, "the first line must name the columns, and one of them must be `address`"),
        (b"address\n\xff@x.org\n", 400, "The file is not UTF-8"),
        (b"", 400, "file parameter is missing"),
        pytest.param(b"address\n" + b"x" * MAX_IMPORT, 413, "The file is larger than 25 MiB", id="large"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused(client, text, status, said):
    found = await client.json("POST", f"{NEW}/bounces/import", status, data=upload(text))
    assert found == {"message": said}


async def test_without_a_file_there_is_nothing_to_import(client):
    assert await client.json("POST", f"{NEW}/bounces/import", 400) == {"message": "file parameter is missing"}


async def test_a_large_file_does_not_stop_other_requests(client):
    text = "address\n" + "".join(f"u{n}@example.net\n" for n in range(30_000))
    loading = asyncio.ensure_future(client.json("POST", f"{NEW}/bounces/import", 202, data=upload(text)))
    answered = 0
    while not loading.done():
        await client.json("GET", f"{NEW}/complaints")
        answered += 1
    await loading
    assert answered > 3
    assert (await client.json("GET", f"{OLD}/bounces?limit=1"))["total_count"] == 30_000
