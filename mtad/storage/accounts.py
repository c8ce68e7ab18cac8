"""Accounts: the tables `domains`, `credentials`, `api_keys`, `dkim_keys` and `dns_checks`.

Room: storage. May import: mail. Passwords and keys come in hashed: this room never sees one in the clear.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from mtad.storage import settings
from mtad.storage.outgoing import Flag


@dataclass(frozen=True, slots=True)
class DomainRow:
    """pool: name of the source addresses it sends from, "" for all. paused_why: None when it is not paused.

    opens, clicks ("no", "yes", "htmlonly"), pixel_top, footer: how its mail is tracked unless a message says
    otherwise. footer_html, footer_text: None is the default text. web_cname: web_prefix.name points at us.
    hourly_limit: recipients it may send to in an hour, 0 any number. spam_action: "disabled", "tag", "block" or
    "delete", which are one. wildcard: mail to its sub-domains is taken too. own_dkim: its own keys sign; False: those
    of the nearest domain of ours above it, where there is one. checked_at: when its DNS records were last looked at.
    """

    id: int
    name: str
    created_at: float
    pool: str
    dsn: bool
    paused_why: str | None
    opens: bool = False
    clicks: str = "no"
    pixel_top: bool = False
    footer: bool = False
    footer_html: str | None = None
    footer_text: str | None = None
    web_scheme: str = "http"
    web_prefix: str = "email"
    web_cname: bool = False
    require_tls: bool = False
    skip_verification: bool = False
    hourly_limit: int = 0
    spam_action: str = "disabled"
    wildcard: bool = False
    is_disabled: bool = False
    own_dkim: bool = True
    checked_at: float | None = None

    @property
    def flags(self) -> int:
        """What all its mail has (storage.outgoing)."""
        return int(
            (Flag.REQUIRE_TLS if self.require_tls else 0) | (Flag.SKIP_VERIFICATION if self.skip_verification else 0)
        )


_BOOLEANS = frozenset(
    (
        *("dsn", "opens", "pixel_top", "footer", "web_cname", "require_tls", "skip_verification"),
        *("wildcard", "is_disabled", "own_dkim"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainChanges:
    """Settings of a domain that are to be others, named as in DomainRow. None: as it is. footer_html, footer_text: ""
    is the default text.
    """

    opens: bool | None = None
    clicks: str | None = None
    pixel_top: bool | None = None
    footer: bool | None = None
    footer_html: str | None = None
    footer_text: str | None = None
    web_scheme: str | None = None
    web_prefix: str | None = None
    require_tls: bool | None = None
    skip_verification: bool | None = None
    spam_action: str | None = None
    wildcard: bool | None = None
    is_disabled: bool | None = None
    own_dkim: bool | None = None

    @property
    def named(self) -> list[str]:
        """The settings that are to be others."""
        return [one.name for one in fields(self) if getattr(self, one.name) is not None]


UNCHANGED = DomainChanges()


@dataclass(frozen=True, slots=True)
class CredentialRow:
    login: str
    domain_id: int
    domain: str
    hash: str
    created_at: float


@dataclass(frozen=True, slots=True)
class DkimKeyRow:
    """private: PEM, PKCS #8. record: the TXT record to publish at selector._domainkey.domain. active: it signs."""

    domain_id: int
    domain: str
    selector: str
    algorithm: str
    private: bytes
    record: str
    created_at: float
    active: bool = True

    def __repr__(self) -> str:  # a private key must not get into a log by way of an error
        return f"DkimKeyRow({self.selector}._domainkey.{self.domain}, {self.algorithm})"


@dataclass(frozen=True, slots=True)
class DnsCheckRow:
    """What DNS had at the place of a record we proposed. valid: "valid", "invalid", or "unknown" when DNS failed.

    settled: what it was when DNS last answered, "" if it never did. found: the records there. why: a sentence.
    """

    domain_id: int
    type: str
    name: str
    value: str
    valid: str
    settled: str
    found: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    id: int
    domain: str | None
    name: str
    hash: bytes
    created_at: float


def domains(connection: sqlite3.Connection) -> list[DomainRow]:
    names = [one.name for one in fields(DomainRow)]
    rows = connection.execute(f"SELECT {', '.join(names)} FROM domains ORDER BY name")
    return [_domain(names, row) for row in rows]


def _domain(names: list[str], row: tuple[Any, ...]) -> DomainRow:
    values: list[Any] = [bool(value) if name in _BOOLEANS else value for name, value in zip(names, row, strict=True)]
    return DomainRow(*values)


def add_domain(connection: sqlite3.Connection, name: str, now: float) -> int:
    """The new domain's id, which no other had before: what a removed one left behind is not its. Raises
    sqlite3.IntegrityError when it is there already."""
    last = int(settings.ensure(connection, "last-domain", b"0"))
    [number] = connection.execute(
        "INSERT INTO domains (id, name, created_at)"
        " SELECT 1 + max(?, ifnull(max(id), 0)), ?, ? FROM domains RETURNING id",
        (last, name, now),
    ).fetchone()
    settings.put(connection, "last-domain", str(number).encode())
    return int(number)


def remove_domain(connection: sqlite3.Connection, name: str) -> bool:
    """With its credentials and keys. Its mail in the queue goes on, unsigned; its events stay."""
    return connection.execute("DELETE FROM domains WHERE name = ?", (name,)).rowcount > 0


def set_domain(
    connection: sqlite3.Connection, name: str, pool: str | None, dsn: bool | None, hourly_limit: int | None = None
) -> bool:
    """None leaves a setting as it is."""
    done = connection.execute(
        "UPDATE domains SET pool = ifnull(?2, pool), dsn = ifnull(?3, dsn), hourly_limit = ifnull(?4, hourly_limit)"
        " WHERE name = ?1",
        (name, pool, dsn, hourly_limit),
    )
    return done.rowcount > 0


def change_domain(connection: sqlite3.Connection, name: str, changes: DomainChanges) -> bool:
    """False: there is no such domain."""
    values = {one: getattr(changes, one) for one in _CHANGEABLE}
    return connection.execute(_CHANGE, {**values, "name": name}).rowcount > 0


def _change(column: str) -> str:
    changed = f"ifnull(:{column}, {column})"
    return f"{column} = " + (f"nullif({changed}, '')" if column.startswith("footer_") else changed)


_CHANGEABLE = tuple(one.name for one in fields(DomainChanges))
_CHANGE = (
    f"UPDATE domains SET {', '.join(_change(column) for column in _CHANGEABLE)},"
    # Another prefix is not known to point at us until somebody has looked.
    " web_cname = web_cname AND web_prefix = ifnull(:web_prefix, web_prefix) WHERE name = :name"
)


def pause_domain(connection: sqlite3.Connection, name: str, why: str | None) -> bool:
    """why None: go on."""
    return connection.execute("UPDATE domains SET paused_why = ? WHERE name = ?", (why, name)).rowcount > 0


def may_send(connection: sqlite3.Connection, domain_id: int) -> bool:
    """False: the operator disabled it, or it is not there."""
    found = connection.execute("SELECT 1 FROM domains WHERE id = ? AND NOT is_disabled", (domain_id,))
    return found.fetchone() is not None


def credentials(connection: sqlite3.Connection) -> list[CredentialRow]:
    rows = connection.execute(
        "SELECT login, domain_id, name, hash, credentials.created_at FROM credentials"
        " JOIN domains ON domains.id = domain_id ORDER BY login"
    )
    return [CredentialRow(*row) for row in rows]


def find_credential(connection: sqlite3.Connection, login: str) -> CredentialRow | None:
    row = connection.execute(
        "SELECT login, domain_id, name, hash, credentials.created_at FROM credentials"
        " JOIN domains ON domains.id = domain_id WHERE login = ?",
        (login,),
    ).fetchone()
    return CredentialRow(*row) if row else None


def set_credential(connection: sqlite3.Connection, login: str, domain_id: int, hash_: str, now: float) -> None:
    """Add it, or give it a new password."""
    connection.execute(
        "INSERT INTO credentials (login, domain_id, hash, created_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (login) DO UPDATE SET hash = excluded.hash",
        (login, domain_id, hash_, now),
    )


def remove_credential(connection: sqlite3.Connection, login: str) -> bool:
    return connection.execute("DELETE FROM credentials WHERE login = ?", (login,)).rowcount > 0


def remove_credentials(connection: sqlite3.Connection, domain: str) -> int:
    """All of a domain; how many there were."""
    return connection.execute(
        "DELETE FROM credentials WHERE domain_id = (SELECT id FROM domains WHERE name = ?)", (domain,)
    ).rowcount


def dkim_keys(connection: sqlite3.Connection) -> list[DkimKeyRow]:
    rows = connection.execute(
        "SELECT domain_id, name, selector, algorithm, private, record, dkim_keys.created_at, active FROM dkim_keys"
        " JOIN domains ON domains.id = domain_id ORDER BY name, dkim_keys.id"
    )
    return [
        DkimKeyRow(domain_id, name, selector, algorithm, private, record, at, bool(active))
        for domain_id, name, selector, algorithm, private, record, at, active in rows
    ]


def add_dkim_key(connection: sqlite3.Connection, key: DkimKeyRow) -> None:
    """Raises sqlite3.IntegrityError when the domain has a key of that selector."""
    connection.execute(
        "INSERT INTO dkim_keys (domain_id, selector, algorithm, private, record, created_at, active)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key.domain_id, key.selector, key.algorithm, key.private, key.record, key.created_at, key.active),
    )


def remove_dkim_key(connection: sqlite3.Connection, domain_id: int, selector: str) -> bool:
    """False: there was none."""
    done = connection.execute("DELETE FROM dkim_keys WHERE domain_id = ? AND selector = ?", (domain_id, selector))
    return done.rowcount > 0


def activate_dkim_key(connection: sqlite3.Connection, domain_id: int, selector: str, active: bool) -> bool:
    """False: there is none."""
    done = connection.execute(
        "UPDATE dkim_keys SET active = ? WHERE domain_id = ? AND selector = ?", (active, domain_id, selector)
    )
    return done.rowcount > 0


def rename_dkim_key(connection: sqlite3.Connection, domain_id: int, old: str, new: str) -> None:
    """The same key at another selector."""
    connection.execute("UPDATE dkim_keys SET selector = ? WHERE domain_id = ? AND selector = ?", (new, domain_id, old))


def dns_checks(connection: sqlite3.Connection, domain_id: int | None = None) -> list[DnsCheckRow]:
    """Of one domain; None: of all."""
    rows = connection.execute(
        "SELECT domain_id, type, name, value, valid, settled, found, why FROM dns_checks"
        " WHERE domain_id = ifnull(?, domain_id)",
        (domain_id,),
    )
    return [
        DnsCheckRow(number, type_, name, value, valid, settled, tuple(json.loads(found)), why)
        for number, type_, name, value, valid, settled, found, why in rows
    ]


def set_dns_checks(connection: sqlite3.Connection, domain_id: int, checks: Sequence[DnsCheckRow], now: float) -> bool:
    """What was seen of the domain's records, all of them; False: there is no such domain. Where DNS failed, what was
    settled before stays so."""
    done = connection.execute("UPDATE domains SET checked_at = ? WHERE id = ?", (now, domain_id))
    if not done.rowcount:
        return False
    before = {(row.type, row.name, row.value): row.settled for row in dns_checks(connection, domain_id)}
    connection.execute("DELETE FROM dns_checks WHERE domain_id = ?", (domain_id,))
    for one in checks:
        settled = one.settled or before.get((one.type, one.name, one.value), "")
        connection.execute(
            "INSERT INTO dns_checks (domain_id, type, name, value, valid, settled, found, why)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (domain_id, one.type, one.name, one.value, one.valid, settled, json.dumps(one.found), one.why),
        )
    return True


def set_web_cname(connection: sqlite3.Connection, domain_id: int, web_prefix: str, points_here: bool) -> None:
    """What is known of this prefix; nothing happens when the domain has another one by now."""
    connection.execute(
        "UPDATE domains SET web_cname = ? WHERE id = ? AND web_prefix = ?", (points_here, domain_id, web_prefix)
    )


def api_keys(connection: sqlite3.Connection) -> list[ApiKeyRow]:
    rows = connection.execute(
        "SELECT api_keys.id, domains.name, api_keys.name, hash, api_keys.created_at FROM api_keys"
        " LEFT JOIN domains ON domains.id = domain_id ORDER BY api_keys.id"
    )
    return [ApiKeyRow(*row) for row in rows]


def add_api_key(connection: sqlite3.Connection, name: str, hash_: bytes, now: float) -> None:
    """An account's key; the same key again changes nothing."""
    connection.execute("INSERT OR IGNORE INTO api_keys (name, hash, created_at) VALUES (?, ?, ?)", (name, hash_, now))
