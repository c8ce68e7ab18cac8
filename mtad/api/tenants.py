"""Tenants: domains, logins and signing keys as the running daemon holds them in memory, read anew at each change.

Room: api. May import: message, storage. What the doors and the queue ask about the domains that send.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict

from mtad import log as log_module
from mtad.api.passwords import is_right, make_hash
from mtad.config import DeliveryConfig
from mtad.message.dkim import BadKey, Signer, load_key
from mtad.storage import accounts
from mtad.storage.accounts import DomainRow
from mtad.storage.database import Database

log = log_module.get("api")

_REMEMBERED = 1000  # logins whose password was right: argon2 once each, not once per connection


class Tenants:
    """Call load() before use and after each change of domains, credentials or keys."""

    def __init__(self, database: Database, config: DeliveryConfig) -> None:
        self._database, self._config = database, config
        self._by_name: dict[str, DomainRow] = {}
        self._by_id: dict[int, DomainRow] = {}
        self._paused: dict[int, str] = {}
        self._signers: dict[int, tuple[Signer, ...]] = {}
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, str] = OrderedDict()
        self._dummy_hash = make_hash(secrets.token_hex(16))
        self._every_source = config.sources or ("",)

    async def load(self) -> None:
        rows = await self._database.read(accounts.domains)
        keys = await self._database.read(accounts.dkim_keys)
        self._by_name = {row.name: row for row in rows}
        self._by_id = {row.id: row for row in rows}
        self._paused = {row.id: row.paused_why for row in rows if row.paused_why is not None}
        signers: dict[int, list[Signer]] = {}
        for key in keys:
            try:
                signers.setdefault(key.domain_id, []).append(
                    Signer(key.domain, key.selector, load_key(key.private, ours=True))
                )
            except BadKey as error:
                log.error("dkim-key-unusable", domain=key.domain, selector=key.selector, cause=error)
        self._signers = {number: tuple(some) for number, some in signers.items()}
        self._right.clear()

    def id_of(self, name: str) -> int:
        row = self._by_name.get(name)
        return row.id if row else 0

    def name_of(self, number: int) -> str:
        row = self._by_id.get(number)
        return row.name if row else ""

    def is_ours(self, name: str) -> bool:
        return name in self._by_name

    def wants_dsn(self, number: int) -> bool:
        row = self._by_id.get(number)
        return row.dsn if row else True

    def paused(self) -> dict[int, str]:
        return self._paused

    def sources(self, domain_id: int) -> tuple[str, ...]:
        row = self._by_id.get(domain_id)
        pool = self._config.pools.get(row.pool) if row and row.pool else None
        return pool or self._every_source

    def all_sources(self) -> tuple[str, ...]:
        return self._every_source

    def signers(self, domain_id: int) -> tuple[Signer, ...]:
        return self._signers.get(domain_id, ()) if self._config.dkim else ()

    async def verify(self, login: str, password: str) -> str | None:
        """The domain that `login` sends for; None: no such login, or the wrong password, in the same time."""
        login = login.strip().lower()
        mark = hmac.digest(self._secret, f"{login}\0{password}".encode("utf-8", "replace"), hashlib.sha256)
        known = self._right.get(mark)
        if known is not None:
            return known
        row = await self._database.read(lambda connection: accounts.find_credential(connection, login))
        right = await asyncio.to_thread(is_right, row.hash if row else self._dummy_hash, password)
        if row is None or not right:
            return None
        self._right[mark] = row.domain
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return row.domain
