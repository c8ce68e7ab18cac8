"""Domain views: a domain with its settings, its state, and the DNS records it should have.

Room: api. May import: mail, storage.
"""

import ipaddress
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mtad.api.authority import authority_of
from mtad.api.base import Base, NotThere, domain_name
from mtad.api.http.dnscheck import Names
from mtad.api.results import DkimKeyItem, DnsRecord, DomainSettings, DomainView
from mtad.api.tenants import footers_of
from mtad.mail.address import BadAddress, ascii_domain
from mtad.storage import accounts
from mtad.storage.accounts import DkimKeyRow, DnsCheckRow, DomainRow

SANDBOX = "mtad.test"  # of `mtad dev`: no DNS of the world has it, and none is asked

_Checks = Mapping[tuple[str, str, str], DnsCheckRow]


class DomainViews(Base):
    """names: a resolver of its own for each check, so that it sees what is there now; set by the daemon. web_host: the
    host in links of mail, "" is our name.
    """

    names: Callable[[], Names] | None = None
    web_host: Callable[[], str] | None = None

    async def domain_show(self, name: str) -> DomainView:
        domain = domain_name(name)
        found = await self._read(lambda connection: self._views(connection, domain))
        if not found:
            raise no_domain(domain)
        return found[0]

    def _views(self, connection: sqlite3.Connection, only: str = "") -> tuple[DomainView, ...]:
        """Of one domain, or of all."""
        rows = accounts.domains(connection)
        by_name = {row.name: row for row in rows}
        keys: dict[int, list[DkimKeyRow]] = defaultdict(list)
        for key in accounts.dkim_keys(connection):
            keys[key.domain_id].append(key)
        signing = {number for number, some in keys.items() if any(key.active for key in some)}
        logins = Counter(row.domain for row in accounts.credentials(connection))
        checks: dict[int, dict[tuple[str, str, str], DnsCheckRow]] = defaultdict(dict)
        for check in accounts.dns_checks(connection):
            checks[check.domain_id][check.type, check.name, check.value] = check
        wanted = [by_name[only]] if only in by_name else [] if only else rows
        return tuple(
            self._view(row, authority_of(row, by_name, signing), keys, logins[row.name], checks[row.id])
            for row in wanted
        )

    def _view(
        self,
        row: DomainRow,
        authority: DomainRow,
        keys: Mapping[int, Sequence[DkimKeyRow]],
        logins: int,
        checks: _Checks,
    ) -> DomainView:
        signing = [key for key in keys.get(authority.id, ()) if key.active or authority.id == row.id]
        records = [
            *(key_record(key) for key in signing),
            DnsRecord(row.name, "TXT", self._spf(row.pool), "SPF: this server may send for the domain", kind="spf"),
            DnsRecord(row.name, "MX", f"10 {self._hostname}", _MX, optional=True, kind="mx"),
            DnsRecord(f"{row.web_prefix}.{row.name}", "CNAME", self._web_host(), _WEB, optional=True, kind="web"),
        ]
        return DomainView(
            name=row.name,
            created_at=row.created_at,
            pool=row.pool,
            dsn=row.dsn,
            paused_why=row.paused_why,
            selectors=tuple(key.selector for key in keys.get(row.id, ())),
            credentials=logins,
            records=tuple(_checked(record, checks) for record in records),
            hourly_limit=row.hourly_limit,
            number=row.id,
            state=_state(row, records, checks),
            authority=authority.name,
            checked_at=row.checked_at,
            settings=_settings(row),
        )

    def _key_items(self, connection: sqlite3.Connection, domain: str = "", selector: str = "") -> list[DkimKeyItem]:
        checks = {(one.type, one.name, one.value): one for one in accounts.dns_checks(connection)}
        return [
            DkimKeyItem(
                key.domain,
                key.selector,
                key.algorithm,
                key.active,
                key.created_at,
                _checked(key_record(key), checks),
            )
            for key in accounts.dkim_keys(connection)
            if domain in ("", key.domain) and selector in ("", key.selector)
        ]

    def _spf(self, pool: str) -> str:
        """RFC 7208 §5: by the addresses the domain sends from where they are configured, else by our name."""
        parts = [f"ip{ipaddress.ip_address(source).version}:{source}" for source in self._sources_of(pool)]
        return " ".join(["v=spf1", *(parts or [f"a:{self._hostname}"]), "~all"])

    def _sources_of(self, pool: str) -> Sequence[str]:
        return (self._pools or {}).get(pool, self._sources)

    def _web_host(self) -> str:
        """An alias cannot be one of an address, nor of a name that means another machine everywhere."""
        host = self.web_host() if self.web_host is not None else ""
        try:
            name = ascii_domain(host)
        except BadAddress:
            return self._hostname
        return name if "." in name and not name.replace(".", "").isdigit() else self._hostname


_MX = "MX: only if mail to the domain is to come in here"
_WEB = "CNAME: only if links in mail are to lead to a host of the domain's own"


def no_domain(name: str) -> NotThere:
    return NotThere(f"{name} is no domain of ours; `mtad domain list` shows them, `mtad domain add {name}` adds it")


def key_record(key: DkimKeyRow) -> DnsRecord:
    purpose = f"DKIM key ({key.algorithm})" if key.active else f"DKIM key ({key.algorithm}) that does not sign"
    return DnsRecord(
        f"{key.selector}._domainkey.{key.domain}",
        "TXT",
        key.record,
        purpose,
        optional=not key.active,
        kind="dkim",
        active=key.active,
    )


def _checked(record: DnsRecord, checks: _Checks) -> DnsRecord:
    check = checks.get((record.type, record.name, record.value))
    return replace(record, valid=check.valid, found=check.found, why=check.why) if check else record


def _state(row: DomainRow, records: Sequence[DnsRecord], checks: _Checks) -> str:
    """By what DNS last said: when it fails, nothing is known to have changed."""
    if row.is_disabled:
        return "disabled"
    if row.name == SANDBOX or row.name.endswith(f".{SANDBOX}"):
        return "active"
    needed = [record for record in records if not record.optional]
    settled = [checks.get((record.type, record.name, record.value)) for record in needed]
    whole = any(record.kind == "dkim" for record in needed)
    return "active" if whole and all(one and one.settled == "valid" for one in settled) else "unverified"


def _settings(row: DomainRow) -> DomainSettings:
    footer_html, footer_text = footers_of(row)
    return DomainSettings(
        opens=row.opens,
        clicks=row.clicks,
        pixel_top=row.pixel_top,
        footer=row.footer,
        footer_html=footer_html,
        footer_text=footer_text,
        web_scheme=row.web_scheme,
        web_prefix=row.web_prefix,
        web_ready=row.web_cname,
        require_tls=row.require_tls,
        skip_verification=row.skip_verification,
        spam_action=row.spam_action,
        wildcard=row.wildcard,
    )
