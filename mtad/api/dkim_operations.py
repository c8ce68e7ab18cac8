"""DKIM operations: the keys of a domain: which there are, which sign, and under which selector.

Room: api. May import: mail, message, storage. Keys are made and read in threads: that takes 20 to 300 ms.
"""

import asyncio
import sqlite3
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mtad import log as log_module
from mtad.api.authority import above
from mtad.api.base import Impossible, NotThere, domain_name, shorten
from mtad.api.domain_views import DomainViews, no_domain
from mtad.api.results import DkimKeyItem
from mtad.message.dkim import Algorithm, BadKey, PrivateKey, Signer, load_key, make_key, public_record
from mtad.storage import accounts
from mtad.storage.accounts import DkimKeyRow, DomainChanges, DomainRow

log = log_module.get("api")

BITS = (1024, 2048, 4096)
MAX_KEYS = 20  # of one domain
MAX_PEM = 16_384  # characters
_SUFFIXES = {Algorithm.RSA: "", Algorithm.ED25519: "e"}


class Taken(Impossible):
    """It is there already."""


class DkimOperations(DomainViews):
    async def dkim_list(self, domain: str = "", selector: str = "") -> tuple[DkimKeyItem, ...]:
        """Of one domain or all, by their names and selectors."""
        only, wanted = domain_name(domain) if domain else "", selector.strip().lower()
        found = await self._read(lambda connection: self._key_items(connection, only, wanted))
        return tuple(sorted(found, key=lambda key: (key.domain, key.selector)))

    async def dkim_add(
        self, domain: str, selector: str, bits: int = 2048, pem: str = "", ed25519: bool = False
    ) -> DkimKeyItem:
        """A new key, or the one in `pem`. It signs at once only when no other key of the domain does: nobody can check
        its signatures before it is published.
        """
        name, now = domain_name(domain), self._clock.now()
        if pem:
            made = await asyncio.to_thread(_given_key, name, selector, pem, now)
        else:
            algorithm = Algorithm.ED25519 if ed25519 else Algorithm.RSA
            made = await asyncio.to_thread(new_key, name, algorithm, now, selector, bits)
        await self._write(lambda connection: _add_key(connection, made))
        log.info("dkim-key-added", domain=name, selector=made.selector, algorithm=made.algorithm, given=bool(pem))
        await self._changed()
        return (await self.dkim_list(name, made.selector))[0]

    async def dkim_remove(self, domain: str, selector: str) -> None:
        """Mail that waits is signed with the keys that are left."""
        name, key = domain_name(domain), selector.strip().lower()
        await self._write(lambda connection: _remove_key(connection, name, key))
        log.info("dkim-key-removed", domain=name, selector=key)
        await self._changed()

    async def dkim_activate(self, domain: str, selector: str, active: bool = True) -> DkimKeyItem:
        """Every active key of a domain signs its mail."""
        name, key = domain_name(domain), selector.strip().lower()
        await self._write(lambda connection: _activate_key(connection, name, key, active))
        log.info("dkim-key-activated" if active else "dkim-key-deactivated", domain=name, selector=key)
        await self._changed()
        return (await self.dkim_list(name, key))[0]

    async def dkim_select(self, domain: str, selector: str) -> None:
        """The domain signs under this selector from now on: with the key that has it, else its first signing key is
        the one at this selector, where its record must then be published.
        """
        name, wanted = domain_name(domain), _selector(domain_name(domain), selector)
        await self._write(lambda connection: _select(connection, name, wanted))
        log.info("dkim-selector-set", domain=name, selector=wanted)
        await self._changed()

    async def dkim_authority(self, domain: str, own: bool) -> bool:
        """Sign with the domain's own keys, or with those of a domain of ours above it. False: it is as it was."""
        name = domain_name(domain)
        changed = await self._write(lambda connection: _set_authority(connection, name, own))
        if changed:
            log.info("dkim-authority-set", domain=name, own=own)
            await self._changed()
        return changed


def new_key(domain: str, algorithm: Algorithm, now: float, selector: str = "", bits: int = 2048) -> DkimKeyRow:
    """selector "": of our making. Raises Impossible."""
    if bits not in BITS:
        raise Impossible(f"an RSA key has {', '.join(map(str, BITS[:-1]))} or {BITS[-1]} bits")
    made = selector or f"mtad{time.strftime('%Y%m%d', time.gmtime(now))}{_SUFFIXES[algorithm]}"
    name = _selector(domain, made)
    private = _short_key() if algorithm is Algorithm.RSA and bits == 1024 else make_key(algorithm, max(bits, 2048))
    key = load_key(private, ours=True)
    return DkimKeyRow(0, domain, name, algorithm, private, public_record(key), now)


def _short_key() -> bytes:
    """1024 bits are the least that verifiers take (RFC 8301 §3.2): for zones that hold no longer record, when asked."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505


def _given_key(domain: str, selector: str, pem: str, now: float) -> DkimKeyRow:
    if len(pem) > MAX_PEM:
        raise Impossible("the PEM text is too long for a key")
    try:
        key = load_key(pem.encode("ascii", "replace"))
        signer = Signer(domain, _selector(domain, selector), key)
    except BadKey as error:
        raise Impossible(f"the key cannot be used: {error}") from None
    return DkimKeyRow(0, domain, signer.selector, signer.algorithm, _pem(key), public_record(key), now)


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _selector(domain: str, text: str) -> str:
    """In lower case. Raises Impossible."""
    name = text.strip().lower()
    try:
        whole = domain_name(f"{name}._domainkey.{domain}")
    except Impossible:
        whole = ""
    if not name or not whole or len(whole) > 253 or name.startswith("_") or name.endswith("_"):
        raise Impossible(f"{shorten(text)!r} is no selector: it is one or more labels of a domain name")
    return name


def _domain(connection: sqlite3.Connection, name: str) -> DomainRow:
    row = next((row for row in accounts.domains(connection) if row.name == name), None)
    if row is None:
        raise no_domain(name)
    return row


def _keys(connection: sqlite3.Connection, domain_id: int) -> list[DkimKeyRow]:
    return [key for key in accounts.dkim_keys(connection) if key.domain_id == domain_id]


def _add_key(connection: sqlite3.Connection, key: DkimKeyRow) -> None:
    row = _domain(connection, key.domain)
    there = _keys(connection, row.id)
    if any(one.selector == key.selector for one in there):
        raise Taken(f"{key.domain} has a key with the selector {key.selector} already")
    if len(there) >= MAX_KEYS:
        raise Impossible(f"{key.domain} has {MAX_KEYS} keys, and that is the most")
    active = not any(one.active for one in there)
    accounts.add_dkim_key(
        connection,
        DkimKeyRow(row.id, row.name, key.selector, key.algorithm, key.private, key.record, key.created_at, active),
    )


def _remove_key(connection: sqlite3.Connection, name: str, selector: str) -> None:
    if not accounts.remove_dkim_key(connection, _domain(connection, name).id, selector):
        raise _no_key(name, selector)


def _activate_key(connection: sqlite3.Connection, name: str, selector: str, active: bool) -> None:
    if not accounts.activate_dkim_key(connection, _domain(connection, name).id, selector, active):
        raise _no_key(name, selector)


def _select(connection: sqlite3.Connection, name: str, selector: str) -> None:
    row = _domain(connection, name)
    keys = _keys(connection, row.id)
    there = next((key for key in keys if key.selector == selector), None)
    if there is not None:
        for key in keys:
            if key.algorithm == there.algorithm:
                accounts.activate_dkim_key(connection, row.id, key.selector, key.selector == selector)
        return
    ranked = sorted(keys, key=lambda key: (not key.active, key.algorithm != Algorithm.RSA))
    if not ranked:
        raise NotThere(f"{name} has no DKIM key")
    accounts.rename_dkim_key(connection, row.id, ranked[0].selector, selector)


def _set_authority(connection: sqlite3.Connection, name: str, own: bool) -> bool:
    row = _domain(connection, name)
    if row.own_dkim == own or (not own and parent_of(connection, name) is None):
        return False
    if own and not any(key.active for key in _keys(connection, row.id)):
        raise Impossible(f"{name} has no key that signs: its mail would go out unsigned")
    return accounts.change_domain(connection, name, DomainChanges(own_dkim=own))


def parent_of(connection: sqlite3.Connection, name: str) -> DomainRow | None:
    """The nearest domain of ours above `name` that signs."""
    signing = {key.domain_id for key in accounts.dkim_keys(connection) if key.active}
    return above(name, {row.name: row for row in accounts.domains(connection)}, signing)


def _no_key(name: str, selector: str) -> NotThere:
    return NotThere(f"{name} has no DKIM key with the selector {shorten(selector)!r}")
