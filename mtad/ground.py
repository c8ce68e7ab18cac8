"""Ground: what every room stands on: the store and its ids, keys, and what we know of domains, lists and webhooks.

No room knows it. It is the first that the house builds, and the last that it lets go.
"""

import random
import secrets
import socket
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Executor

from mtad import inward
from mtad.api.tenants import Tenants
from mtad.clock import Clock
from mtad.config import Config, parse_listen
from mtad.delivery.dns import DnsResolver
from mtad.feedback.record import Posts
from mtad.feedback.suppressed import SuppressedAddresses
from mtad.lists.known import Lists
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.token import KEY_OCTETS, Tokens
from mtad.queue.campaigns import Campaigns
from mtad.queue.health import Health
from mtad.storage import journal, settings
from mtad.storage.begun import Begun
from mtad.storage.database import Database
from mtad.storage.indexer import Indexer
from mtad.storage.outgoing import Outgoing
from mtad.storage.spool import Spool
from mtad.webhooks.hooks import Hooks

_WITH_HEADER = (
    EventType.DELIVERED,
    EventType.FAILED_PERMANENT,
    EventType.FAILED_LATE,
    EventType.COMPLAINED,
)


class Ground:
    """load() reads what is in the store; before that only what __init__ gives is here."""

    def __init__(self, config: Config, database: Database, clock: Clock, executor: Executor) -> None:
        self.config, self.database, self.clock, self.executor = config, database, clock, executor
        self.hostname = config.server.hostname or socket.getfqdn()
        self.rng = random.SystemRandom()
        self.spool, self.begun = Spool(config.server.data_dir / "spool"), Begun(config.server.data_dir)

    async def load(self) -> None:
        await self._open_store()
        await self._load_tenants()

    def close(self) -> None:
        self.spool.close()
        self.begun.close()

    async def _open_store(self) -> None:
        config, writer = self.config, self.database.writer
        await writer.write(self.spool.open)
        self.ids = IdSource(self.clock.now, floor=await self.database.read(journal.newest_id))
        writer.follow(lambda: self.ids.last)
        self.indexer = Indexer(self.database, self.clock)
        self.outgoing = Outgoing(self.spool, config.store.inline_octets)
        self.health = Health(config.server.data_dir, writer, config.store.min_free_octets)
        self.token_key = await writer.write(_ensure_token_key)
        self.tokens = Tokens(self.token_key)
        self.suppressed = SuppressedAddresses(self.database, self.clock)
        self.resolver = DnsResolver(config.dns, self.clock)

    async def _load_tenants(self) -> None:
        self.tenants = Tenants(self.database, self.config.delivery, self.public_url())
        self.hooks, self.campaigns = Hooks(self.database), Campaigns(self.database)
        await self.tenants.load()
        await self.hooks.load()
        await self.campaigns.load()
        self.lists = Lists(self.database, self._list_domain, inward.loop_key(self.token_key))
        await self.lists.load()
        self.posts = Posts(self.hooks.posts_for, self.ids, self._tells_header)

    def _list_domain(self, name: str) -> int:
        row = self.tenants.receiving(name)
        return row.id if row is not None else 0

    def _tells_header(self, domain_id: int) -> bool:
        """A webhook of the domain tells the header of its messages."""
        return any(self.hooks.posts_for(kind, domain_id) for kind in _WITH_HEADER)

    def public_url(self, port_found: int = 0) -> str:
        """Where links in mail lead unless their domain has a host for them."""
        http = self.config.http
        if http.public_url:
            return http.public_url
        return self.url_of(http.public_listen or http.listen, port_found)

    def url_of(self, listeners: Sequence[str], port_found: int) -> str:
        host, port = parse_listen(listeners[0]) if listeners else ("", 80)
        port = port or port_found
        name = host if host in ("127.0.0.1", "::1", "localhost") else self.hostname
        shown = f"[{name}]" if ":" in name else name
        return f"http://{shown}" if port == 80 else f"http://{shown}:{port}"


def _ensure_token_key(connection: sqlite3.Connection) -> bytes:
    """Made at the first start: every link and return path in mail that was sent hangs on it."""
    return settings.ensure(connection, "token-key", secrets.token_bytes(KEY_OCTETS))
