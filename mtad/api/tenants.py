"""Tenants: domains, logins and signing keys as the running daemon holds them in memory, read anew at each change.

Room: api. May import: message, storage. What the doors and the queue ask about the domains that send.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Container
from urllib.parse import urlsplit

from mtad import log as log_module
from mtad.api.authority import authority_of
from mtad.api.passwords import is_right, make_hash
from mtad.config import DeliveryConfig
from mtad.mail.options import Clicks, Tracking
from mtad.message.dkim import BadKey, Signer, load_key
from mtad.storage import accounts
from mtad.storage.accounts import DomainRow
from mtad.storage.database import Database

log = log_module.get("api")

_REMEMBERED = 1000  # logins whose password was right: argon2 once each, not once per connection


_UNTRACKED = Tracking()
FOOTER_HTML = '<br>\n<p>Do you not want these messages? <a href="%unsubscribe_url%">Unsubscribe here</a>.</p>\n'
FOOTER_TEXT = "\n\nTo stop receiving these messages, visit <%unsubscribe_url%>\n"


def tracking_of(row: DomainRow, public_url: str) -> Tracking:
    """public_url: where links lead as long as the domain has no host of its own that points at us."""
    footer_html, footer_text = footers_of(row)
    return Tracking(
        opens=row.opens,
        clicks=Clicks(row.clicks),
        pixel_top=row.pixel_top,
        footer_html=footer_html if row.footer else "",
        footer_text=footer_text if row.footer else "",
        web_url=_own_url(row, public_url) if row.web_cname else public_url.rstrip("/"),
        list_unsubscribe=row.footer,
    )


def footers_of(row: DomainRow) -> tuple[str, str]:
    """(html, text) as they are added where the footer is on."""
    return (
        FOOTER_HTML if row.footer_html is None else row.footer_html,
        FOOTER_TEXT if row.footer_text is None else row.footer_text,
    )


def _own_url(row: DomainRow, public_url: str) -> str:
    """By the domain's own host, which is the same server: a port that ours needs, its host needs too."""
    ours = urlsplit(public_url)
    port = f":{ours.port}" if ours.port and ours.scheme == row.web_scheme else ""
    return f"{row.web_scheme}://{row.web_prefix}.{row.name}{port}"


class Tenants:
    """Call load() before use and after each change of domains, credentials or keys.

    public_url: ours, without a slash at the end, for links in mail.
    """

    def __init__(self, database: Database, config: DeliveryConfig, public_url: str = "") -> None:
        self._database, self._config, self.public_url = database, config, public_url
        self._tracking: dict[int, Tracking] = {}
        self._by_name: dict[str, DomainRow] = {}
        self._by_id: dict[int, DomainRow] = {}
        self._paused: dict[int, str] = {}
        self._signers: dict[int, tuple[Signer, ...]] = {}
        self._read: dict[tuple[str, str, bytes], Signer] = {}  # by domain, selector and private key
        self._sources: dict[int, tuple[str, ...]] = {}  # of domains with a pool
        self._hourly_limits: dict[int, int] = {}
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, str] = OrderedDict()
        self._turn = asyncio.Lock()
        self._generation = 0
        self._dummy_hash = make_hash(secrets.token_hex(16))
        self._default_sources = config.sources or ("",)
        pooled = [address for addresses in config.pools.values() for address in addresses]
        self._every_source = tuple(dict.fromkeys((*self._default_sources, *pooled)))

    async def load(self) -> None:
        async with self._turn:  # who asked first may be answered last, and it would be the older answer that stays
            await self._load()

    async def _load(self) -> None:
        rows = await self._database.read(accounts.domains)
        keys = await self._database.read(accounts.dkim_keys)
        self._by_name = {row.name: row for row in rows}
        self._by_id = {row.id: row for row in rows}
        self._paused = {row.id: row.paused_why for row in rows if row.paused_why is not None}
        signers: dict[int, list[Signer]] = {}
        read: dict[tuple[str, str, bytes], Signer] = {}
        for key in keys:
            if not key.active:
                continue
            mark = (key.domain, key.selector, key.private)
            try:
                signer = self._read.get(mark) or Signer(key.domain, key.selector, load_key(key.private, ours=True))
                read[mark] = signer
                signers.setdefault(key.domain_id, []).append(signer)
            except BadKey as error:
                log.error("dkim-key-unusable", domain=key.domain, selector=key.selector, cause=error)
        self._read = read
        self._tracking = {row.id: tracking_of(row, self.public_url) for row in rows}
        self._signers = {row.id: tuple(signers.get(self._authority(row, signers), ())) for row in rows}
        self._right.clear()
        self._generation += 1
        self._hourly_limits = {row.id: row.hourly_limit for row in rows if row.hourly_limit}
        self._sources = {row.id: self._config.pools[row.pool] for row in rows if row.pool in self._config.pools}
        for row in rows:
            if row.pool and row.pool not in self._config.pools:
                log.error("pool-unknown", domain=row.name, pool=row.pool, cause="delivery.pools does not name it")

    def _authority(self, row: DomainRow, signers: Container[int]) -> int:
        return authority_of(row, self._by_name, signers).id

    def find(self, name: str) -> DomainRow | None:
        """A domain of ours, by its name in lower case and A-labels."""
        return self._by_name.get(name)

    def receiving(self, name: str) -> DomainRow | None:
        """The domain of ours that mail for `name` comes to: itself, or one above it that takes its sub-domains too."""
        row = self._by_name.get(name)
        while row is None and "." in name:
            name = name.partition(".")[2]
            above = self._by_name.get(name)
            row = above if above is not None and above.wildcard else None
        return row

    def first(self) -> DomainRow | None:
        """The one that was added first; None: there is none."""
        return self._by_id[min(self._by_id)] if self._by_id else None

    def id_of(self, name: str) -> int:
        row = self._by_name.get(name)
        return row.id if row else 0

    def name_of(self, number: int) -> str:
        row = self._by_id.get(number)
        return row.name if row else ""

    def is_ours(self, name: str) -> bool:
        return name in self._by_name

    def may_send(self, name: str) -> bool:
        """False: the operator disabled it."""
        row = self._by_name.get(name)
        return row is None or not row.is_disabled

    def wants_dsn(self, number: int) -> bool:
        row = self._by_id.get(number)
        return row.dsn if row else True

    def paused(self) -> dict[int, str]:
        return self._paused

    def sources(self, domain_id: int) -> tuple[str, ...]:
        """Those of its pool; of delivery.sources for a domain without a pool, or whose pool is there no more."""
        return self._sources.get(domain_id, self._default_sources)

    def all_sources(self) -> tuple[str, ...]:
        """Of delivery.sources and of every pool, each once."""
        return self._every_source

    def hourly_limits(self) -> dict[int, int]:
        """Domain id -> recipients it may send to in an hour; those without a limit are not there."""
        return self._hourly_limits

    def flags(self, domain_id: int) -> int:
        row = self._by_id.get(domain_id)
        return row.flags if row else 0

    def tracking(self, domain_id: int) -> Tracking:
        return self._tracking.get(domain_id, _UNTRACKED)

    def signers(self, domain_id: int) -> tuple[Signer, ...]:
        return self._signers.get(domain_id, ()) if self._config.dkim else ()

    async def verify(self, login: str, password: str) -> str | None:
        """The domain that `login` sends for; None: no such login, or the wrong password, in the same time."""
        login = login.strip().lower()
        mark = hmac.digest(self._secret, f"{login}\0{password}".encode("utf-8", "replace"), hashlib.sha256)
        known = self._right.get(mark)
        if known is not None:
            return known
        generation = self._generation
        row = await self._database.read(lambda connection: accounts.find_credential(connection, login))
        right = await asyncio.to_thread(is_right, row.hash if row else self._dummy_hash, password)
        if row is None or not right:
            return None
        if generation != self._generation:  # the password may have been changed meanwhile
            return row.domain
        self._right[mark] = row.domain
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return row.domain
