import asyncio
import itertools
import random
from urllib.parse import urlsplit

import orjson
import pytest

from mtad.api.http.events import Events
from mtad.api.http.traversal import decode
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, event_id
from mtad.storage import journal, lookups, record
from mtad.storage.database import open_database
from mtad.storage.indexer import Indexer
from mtad.storage.outgoing import Accept
from mtad.storage.record import Records
from mtad.storage.search import Search, Wanted
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

DAY = 86_400.0
KEEP_S = 30 * DAY


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def house(tmp_path, clock):
    async with open_house(tmp_path, clock) as house:
        yield house


def _events(house):
    house.database.writer.follow(lambda: house.ids.last)
    return Events(house.database, house.clock, lambda: KEEP_S)


@pytest.fixture
async def client(house):
    async with serve(house, [_events(house)]) as client:
        yield client


@pytest.fixture
def writing(house, clock):
    return Journal(house, clock)


class Journal:
    """Writes messages and what happened to them."""

    def __init__(self, house, clock):
        self.house, self.clock = house, clock
        self.accept = house.database.writer.lane(house.outgoing.accept)
        self.records = house.database.writer.lane(record.apply)

    async def message(self, *recipients, domain=1, subject="Hello", tags=(), message_id="", size=100, **about):
        """The recipients' ids."""
        ids, recipients = self.house.ids, recipients or ("bob@example.net",)
        number = ids.take(1 + len(recipients))
        told = {"message-id": message_id or f"{number}@ours.example", "from": "Ann <ann@ours.example>"}
        told |= {"to": ", ".join(recipients), "subject": subject, "method": "http", **about}
        options = orjson.dumps({"tags": tags}) if tags else None
        row = (number, domain, "ann@ours.example", size, len(recipients), 0, None, orjson.dumps(told), options, None)
        people = [
            (number + place, number, domain, 1, address, 2, 1, None, None, None, None, None)
            for place, address in enumerate(recipients, 1)
        ]
        events = [self.event(EventType.ACCEPTED, one[0], number, domain) for one in people]
        await self.accept.put(Accept(row, b"", people, Records(events=events)))
        return [one[0] for one in people]

    def event(self, kind, recipient, message, domain=1, detail=None):
        text = orjson.dumps(detail) if detail is not None else None
        return (self.house.ids.next(), int(kind), domain, message, recipient, text)

    async def happens(self, kind, to, **detail):
        """To a recipient of a message to one; None: to nobody who has a row."""
        row = self.event(kind, to, to - 1 if to is not None else None, detail=detail)
        await self.records.put(Records(events=[row]))
        return row[0]

    async def several(self, count, **more):
        for number in range(count):
            await self.message(f"r{number}@example.net", **more)
            self.clock.advance(1)


def names(page):
    return [item.get("recipient", "").partition("@")[0] for item in page["items"]]


def path_of(url):
    parts = urlsplit(url)
    return parts.path + "?" + parts.query


async def walk(client, path, word="next"):
    """The ids on all pages up to the first empty one."""
    pages = []
    while True:
        page = await client.json("GET", path)
        if not page["items"]:
            return pages
        pages.append([item["id"] for item in page["items"]])
        path = path_of(page["paging"][word])
        assert len(pages) < 500


async def test_the_newest_come_first_unless_it_is_said_otherwise(client, writing, clock):
    start = clock.now()
    await writing.several(4)
    url = f"/v3/{DOMAIN}/events"
    page = await client.json("GET", url)
    assert names(page) == ["r3", "r2", "r1", "r0"]
    assert page["items"][0]["timestamp"] == start + 3
    assert names(await client.json("GET", f"{url}?begin={start}&ascending=yes")) == ["r0", "r1", "r2", "r3"]
    assert names(await client.json("GET", f"{url}?begin={start}&end={start + 2}")) == ["r0", "r1", "r2"]
    assert names(await client.json("GET", f"{url}?begin={start + 2}&end={start + 1}")) == ["r2", "r1"]
    assert names(await client.json("GET", f"{url}?begin={start + 1}")) == ["r1", "r0"]
    assert names(await client.json("GET", f"{url}?ascending=yes")) == []
    assert names(await client.json("GET", f"{url}?begin=Tue, 14 Nov 2023 22:13:21 GMT".replace(" ", "%20"))) == [
        "r1",
        "r0",
    ]


async def test_begin_end_and_ascending_must_agree(client):
    for query in ("begin=2000&end=1000&ascending=yes", "begin=1000&end=2000&ascending=no", "begin=yesterday"):
        found = await client.json("GET", f"/v3/{DOMAIN}/events?{query}", 400)
        assert found["message"]
    await client.json("GET", f"/v3/{DOMAIN}/events?begin=1000&end=1000&ascending=no")
    assert await client.json("GET", f"/v3/{DOMAIN}/events?limit=x", 400) == {
        "message": "'limit' parameter is not an integer"
    }


async def test_only_the_domains_own_events_are_told(client, writing):
    await writing.message("ours@example.net")
    await writing.message("theirs@example.net", domain=2)
    assert names(await client.json("GET", f"/v3/{DOMAIN}/events")) == ["ours"]
    assert names(await client.json("GET", f"/v3/{OTHER}/events")) == ["theirs"]


@pytest.mark.parametrize("direction", ["begin=0&ascending=yes", "ascending=no"])
async def test_every_event_is_on_one_page_both_ways(client, writing, direction):
    await writing.several(11)
    path = f"/v3/{DOMAIN}/events?limit=3&{direction}"
    pages = await walk(client, path)
    assert [len(page) for page in pages] == [3, 3, 3, 2]
    assert len({one for page in pages for one in page}) == 11
    first = await client.json("GET", path)
    last = await client.json("GET", path_of(first["paging"]["last"]))
    assert [item["id"] for item in last["items"]] == [one for page in pages for one in page][-3:]
    back = await walk(client, path_of(last["paging"]["previous"]), "previous")
    assert [one for page in reversed(back) for one in page] == [one for page in pages for one in page][:-3]
    assert await walk(client, path_of(last["paging"]["first"])) == pages


async def test_before_the_first_page_there_is_an_empty_one_that_leads_back(client, writing):
    await writing.several(3)
    for query in ("limit=2", "limit=2&begin=0&ascending=yes"):
        first = await client.json("GET", f"/v3/{DOMAIN}/events?{query}")
        empty = await client.json("GET", path_of(first["paging"]["previous"]))
        assert empty["items"] == []
        assert (await client.json("GET", path_of(empty["paging"]["next"])))["items"] == first["items"]
        again = await client.json("GET", path_of(empty["paging"]["previous"]))
        assert again["items"] == []


async def test_all_links_are_there_on_an_empty_store_and_lead_to_what_comes(client, writing):
    page = await client.json("GET", f"/v3/{DOMAIN}/events?begin=0&ascending=yes")
    assert page["items"] == []
    assert set(page["paging"]) == {"next", "previous", "first", "last"}
    await writing.several(2)
    for word in ("next", "first", "last"):
        assert names(await client.json("GET", path_of(page["paging"][word]))) == ["r0", "r1"]


async def test_a_token_works_in_the_path_and_in_the_query(client, writing):
    await writing.several(3)
    page = await client.json("GET", f"/v3/{DOMAIN}/events?limit=1")
    url = page["paging"]["next"]
    assert url.startswith(f"{client.base}/v3/{DOMAIN}/events/")
    token = url.rpartition("=")[2]
    expected = await client.json("GET", path_of(url))
    assert names(expected) == ["r1"]
    for path in (f"events/{token}", f"events?page={token}", f"events?limit=2&subject=no&page={token}"):
        assert await client.json("GET", f"/v3/{DOMAIN}/{path}") == expected


async def test_a_bad_token_is_400(client, writing):
    await writing.several(2)
    page = await client.json("GET", f"/v3/{DOMAIN}/events?limit=1")
    token = page["paging"]["next"].rpartition("=")[2]
    wrong = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for bad in ("x", "next", token[:-3], wrong, "A" * 7000, "%C3%A9"):
        found = await client.json("GET", f"/v3/{DOMAIN}/events?page={bad}", 400)
        assert found == {"message": "page parameter is not valid"}


async def test_the_most_on_a_page_depends_on_the_version(client, writing):
    url = f"/{DOMAIN}/events?limit=1000"
    for number in range(7):
        await writing.message(*(f"r{number}.{n}@example.net" for n in range(50)))
    assert len((await client.json("GET", "/v3" + url))["items"]) == 300
    assert len((await client.json("GET", "/v2" + url))["items"]) == 100
    new = await client.json("GET", "/v3" + url)
    assert len((await client.json("GET", path_of(new["paging"]["first"]).replace("/v3", "/v2")))["items"]) == 100
    assert len((await client.json("GET", f"/v3/{DOMAIN}/events"))["items"]) == 100


async def test_pretty_is_said_in_the_request_and_kept(client, writing):
    await writing.several(2)
    url = f"/v3/{DOMAIN}/events?limit=1"
    assert "\n" in await (await client("GET", url)).text()
    plain = await client("GET", url + "&pretty=no")
    assert "\n" not in await plain.text()
    following = await client("GET", path_of((await plain.json())["paging"]["next"]))
    assert "\n" not in await following.text()


async def test_what_is_older_than_is_kept_is_not_told(client, writing, clock):
    await writing.message("old@example.net")
    clock.advance(KEEP_S + 1)
    await writing.message("new@example.net")
    assert names(await client.json("GET", f"/v3/{DOMAIN}/events?begin=0&ascending=yes")) == ["new"]


@pytest.fixture(params=["fresh", "indexed", "common"])
async def found(request, client, writing, house, monkeypatch):
    """Asks with filters for names; of a store that is indexed or not, whatever is rare or common in it."""
    await writing.message("bob@example.net", subject="Weekly news", tags=["News"], message_id="<m1@x.example>")
    [eve] = await writing.message("Eve@Example.net", subject="A draft", tags=["draft", "news"], size=15_000)
    await writing.message("jimbob@example.net", "ann@example.org", subject="Both of you")
    other = {"recipient": "bob@example.net", "about": {"message-id": "m2@x.example", "subject": "No"}}
    await writing.happens(EventType.REJECTED, None, **other)
    await writing.happens(EventType.FAILED_TEMPORARY, eve, reason="greylisted")
    await writing.happens(EventType.FAILED_PERMANENT, eve, reason="bounce")
    await writing.happens(EventType.INTERRUPTED, eve)
    await writing.happens(EventType.UNSUBSCRIBED, eve, tags=["*"])
    await writing.message("bob@example.net", domain=2, tags=["news"])
    if request.param != "fresh":
        while await Indexer(house.database, house.clock).round():
            pass
        assert await house.database.read(lookups.upto) > 0
    if request.param == "common":
        monkeypatch.setattr("mtad.storage.search.MOST", 0)
        monkeypatch.setattr("mtad.storage.search.SLICE", 2)
    await writing.message("late@example.net", tags=["late"], attachments=[{"filename": "Report.PDF"}])

    async def ask(**filters):
        directions = []
        for ascending in ("yes", "no"):
            begin = {"begin": "0"} if ascending == "yes" else {}
            params = {"ascending": ascending, "limit": "100", **begin, **filters}
            page = await client.json("GET", f"/v3/{DOMAIN}/events", params=params)
            directions.append([f"{item['event']} {item['recipient'].partition('@')[0]}" for item in page["items"]])
        assert directions[0] == directions[1][::-1]
        return directions[0]

    return ask


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"recipient": "bob@example.net"}, ["accepted bob", "rejected bob"]),
        ({"recipient": "bob"}, ["accepted bob", "accepted jimbob", "rejected bob"]),
        ({"recipient": "eve@example.net", "event": "failed"}, ["failed Eve", "failed Eve"]),
        ({"recipient": "eve@example.net OR late@example.net", "event": "accepted"}, ["accepted Eve", "accepted late"]),
        ({"recipient": "nobody@example.net"}, []),
        ({"recipients": "ann@example.org"}, ["accepted jimbob", "accepted ann"]),
        ({"message-id": "m1@x.example"}, ["accepted bob"]),
        ({"message-id": "<m2@x.example>"}, ["rejected bob"]),
        ({"event": "rejected OR failed"}, ["rejected bob", "failed Eve", "failed Eve"]),
        ({"severity": "permanent"}, ["failed Eve"]),
        ({"event": "interrupted"}, []),
        ({"tags": "NEWS"}, ["accepted bob", "accepted Eve", "failed Eve", "failed Eve"]),
        ({"tags": "news -draft"}, ["accepted bob"]),
        ({"tags": "new"}, []),
        ({"tags": "late"}, ["accepted late"]),
        ({"tags": "*"}, ["unsubscribed Eve"]),
        ({"subject": '"weekly news"'}, ["accepted bob"]),
        ({"size": ">10000 <20000", "event": "accepted"}, ["accepted Eve"]),
        ({"attachment": "report"}, ["accepted late"]),
        ({"from": "ann", "event": "accepted", "to": "late"}, ["accepted late"]),
        ({"tags": "news", "recipient": "eve@example.net", "event": "accepted"}, ["accepted Eve"]),
        ({"subject": " ", "colour": "green", "event": "rejected"}, ["rejected bob"]),
    ],
)
async def test_filters(found, filters, expected):
    assert await found(**filters) == expected


async def test_the_same_filter_twice_must_be_met_twice_and_stays_in_the_links(client, writing):
    for subject in ("red", "red green", "green red", "green"):
        await writing.message(f"{subject.replace(' ', '.')}@example.net", subject=subject)
    page = await client.json("GET", f"/v3/{DOMAIN}/events?subject=red&subject=green&limit=1")
    assert names(page) == ["green.red"]
    page = await client.json("GET", path_of(page["paging"]["next"]))
    assert names(page) == ["red.green"]
    assert (await client.json("GET", path_of(page["paging"]["next"])))["items"] == []
    found = await client.json("GET", f"/v3/{DOMAIN}/events?subject=(red", 400)
    assert found["message"] == "subject parameter has a parenthesis without its pair"


async def test_an_accepted_event_names_all_recipients(client, writing):
    await writing.message("a@example.net", "b@example.net")
    page = await client.json("GET", f"/v3/{DOMAIN}/events")
    assert [item["message"]["recipients"] for item in page["items"]] == [["a@example.net", "b@example.net"]] * 2


async def test_a_filter_that_finds_nothing_in_time_says_so(client, writing, clock, monkeypatch):
    await writing.several(5)
    monkeypatch.setattr("mtad.api.http.events.STEP", 1)
    monkeypatch.setattr("mtad.api.http.events.PATIENCE_S", -1.0)
    found = await client.json("GET", f"/v3/{DOMAIN}/events?subject=never&limit=1", 408)
    assert "narrow it down" in found["message"]


# What comes while pages are read.


async def test_a_later_event_is_held_back_until_the_earlier_one_is_there(client, writing, house):
    early, late = (writing.event(EventType.STORED, None, None) for _ in range(2))
    failing = asyncio.Event()

    def write(connection, items):
        if not failing.is_set():
            raise OSError("the disk is full")
        record.apply(connection, items)

    lane = house.database.writer.lane(write)
    poll = f"/v3/{DOMAIN}/events?begin=0&ascending=yes"
    lane.tell(Records(events=[early]))
    await writing.records.put(Records(events=[late]))
    page = await client.json("GET", poll)
    assert page["items"] == []
    failing.set()
    house.database.writer.stir(False)
    await house.database.writer.write(lambda connection: None)
    page = await client.json("GET", path_of(page["paging"]["next"]))
    assert [item["id"] for item in page["items"]] == [event_id(early[0]), event_id(late[0])]


@pytest.mark.parametrize("seed", range(4))
async def test_a_poller_sees_every_event_once_and_in_order_while_they_are_written(client, writing, house, clock, seed):
    rng, writer = random.Random(seed), house.database.writer
    broken = itertools.count()

    def shaky(connection, items):
        """Fails now and then, as a disk may, so that some facts are committed later than younger ones."""
        if next(broken) % 5 == 3:
            raise OSError("not now")
        record.apply(connection, items)

    def how_many(connection):
        return connection.execute("SELECT count(*) FROM events").fetchone()[0]

    lanes = [writer.lane(shaky), writer.lane(record.apply, patient=True), writing.records]
    written, done = [], asyncio.Event()

    async def write():
        for _ in range(60):
            for _ in range(rng.randrange(1, 6)):
                row = writing.event(EventType.STORED, None, None)
                written.append(event_id(row[0]))
                rng.choice(lanes).tell(Records(events=[row]))
            clock.advance(rng.choice([0, 0, 0.001, 0.5]))
            await asyncio.sleep(0)
            writer.stir(False)
        while await house.database.read(how_many) < len(written):
            writer.stir(False)
        await writer.write(lambda connection: None)  # the writer knows of it too
        done.set()

    async def poll(query):
        seen, path, idle = [], f"/v3/{DOMAIN}/events?{query}&limit={rng.choice([1, 3, 300])}&pretty=no", 0
        while idle < 2:
            page = await client.json("GET", path)
            seen += [item["id"] for item in page["items"]]
            path = path_of(page["paging"]["next"])
            idle = idle + 1 if done.is_set() and not page["items"] else 0
        return seen

    queries = ["begin=0&ascending=yes", "begin=0&ascending=yes&event=stored", "begin=0&ascending=yes&subject=-x"]
    _, *seen = await asyncio.gather(write(), *map(poll, queries))
    assert seen == [written] * len(queries)


async def test_pages_downwards_have_no_event_twice_and_miss_none_while_more_come(client, writing, clock):
    await writing.several(20)
    path, seen = f"/v3/{DOMAIN}/events?limit=3", []
    while True:
        page = await client.json("GET", path)
        await writing.message("new@example.net")
        if not page["items"]:
            break
        seen += names(page)
        path = path_of(page["paging"]["next"])
    assert seen == [f"r{number}" for number in reversed(range(20))]


async def test_links_outlive_a_restart(tmp_path, clock):
    async with open_house(tmp_path, clock) as house, serve(house, [_events(house)]) as client:
        await Journal(house, clock).several(3)
        page = await client.json("GET", f"/v3/{DOMAIN}/events?limit=2&begin=0&ascending=yes")
        path = path_of(page["paging"]["next"])
    async with open_database(tmp_path, clock, cache_octets=1_000_000, readers=1) as database:
        ids = IdSource(lambda: 0.0, floor=await database.read(journal.newest_id))
        database.writer.follow(lambda: ids.last)
        asked = decode(path.rpartition("=")[2], 300)
        search = Search(Wanted(1, *asked.bounds, asked.down))
        left = await database.read(lambda connection: search.step(connection, 10))
        assert [event.recipient for event in left] == ["r2@example.net"]
        assert database.writer.horizon >= left[0].id
