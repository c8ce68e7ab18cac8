"""A daemon that mail from the world comes to, and such mail."""

import asyncio
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from mtad.api.control import reach
from mtad.api.route_operations import RouteOperations, RouteView
from tests.dnsserver import DnsServer
from tests.flows.application import NameServer
from tests.inbound.zones import fill, quoted
from tests.live import Daemon, wait_until

DOMAIN = "sandbox.mtad.test"
API_KEY = "key-0123456789abcdef0123456789abcdef"  # signs posts too
PICTURE = b"\x89PNG\r\n\x1a\n\x00\x01\x02\xff"


def zones(dns: DnsServer) -> None:
    """example.org: SPF for 192.0.2.0/24 alone, DMARC reject. strict.example, and our own domain: nobody may send for
    them without a signature.
    """
    fill(dns)
    for name in ("strict.example", DOMAIN):
        dns.add(name, "TXT", quoted("v=spf1 -all"))
        dns.add(f"_dmarc.{name}", "TXT", quoted("v=DMARC1; p=reject"))


class Inland(Daemon):
    """`mtad dev` that knows our name server, and ways to give it routes and mail."""

    def __init__(self, folder: Path, names: NameServer, *settings: str, relay: str = "") -> None:
        self.settings = (
            f'dns.nameservers=["{names.address}"]',
            "webhooks.retry_waits_s=[0.1,0.1,0.1]",
            *settings,
        )
        super().__init__(folder, *self.settings, relay=relay)

    def _command(self) -> list[str]:
        return [*super()._command(), "--api-key", API_KEY]

    def route(self, name: str, *actions: str, priority: int = 0, expression: str = "") -> RouteView:
        """For mail to `name` at our domain; or for what the expression says."""
        said = expression or f'match_recipient("{name}@{DOMAIN}$")'

        async def add() -> RouteView:
            async with reach(self.data) as desk:
                return await desk.ask(RouteOperations.route_add, said, actions, priority)

        return asyncio.run(add())

    def receive(self, content: bytes | EmailMessage, *recipients: str, sender: str = "ann@elsewhere.example") -> None:
        """By the MX, as a stranger. Raises what smtplib does."""
        octets = content if isinstance(content, bytes) else content.as_bytes(policy=SMTP)
        to = [one if "@" in one else f"{one}@{DOMAIN}" for one in recipients]
        with self.client("mx", login=False) as client:
            assert client.sendmail(sender, to, octets) == {}

    def settled(self, recipient: str, word: str, count: int = 1) -> list[dict[str, Any]]:
        """Events of that kind with that recipient, once there are so many."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [one for one in self.events("--event", word) if one["recipient"] == recipient]
            return len(found) >= count

        wait_until(look, 15.0, f"{count} {word} for {recipient}")
        return found


def letter(subject: str = "Größe & Gewicht", text: str = "How big is it?\n") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Ann Ähre <ann@elsewhere.example>"
    made["To"] = "Shop <shop@sandbox.mtad.test>"
    made["Subject"] = subject
    made["Message-ID"] = "<m-1@elsewhere.example>"
    made["Date"] = "Mon, 23 Nov 2026 10:00:00 +0000"
    made.set_content(text)
    return made


def parcel() -> EmailMessage:
    """With html, an inline picture and two files."""
    made = letter(text="See below.\n\n> You wrote\n> something\n")
    made.add_alternative('<p>See <img src="cid:pic@x"></p>', subtype="html")
    made.get_payload()[1].add_related(PICTURE, "image", "png", cid="<pic@x>", filename="pic.png")
    made.add_attachment(b"a;b\r\n1;2\r\n", "text", "csv", filename="Größen.csv")
    made.add_attachment(b"\x00\xff" * 9000, "application", "octet-stream", filename="a.bin")
    return made
