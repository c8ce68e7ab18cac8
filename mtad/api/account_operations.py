"""Account operations: domains with their DKIM keys and DNS records, and logins.

Room: api. May import: mail, message, storage. Keys and hashes are made in threads: they take 20 to 300 ms.
"""

import asyncio
import ipaddress
import sqlite3
import time
from collections import Counter

from mtad import log as log_module
from mtad.api import passwords
from mtad.api.base import Base, Impossible, NotThere, domain_name, reason, shorten
from mtad.api.results import CredentialItem, CredentialMade, DnsRecord, DomainView
from mtad.mail.address import BadAddress, parse_address
from mtad.message.dkim import Algorithm, load_key, make_key, public_record
from mtad.storage import accounts
from mtad.storage.accounts import DkimKeyRow, DomainRow

log = log_module.get("api")

MAX_HOURLY_LIMIT = 1_000_000_000
_SUFFIXES = {Algorithm.RSA: "", Algorithm.ED25519: "e"}


class AccountOperations(Base):
    async def domain_add(self, name: str, ed25519: bool = False) -> DomainView:
        """With an RSA-2048 key, and an Ed25519 one if asked for; what to publish in the DNS comes back."""
        domain, now = domain_name(name), self._clock.now()
        if any(row.name == domain for row in await self._read(accounts.domains)):
            raise Impossible(f"{domain} is there already; `mtad domain show {domain}` shows its records")
        wanted = (Algorithm.RSA, Algorithm.ED25519) if ed25519 else (Algorithm.RSA,)
        keys = [await asyncio.to_thread(_new_key, domain, algorithm, now) for algorithm in wanted]
        try:
            await self._write(lambda connection: _add_domain(connection, domain, keys, now))
        except sqlite3.IntegrityError:
            raise Impossible(f"{domain} was added by somebody else at the same time") from None
        log.info("domain-added", domain=domain, keys=len(keys))
        await self._changed()
        return await self.domain_show(domain)

    async def domain_list(self) -> tuple[DomainView, ...]:
        return await self._read(self._views)

    async def domain_show(self, name: str) -> DomainView:
        domain = domain_name(name)
        found = next((view for view in await self._read(self._views) if view.name == domain), None)
        if found is None:
            raise _no_domain(domain)
        return found

    async def domain_remove(self, name: str) -> None:
        """With its keys and logins. Its mail in the queue goes on, unsigned; its events stay."""
        domain = domain_name(name)
        if not await self._write(lambda connection: accounts.remove_domain(connection, domain)):
            raise _no_domain(domain)
        log.info("domain-removed", domain=domain)
        await self._changed()

    async def domain_pause(self, name: str, why: str = "") -> None:
        """Its mail is taken and waits."""
        await self._set_pause(name, reason(why, "by the operator"))

    async def domain_resume(self, name: str) -> None:
        await self._set_pause(name, None)

    async def _set_pause(self, name: str, why: str | None) -> None:
        domain = domain_name(name)
        if not await self._write(lambda connection: accounts.pause_domain(connection, domain, why)):
            raise _no_domain(domain)
        log.info("domain-paused" if why else "domain-resumed", domain=domain, why=why)
        await self._changed()

    async def domain_set(
        self, name: str, pool: str | None = None, dsn: bool | None = None, hourly_limit: int | None = None
    ) -> DomainView:
        """pool: of source addresses, "" for none of its own. dsn: tell the senders of relayed mail of failures.

        hourly_limit: recipients it may send to in an hour, 0 any number. None: as it is.
        """
        domain = domain_name(name)
        if pool and self._pools is not None and pool not in self._pools:
            known = ", ".join(sorted(self._pools)) or "none yet"
            raise NotThere(f"no pool {shorten(pool)!r}: delivery.pools names {known}")
        if hourly_limit is not None and not 0 <= hourly_limit <= MAX_HOURLY_LIMIT:
            raise Impossible(f"an hourly limit is 0, for none, to {MAX_HOURLY_LIMIT}")
        if not await self._write(lambda connection: accounts.set_domain(connection, domain, pool, dsn, hourly_limit)):
            raise _no_domain(domain)
        log.info("domain-set", domain=domain, pool=pool, dsn=dsn, hourly_limit=hourly_limit)
        await self._changed()
        return await self.domain_show(domain)

    async def credential_add(self, login: str, password: str | None = None) -> CredentialMade:
        """A login "name@domain of ours"; there already: its password is replaced. None: a password is made."""
        name, domain = _login(login)
        wrong = passwords.fault(password) if password is not None else None
        if wrong:
            raise Impossible(wrong)
        secret = passwords.new_password() if password is None else password
        hashed, now = await asyncio.to_thread(passwords.make_hash, secret), self._clock.now()
        replaced = await self._write(lambda connection: _set_credential(connection, name, domain, hashed, now))
        log.info("credential-set", login=name, replaced=replaced)
        await self._changed()
        return CredentialMade(name, secret if password is None else None, replaced)

    async def credential_list(self, domain: str = "") -> tuple[CredentialItem, ...]:
        only = domain_name(domain) if domain else ""
        rows = await self._read(accounts.credentials)
        return tuple(CredentialItem(r.login, r.domain, r.created_at) for r in rows if not only or r.domain == only)

    async def credential_remove(self, login: str) -> None:
        name, _ = _login(login)
        if not await self._write(lambda connection: accounts.remove_credential(connection, name)):
            raise NotThere(f"no login {shorten(name)}; `mtad credential list` shows those there are")
        log.info("credential-removed", login=name)
        await self._changed()

    def _views(self, connection: sqlite3.Connection) -> tuple[DomainView, ...]:
        keys = accounts.dkim_keys(connection)
        logins = Counter(row.domain for row in accounts.credentials(connection))
        return tuple(
            self._view(row, [key for key in keys if key.domain == row.name], logins[row.name])
            for row in accounts.domains(connection)
        )

    def _view(self, row: DomainRow, keys: list[DkimKeyRow], logins: int) -> DomainView:
        records = [
            DnsRecord(f"{key.selector}._domainkey.{row.name}", "TXT", key.record, f"DKIM key ({key.algorithm})")
            for key in keys
        ]
        records.append(DnsRecord(row.name, "TXT", self._spf(row.pool), "SPF: this server may send for the domain"))
        bounces = "MX: only if mail to the domain is to come in here"
        records.append(DnsRecord(row.name, "MX", f"10 {self._hostname}", bounces, optional=True))
        return DomainView(
            name=row.name,
            created_at=row.created_at,
            pool=row.pool,
            dsn=row.dsn,
            paused_why=row.paused_why,
            selectors=tuple(key.selector for key in keys),
            credentials=logins,
            records=tuple(records),
            hourly_limit=row.hourly_limit,
        )

    def _spf(self, pool: str) -> str:
        """RFC 7208 §5: by the addresses the domain sends from where they are configured, else by our name."""
        sources = (self._pools or {}).get(pool, self._sources)
        parts = [f"ip{ipaddress.ip_address(source).version}:{source}" for source in sources]
        return " ".join(["v=spf1", *(parts or [f"a:{self._hostname}"]), "~all"])


def _new_key(domain: str, algorithm: Algorithm, now: float) -> DkimKeyRow:
    selector = f"mtad{time.strftime('%Y%m%d', time.gmtime(now))}{_SUFFIXES[algorithm]}"
    private = make_key(algorithm)
    return DkimKeyRow(0, domain, selector, algorithm, private, public_record(load_key(private, ours=True)), now)


def _add_domain(connection: sqlite3.Connection, name: str, keys: list[DkimKeyRow], now: float) -> None:
    number = accounts.add_domain(connection, name, now)
    for key in keys:
        row = DkimKeyRow(number, name, key.selector, key.algorithm, key.private, key.record, now)
        accounts.add_dkim_key(connection, row)


def _set_credential(connection: sqlite3.Connection, login: str, domain: str, hashed: str, now: float) -> bool:
    """True: it was there before."""
    row = next((row for row in accounts.domains(connection) if row.name == domain), None)
    if row is None:
        raise _no_domain(domain)
    before = accounts.find_credential(connection, login) is not None
    accounts.set_credential(connection, login, row.id, hashed, now)
    return before


def _login(text: str) -> tuple[str, str]:
    """(login, domain). Case does not count: "Bob@Example.org" logs in as "bob@example.org" does."""
    try:
        address = parse_address(text.strip())
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no login: it must be name@domain ({error})") from None
    return address.key, address.domain


def _no_domain(name: str) -> NotThere:
    return NotThere(f"{name} is no domain of ours; `mtad domain list` shows them, `mtad domain add {name}` adds it")
