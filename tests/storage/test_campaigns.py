"""The reports of a campaign, against lists of events that were made by hand."""

import sqlite3
from collections import Counter

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, floor_at, made_at
from mtad.mail.metric import Metric
from mtad.mail.options import Options, options_from_json
from mtad.storage import accounts, campaign_events, campaigns, counters, lookups
from mtad.storage import campaign_reports as reports
from mtad.storage.campaign_events import DELIVERED_KEEP_S, TOLD, Word
from mtad.storage.campaign_reports import PLACES, TIMES, Key, Page, Wanted
from mtad.storage.database import migrate
from mtad.storage.record import Records, record

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
HOUR = int(NOW) // 3600
ALL = Page(1000)
VISITS = (EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED)


class Book:
    """Writes messages of campaigns and their events as the daemon does, and keeps a list of its own."""

    def __init__(self):
        self.at = NOW
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection)
        self.ids = IdSource(lambda: self.at)
        self.domain = accounts.add_domain(self.connection, "ours.example", NOW)
        self.people = {}

    def campaign(self, id="spring"):
        assert campaigns.add(self.connection, self.domain, id, id.title(), NOW)
        return campaigns.find(self.connection, self.domain, id).number

    def send(self, *addresses, keys=(), personal=None, **options):
        number = self.ids.take(1 + len(addresses))
        said = Options(campaigns=tuple(map(str, keys)), campaign_keys=tuple(keys), **options).to_json() or None
        self.connection.execute(
            "INSERT INTO messages (id, domain_id, reverse_path, size, recipients, flags, about, options)"
            " VALUES (?, ?, '', 1, ?, 0, '{}', ?)",
            (number, self.domain, len(addresses), said),
        )
        for place, address in enumerate(addresses, 1):
            self.connection.execute(
                "INSERT INTO recipients (id, message_id, domain_id, site_id, address, state, attempts, personal)"
                " VALUES (?, ?, ?, 0, ?, 2, 1, ?)",
                (number + place, number, self.domain, address, personal),
            )
            self.people[address] = (number, number + place)
        for address in addresses:
            self.happened(EventType.ACCEPTED, address)

    def happened(self, kind, address, counted=1, **detail):
        message, recipient = self.people[address]
        event = self.ids.next()
        row = (event, int(kind), self.domain, message, recipient, orjson.dumps(detail) if detail else None)
        record(self.connection, Records(events=[row], campaigned=[(event, counted)]))
        return event

    def visit(self, kind, address, country="US", region="TX", city="Austin", counted=1, link=""):
        place = {"country": country, "region": region, "city": city}
        more = {"url": link} if link else {}
        return self.happened(kind, address, counted, ip="192.0.2.7", geolocation=place, **more)

    def totals(self, number):
        one = reports.totals(self.connection, number)
        return {word.name.lower(): n for word, n in one.totals.items() if n}

    def rows(self, number, **wanted):
        return reports.events(self.connection, number, Wanted(**wanted), ALL)


@pytest.fixture
def book():
    book = Book()
    yield book
    book.connection.close()


@pytest.fixture
def spring(book):
    """Two sent, one of them delivered and then looked at, one refused."""
    number = book.campaign()
    book.send("ann@a.example", "Bob@B.example", keys=(number,), tags=("News",), variables={"order": "%recipient.no%"})
    book.happened(EventType.DELIVERED, "ann@a.example", reason="x")
    book.happened(EventType.FAILED_TEMPORARY, "Bob@B.example", reason="generic")
    book.happened(EventType.FAILED_PERMANENT, "Bob@B.example", reason="bounce")
    book.at += 3600
    book.visit(EventType.OPENED, "ann@a.example")
    book.visit(EventType.OPENED, "ann@a.example", "Unknown", "Unknown", "Unknown")
    book.visit(EventType.CLICKED, "ann@a.example", link="https://x.example/1")
    book.visit(EventType.CLICKED, "ann@a.example", link="https://x.example/2", country="DE", region="BE", city="Berlin")
    book.visit(EventType.CLICKED, "ann@a.example", link="https://x.example/1", counted=0)
    return number


def test_the_totals_are_those_of_the_events(book, spring):
    assert book.totals(spring) == {"sent": 2, "delivered": 1, "bounced": 1, "opened": 2, "clicked": 3}
    one = reports.totals(book.connection, spring)
    assert (one.links_clicked, one.recipients_clicked, one.recipients_opened) == (2, 1, 1)


@pytest.mark.parametrize(
    ("kind", "reason", "word"),
    [
        (EventType.FAILED_PERMANENT, "bounce", Word.BOUNCED),
        (EventType.FAILED_PERMANENT, "hardfail", Word.BOUNCED),
        (EventType.FAILED_PERMANENT, "old", Word.DROPPED),
        (EventType.FAILED_PERMANENT, "generic", Word.DROPPED),
        (EventType.FAILED_PERMANENT, "suppress-bounce", Word.DROPPED),
        (EventType.FAILED_LATE, "generic", Word.BOUNCED),
        (EventType.COMPLAINED, "", Word.COMPLAINED),
        (EventType.UNSUBSCRIBED, "", Word.UNSUBSCRIBED),
        (EventType.FAILED_TEMPORARY, "generic", None),
        (EventType.INTERRUPTED, "", None),
    ],
)
def test_each_event_has_one_word(book, kind, reason, word):
    number = book.campaign()
    book.send("a@a.example", keys=(number,))
    book.happened(kind, "a@a.example", reason=reason)
    assert [row.word for row in book.rows(number)] == ([word] if word else [])


def test_mail_of_no_campaign_and_of_one_that_is_gone_leaves_nothing(book):
    book.send("a@a.example", keys=(77,))
    book.send("b@a.example")
    for address in ("a@a.example", "b@a.example"):
        book.happened(EventType.DELIVERED, address)
    for table in ("campaign_events", "campaign_counts"):
        assert book.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_mail_of_three_campaigns_counts_in_each(book):
    numbers = [book.campaign(id) for id in ("a", "b", "c")]
    book.send("a@a.example", keys=numbers)
    book.happened(EventType.DELIVERED, "a@a.example")
    assert [book.totals(number) for number in numbers] == [{"sent": 1, "delivered": 1}] * 3


def test_rows_are_newest_first_and_tell_what_is_known(book, spring):
    rows = book.rows(spring)
    assert [row.word for row in rows] == [Word.CLICKED] * 3 + [Word.OPENED] * 2 + [Word.BOUNCED, Word.DELIVERED]
    newest, second = rows[0], rows[1]
    assert (newest.recipient, newest.domain, newest.link, newest.ip) == (
        "ann@a.example", "a.example", "https://x.example/1", "192.0.2.7",
    )  # fmt: skip
    assert (second.country, second.region, second.city) == ("DE", "BE", "Berlin")
    assert (rows[4].country, rows[3].country) == ("US", "")
    assert (rows[5].recipient, rows[5].domain, rows[5].ip) == ("Bob@B.example", "b.example", "")
    said = options_from_json(newest.options)
    assert (said.tags, said.variables) == (("News",), {"order": "%recipient.no%"})
    assert abs(made_at(newest.id) - book.at) < 1


OWN = b'{"variables":{"no":"7"}}'


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"variables": {"order": "1"}}, (True, b"")),
        ({"variables": {"order": "%recipient.no%"}}, (True, OWN)),
        ({"tags": ("News",)}, (True, b"")),
        ({}, (False, b"")),
        ({"variables": {"x": "y" * campaign_events.MAX_TOLD}}, (False, b"")),
    ],
)
def test_what_a_message_says_is_told_as_long_as_it_is_kept_and_after_that_what_was_copied(book, said, kept):
    number = book.campaign()
    book.send("a@a.example", keys=(number,), personal=OWN, **said)
    book.happened(EventType.DELIVERED, "a@a.example")
    book.visit(EventType.OPENED, "a@a.example")
    for row in book.rows(number):
        assert options_from_json(row.options).variables == said.get("variables", {})
        assert row.personal == OWN
    for table in ("events", "messages", "recipients"):
        book.connection.execute(f"DELETE FROM {table}")
    opened, delivered = book.rows(number)
    assert (bool(opened.options), opened.personal) == kept
    assert (delivered.options, delivered.personal) == (b"", b"")
    if kept[0]:
        found = options_from_json(opened.options)
        assert (found.variables, found.tags) == (said.get("variables", {}), said.get("tags", ()))


def test_events_are_found_by_word_recipient_and_place(book, spring):
    assert {row.word for row in book.rows(spring, words=(Word.OPENED, Word.BOUNCED))} == {Word.OPENED, Word.BOUNCED}
    assert len(book.rows(spring, recipient="ANN@a.example")) == 6
    assert [row.word for row in book.rows(spring, recipient="bob@b.example")] == [Word.BOUNCED]
    assert book.rows(spring, recipient="nobody@b.example") == []
    assert len(book.rows(spring, places={Key.COUNTRY: "us"})) == 3
    assert len(book.rows(spring, places={Key.COUNTRY: "us", Key.CITY: "Berlin"})) == 0
    assert len(book.rows(spring, recipient="ann@a.example", words=(Word.CLICKED,), places={Key.REGION: "BE"})) == 1


def test_the_deliveries_to_a_recipient_are_found_by_the_lookups_and_before_them(book, spring):
    before = book.rows(spring, recipient="ann@a.example", words=(Word.DELIVERED,))
    lookups.add(book.connection, lookups.gather(book.connection, 0, book.ids.last))
    assert book.rows(spring, recipient="ann@a.example", words=(Word.DELIVERED,)) == before
    assert len(before) == 1
    plan = _plan(book, spring, Wanted(recipient="ann@a.example"))
    assert not [line for line in plan if "SCAN campaign_events" in line]


def test_no_list_of_events_looks_at_other_campaigns(book, spring):
    for wanted in (Wanted(), Wanted(words=(Word.CLICKED,)), Wanted(places={Key.CITY: "x"})):
        plan = _plan(book, spring, wanted)
        searched = [line for line in plan if "campaign_events" in line]
        assert searched
        assert all("PRIMARY KEY (campaign=? AND word=?" in line for line in searched)
        assert not [line for line in plan if "TEMP B-TREE" in line]


def test_the_totals_sort_nothing_but_the_links(book, spring):
    plan = [row[3] for row in book.connection.execute(f"EXPLAIN QUERY PLAN {reports._PEOPLE}", (spring,))]
    assert [line for line in plan if "COVERING INDEX campaign_events_recipient" in line]
    assert not [line for line in plan if "TEMP B-TREE" in line]


def _plan(book, number, wanted):
    runs, values = reports._events(book.connection, number, wanted, "id, word")
    rows = book.connection.execute(f"EXPLAIN QUERY PLAN {runs} ORDER BY id DESC LIMIT 100", values)
    return [row[3] for row in rows]


def test_clicks_in_groups_the_largest_first(book, spring):
    def grouped(*keys, places=()):
        found = reports.grouped(book.connection, spring, Word.CLICKED, keys, dict(places), ALL)
        return [(*one.keys, one.total, one.links, one.recipients) for one in found]

    assert grouped(Key.LINK) == [("https://x.example/1", 2, 1, 1), ("https://x.example/2", 1, 1, 1)]
    assert grouped(Key.COUNTRY, Key.CITY) == [("US", "Austin", 2, 1, 1), ("DE", "Berlin", 1, 1, 1)]
    assert grouped(Key.DAILY_HOUR) == [(23, 3, 2, 1)]
    assert grouped(Key.MONTH, Key.DAY) == [(1_698_796_800, 1_699_920_000, 3, 2, 1)]
    assert grouped(Key.HOUR) == [(1_700_002_800, 3, 2, 1)]
    assert grouped(Key.MINUTE) == [(1_700_003_580, 3, 2, 1)]
    assert grouped(Key.RECIPIENT, places=[(Key.COUNTRY, "DE")]) == [("ann@a.example", 1, 1, 1)]


def test_an_address_in_other_letters_is_the_same_person(book):
    number = book.campaign()
    for address in ("Bob@B.example", "bob@b.example"):
        book.send(address, keys=(number,))
        book.visit(EventType.OPENED, address)
        book.visit(EventType.CLICKED, address, link="https://x.example/")
    [by_recipient] = reports.grouped(book.connection, number, Word.OPENED, [Key.RECIPIENT], {}, ALL)
    [by_domain] = reports.grouped(book.connection, number, Word.OPENED, [Key.DOMAIN], {}, ALL)
    whole = reports.totals(book.connection, number)
    assert (by_recipient.total, by_recipient.recipients, by_domain.recipients) == (2, 1, 1)
    assert (whole.recipients_clicked, whole.recipients_opened) == (1, 1)


def test_stats_in_groups_have_all_that_has_no_place_under_one_name(book, spring):
    found = {one.keys: one for one in reports.stats(book.connection, spring, [Key.COUNTRY], ALL)}
    assert set(found) == {("US",), ("DE",), ("Unknown",)}
    assert {word: n for word, n in found["Unknown",].totals.items() if n} == {
        Word.SENT: 2, Word.DELIVERED: 1, Word.BOUNCED: 1, Word.OPENED: 1,
    }  # fmt: skip
    hours = {one.keys[0]: one.totals for one in reports.stats(book.connection, spring, [Key.DAILY_HOUR], ALL)}
    assert (hours[22][Word.SENT], hours[22][Word.DELIVERED], hours[23][Word.CLICKED]) == (2, 1, 3)
    domains = {one.keys[0]: one.totals for one in reports.stats(book.connection, spring, [Key.DOMAIN], ALL)}
    assert (domains["a.example"][Word.DELIVERED], domains["b.example"][Word.BOUNCED]) == (1, 1)


_HAPPENED = st.tuples(
    st.sampled_from(
        [*VISITS, EventType.DELIVERED, EventType.FAILED_PERMANENT, EventType.FAILED_LATE, EventType.COMPLAINED]
    ),
    st.integers(0, 3),  # who
    st.sampled_from(["US", "DE", "Unknown"]),
    st.sampled_from(["one", "two", "Unknown"]),
    st.booleans(),
    st.sampled_from(["https://x.example/1", "https://x.example/2"]),
    st.sampled_from(["bounce", "old"]),
    st.integers(0, 90_000),  # seconds after the one before
)
_PEOPLE = ["a@a.example", "b@a.example", "c@c.example", "D@D.example"]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(happened=st.lists(_HAPPENED, max_size=25), keys=st.lists(st.sampled_from(list(Key)), min_size=1, unique=True))
def test_the_groups_together_are_the_whole(happened, keys):
    book = Book()
    try:
        number = book.campaign()
        other = book.campaign("other")
        book.send(*_PEOPLE, keys=(number, other))
        expected = Counter(sent=len(_PEOPLE))
        for kind, who, country, city, counted, link, reason, later in happened:
            book.at += later
            if kind in VISITS:
                clicked = kind is EventType.CLICKED
                book.visit(kind, _PEOPLE[who], country, "r", city, int(counted), link if clicked else "")
            else:
                book.happened(kind, _PEOPLE[who], reason=reason)
            expected[_word(kind, reason)] += 1
        assert book.totals(number) == book.totals(other) == dict(expected)
        assert len(book.rows(number)) == len(happened)
        for word in (Word.OPENED, Word.CLICKED, Word.UNSUBSCRIBED, Word.COMPLAINED):
            groups = reports.grouped(book.connection, number, word, keys, {}, ALL)
            assert sum(group.total for group in groups) == expected[word.name.lower()]
            assert [group.total for group in groups] == sorted((group.total for group in groups), reverse=True)
            assert len({group.keys for group in groups}) == len(groups)
            assert reports.count_groups(book.connection, number, word, keys, {}) == len(groups)
        asked = [key for key in keys if key in (Key.DOMAIN, Key.DAILY_HOUR, *PLACES)] or [Key.DOMAIN]
        found = reports.stats(book.connection, number, asked, ALL)
        assert reports.count_stats(book.connection, number, asked) == len(found)
        for word in Word:
            assert sum(one.totals[word] for one in found) == expected[word.name.lower()]
        people = [who for kind, who, _, _, counted, *_ in happened if kind is EventType.OPENED and counted]
        clicks = [
            (who, link) for kind, who, _, _, counted, link, *_ in happened if kind is EventType.CLICKED and counted
        ]
        whole = reports.totals(book.connection, number)
        assert whole.recipients_opened == len(set(people))
        assert (whole.recipients_clicked, whole.links_clicked) == (
            len({who for who, _ in clicks}),
            len({link for _, link in clicks}),
        )
        assert max((one.recipients_opened for one in found), default=0) <= whole.recipients_opened
    finally:
        book.connection.close()


def _word(kind, reason):
    if kind is EventType.FAILED_PERMANENT:
        return "bounced" if reason == "bounce" else "dropped"
    return "bounced" if kind is EventType.FAILED_LATE else kind.word


def test_pages_of_groups_are_the_whole_in_its_order(book, spring):
    keys = [Key.LINK, *TIMES]
    whole = reports.grouped(book.connection, spring, Word.CLICKED, keys, {}, ALL)
    pages = [reports.grouped(book.connection, spring, Word.CLICKED, keys, {}, Page(1, n)) for n in range(3)]
    assert [one for page in pages for one in page] == whole


def test_deliveries_go_after_two_weeks_and_the_rest_after_the_time_of_counters(book, spring):
    def expire(before, delivered_before):
        while keys := campaign_events.stale(book.connection, before, delivered_before):
            campaign_events.remove(book.connection, keys)
        while keys := campaign_events.stale_counts(book.connection, before):
            campaign_events.remove_counts(book.connection, keys)

    expire(NOW - 1, NOW - 1)
    assert len(book.rows(spring)) == 7
    expire(NOW - 1, NOW + 5 * DELIVERED_KEEP_S)
    assert (len(book.rows(spring)), book.totals(spring)["delivered"]) == (6, 1)
    expire(NOW + 1800, NOW + 1800)
    assert (len(book.rows(spring)), book.totals(spring)["sent"]) == (5, 2)
    expire(NOW + 90_000, NOW + 90_000)
    assert (book.rows(spring), book.totals(spring)) == ([], {})


def test_what_is_left_of_a_campaign_that_is_gone_goes(book, spring):
    other = book.campaign("other")
    book.send("x@a.example", keys=(other,))
    book.happened(EventType.DELIVERED, "x@a.example")
    campaigns.remove(book.connection, spring)
    assert len(campaign_events.stale(book.connection, 0.0, 0.0)) == 7
    assert {key[0] for key in campaign_events.stale(book.connection, 0.0, 0.0)} == {spring}
    assert {key[0] for key in campaign_events.stale_counts(book.connection, 0.0)} == {spring}
    assert book.totals(other) == {"sent": 1, "delivered": 1}


def test_purging_goes_on_until_nothing_is_left(book, spring):
    went = []
    while n := campaign_events.purge(book.connection, spring, 2):
        went.append(n)
    assert (sum(went), max(went)) == (10, 4)  # seven events, three counts
    assert book.rows(spring) == []


def test_an_id_is_unique_in_its_domain_and_numbers_are_never_given_twice(book):
    first = book.campaign()
    assert not campaigns.add(book.connection, book.domain, "spring", "x", NOW)
    assert campaigns.add(book.connection, book.domain, "Spring", "x", NOW)
    other = accounts.add_domain(book.connection, "other.example", NOW)
    assert campaigns.add(book.connection, other, "spring", "x", NOW)
    with pytest.raises(sqlite3.IntegrityError):
        campaigns.change(book.connection, first, "Spring", "x")
    [last] = book.connection.execute("SELECT max(number) FROM campaigns").fetchone()
    campaigns.remove(book.connection, last)
    assert book.campaign("new") > last


def test_counts_are_summed_over_the_hours_and_the_domains_of_lists(book):
    number = book.campaign()
    other = accounts.add_domain(book.connection, "lists.example", NOW)
    label = campaigns.label_of(number)
    counts = [(book.domain, label, int(Metric.OPENED), HOUR + n, 2) for n in range(3)]
    counts += [(book.domain, "c:999", int(Metric.OPENED), HOUR, 5), (other, label, int(Metric.OPENED), HOUR, 3)]
    record(book.connection, Records(counts=counts))
    assert campaigns.counted(book.connection, [number, 5]) == {number: {Metric.OPENED: 9}}
    assert counters.forget_label(book.connection, book.domain, label, 2) == 2
    assert campaigns.counted(book.connection, [number]) == {number: {Metric.OPENED: 5}}


@pytest.mark.parametrize("many", ["MAX_DOMAINS", "MAX_MAILINGS"])
def test_where_lookups_would_cost_too_much_all_deliveries_are_looked_at(book, spring, monkeypatch, many):
    lookups.add(book.connection, lookups.gather(book.connection, 0, book.ids.last))
    before = book.rows(spring, recipient="ann@a.example", places={Key.COUNTRY: "Unknown"})
    monkeypatch.setattr(reports, many, 1 if many == "MAX_MAILINGS" else 0)
    assert reports._deliveries(book.connection, spring, "ann@a.example") is None
    assert book.rows(spring, recipient="ann@a.example", places={Key.COUNTRY: "Unknown"}) == before
    assert [row.word for row in before] == [Word.OPENED, Word.DELIVERED]


def test_every_word_but_sent_is_told():
    assert set(TOLD) == set(Word) - {Word.SENT}
    assert floor_at(NOW) >> 21 == int(NOW * 1000) - int(made_at(0) * 1000)  # what second_of counts on
