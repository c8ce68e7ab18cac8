"""Names for the checks of inbound mail: a dictionary to ask from a thread, and a real DNS server to ask on the loop."""

from dataclasses import dataclass

import dns.rdatatype

from mtad.clock import SystemClock
from mtad.config import DnsConfig
from mtad.delivery.dns import DnsResolver
from mtad.inbound.lookup import LookupTrouble
from mtad.message.dkim import Algorithm, Signer, load_key, make_key, public_record
from tests.dnsserver import DnsServer

NOW = 1_790_000_000.0

RSA_KEY = load_key(make_key(Algorithm.RSA), ours=True)
ED_KEY = load_key(make_key(Algorithm.ED25519))
RSA_RECORD, ED_RECORD = public_record(RSA_KEY), public_record(ED_KEY)
RSA_SIGNER = Signer("example.org", "r1", RSA_KEY)
ED_SIGNER = Signer("example.org", "e1", ED_KEY)


def quoted(text: str) -> str:
    """A TXT record as a zone file has it: strings of up to 255 octets."""
    pieces = [text[at : at + 250] for at in range(0, len(text), 250)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


@dataclass(frozen=True)
class Said:
    """An answer, as the resolver gives it."""

    found: str
    records: tuple = ()
    why: str = ""


def said(*records: str) -> Said:
    return Said("records", records) if records else Said("no-domain")


TROUBLE = Said("trouble", (), "SERVFAIL")


class Book:
    """Book({"TXT example.org": ["v=spf1 -all"], "A down.example": None}): None is trouble. `asked` keeps count."""

    def __init__(self, records: dict[str, list[str] | None]) -> None:
        self.records, self.asked = records, []

    def __call__(self, name: str, kind: str) -> list[str]:
        self.asked.append(f"{kind} {name}")
        found = self.records.get(f"{kind} {name.lower()}", [])
        if found is None:
            raise LookupTrouble("SERVFAIL")
        return found


class Resolver(DnsResolver):
    """With the two kinds of questions only SPF has."""

    async def ipv6_addresses(self, name):
        return await self._look_up(name, dns.rdatatype.AAAA, lambda records: [str(one.address) for one in records])

    async def ptr(self, name):
        names = lambda records: [one.target.to_text(omit_final_dot=True) for one in records]  # noqa: E731
        return await self._look_up(name, dns.rdatatype.PTR, names)


def resolver(server: DnsServer) -> Resolver:
    return Resolver(DnsConfig(nameservers=(server.address,), timeout_s=5.0), SystemClock())


def fill(server: DnsServer) -> None:
    """example.org: SPF for 192.0.2.0/24, keys r1 and e1, DMARC with reject."""
    server.add("example.org", "TXT", quoted("v=spf1 ip4:192.0.2.0/24 -all"), quoted("some other text"))
    server.add("r1._domainkey.example.org", "TXT", quoted(RSA_RECORD))
    server.add("e1._domainkey.example.org", "TXT", quoted(ED_RECORD))
    server.add("_dmarc.example.org", "TXT", quoted("v=DMARC1; p=reject; sp=quarantine"))
