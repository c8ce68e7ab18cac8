"""Accounts: the tables `domains`, `credentials`, `api_keys` and `dkim_keys`.

Room: storage. May import: mail. Passwords and keys come in hashed: this room never sees one in the clear.
"""

import sqlite3
from dataclasses import dataclass, fields
from typing import Any

from mtad.storage.outgoing import Flag


@dataclass(frozen=True, slots=True)
class DomainRow:
    """pool: name of the source addresses it sends from, "" for all. paused_why: None when it is not paused.

    opens, clicks ("no", "yes", "htmlonly"), pixel_top, footer: how its mail is tracked unless a message says
    otherwise. footer_html, footer_text: None is the default text. web_cname: web_prefix.name points at us.
    hourly_limit: recipients it may send to in an hour, 0 any number.
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

    @property
    def flags(self) -> int:
        """What all its mail has (storage.outgoing)."""
        return int(
            (Flag.REQUIRE_TLS if self.require_tls else 0) | (Flag.SKIP_VERIFICATION if self.skip_verification else 0)
        )


_BOOLEANS = frozenset(("dsn", "opens", "pixel_top", "footer", "web_cname", "require_tls", "skip_verification"))


@dataclass(frozen=True, slots=True)
class CredentialRow:
    login: str
    domain_id: int
    domain: str
    hash: str
    created_at: float


@dataclass(frozen=True, slots=True)
class DkimKeyRow:
    """private: PEM, PKCS #8. record: the TXT record to publish at selector._domainkey.domain."""

    domain_id: int
    domain: str
    selector: str
    algorithm: str
    private: bytes
    record: str
    created_at: float

    def __repr__(self) -> str:  # a private key must not get into a log by way of an error
        return f"DkimKeyRow({self.selector}._domainkey.{self.domain}, {self.algorithm})"


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
    """The new domain's id. Raises sqlite3.IntegrityError when it is there already."""
    [number] = connection.execute(
        "INSERT INTO domains (name, created_at) VALUES (?, ?) RETURNING id", (name, now)
    ).fetchone()
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


def pause_domain(connection: sqlite3.Connection, name: str, why: str | None) -> bool:
    """why None: go on."""
    return connection.execute("UPDATE domains SET paused_why = ? WHERE name = ?", (why, name)).rowcount > 0


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


def dkim_keys(connection: sqlite3.Connection) -> list[DkimKeyRow]:
    rows = connection.execute(
        "SELECT domain_id, name, selector, algorithm, private, record, dkim_keys.created_at FROM dkim_keys"
        " JOIN domains ON domains.id = domain_id ORDER BY name, dkim_keys.id"
    )
    return [DkimKeyRow(*row) for row in rows]


def add_dkim_key(connection: sqlite3.Connection, key: DkimKeyRow) -> None:
    connection.execute(
        "INSERT INTO dkim_keys (domain_id, selector, algorithm, private, record, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (key.domain_id, key.selector, key.algorithm, key.private, key.record, key.created_at),
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
