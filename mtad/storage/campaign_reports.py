"""Campaign reports: what the tables of storage/campaign_events.py say, in groups or one by one.

Room: storage. May import: mail. Each question reads one run of its campaign for each word it asks for, and nothing of
other campaigns. A run may be long: ask by Database.study.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from mtad.mail.event import EventType
from mtad.mail.metric import HOUR_S
from mtad.storage import lookups
from mtad.storage.campaign_events import TOLD, Word, second_of
from mtad.storage.lookups import Named

UNKNOWN = "Unknown"
MAX_MAILINGS = 10_000  # to one recipient
MAX_DOMAINS = 100


class Key(StrEnum):
    """What can be grouped by."""

    LINK = "link"
    RECIPIENT = "recipient"
    DOMAIN = "domain"
    COUNTRY = "country"
    REGION = "region"
    CITY = "city"
    MONTH = "month"  # this and the next three: epoch seconds of where it begins
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    DAILY_HOUR = "daily_hour"  # 0 to 23 (UTC), over all days


PLACES = (Key.COUNTRY, Key.REGION, Key.CITY)
TIMES = (Key.MONTH, Key.DAY, Key.HOUR, Key.MINUTE, Key.DAILY_HOUR)
Value = str | int


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """keys: its values, as they were asked for. links, recipients: how many different ones, of people alone."""

    keys: tuple[Value, ...]
    total: int
    links: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a campaign, or of one group of it. links, recipients: different ones that people clicked, and who did."""

    keys: tuple[Value, ...]
    totals: Mapping[Word, int]
    links_clicked: int
    recipients_clicked: int
    recipients_opened: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Events of these words (none: all that are told) and, where they are not "", of this recipient and place."""

    words: tuple[Word, ...] = ()
    recipient: str = ""
    places: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the list. country, region, city, ip, link: "" where it is not known or there is none. options,
    personal: JSON as stored with message and recipient (b"" none); what is told of tags and data is made of them.
    """

    id: int
    word: Word
    recipient: str
    domain: str
    country: str
    region: str
    city: str
    ip: str
    link: str
    options: bytes
    personal: bytes


def grouped(
    connection: sqlite3.Connection,
    campaign: int,
    word: Word,
    keys: Sequence[Key],
    places: Mapping[Key, str],
    page: Page,
) -> list[Group]:
    """Opens, clicks, unsubscribes or complaints, the largest group first. keys: at least one."""
    run, values = _run(word, places)
    columns = ", ".join(_KEYS[key] for key in keys)
    order = ", ".join(str(place) for place in range(1, len(keys) + 1))
    rows = connection.execute(
        f"SELECT {columns}, count(*) AS total, count(DISTINCT CASE WHEN counted THEN link END),"
        f" count(DISTINCT CASE WHEN counted THEN lower(recipient) END) FROM ({run})"
        f" GROUP BY {order} ORDER BY total DESC, {order} LIMIT ? OFFSET ?",
        (campaign, *values, page.limit, page.skip),
    )
    return [Group(tuple(row[: len(keys)]), *row[len(keys) :]) for row in rows]


def count_groups(
    connection: sqlite3.Connection, campaign: int, word: Word, keys: Sequence[Key], places: Mapping[Key, str]
) -> int:
    run, values = _run(word, places)
    columns = ", ".join(_KEYS[key] for key in keys)
    [number] = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM ({run}))", (campaign, *values)
    ).fetchone()
    return int(number)


def stats(connection: sqlite3.Connection, campaign: int, keys: Sequence[Key], page: Page) -> list[Totals]:
    """By at least one key; the group with the most events first. What has no place is at UNKNOWN."""
    columns = ", ".join(_KEYS[key] for key in keys)
    order = ", ".join(str(place) for place in range(1, len(keys) + 1))
    rows = connection.execute(
        f"SELECT {columns}, {_SUMS} FROM ({_ALL}) GROUP BY {order} ORDER BY sum(n) DESC, {order} LIMIT ? OFFSET ?",
        (campaign, page.limit, page.skip),
    )
    found = []
    for row in rows:
        numbers = row[len(keys) :]
        totals = {word: n or 0 for word, n in zip(Word, numbers, strict=False)}
        found.append(Totals(tuple(row[: len(keys)]), totals, *numbers[len(Word) :]))
    return found


def totals(connection: sqlite3.Connection, campaign: int) -> Totals:
    """Of all. The same numbers as those of stats, by ways that sort nothing."""
    found = dict.fromkeys(Word, 0)
    for word in TOLD:
        if word is not Word.DELIVERED:
            [found[word]] = connection.execute(_HOW_MANY, (campaign, int(word))).fetchone()
    for word, n in connection.execute(_SENT, (campaign,)):
        found[Word(word)] = n
    [links] = connection.execute(_LINKS, (campaign,)).fetchone()
    clicked, opened = connection.execute(_PEOPLE, (campaign,)).fetchone()
    return Totals((), found, links, clicked or 0, opened or 0)


def count_stats(connection: sqlite3.Connection, campaign: int, keys: Sequence[Key]) -> int:
    columns = ", ".join(_KEYS[key] for key in keys)
    [number] = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM ({_ALL}))", (campaign,)
    ).fetchone()
    return int(number)


def events(connection: sqlite3.Connection, campaign: int, wanted: Wanted, page: Page) -> list[Told]:
    """Newest first."""
    runs, values = _events(connection, campaign, wanted, _TOLD)
    runs += " ORDER BY id DESC LIMIT ? OFFSET ?"
    rows = connection.execute(_WITH_MESSAGES.format(runs), (*values, page.limit, page.skip))
    return [_told(row) for row in rows]


def count_events(connection: sqlite3.Connection, campaign: int, wanted: Wanted) -> int:
    runs, values = _events(connection, campaign, wanted, "1")
    [number] = connection.execute(f"SELECT count(*) FROM ({runs})", values).fetchone()
    return int(number)


def _run(word: Word, places: Mapping[Key, str]) -> tuple[str, list[Any]]:
    where, values = _at(places)
    return f"SELECT * FROM campaign_events WHERE campaign = ? AND word = {int(word)}{where}", values


def _at(places: Mapping[Key, str]) -> tuple[str, list[Any]]:
    where = "".join(f" AND {_KEYS[key]} = ? COLLATE NOCASE" for key in places)
    return where, list(places.values())


def _events(connection: sqlite3.Connection, campaign: int, wanted: Wanted, columns: str) -> tuple[str, list[Any]]:
    """One SELECT for each run, and its values."""
    where, values = _at(wanted.places)
    start = f"SELECT {columns} FROM campaign_events WHERE campaign = ?"
    runs: list[str] = []
    given: list[Any] = []
    words = [word for word in TOLD if word in wanted.words or not wanted.words]
    if wanted.recipient:
        others = ", ".join(str(int(word)) for word in words if word is not Word.DELIVERED)
        if others:  # the index is of these alone
            runs.append(f"{start} AND recipient = ? AND word <> {int(Word.DELIVERED)} AND word IN ({others}){where}")
            given += [campaign, wanted.recipient, *values]
        if Word.DELIVERED in words:
            ids, only = _deliveries(connection, campaign, wanted.recipient), ""
            if ids is not None:
                only = " AND id IN (SELECT value FROM json_each(?))"
                values = [orjson.dumps(ids).decode(), *values]
            runs.append(f"{start} AND word = {int(Word.DELIVERED)} AND recipient = ?{only}{where}")
            given += [campaign, wanted.recipient, *values]
    else:
        for word in words:
            runs.append(f"{start} AND word = {int(word)}{where}")
            given += [campaign, *values]
    return " UNION ALL ".join(runs), given


def _deliveries(connection: sqlite3.Connection, campaign: int, recipient: str) -> list[int] | None:
    """Events that may be deliveries to a recipient: by the lookups, and those that are not in them yet. None: it is
    as well to look at them all. Mail through a mailing list is of the list's domain, so any domain may have sent it.
    """
    domains = connection.execute("SELECT id FROM domains LIMIT ?", (MAX_DOMAINS + 1,)).fetchall()
    keys = [lookups.key_of(domain_id, Named.ADDRESS, recipient) for (domain_id,) in domains]
    known = lookups.find(connection, keys, 1 << 62, MAX_MAILINGS) if len(keys) <= MAX_DOMAINS else []
    if len(keys) > MAX_DOMAINS or len(known) == MAX_MAILINGS:
        return None
    delivered = int(EventType.DELIVERED)
    found = connection.execute(_DELIVERED_TO, (orjson.dumps(known).decode(), delivered)).fetchall()
    new = connection.execute(_NEW, (campaign, lookups.upto(connection))).fetchall()
    return sorted({number for (number,) in (*found, *new)})


def _told(row: tuple[Any, ...]) -> Told:
    recipient, domain, country, region, city, ip, link = (text or "" for text in row[2:9])
    options, personal = _octets(row[9]), _octets(row[10])
    return Told(row[0], Word(row[1]), recipient, domain, country, region, city, ip, link, options, personal)


def _octets(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


_AT = second_of("id")
_KEYS: Mapping[Key, str] = {
    Key.LINK: "ifnull(link, '')",
    Key.RECIPIENT: "recipient",
    Key.DOMAIN: "domain",
    **{key: f"ifnull({key}, '{UNKNOWN}')" for key in PLACES},
    Key.MONTH: f"CAST(strftime('%s', {_AT}, 'unixepoch', 'start of month') AS INTEGER)",
    **{
        key: f"{_AT} / {length} * {length}" for key, length in ((Key.DAY, 86_400), (Key.HOUR, HOUR_S), (Key.MINUTE, 60))
    },
    Key.DAILY_HOUR: f"{_AT} / {HOUR_S} % 24",
}
_TOLD = "id, word, recipient, domain, country, region, city, ip, link, options, personal"
# As long as there is a message it is asked; it may say more than was copied of it.
_WITH_MESSAGES = """
    SELECT t.id, t.word, t.recipient, t.domain, t.country, t.region, t.city, t.ip, t.link,
        CASE WHEN m.id IS NULL THEN t.options ELSE m.options END,
        CASE WHEN m.id IS NULL THEN t.personal ELSE r.personal END
    FROM ({}) AS t LEFT JOIN events AS e ON e.id = t.id LEFT JOIN messages AS m ON m.id = e.message_id
    LEFT JOIN recipients AS r ON r.id = e.recipient_id ORDER BY t.id DESC"""
_OTHERS = ", ".join(str(int(word)) for word in TOLD if word is not Word.DELIVERED)
# Counts have an hour and no id; the id of the hour's first moment stands for them.
_ALL = f"""
    SELECT word, id, domain, country, region, city, 1 AS n, counted, link, recipient FROM campaign_events
    WHERE campaign = ?1 AND word IN ({_OTHERS})
    UNION ALL SELECT word, (hour * {HOUR_S} - {second_of("0")}) * 1000 << 21, domain, NULL, NULL, NULL, n, 0, NULL, NULL
    FROM campaign_counts WHERE campaign = ?1"""
_BY_PEOPLE = "count(DISTINCT CASE WHEN counted AND word = {} THEN {} END)"
_SUMS = ", ".join(
    [
        *(f"sum(CASE WHEN word = {int(word)} THEN n END)" for word in Word),
        _BY_PEOPLE.format(int(Word.CLICKED), "link"),
        _BY_PEOPLE.format(int(Word.CLICKED), "lower(recipient)"),
        _BY_PEOPLE.format(int(Word.OPENED), "lower(recipient)"),
    ]
)
_HOW_MANY = "SELECT count(*) FROM campaign_events WHERE campaign = ? AND word = ?"
_SENT = "SELECT word, sum(n) FROM campaign_counts WHERE campaign = ? GROUP BY word"
_LINKS = f"""
    SELECT count(DISTINCT link) FROM campaign_events
    WHERE campaign = ? AND word = {int(Word.CLICKED)} AND counted"""
# In the order of the index, which has all that is asked for.
_PEOPLE = f"""
    SELECT sum(clicked), sum(opened) FROM (
        SELECT max(word = {int(Word.CLICKED)}) AS clicked, max(word = {int(Word.OPENED)}) AS opened
        FROM campaign_events INDEXED BY campaign_events_recipient
        WHERE campaign = ? AND word <> {int(Word.DELIVERED)} AND counted = 1 GROUP BY recipient)"""
_DELIVERED_TO = """
    SELECT e.id FROM json_each(?1) AS j CROSS JOIN events AS e ON e.recipient_id = j.value WHERE e.type = ?2"""
_NEW = f"SELECT id FROM campaign_events WHERE campaign = ?1 AND word = {int(Word.DELIVERED)} AND id > ?2"
