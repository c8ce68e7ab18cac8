"""Account operations: domains with their settings, and logins.

Room: api. May import: mail, message, storage. Keys and hashes are made in threads: they take 20 to 300 ms.
"""

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mtad import log as log_module
from mtad.api import passwords
from mtad.api.base import Impossible, NotThere, domain_name, reason, shorten
from mtad.api.dkim_operations import DkimOperations, Taken, new_key, parent_of
from mtad.api.domain_views import no_domain
from mtad.api.results import CredentialItem, CredentialMade, DomainMade, DomainView
from mtad.api.verify_operations import VerifyOperations
from mtad.mail.address import BadAddress, parse_address
from mtad.message.dkim import Algorithm
from mtad.storage import accounts
from mtad.storage.accounts import UNCHANGED, DkimKeyRow, DomainChanges

log = log_module.get("api")

MAX_HOURLY_LIMIT = 1_000_000_000
MAX_FOOTER = 65_536  # characters
CLICKS = ("no", "yes", "htmlonly")
WEB_SCHEMES = ("http", "https")
SPAM_ACTIONS = ("disabled", "tag", "block", "delete")
_WORDS: Mapping[str, tuple[str, ...]] = {"clicks": CLICKS, "web_scheme": WEB_SCHEMES, "spam_action": SPAM_ACTIONS}
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomain:
    """selector "": of our making. own_dkim False: where a domain of ours above it signs, its keys do. password: of
    postmaster, None: one is made; login: whether there is such a login at all.
    """

    ed25519: bool = False
    selector: str = ""
    bits: int = 2048
    own_dkim: bool = True
    login: bool = False
    password: str | None = field(default=None, repr=False)
    changes: DomainChanges = UNCHANGED


class AccountOperations(DkimOperations, VerifyOperations):
    async def domain_add(self, name: str, ed25519: bool = False, password: str | None = None) -> DomainMade:
        """With an RSA-2048 key, and an Ed25519 one if asked for, and the login postmaster; what to publish in the DNS
        comes back, and the password, which is made here if none is given."""
        return await self.domain_create(name, NewDomain(ed25519=ed25519, login=True, password=password))

    async def domain_create(self, name: str, new: NewDomain) -> DomainMade:
        """With its keys, its settings, and the login postmaster if asked for."""
        domain, now = domain_name(name), self._clock.now()
        if any(row.name == domain for row in await self._read(accounts.domains)):
            raise Taken(f"{domain} is there already; `mtad domain show {domain}` shows its records")
        changes = _checked(new.changes, domain)
        secret = _password(new.password)
        hashed = await asyncio.to_thread(passwords.make_hash, secret) if new.login else ""
        keys = [await asyncio.to_thread(new_key, domain, Algorithm.RSA, now, new.selector, new.bits)]
        if new.ed25519:
            keys.append(await asyncio.to_thread(new_key, domain, Algorithm.ED25519, now))

        def work(connection: sqlite3.Connection) -> None:
            number = _add_domain(connection, domain, keys, now)
            own = new.own_dkim or parent_of(connection, domain) is None
            accounts.change_domain(connection, domain, replace(changes, own_dkim=own))
            if new.login:
                accounts.set_credential(connection, f"postmaster@{domain}", number, hashed, now)

        try:
            await self._write(work)
        except sqlite3.IntegrityError:
            raise Taken(f"{domain} was added by somebody else at the same time") from None
        log.info("domain-added", domain=domain, keys=len(keys))
        await self._changed()
        return DomainMade(await self.domain_show(domain), secret if new.login else "")

    async def domain_list(self) -> tuple[DomainView, ...]:
        return await self._read(self._views)

    async def domain_remove(self, name: str) -> None:
        """With its keys and logins. Its mail in the queue goes on, unsigned; its events stay."""
        domain = domain_name(name)
        if not await self._write(lambda connection: accounts.remove_domain(connection, domain)):
            raise no_domain(domain)
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
            raise no_domain(domain)
        log.info("domain-paused" if why else "domain-resumed", domain=domain, why=why)
        await self._changed()

    async def domain_set(
        self,
        name: str,
        pool: str | None = None,
        dsn: bool | None = None,
        hourly_limit: int | None = None,
        changes: DomainChanges = UNCHANGED,
    ) -> DomainView:
        """pool: of source addresses, "" for none of its own. dsn: tell the senders of relayed mail of failures.

        hourly_limit: recipients it may send to in an hour, 0 any number. changes: the other settings. None: as it is.
        """
        domain = domain_name(name)
        if pool and self._pools is not None and pool not in self._pools:
            known = ", ".join(sorted(self._pools)) or "none yet"
            raise NotThere(f"no pool {shorten(pool)!r}: delivery.pools names {known}")
        if hourly_limit is not None and not 0 <= hourly_limit <= MAX_HOURLY_LIMIT:
            raise Impossible(f"an hourly limit is 0, for none, to {MAX_HOURLY_LIMIT}")
        wanted = _checked(changes, domain)

        def work(connection: sqlite3.Connection) -> bool:
            done = accounts.set_domain(connection, domain, pool, dsn, hourly_limit)
            return done and accounts.change_domain(connection, domain, wanted)

        if not await self._write(work):
            raise no_domain(domain)
        others = " ".join(wanted.named)
        log.info("domain-set", domain=domain, pool=pool, dsn=dsn, hourly_limit=hourly_limit, others=others or None)
        await self._changed()
        return await self.domain_show(domain)

    async def credential_add(self, login: str, password: str | None = None) -> CredentialMade:
        """A login "name@domain of ours"; there already: its password is replaced. None: a password is made."""
        return await self._set_credential(login, password, must_exist=False)

    async def credential_change(self, login: str, password: str | None = None) -> CredentialMade:
        """The same for a login that is there."""
        return await self._set_credential(login, password, must_exist=True)

    async def _set_credential(self, login: str, password: str | None, *, must_exist: bool) -> CredentialMade:
        name, domain = _login(login)
        secret = _password(password)
        weak = passwords.weakness(secret)
        hashed, now = await asyncio.to_thread(passwords.make_hash, secret), self._clock.now()
        replaced = await self._write(
            lambda connection: _set_credential(connection, name, domain, hashed, now, must_exist)
        )
        if weak:
            log.warning("password-weak", login=name, cause=weak)
        log.info("credential-set", login=name, replaced=replaced)
        await self._changed()
        return CredentialMade(name, secret if password is None else None, replaced, weak)

    async def credential_list(self, domain: str = "") -> tuple[CredentialItem, ...]:
        only = domain_name(domain) if domain else ""
        rows = await self._read(accounts.credentials)
        return tuple(CredentialItem(r.login, r.domain, r.created_at) for r in rows if not only or r.domain == only)

    async def credential_remove(self, login: str) -> None:
        name, _ = _login(login)
        if not await self._write(lambda connection: accounts.remove_credential(connection, name)):
            raise _no_login(name)
        log.info("credential-removed", login=name)
        await self._changed()

    async def credential_clear(self, domain: str) -> int:
        """Remove all logins of a domain; how many there were."""
        name = domain_name(domain)
        count = await self._write(lambda connection: accounts.remove_credentials(connection, name))
        log.info("credentials-removed", domain=name, logins=count)
        await self._changed()
        return count


def _add_domain(connection: sqlite3.Connection, name: str, keys: list[DkimKeyRow], now: float) -> int:
    number = accounts.add_domain(connection, name, now)
    for key in keys:
        accounts.add_dkim_key(connection, replace(key, domain_id=number))
    return number


def _checked(changes: DomainChanges, domain: str) -> DomainChanges:
    """With the prefix in lower case. Raises Impossible."""
    for name, words in _WORDS.items():
        value = getattr(changes, name)
        if value is not None and value not in words:
            raise Impossible(f"{name} is {', '.join(words[:-1])} or {words[-1]}, not {shorten(value)!r}")
    for text in (changes.footer_html, changes.footer_text):
        if text is not None and len(text) > MAX_FOOTER:
            raise Impossible(f"a footer has at most {MAX_FOOTER} characters")
    if changes.web_prefix is None:
        return changes
    prefix = changes.web_prefix.strip().lower()
    if not _PREFIX.fullmatch(prefix) or len(f"{prefix}.{domain}") > 253:
        raise Impossible(f"web_prefix is one or more labels of a host name, not {shorten(changes.web_prefix)!r}")
    return replace(changes, web_prefix=prefix)


def _password(given: str | None) -> str:
    """It, or a new one. Raises Impossible."""
    if given is None:
        return passwords.new_password()
    wrong = passwords.fault(given)
    if wrong:
        raise Impossible(wrong)
    return given


def _set_credential(
    connection: sqlite3.Connection, login: str, domain: str, hashed: str, now: float, must_exist: bool
) -> bool:
    """True: it was there before."""
    row = next((row for row in accounts.domains(connection) if row.name == domain), None)
    if row is None:
        raise no_domain(domain)
    before = accounts.find_credential(connection, login) is not None
    if must_exist and not before:
        raise _no_login(login)
    accounts.set_credential(connection, login, row.id, hashed, now)
    return before


def _login(text: str) -> tuple[str, str]:
    """(login, domain). Case does not count: "Bob@Example.org" logs in as "bob@example.org" does."""
    try:
        address = parse_address(text.strip())
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no login: it must be name@domain ({error})") from None
    return address.key, address.domain


def _no_login(name: str) -> NotThere:
    return NotThere(f"no login {shorten(name)}; `mtad credential list` shows those there are")
