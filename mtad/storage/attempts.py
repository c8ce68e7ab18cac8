"""Attempts: how many deliveries were tried of late, told from the events that tell of each.

Room: storage. May import: mail. Reads only.
"""

import json
import sqlite3
from collections.abc import Collection

from mtad.mail.event import EventType
from mtad.mail.ids import floor_at, made_at

MINUTE_S = 60.0

_OUTCOMES = (
    EventType.DELIVERED,
    EventType.FAILED_TEMPORARY,
    EventType.FAILED_PERMANENT,
    EventType.INTERRUPTED,
)
# The high bits of an id are its millisecond (mail/ids.py); each minute's first id stands for its group.
_BY_MINUTE = f"""
    SELECT domain_id, min(id), count(*) FROM events
    WHERE id >= ?1 AND type IN ({", ".join(str(int(kind)) for kind in _OUTCOMES)})
      AND domain_id IN (SELECT value FROM json_each(?2))
    GROUP BY domain_id, (id >> 21) / 60000 ORDER BY 2"""


def by_minute(
    connection: sqlite3.Connection, domain_ids: Collection[int], since: float
) -> list[tuple[int, float, int]]:
    """(domain id, epoch seconds of the first, how many) of each minute since then, oldest first.

    What an operator dropped, or what grew too old unattempted, counts too: it cannot be told apart, and it is little.
    """
    rows = connection.execute(_BY_MINUTE, (floor_at(since), json.dumps(list(domain_ids))))
    return [(domain_id, made_at(first), count) for domain_id, first, count in rows]
