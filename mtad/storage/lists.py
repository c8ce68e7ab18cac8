"""Lists: the tables `lists` and `list_members`.

Room: storage. May import: mail. Lists and members are asked for by `key`, the form for comparing (mail.address.key_of);
they are in its order. Who writes has checked the addresses and variables. How many members a list has is kept in its
row: every function here that adds, changes or removes members keeps it exact, in the caller's transaction.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from mtad.mail.lists import AccessLevel, MailingList, Member, MemberEntry, ReplyPreference

BATCH = 1000  # rows of one transaction

_ListRow = tuple[int, str, str, str, str, str, float, int, int]
_MemberRow = tuple[str, str, int, str]


def create(connection: sqlite3.Connection, made: MailingList) -> MailingList | None:
    """As it is stored, with its number and without members. None: its address is another list's."""
    row = connection.execute(
        _CREATE,
        (
            *(made.key, made.address, made.name, made.description),
            *(made.access_level.value, made.reply_preference.value, made.created_at),
        ),
    ).fetchone()
    return _list(row) if row else None


def find(connection: sqlite3.Connection, key: str) -> MailingList | None:
    row = connection.execute(f"SELECT {_LIST} FROM lists WHERE key = ?", (key,)).fetchone()
    return _list(row) if row else None


def numbered(connection: sqlite3.Connection, number: int) -> MailingList | None:
    """None: it was removed."""
    row = connection.execute(f"SELECT {_LIST} FROM lists WHERE id = ? AND key IS NOT NULL", (number,)).fetchone()
    return _list(row) if row else None


def lists(connection: sqlite3.Connection) -> list[MailingList]:
    """All, in the order of their keys."""
    return [_list(row) for row in connection.execute(f"SELECT {_LIST} FROM lists WHERE key IS NOT NULL ORDER BY key")]


def count(connection: sqlite3.Connection) -> int:
    [number] = connection.execute("SELECT count(*) FROM lists WHERE key IS NOT NULL").fetchone()
    return int(number)


def page(
    connection: sqlite3.Connection,
    limit: int,
    *,
    beyond: str | None = None,
    backwards: bool = False,
    skip: int = 0,
) -> list[MailingList]:
    """Up to `limit` lists: those after the key `beyond`, or the nearest before it; ascending. beyond None: from the
    first one, or the last ones when backwards.
    """
    statement = _LIST_PAGES[backwards]
    given = {"beyond": beyond, "limit": limit, "skip": skip}
    rows = connection.execute(statement, given).fetchall()
    return [_list(row) for row in (reversed(rows) if backwards else rows)]


def replace(connection: sqlite3.Connection, changed: MailingList) -> bool:
    """All of the list of that number but its time of creation and its members; they stay under another address too.

    False: the address is another list's.
    """
    done = connection.execute(
        _REPLACE,
        (
            *(changed.key, changed.address, changed.name, changed.description),
            *(changed.access_level.value, changed.reply_preference.value, changed.number),
        ),
    )
    return done.rowcount > 0


def remove(connection: sqlite3.Connection, number: int) -> bool:
    """From now on nobody finds it; its address is free. Its members go by `sweep`. False: it was not there."""
    done = connection.execute("UPDATE lists SET key = NULL WHERE id = ? AND key IS NOT NULL", (number,))
    return done.rowcount > 0


def sweep(connection: sqlite3.Connection, limit: int = BATCH) -> int:
    """Remove up to `limit` members of removed lists, and such lists without any; how many rows went. 0: all is done."""
    row = connection.execute("SELECT id FROM lists WHERE key IS NULL LIMIT 1").fetchone()
    if row is None:
        return 0
    went = connection.execute(_SWEEP, (row[0], limit)).rowcount
    if went < limit:
        went += connection.execute("DELETE FROM lists WHERE id = ?", row).rowcount
    return went


# --- members ---


def member(connection: sqlite3.Connection, number: int, key: str) -> Member | None:
    row = connection.execute(
        f"SELECT {_MEMBER} FROM list_members WHERE list_id = ? AND key = ?", (number, key)
    ).fetchone()
    return _member(row) if row else None


def is_member(connection: sqlite3.Connection, number: int, key: str) -> bool:
    """Whether it is a subscribed member's."""
    found = connection.execute(
        "SELECT 1 FROM list_members WHERE list_id = ? AND key = ? AND subscribed = 1", (number, key)
    )
    return found.fetchone() is not None


def present(connection: sqlite3.Connection, number: int, keys: Iterable[str]) -> set[str]:
    """Those of `keys` that are members', subscribed or not."""
    rows = connection.execute(_PRESENT, (number, orjson.dumps(list(keys)).decode()))
    return {row[0] for row in rows}


def members_page(
    connection: sqlite3.Connection,
    number: int,
    limit: int,
    *,
    subscribed: bool | None = None,
    beyond: str | None = None,
    backwards: bool = False,
    skip: int = 0,
) -> list[Member]:
    """Up to `limit` members, as `page` has lists. subscribed: only those who are, or only those who are not."""
    statement = _MEMBER_PAGES[subscribed is not None, backwards]
    given = {"list": number, "subscribed": subscribed, "beyond": beyond, "limit": limit, "skip": skip}
    rows = connection.execute(statement, given).fetchall()
    return [_member(row) for row in (reversed(rows) if backwards else rows)]


def subscribed_after(
    connection: sqlite3.Connection, number: int, after: str, limit: int, *, wide: bool
) -> list[Member]:
    """Subscribed members beyond the key `after`, ascending; "" from the first. Fewer than `limit`: there are no more.
    wide: those with an address beyond ASCII, else the others.

    To go through a list in batches: the key of the last one is where the next batch begins.
    """
    rows = connection.execute(_SUBSCRIBED[wide], (number, after, limit)).fetchall()
    return [_member(row) for row in rows]


def put_members(connection: sqlite3.Connection, number: int, entries: Sequence[MemberEntry]) -> int:
    """Add those who are not there, and change the others by what is said of them; how many were added.

    Of two entries with one key the later one changes what the earlier one made.
    """
    rows = orjson.dumps(_merged(entries)).decode()
    before = connection.execute(_TALLY, (number, rows)).fetchone()
    # One statement for all: each step of one costs a hand-over of the interpreter lock.
    connection.execute(_PUT, (number, rows))
    after = connection.execute(_TALLY, (number, rows)).fetchone()
    _count(connection, number, after[0] - before[0], after[1] - before[1])
    return int(after[0] - before[0])


def _merged(entries: Sequence[MemberEntry]) -> list[tuple[str, str, str | None, int | None, str | None]]:
    """(key, address, name, subscribed, variables), one for each key, in the order of the index."""
    found: dict[str, MemberEntry] = {}
    for new in entries:
        old = found.get(new.key, new)
        found[new.key] = MemberEntry(
            old.address,
            old.name if new.name is None else new.name,
            old.subscribed if new.subscribed is None else new.subscribed,
            old.variables_json if new.variables_json is None else new.variables_json,
        )
    return [
        (key, one.address, one.name, None if one.subscribed is None else int(one.subscribed), one.variables_json)
        for key, one in sorted(found.items())
    ]


def replace_member(connection: sqlite3.Connection, number: int, old: Member, new: Member) -> bool:
    """`new` takes the place of `old`. False: its address is another member's."""
    done = connection.execute(
        _REPLACE_MEMBER,
        (new.key, new.address, new.name, int(new.subscribed), new.variables_json, number, old.key),
    )
    if done.rowcount > 0:
        _count(connection, number, 0, int(new.subscribed) - int(old.subscribed))
    return done.rowcount > 0


def remove_member(connection: sqlite3.Connection, number: int, key: str) -> Member | None:
    """Who was removed; None: nobody of that key was there."""
    row = connection.execute(
        f"DELETE FROM list_members WHERE list_id = ? AND key = ? RETURNING {_MEMBER}", (number, key)
    ).fetchone()
    if row is None:
        return None
    _count(connection, number, -1, -int(row[2]))
    return _member(row)


def unsubscribe(connection: sqlite3.Connection, number: int, key: str) -> bool:
    """The member stays, and gets no more mail. False: nobody subscribed has that key."""
    done = connection.execute(
        "UPDATE list_members SET subscribed = 0 WHERE list_id = ? AND key = ? AND subscribed = 1", (number, key)
    )
    if done.rowcount > 0:
        _count(connection, number, 0, -1)
    return done.rowcount > 0


def _count(connection: sqlite3.Connection, number: int, members: int, subscribed: int) -> None:
    if members or subscribed:
        connection.execute(
            "UPDATE lists SET members = members + ?, subscribed = subscribed + ? WHERE id = ?",
            (members, subscribed, number),
        )


def _list(row: _ListRow) -> MailingList:
    number, address, name, description, access, reply, created_at, members, subscribed = row
    return MailingList(
        number=number,
        address=address,
        name=name,
        description=description,
        access_level=AccessLevel(access),
        reply_preference=ReplyPreference(reply),
        created_at=created_at,
        members_count=members,
        subscribed_count=subscribed,
    )


def _member(row: _MemberRow) -> Member:
    return Member(row[0], row[1], bool(row[2]), row[3])


_LIST = "id, address, name, description, access_level, reply_preference, created_at, members, subscribed"
_MEMBER = "address, name, subscribed, variables"
_CREATE = f"""
    INSERT INTO lists (key, address, name, description, access_level, reply_preference, created_at, members, subscribed)
    VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0) ON CONFLICT DO NOTHING RETURNING {_LIST}"""
_REPLACE = """
    UPDATE OR IGNORE lists SET key = ?, address = ?, name = ?, description = ?, access_level = ?, reply_preference = ?
    WHERE id = ? AND key IS NOT NULL"""
_SWEEP = "DELETE FROM list_members WHERE id IN (SELECT id FROM list_members WHERE list_id = ? LIMIT ?)"
_PRESENT = """
    SELECT m.key FROM json_each(?2) AS j CROSS JOIN list_members AS m ON m.list_id = ?1 AND m.key = j.value"""
_TALLY = """
    SELECT count(*), ifnull(sum(m.subscribed), 0) FROM json_each(?2) AS j
    CROSS JOIN list_members AS m ON m.list_id = ?1 AND m.key = json_extract(j.value, '$[0]')"""
_SUBSCRIBED = {
    wide: f"""
    SELECT {_MEMBER} FROM list_members WHERE list_id = ? AND subscribed = 1 AND key > ?
        AND address {"" if wide else "NOT"} GLOB '*[^ -~]*' ORDER BY key LIMIT ?"""
    for wide in (False, True)
}
_PUT = """
    INSERT INTO list_members (list_id, key, address, name, subscribed, variables)
    SELECT ?1, json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'),
        coalesce(json_extract(j.value, '$[2]'), m.name, ''), coalesce(json_extract(j.value, '$[3]'), m.subscribed, 1),
        coalesce(json_extract(j.value, '$[4]'), m.variables, '{}')
    FROM json_each(?2) AS j
    LEFT JOIN list_members AS m ON m.list_id = ?1 AND m.key = json_extract(j.value, '$[0]') WHERE true
    ON CONFLICT DO UPDATE SET name = excluded.name, subscribed = excluded.subscribed, variables = excluded.variables"""
_REPLACE_MEMBER = """
    UPDATE OR IGNORE list_members SET key = ?, address = ?, name = ?, subscribed = ?, variables = ?
    WHERE list_id = ? AND key = ?"""


def _paged(columns: str, table: str, where: str, backwards: bool) -> str:
    # ifnull: every key is beyond "", and none is beyond the last character there is.
    beyond = "< ifnull(:beyond, char(1114111))" if backwards else "> ifnull(:beyond, '')"
    order = "DESC" if backwards else "ASC"
    return f"SELECT {columns} FROM {table} WHERE {where} key {beyond} ORDER BY key {order} LIMIT :limit OFFSET :skip"


_LIST_PAGES = {backwards: _paged(_LIST, "lists", "", backwards) for backwards in (False, True)}
_MEMBER_PAGES = {
    (filtered, backwards): _paged(
        _MEMBER,
        "list_members",
        "list_id = :list AND" + (" subscribed = :subscribed AND" if filtered else ""),
        backwards,
    )
    for filtered in (False, True)
    for backwards in (False, True)
}
