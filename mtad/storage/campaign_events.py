"""Campaign events: the tables `campaign_events` and `campaign_counts`: what became of the mail of campaigns.

Room: storage. May import: mail. `enter` is called by `record`, with the events just written. It copies what reports
tell, since these are kept longer than messages and events; mail of no campaign does not come here.
"""

import sqlite3
from collections.abc import Sequence
from enum import IntEnum

import orjson

from mtad.mail.event import EventType
from mtad.mail.ids import floor_at, made_at
from mtad.mail.metric import HOUR_S

# (event id, counted: 0 when a program did it)
Campaigned = tuple[int, int]
# (campaign, word, id) of campaign_events
Key = tuple[int, int, int]
# (campaign, word, hour, domain) of campaign_counts
CountKey = tuple[int, int, int, str]

BATCH = 500
DELIVERED_KEEP_S = 14 * 86_400.0  # how long each delivery is told; that there was one is counted longer
MAX_TOLD = 2048  # octets of a sender's options, or of what is stored with a recipient, that are copied


class Word(IntEnum):
    """What campaigns tell. The number is what the store holds: never renumber. Where there is an event type of the
    same meaning it has the same number.
    """

    SENT = 1
    DELIVERED = 2
    BOUNCED = 4  # refused by the other side, at once or by a report
    DROPPED = 5  # not delivered for another reason: too old, unreachable, suppressed
    OPENED = 8
    CLICKED = 9
    UNSUBSCRIBED = 10
    COMPLAINED = 11


TOLD = tuple(word for word in Word if word is not Word.SENT)  # those whose events are kept one by one


def second_of(column: str) -> str:
    """SQL: when an id was made, whole epoch seconds (see mail/ids.py). column: a constant."""
    return f"(({column} >> 21) / 1000 + {int(made_at(0))})"


def enter(connection: sqlite3.Connection, campaigned: Sequence[Campaigned]) -> None:
    """In the transaction of the events, which are there already. Those of campaigns that are gone leave nothing."""
    given = orjson.dumps(campaigned).decode()
    connection.execute(_COUNT, (given,))
    connection.execute(_TELL, (given, MAX_TOLD))


def purge(connection: sqlite3.Connection, number: int, limit: int = BATCH) -> int:
    """Remove up to `limit` rows each of a campaign's events and counts. How many went."""
    went = connection.execute(_PURGE_EVENTS, (number, limit)).rowcount
    return went + connection.execute(_PURGE_COUNTS, (number, limit)).rowcount


def stale(connection: sqlite3.Connection, before: float, delivered_before: float) -> list[Key]:
    """Up to BATCH rows older than that (epoch seconds), or of campaigns that are no more. Reads only: a look at each
    campaign's runs, which the writer need not wait for.
    """
    values = (floor_at(before), floor_at(delivered_before), orjson.dumps([int(word) for word in TOLD]).decode(), BATCH)
    return connection.execute(_STALE, values).fetchall()


def stale_counts(connection: sqlite3.Connection, before: float) -> list[CountKey]:
    """The same of the counts."""
    return connection.execute(_STALE_COUNTS, (int(before) // HOUR_S, BATCH)).fetchall()


def remove(connection: sqlite3.Connection, keys: Sequence[Key]) -> None:
    connection.execute(_REMOVE, (orjson.dumps(keys).decode(),))


def remove_counts(connection: sqlite3.Connection, keys: Sequence[CountKey]) -> None:
    connection.execute(_REMOVE_COUNTS, (orjson.dumps(keys).decode(),))


_TYPE = EventType
# The ids come in the order of their transaction; each look-up is one by a primary key that was just written or read.
_FROM = """
    FROM json_each(?1) AS j CROSS JOIN events AS e ON e.id = json_extract(j.value, '$[0]')
    CROSS JOIN recipients AS r ON r.id = e.recipient_id
    CROSS JOIN messages AS m ON m.id = e.message_id
    CROSS JOIN json_each(CAST(m.options AS TEXT), '$.campaign_keys') AS k
    CROSS JOIN campaigns AS c ON c.number = k.value"""
_DOMAIN = "lower(ltrim(substr(r.address, length(rtrim(r.address, replace(r.address, '@', ''))) + 1), '@'))"
_COUNT = f"""
    INSERT INTO campaign_counts (campaign, word, hour, domain, n)
    SELECT c.number, e.type, {second_of("e.id")} / {HOUR_S}, {_DOMAIN}, count(*) {_FROM}
    WHERE e.type IN ({int(_TYPE.ACCEPTED)}, {int(_TYPE.DELIVERED)}) GROUP BY 1, 2, 3, 4
    ON CONFLICT DO UPDATE SET n = n + excluded.n"""
_DETAIL, _OPTIONS = "CAST(e.detail AS TEXT)", "CAST(m.options AS TEXT)"
_WORD = f"""
    CASE e.type WHEN {int(_TYPE.FAILED_LATE)} THEN {int(Word.BOUNCED)}
    WHEN {int(_TYPE.FAILED_PERMANENT)} THEN
        CASE WHEN json_extract({_DETAIL}, '$.reason') IN ('bounce', 'hardfail') THEN {int(Word.BOUNCED)}
        ELSE {int(Word.DROPPED)} END
    ELSE e.type END"""
_PLACE = f"nullif(json_extract({_DETAIL}, '$.geolocation.{{}}'), 'Unknown')"
# A delivery is not told longer than its message is kept, which says it all; so the many cost no more than they must.
_SAYS = (
    f"e.type <> {int(_TYPE.DELIVERED)} AND length(m.options) <= ?2"
    f" AND json_extract({_OPTIONS}, '$.tags', '$.variables') <> '[null,null]'"
)
_HELD = "'$.campaigns', '$.campaign_keys', '$.campaign_names', '$.template_variables'"
_TYPES = ", ".join(
    str(int(one))
    for one in (
        _TYPE.DELIVERED,
        _TYPE.FAILED_PERMANENT,
        _TYPE.FAILED_LATE,
        _TYPE.OPENED,
        _TYPE.CLICKED,
        _TYPE.UNSUBSCRIBED,
        _TYPE.COMPLAINED,
    )
)
_TELL = f"""
    INSERT OR IGNORE INTO campaign_events
        (campaign, word, id, recipient, domain, country, region, city, ip, link, counted, options, personal)
    SELECT c.number, {_WORD}, e.id, r.address, {_DOMAIN}, {_PLACE.format("country")}, {_PLACE.format("region")},
        {_PLACE.format("city")}, json_extract({_DETAIL}, '$.ip'), json_extract({_DETAIL}, '$.url'),
        json_extract(j.value, '$[1]'),
        CASE WHEN {_SAYS} THEN json_remove({_OPTIONS}, {_HELD}) END,
        CASE WHEN {_SAYS} AND instr({_OPTIONS}, '%') AND length(r.personal) <= ?2 THEN r.personal END
    {_FROM} WHERE e.type IN ({_TYPES})"""
_PURGE_EVENTS = """
    DELETE FROM campaign_events WHERE (campaign, word, id) IN (
        SELECT campaign, word, id FROM campaign_events WHERE campaign = ? LIMIT ?)"""
_PURGE_COUNTS = """
    DELETE FROM campaign_counts WHERE (campaign, word, hour, domain) IN (
        SELECT campaign, word, hour, domain FROM campaign_counts WHERE campaign = ? LIMIT ?)"""
# Each campaign that has rows, by one seek each.
_SEEN = """
    WITH RECURSIVE seen (campaign) AS (
        SELECT min(campaign) FROM {0}
        UNION ALL SELECT (SELECT min(campaign) FROM {0} AS n WHERE n.campaign > seen.campaign) FROM seen
        WHERE seen.campaign IS NOT NULL)"""
_STALE = f"""
    {_SEEN.format("campaign_events")}
    SELECT e.campaign, e.word, e.id FROM seen LEFT JOIN campaigns AS c ON c.number = seen.campaign
    CROSS JOIN json_each(?3) AS w
    CROSS JOIN campaign_events AS e ON e.campaign = seen.campaign AND e.word = w.value AND e.id < CASE
        WHEN c.number IS NULL THEN 9223372036854775807 WHEN w.value = {int(Word.DELIVERED)} THEN ?2 ELSE ?1 END
    LIMIT ?4"""
_STALE_COUNTS = f"""
    {_SEEN.format("campaign_counts")}
    SELECT * FROM (SELECT campaign, word, hour, domain FROM campaign_counts WHERE hour < ?1 LIMIT ?2)
    UNION SELECT * FROM (
        SELECT e.campaign, e.word, e.hour, e.domain FROM seen
        CROSS JOIN campaign_counts AS e ON e.campaign = seen.campaign
        WHERE NOT EXISTS (SELECT 1 FROM campaigns AS c WHERE c.number = seen.campaign) LIMIT ?2)"""
_REMOVE = """
    DELETE FROM campaign_events WHERE (campaign, word, id) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(?))"""
_REMOVE_COUNTS = """
    DELETE FROM campaign_counts WHERE (campaign, word, hour, domain) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
               json_extract(value, '$[3]') FROM json_each(?))"""
