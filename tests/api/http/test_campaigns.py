"""Campaigns as a client sees them: what the contract's rows say, over messages that were really taken."""

from dataclasses import dataclass

import orjson
import pytest

from mtad.api import campaign_operations
from mtad.api.http import campaign_reports
from mtad.api.http.campaign_reports import CampaignReports
from mtad.api.http.campaigns import Campaigns
from mtad.api.operations import Operations
from mtad.feedback.record import counts_of
from mtad.mail.event import EventType
from mtad.mail.metric import Metric
from mtad.queue.campaigns import Campaigns as Known
from mtad.storage.record import Records, record
from mtad.storage.tracked import IDS_PER_VISIT, Client, Place, TrackedStore, Visit
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
URL = f"/v2/{DOMAIN}/campaigns"
COUNTS = ("submitted", "delivered", "opened", "clicked", "bounced", "dropped", "unsubscribed", "complained")
TEXAS, BERLIN = Place("US", "TX", "Austin"), Place("DE", "BE", "Berlin")


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock(NOW)) as house:
        yield house


@pytest.fixture
async def known(house):
    known = Known(house.database)
    house.submit._campaigns = known
    return known


@pytest.fixture
async def client(house, known):
    async def changed():
        await house.tenants.load()
        await known.load()

    operations = Operations(
        database=house.database,
        outgoing=house.outgoing,
        ids=house.ids,
        clock=house.clock,
        runner=None,
        changed=changed,
        hostname="mail.example.com",
    )
    operations.campaigning = known
    chapters = [house.messages(), Campaigns(operations), CampaignReports(house.database, house.clock)]
    async with serve(house, chapters) as client:
        yield client


@dataclass
class Mail:
    """Sends messages through the API, and lets things happen to their recipients."""

    house: object
    client: object

    async def send(self, *to, campaigns=("spring",), **more):
        data = [("from", f"a@{DOMAIN}"), ("subject", "x"), ("text", "y"), *(("to", one) for one in to)]
        data += [("o:campaign", one) for one in campaigns]
        await self.client.json("POST", f"/v3/{DOMAIN}/messages", data=[*data, *more.items()])
        kept = (await self.house.stored())[-1]
        found = await self.house.database.read(
            lambda c: c.execute(
                "SELECT id FROM recipients WHERE message_id = (SELECT max(id) FROM messages)"
            ).fetchall()
        )
        return kept, [number for (number,) in found]

    async def settled(self, recipient, kind, metric, key, **detail):
        """As queue.settle writes it."""
        event, now = self.house.ids.next(), self.house.clock.now()
        row = (event, int(kind), 1, recipient - 1, recipient, orjson.dumps(detail))
        records = Records([row], counts_of(1, [f"c:{key}"], metric, now), campaigned=[(event, 1)])
        await self.house.database.writer.write(lambda connection: record(connection, records))

    async def visit(self, recipient, kind, place=TEXAS, bot="", url=""):
        client = Client("browser", "Linux", "desktop", "Firefox", bot, counted=not bot)
        first = self.house.ids.take(IDS_PER_VISIT)
        visit = Visit(first, kind, recipient, "192.0.2.7", "UA/1", client, place, url)
        store = TrackedStore(lambda *_: (), lambda *_: None)
        await self.house.database.writer.write(lambda connection: store.apply(connection, [visit]))


@pytest.fixture
def mail(house, client):
    return Mail(house, client)


async def make(client, id="spring", name="Spring sale"):
    return (await client.json("POST", URL, data={"name": name, "id": id}))["campaign"]


async def test_a_campaign_is_made_shown_and_listed(client):
    made = await client.json("POST", URL, data={"name": "Spring sale", "id": "spring"})
    expected = {
        "id": "spring",
        "name": "Spring sale",
        "created_at": "Tue, 14 Nov 2023 22:13:20 GMT",
        **{f"{name}_count": 0 for name in COUNTS},
    }
    assert made == {"message": "Campaign created", "campaign": expected}
    assert await client.json("GET", f"{URL}/spring") == expected
    other = await client.json("POST", URL, data={"name": "No id"})
    assert other["campaign"]["id"]
    assert await client.json("GET", f"{URL}?limit=1&skip=1") == {"total_count": 2, "items": [other["campaign"]]}
    assert await client.json("GET", f"/v3/{OTHER}/campaigns") == {"total_count": 0, "items": []}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_campaign_is_changed(client, method):
    await make(client)
    found = await client.json(method, f"{URL}/spring", data={"name": "Summer"})
    assert (found["message"], found["campaign"]["id"], found["campaign"]["name"]) == (
        "Campaign updated", "spring", "Summer",
    )  # fmt: skip
    found = await client.json(method, f"{URL}/spring?id=summer")
    assert (found["campaign"]["id"], found["campaign"]["name"]) == ("summer", "Summer")
    await client.json("GET", f"{URL}/spring", 404)


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "message"),
    [
        ("POST", "", {}, 400, "name parameter is missing"),
        ("POST", "", {"name": "x" * 65}, 400, "name"),
        ("POST", "", {"name": "x", "id": "x" * 65}, 400, "64 printable ASCII"),
        ("POST", "", {"name": "x", "id": "ü"}, 400, "64 printable ASCII"),
        ("POST", "", {"name": "x", "id": "taken"}, 400, "there already"),
        ("PUT", "/spring", {"id": "taken"}, 400, "there already"),
        ("PUT", "/spring", {"name": ""}, 400, "name"),
        ("PUT", "/nothing", {"name": "x"}, 404, "Campaign not found"),
        ("GET", "/nothing", {}, 404, "Campaign not found"),
        ("DELETE", "/nothing", {}, 404, "Campaign not found"),
        ("GET", "?limit=0", {}, 400, "limit"),
        ("GET", "?skip=-1", {}, 400, "skip"),
        ("GET", "/nothing/stats", {}, 404, "Campaign not found"),
        ("GET", "/nothing/clicks?groupby=link", {}, 404, "Campaign not found"),
        ("GET", "/spring/clicks", {}, 400, "groupby parameter is missing"),
        ("GET", "/spring/opens", {}, 400, "groupby parameter is missing"),
        ("GET", "/spring/unsubscribes", {}, 400, "groupby parameter is missing"),
        ("GET", "/spring/complaints", {}, 400, "groupby parameter is missing"),
        ("GET", "/spring/opens?groupby=link", {}, 400, "groupby parameter is none of recipient, domain"),
        ("GET", "/spring/unsubscribes?groupby=recipient", {}, 400, "none of domain"),
        ("GET", "/spring/complaints?groupby=country", {}, 400, "none of recipient"),
        ("GET", "/spring/stats?groupby=day", {}, 400, "none of domain, daily_hour"),
        ("GET", "/spring/events?event=accepted", {}, 400, "event parameter is none of delivered"),
        ("GET", "/spring/events?page=0", {}, 400, "page"),
        ("GET", "/spring/events?page=x", {}, 400, "not an integer"),
        ("GET", "/spring/events?page=9000000000000000000", {}, 400, "page"),
        ("GET", "/spring/events?limit=0", {}, 400, "limit"),
        ("GET", "/spring/events?count=perhaps", {}, 400, "count"),
    ],
)
async def test_what_cannot_be_is_refused(client, method, path, data, status, message):
    await make(client)
    await make(client, "taken")
    assert message in (await client.json(method, URL + path, status, data=data))["message"]


async def test_a_domain_has_a_bounded_number_of_campaigns(client, monkeypatch):
    monkeypatch.setattr(campaign_operations, "MAX_CAMPAIGNS", 1)
    await make(client)
    found = await client.json("POST", URL, 402, data={"name": "x"})
    assert "more are not possible" in found["message"]


async def test_only_campaigns_the_domain_has_are_taken_from_a_message(client, mail, known):
    made = [await make(client, id, id.title()) for id in ("b", "a")]
    kept, _ = await mail.send("bob@b.example", campaigns=("nothing", "a", "b"))
    assert (kept.options.campaigns, kept.options.campaign_names) == (("a", "b"), ("A", "B"))
    kept, _ = await mail.send("bob@b.example", campaigns=("nothing",))
    assert (kept.options.campaigns, kept.options.campaign_keys) == ((), ())
    counts = [(await client.json("GET", f"{URL}/{one['id']}"))["submitted_count"] for one in made]
    assert counts == [1, 1]


async def test_an_id_that_is_too_long_is_refused_with_the_message(client, mail):
    data = {"from": f"a@{DOMAIN}", "to": "bob@b.example", "text": "x", "o:campaign": "x" * 65}
    assert "o:campaign" in (await client.json("POST", f"/v3/{DOMAIN}/messages", 400, data=data))["message"]


@pytest.fixture
async def busy(client, mail, known):
    """spring: two sent; Ann's was delivered, opened and clicked, Bob's refused."""
    await make(client)
    key = known._known[1, "spring"].number
    more = {"o:tag": "News", "v:order": "%recipient.no%"}
    people = '{"ann@a.example": {"no": "7"}, "Bob@B.example": {"no": "8"}}'
    _, (ann, bob) = await mail.send("ann@a.example", "Bob@B.example", **more, **{"recipient-variables": people})
    message = ann - 1
    await mail.settled(ann, EventType.DELIVERED, Metric.DELIVERED_SMTP, key)
    row = (mail.house.ids.next(), int(EventType.FAILED_PERMANENT), 1, message, bob, b'{"reason":"bounce"}')
    records = Records([row], counts_of(1, [f"c:{key}"], Metric.FAILED_BOUNCE, NOW), campaigned=[(row[0], 1)])
    await mail.house.database.writer.write(lambda connection: record(connection, records))
    mail.house.clock.advance(3600)
    await mail.visit(ann, EventType.OPENED)
    await mail.visit(ann, EventType.CLICKED, url="https://x.example/1")
    await mail.visit(ann, EventType.CLICKED, BERLIN, url="https://x.example/2")
    await mail.visit(ann, EventType.CLICKED, Place(), bot="gmail", url="https://x.example/1")
    return key


STATS = {
    "total": {
        "sent": 2,
        "delivered": 1,
        "opened": 1,
        "clicked": 3,
        "bounced": 1,
        "dropped": 0,
        "unsubscribed": 0,
        "complained": 0,
    },
    "unique": {"clicked": {"link": 2, "recipient": 1}, "opened": {"recipient": 1}},
}


async def test_the_totals_and_the_counts_are_the_same(client, busy):
    assert await client.json("GET", f"{URL}/spring/stats") == STATS
    assert await client.json("GET", f"{URL}/spring/stats?limit=1&page=3") == STATS
    assert await client.json("GET", f"{URL}/spring/stats?count=yes") == {"count": 1}
    shown = await client.json("GET", f"{URL}/spring")
    names = {"submitted": "sent"}
    assert {name: shown[f"{name}_count"] for name in COUNTS} == {
        name: STATS["total"][names.get(name, name)] for name in COUNTS
    }


async def test_totals_in_groups(client, busy):
    found = await client.json("GET", f"{URL}/spring/stats?groupby=domain")
    assert [(row["domain"], row["total"]["sent"], row["total"]["clicked"]) for row in found] == [
        ("a.example", 1, 3), ("b.example", 1, 0),
    ]  # fmt: skip
    hours = await client.json("GET", f"{URL}/spring/stats?groupby=daily_hour")
    assert {row["daily_hour"]: row["total"]["delivered"] for row in hours} == {22: 1, 23: 0}
    both = await client.json("GET", f"{URL}/spring/stats?groupby=country&groupby=city&limit=1&page=2")
    assert len(both) == 1
    assert await client.json("GET", f"{URL}/spring/stats?groupby=country&count=yes") == {"count": 3}


async def test_the_events_of_a_campaign(client, busy):
    found = await client.json("GET", f"{URL}/spring/events")
    assert [row["event"] for row in found] == ["clicked", "clicked", "clicked", "opened", "bounced", "delivered"]
    common = {"domain": "a.example", "recipient": "ann@a.example", "tags": ["News"], "user_vars": {"order": "7"}}
    assert found[1] == {
        **common,
        "event": "clicked",
        "timestamp": "Tue, 14 Nov 2023 23:13:20 GMT",
        "country": "DE",
        "region": "BE",
        "city": "Berlin",
        "ip": "192.0.2.7",
        "link": "https://x.example/2",
    }
    assert found[5] == {**common, "event": "delivered", "timestamp": "Tue, 14 Nov 2023 22:13:20 GMT"}
    assert (found[4]["recipient"], found[4]["user_vars"]) == ("Bob@b.example", {"order": "8"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("event=bounced", 1),
        ("event=opened&event=delivered", 2),
        ("recipient=BOB@b.example", 1),
        ("recipient=ann@a.example", 5),
        ("recipient=ann@a.example&event=delivered", 1),
        ("country=us", 2),
        ("country=DE&region=BE", 1),
        ("country=DE&region=TX", 0),
        ("event=dropped", 0),
    ],
)
async def test_events_by_filter(client, busy, query, expected):
    assert len(await client.json("GET", f"{URL}/spring/events?{query}")) == expected
    assert await client.json("GET", f"{URL}/spring/events?{query}&count=true") == {"count": expected}


async def test_events_in_pages(client, busy):
    whole = await client.json("GET", f"{URL}/spring/events")
    pages = [await client.json("GET", f"{URL}/spring/events?limit=4&page={n}") for n in (1, 2, 3)]
    assert pages == [whole[:4], whole[4:], []]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "clicks?groupby=link",
            [
                {"link": "https://x.example/1", "total": 2, "unique": {"recipient": 1}},
                {"link": "https://x.example/2", "total": 1, "unique": {"recipient": 1}},
            ],
        ),
        (
            "clicks?groupby=link&groupby=recipient&country=US",
            [{"link": "https://x.example/1", "recipient": "ann@a.example", "total": 1, "unique": {}}],
        ),
        ("clicks?groupby=recipient", [{"recipient": "ann@a.example", "total": 3, "unique": {"link": 2}}]),
        ("clicks?groupby=domain&limit=1&page=2", []),
        (
            "clicks?groupby=hour",
            [{"hour": "Tue, 14 Nov 2023 23:00:00 GMT", "total": 3, "unique": {"link": 2, "recipient": 1}}],
        ),
        (
            "opens?groupby=month&groupby=day",
            [
                {
                    "month": "Wed, 01 Nov 2023 00:00:00 GMT",
                    "day": "Tue, 14 Nov 2023 00:00:00 GMT",
                    "total": 1,
                    "unique": {"recipient": 1},
                }
            ],
        ),
        ("opens?groupby=minute", [{"minute": "Tue, 14 Nov 2023 23:13:00 GMT", "total": 1, "unique": {"recipient": 1}}]),
        ("opens?groupby=daily_hour", [{"daily_hour": 23, "total": 1, "unique": {"recipient": 1}}]),
        ("opens?groupby=city", [{"city": "Austin", "total": 1, "unique": {"recipient": 1}}]),
        ("opens?groupby=recipient", [{"recipient": "ann@a.example", "total": 1, "unique": {}}]),
        ("clicks?groupby=country&count=yes", {"count": 3}),
        ("unsubscribes?groupby=domain", []),
    ],
)
async def test_reports_in_groups(client, busy, path, expected):
    assert await client.json("GET", f"{URL}/spring/{path}") == expected


async def test_who_left_and_who_complained(client, mail, busy):
    _, (cid,) = await mail.send("cid@c.example")
    await mail.visit(cid, EventType.UNSUBSCRIBED, BERLIN)
    await mail.settled(cid, EventType.COMPLAINED, Metric.COMPLAINED, busy)
    assert await client.json("GET", f"{URL}/spring/unsubscribes?groupby=country&groupby=domain") == [
        {"country": "DE", "domain": "c.example", "total": 1}
    ]
    assert await client.json("GET", f"{URL}/spring/complaints?groupby=recipient") == [
        {"recipient": "cid@c.example", "total": 1}
    ]
    totals = (await client.json("GET", f"{URL}/spring/stats"))["total"]
    assert (totals["sent"], totals["unsubscribed"], totals["complained"]) == (3, 1, 1)


async def test_a_new_id_keeps_the_data_and_takes_new_ones(client, mail, busy):
    await client.json("PUT", f"{URL}/spring", data={"id": "summer"})
    assert await client.json("GET", f"{URL}/summer/stats") == STATS
    assert len(await client.json("GET", f"{URL}/summer/events")) == 6
    assert (await client.json("GET", f"{URL}/summer"))["clicked_count"] == 3
    await make(client)  # the old id is free, and is another campaign's
    await mail.send("d@d.example", campaigns=("spring", "summer"))
    assert (await client.json("GET", f"{URL}/spring/stats"))["total"]["sent"] == 1
    assert (await client.json("GET", f"{URL}/summer/stats"))["total"]["sent"] == 3


async def test_a_campaign_goes_with_all_its_data(client, house, mail, busy, monkeypatch):
    found = await client.json("DELETE", f"{URL}/spring")
    assert found == {"message": "Campaign has been deleted", "id": "spring"}
    await client.json("GET", f"{URL}/spring", 404)
    for question in (
        "SELECT count(*) FROM campaign_events",
        "SELECT count(*) FROM campaign_counts",
        f"SELECT count(*) FROM counters WHERE label = 'c:{busy}'",
        f"SELECT count(*) FROM aggregates WHERE label = 'c:{busy}'",
    ):
        assert await house.database.read(lambda c, question=question: c.execute(question).fetchone()) == (0,)
    await make(client)
    kept, _ = await mail.send("bob@b.example")
    assert kept.options.campaign_keys != (busy,)
    assert (await client.json("GET", f"{URL}/spring/stats"))["total"]["sent"] == 1


async def test_a_report_that_takes_too_long_is_given_up(client, busy, monkeypatch):
    monkeypatch.setattr(campaign_reports, "PATIENCE_S", -1.0)
    assert "takes longer" in (await client.json("GET", f"{URL}/spring/stats", 408))["message"]
