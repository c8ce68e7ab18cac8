"""Templates: the tables `templates` and `template_versions`.

Room: storage. May import: mail. Names and tags are in lower case wherever they come in and go out. Domain 0 is the
account: its templates are every domain's. Who writes contents and headers has checked them.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_TEMPLATE = "id, ifnull(domain_id, 0), name, description, created_at, created_by"
_VERSION = "id, template_id, tag, content, headers, comment, active, created_at"
_BRIEF = "id, template_id, tag, '', headers, comment, active, created_at"


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """number: grows with time. domain_id: 0 is the account."""

    number: int
    domain_id: int
    name: str
    description: str
    created_at: float
    created_by: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """template: its number. content: Handlebars, as are the values of headers. active: used when none is named."""

    number: int
    template: int
    tag: str
    content: str
    headers: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    active: bool = False
    created_at: float = 0.0


def find(connection: sqlite3.Connection, domain_id: int, name: str) -> TemplateRow | None:
    row = connection.execute(
        f"SELECT {_TEMPLATE} FROM templates WHERE ifnull(domain_id, 0) = ? AND name = ?", (domain_id, name)
    ).fetchone()
    return TemplateRow(*row) if row else None


def page(
    connection: sqlite3.Connection, domain_id: int, limit: int, beyond: str | None = None, backwards: bool = False
) -> list[TemplateRow]:
    """Up to `limit` in the order of their names: those after `beyond`, or the nearest before it."""
    rows = connection.execute(_page(_ALL, "name", beyond, backwards), (domain_id, limit, beyond)).fetchall()
    return [TemplateRow(*row) for row in (reversed(rows) if backwards else rows)]


def count(connection: sqlite3.Connection, domain_id: int) -> int:
    [number] = connection.execute(
        "SELECT count(*) FROM templates WHERE ifnull(domain_id, 0) = ?", (domain_id,)
    ).fetchone()
    return int(number)


def add(connection: sqlite3.Connection, row: TemplateRow) -> bool:
    """False: there is one of that name."""
    done = connection.execute(
        "INSERT INTO templates (id, domain_id, name, description, created_at, created_by)"
        " VALUES (?, nullif(?, 0), ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (row.number, row.domain_id, row.name, row.description, row.created_at, row.created_by),
    )
    return done.rowcount > 0


def describe(connection: sqlite3.Connection, number: int, description: str) -> bool:
    done = connection.execute("UPDATE templates SET description = ? WHERE id = ?", (description, number))
    return done.rowcount > 0


def remove(connection: sqlite3.Connection, number: int) -> bool:
    """With its versions."""
    return connection.execute("DELETE FROM templates WHERE id = ?", (number,)).rowcount > 0


def clear(connection: sqlite3.Connection, domain_id: int, limit: int = 100) -> int:
    """Remove up to `limit` templates; how many went. 0: none are left."""
    return connection.execute(
        "DELETE FROM templates WHERE id IN (SELECT id FROM templates WHERE ifnull(domain_id, 0) = ? LIMIT ?)",
        (domain_id, limit),
    ).rowcount


def version(connection: sqlite3.Connection, template: int, tag: str) -> VersionRow | None:
    """tag "": the active one."""
    which = "tag = ?2" if tag else "active = 1 AND ?2 = ''"
    row = connection.execute(
        f"SELECT {_VERSION} FROM template_versions WHERE template_id = ?1 AND {which}", (template, tag)
    ).fetchone()
    return _version(row) if row else None


def active(connection: sqlite3.Connection, templates: Sequence[int]) -> dict[int, VersionRow]:
    """The active versions of several templates, by the template's number; not all have one."""
    found = (version(connection, template, "") for template in templates)
    return {one.template: one for one in found if one is not None}


def versions(
    connection: sqlite3.Connection, template: int, limit: int, beyond: str | None = None, backwards: bool = False
) -> list[VersionRow]:
    """Without their contents, in the order of their tags."""
    rows = connection.execute(_page(_ALL_VERSIONS, "tag", beyond, backwards), (template, limit, beyond)).fetchall()
    return [_version(row) for row in (reversed(rows) if backwards else rows)]


def count_versions(connection: sqlite3.Connection, template: int) -> int:
    [number] = connection.execute(
        "SELECT count(*) FROM template_versions WHERE template_id = ?", (template,)
    ).fetchone()
    return int(number)


def put_version(connection: sqlite3.Connection, row: VersionRow, *, replace: bool = False) -> VersionRow | None:
    """As it is stored; None: there is one of that tag, and it is not to be replaced.

    A new one is active too where no other is. What is replaced keeps its number and time of creation, and stays active
    if it is.
    """
    old = version(connection, row.template, row.tag)
    if old is not None and not replace:
        return None
    current = version(connection, row.template, "")
    is_active = row.active or (current is None and old is None) or (current is not None and current.tag == row.tag)
    if is_active:
        connection.execute("UPDATE template_versions SET active = 0 WHERE template_id = ?", (row.template,))
    number, at = (old.number, old.created_at) if old else (row.number, row.created_at)
    values = (number, row.template, row.tag, row.content, json.dumps(dict(row.headers)), row.comment, is_active, at)
    connection.execute(f"INSERT OR REPLACE INTO template_versions ({_VERSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    return version(connection, row.template, row.tag)


def remove_version(connection: sqlite3.Connection, template: int, tag: str) -> bool:
    """Of an active one no other takes the place."""
    done = connection.execute("DELETE FROM template_versions WHERE template_id = ? AND tag = ?", (template, tag))
    return done.rowcount > 0


def _version(row: tuple[int, int, str, str, str, str, int, float]) -> VersionRow:
    return VersionRow(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5], bool(row[6]), row[7])


def _page(select: str, key: str, beyond: str | None, backwards: bool) -> str:
    where = "?3 IS NULL" if beyond is None else f"{key} {'<' if backwards else '>'} ?3"
    return f"{select} AND {where} ORDER BY {key} {'DESC' if backwards else ''} LIMIT ?2"


_ALL = f"SELECT {_TEMPLATE} FROM templates WHERE ifnull(domain_id, 0) = ?1"
_ALL_VERSIONS = f"SELECT {_BRIEF} FROM template_versions WHERE template_id = ?1"
