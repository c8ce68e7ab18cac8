"""Key operations: keys of the HTTP API, made, listed and revoked; and one lent for a moment.

Room: api. May import: storage. A key is shown once, when it is made: what is kept is its SHA-256.
"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, domain_name, shorten
from mtad.api.http.keys import hash_of
from mtad.storage import accounts, keys

log = log_module.get("api")

MAX_NAME = 100  # characters
MAX_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class KeyItem:
    """domain: the only one it may send for; "": the account's key, for everything."""

    id: int
    name: str
    domain: str
    created_at: float


@dataclass(frozen=True, slots=True)
class KeyMade:
    """key: it cannot be shown again."""

    id: int
    name: str
    domain: str
    key: str


@dataclass(frozen=True, slots=True)
class LentKey:
    """url: of the API, without a slash at the end. key: sends for one domain, for some minutes."""

    url: str
    key: str


class Lending(Protocol):
    """The keys in force in the running daemon. load: they have changed."""

    @property
    def load(self) -> Callable[[], Awaitable[None]]: ...

    @property
    def url(self) -> str:
        """Where the API listens, "" nowhere."""

    def lend(self, domain: str) -> str: ...


class KeyOperations(Base):
    """lending: set by the daemon; None: no daemon runs."""

    lending: Lending | None = None

    async def key_add(self, name: str, domain: str = "") -> KeyMade:
        """domain "": a key for everything; else one that may only send messages of that domain."""
        title = " ".join(name.split())
        if not title or not title.isprintable() or len(title) > MAX_NAME:
            raise Impossible(f"a key needs a name of at most {MAX_NAME} printable characters, to know it again by")
        only = domain_name(domain) if domain else ""
        key, now = "key-" + secrets.token_hex(16), self._clock.now()
        number = await self._write(lambda connection: _add(connection, only, title, hash_of(key), now))
        log.info("key-added", key=number, name=title, domain=only or None)
        await self._keys_changed()
        return KeyMade(number, title, only, key)

    async def key_list(self) -> tuple[KeyItem, ...]:
        rows = await self._read(keys.keys)
        return tuple(KeyItem(row.id, row.name, row.domain or "", row.created_at) for row in rows)

    async def key_revoke(self, key: int) -> None:
        """From now on it opens nothing."""
        if not await self._write(lambda connection: keys.remove_key(connection, key)):
            raise NotThere(f"no key {key}; `mtad key list` shows those there are")
        log.info("key-revoked", key=key)
        await self._keys_changed()

    async def key_lend(self, domain: str) -> LentKey:
        """For `mtad send`: who may ask this may do everything anyway."""
        name = domain_name(domain)
        if self.lending is None:
            raise Impossible("no daemon is running, so nothing can be sent; start it first")
        if not self.lending.url:
            raise Impossible("the daemon has no HTTP listener: http.listen names none")
        if all(row.name != name for row in await self._read(accounts.domains)):
            raise NotThere(f"{name} is no domain of ours; `mtad domain list` shows them")
        return LentKey(self.lending.url, self.lending.lend(name))

    async def _keys_changed(self) -> None:
        if self.lending is not None:
            await self.lending.load()


def _add(connection: sqlite3.Connection, domain: str, name: str, hash_: bytes, now: float) -> int:
    there = keys.keys(connection)
    if len(there) >= MAX_KEYS:
        raise Impossible(f"there are {MAX_KEYS} keys; revoke some first")
    if any(row.name == name and (row.domain or "") == domain for row in there):
        raise Impossible(f"there is a key named {shorten(name)!r} already; `mtad key list` shows it")
    if not domain:
        return keys.add_key(connection, None, name, hash_, now)
    found = next((row.id for row in accounts.domains(connection) if row.name == domain), None)
    if found is None:
        raise NotThere(f"{domain} is no domain of ours; `mtad domain list` shows them")
    return keys.add_key(connection, found, name, hash_, now)
