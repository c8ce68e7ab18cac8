"""Tracked: what recipients did with a message: opened it, clicked, left. Events, counters, suppressions and posts.

Room: storage. May import: mail. The tables `firsts` and `aggregates`; everything else goes through `record`. What a
link's token names is looked up here, on the writer's thread, long after the visitor had his answer.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import orjson

from mtad.mail.address import key_of
from mtad.mail.event import EventType
from mtad.mail.ids import floor_at, made_at
from mtad.mail.lists import list_label
from mtad.mail.metric import HOUR_S, PERIOD_H, Metric
from mtad.storage import lists
from mtad.storage.outgoing import Flag
from mtad.storage.record import Records, record

IDS_PER_VISIT = 17  # its event's, and one for each of up to 16 posts
BATCH = 5000
UNKNOWN = "Unknown"
ALL = "*"  # the tag that stands for all mail of a domain


class Scope(IntEnum):
    """What somebody leaves."""

    DOMAIN = 1
    TAGS = 2  # those of the message; of a message without tags: all mail of the domain
    LIST = 3  # a message that came through no list: all mail of the domain


@dataclass(frozen=True, slots=True)
class Client:
    """Who asked, by his User-Agent. type: "browser", "mobile browser", "email client", …; device: "desktop", "mobile",
    "tablet", "other"; "unknown" both. bot: "" a person. counted: False keeps it out of unique counts and aggregates.
    """

    type: str = "unknown"
    os: str = UNKNOWN
    device: str = "unknown"
    name: str = UNKNOWN
    bot: str = ""
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """country: two letters (ISO 3166-1)."""

    country: str = UNKNOWN
    region: str = UNKNOWN
    city: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Visit:
    """One use of a link. type: OPENED, CLICKED or UNSUBSCRIBED. event_id: of IDS_PER_VISIT consecutive ids that are
    its own. url: the target of a click.
    """

    event_id: int
    type: EventType
    recipient_id: int
    ip: str
    user_agent: str
    client: Client
    place: Place
    url: str = ""
    scope: Scope = Scope.DOMAIN


@dataclass(frozen=True, slots=True)
class _Known:
    """The recipient of a token, with what his message says. tags: as spelt by the sender. campaigns: their numbers.
    list_number: of the mailing list it came through, 0 none.
    """

    domain_id: int
    message_id: int
    address: str
    tags: tuple[str, ...]
    campaigns: tuple[int, ...]
    list_number: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        through = (list_label(self.list_number),) if self.list_number else ()
        tags, campaigns = (f"t:{tag.lower()}" for tag in self.tags), (f"c:{campaign}" for campaign in self.campaigns)
        return ("", *tags, *campaigns, *through)

    def left(self, scope: Scope) -> tuple[str, ...]:
        """The tags that an unsubscribe of this scope leaves; none when it is a list that is left."""
        if scope is Scope.LIST and self.list_number:
            return ()
        return self.tags if scope is Scope.TAGS and self.tags else (ALL,)


@dataclass(slots=True)
class TrackedStore:
    """posts_for: (type, domain id, False) -> the webhooks an event is posted to. noted: told of each (domain id,
    address in the form for comparing) that becomes suppressed. Both are called on the writer's thread.
    """

    posts_for: Callable[[EventType, int, bool], tuple[int, ...]]
    noted: Callable[[int, str], None]

    def apply(self, connection: sqlite3.Connection, visits: Sequence[Visit]) -> None:
        """A lane's apply. Visits of recipients who are not in the store any more, and of test messages, leave
        nothing; neither does leaving what was left before.
        """
        known = _known(connection, {visit.recipient_id for visit in visits})
        found = [(visit, known[visit.recipient_id]) for visit in visits if visit.recipient_id in known]
        firsts = _firsts(connection, (visit for visit, _ in found))
        left = _left_before(connection, [person for visit, person in found if visit.type is EventType.UNSUBSCRIBED])
        records = Records()
        for visit, person in found:
            if visit.type is EventType.UNSUBSCRIBED:
                through_list = visit.scope is Scope.LIST and person.list_number
                gone = _leave_list(connection, person) if through_list else self._leave(visit, person, left, records)
                if not gone:
                    continue
            first = visit.client.counted and (visit.recipient_id, int(visit.type)) in firsts
            if first:
                firsts.remove((visit.recipient_id, int(visit.type)))
            _count(visit, person, first, records)
            self._tell(visit, person, records)
        record(connection, records)

    def _leave(self, visit: Visit, person: _Known, left: set[tuple[int, str, str]], records: Records) -> bool:
        """False: he had left it before."""
        key = key_of(person.address)
        rows = [(person.domain_id, key, tag.lower()) for tag in person.left(visit.scope)]
        new = [row for row in rows if row not in left]
        if new:
            self.noted(person.domain_id, key)
        left.update(new)
        records.unsubscribes += [(*row, made_at(visit.event_id)) for row in new]
        return bool(new)

    def _tell(self, visit: Visit, person: _Known, records: Records) -> None:
        event = visit.event_id
        detail = orjson.dumps(_detail(visit, person))
        records.events.append((event, int(visit.type), person.domain_id, person.message_id, visit.recipient_id, detail))
        if person.campaigns:
            records.campaigned.append((event, int(visit.client.counted)))
        lanes = self.posts_for(visit.type, person.domain_id, False)[: IDS_PER_VISIT - 1]
        at = made_at(event)
        records.posts += [(event + place, lane, event, at) for place, lane in enumerate(lanes, 1)]


def _leave_list(connection: sqlite3.Connection, person: _Known) -> bool:
    """The member stays, and gets no more of its mail. False: he was no subscriber any more."""
    return lists.unsubscribe(connection, person.list_number, key_of(person.address))


def _detail(visit: Visit, person: _Known) -> dict[str, object]:
    """The members that this event alone has (docs/tracking.rst)."""
    client, place = visit.client, visit.place
    detail: dict[str, object] = {
        "ip": visit.ip,
        "geolocation": {"country": place.country, "region": place.region, "city": place.city},
        "client-info": {
            "client-type": client.type,
            "client-os": client.os,
            "device-type": client.device,
            "client-name": client.name,
            "user-agent": visit.user_agent,
            "bot": client.bot,
        },
    }
    if visit.type is EventType.CLICKED:
        detail["url"] = visit.url
    elif visit.type is EventType.UNSUBSCRIBED:
        detail["tags"] = person.left(visit.scope)
    return detail


_METRICS = {
    EventType.OPENED: Metric.OPENED,
    EventType.CLICKED: Metric.CLICKED,
    EventType.UNSUBSCRIBED: Metric.UNSUBSCRIBED,
}
_UNIQUES = {EventType.OPENED: Metric.OPENED_UNIQUE, EventType.CLICKED: Metric.CLICKED_UNIQUE}
_DEVICES = frozenset(("desktop", "mobile", "tablet"))


def _count(visit: Visit, person: _Known, first: bool, records: Records) -> None:
    metrics = [int(_METRICS[visit.type])]
    if first:
        metrics.append(int(_UNIQUES[visit.type]))
    domain_id, hour = person.domain_id, int(made_at(visit.event_id)) // HOUR_S
    records.counts += [(domain_id, label, metric, hour, 1) for label in person.labels for metric in metrics]
    if not visit.client.counted:
        return
    values = (
        ("country", visit.place.country.lower()),
        ("provider", person.address.rpartition("@")[2].lower()),
        ("device", visit.client.device if visit.client.device in _DEVICES else "unknown"),
    )
    records.aggregates += [
        (domain_id, label, kind, value, metric, hour // PERIOD_H, 1)
        for label in person.labels
        for kind, value in values
        for metric in metrics
    ]


def _known(connection: sqlite3.Connection, recipients: Iterable[int]) -> dict[int, _Known]:
    # One row of JSON instead of many rows: each step of a statement costs a hand-over of the interpreter lock.
    [text] = connection.execute(_KNOWN, (orjson.dumps(list(recipients)).decode(), int(Flag.TEST_MODE))).fetchone()
    return {
        number: _Known(domain_id, message_id, address, tuple(tags or ()), tuple(campaigns or ()), listed)
        for number, domain_id, message_id, address, tags, campaigns, listed in orjson.loads(text)
    }


def _firsts(connection: sqlite3.Connection, visits: Iterable[Visit]) -> set[tuple[int, int]]:
    """(recipient id, type) of those that are counted as unique now, and never again."""
    wanted = {(v.recipient_id, int(v.type)) for v in visits if v.client.counted and v.type in _UNIQUES}
    if not wanted:
        return set()
    return set(connection.execute(_FIRSTS, (orjson.dumps(list(wanted)).decode(),)).fetchall())


def _left_before(connection: sqlite3.Connection, people: Sequence[_Known]) -> set[tuple[int, str, str]]:
    keys = {(person.domain_id, key_of(person.address)) for person in people}
    if not keys:
        return set()
    return set(connection.execute(_LEFT, (orjson.dumps(list(keys)).decode(),)).fetchall())


def expire_firsts(connection: sqlite3.Connection, before: float) -> int:
    """Forget up to BATCH recipients of messages older than `before`. How many rows went."""
    return connection.execute(_EXPIRE, (floor_at(before), BATCH)).rowcount


_OPTIONS = "CASE WHEN json_valid(CAST(m.options AS TEXT)) THEN json_extract(CAST(m.options AS TEXT), '{}') END"
_KNOWN = f"""
    SELECT json_group_array(json_array(r.id, r.domain_id, r.message_id, r.address,
                                       {_OPTIONS.format("$.tags")}, {_OPTIONS.format("$.campaign_keys")},
                                       ifnull({_OPTIONS.format("$.list_number")}, 0)))
    FROM json_each(?) AS j CROSS JOIN recipients AS r ON r.id = j.value
    CROSS JOIN messages AS m ON m.id = r.message_id WHERE m.flags & ? = 0"""
_FIRSTS = """
    INSERT INTO firsts (recipient_id, type)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true
    ON CONFLICT DO NOTHING RETURNING recipient_id, type"""
_LEFT = """
    SELECT u.domain_id, u.address, u.tag FROM json_each(?) AS j CROSS JOIN unsubscribes AS u
    ON u.domain_id = json_extract(j.value, '$[0]') AND u.address = json_extract(j.value, '$[1]')"""
_EXPIRE = """
    DELETE FROM firsts WHERE (recipient_id, type) IN (
        SELECT recipient_id, type FROM firsts WHERE recipient_id < ? ORDER BY recipient_id LIMIT ?)"""
