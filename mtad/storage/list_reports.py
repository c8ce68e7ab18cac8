"""List reports: what is told of a mailing list's mail beyond its counters.

Room: storage. May import: mail.
"""

import sqlite3

from mtad.mail.event import EventType
from mtad.mail.lists import MailingList

MOST = 100_000  # clicks of the domain that are looked at, the newest


def links(connection: sqlite3.Connection, of: MailingList) -> int:
    """How many different links people have clicked in its mail; of the clicks that the journal still has."""
    given = {"domain": of.domain, "type": int(EventType.CLICKED), "list": of.number, "most": MOST}
    [number] = connection.execute(_LINKS, given).fetchone()
    return int(number)


_LINKS = """
    SELECT count(DISTINCT json_extract(CAST(e.detail AS TEXT), '$.url'))
    FROM (SELECT message_id, detail FROM events
          WHERE domain_id = (SELECT id FROM domains WHERE name = :domain) AND type = :type
          ORDER BY id DESC LIMIT :most) AS e
    CROSS JOIN messages AS m ON m.id = e.message_id
    WHERE CASE WHEN json_valid(CAST(m.options AS TEXT)) THEN json_extract(CAST(m.options AS TEXT), '$.list_number') END
        = :list
        AND ifnull(json_extract(CAST(e.detail AS TEXT), '$."client-info".bot'), '') = ''"""
