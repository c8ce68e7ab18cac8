"""Doorstep: two old ways to keep junk out, both off unless asked for: DNS block lists, and greylisting.

Room: inbound. May import: mail. Source: RFC 5782 (DNS lists), RFC 6647 (greylisting). Asked when the message is there,
before anything else is done with it.
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.envelope import Submission
from mtad.mail.reply import Reply

log = log_module.get("inbound")

LIST_S = 5.0  # for all lists together; without an answer nobody is listed
KNOWN_S = 35 * 86_400.0  # a network that came back may come at once for so long
TOO_OLD_S = 4 * 3600.0  # a first try that was not repeated within is forgotten
MOST = 100_000  # networks, senders and recipients that are remembered
_LISTED = Reply(554, "7.1", "Your address is on the block list {}; its site says how to be taken off")
_LATER = Reply(451, "7.1", "Greylisted: we do not know you yet, try again in {:.0f} s")


class Answer(Protocol):
    @property
    def found(self) -> str: ...
    @property
    def records(self) -> Sequence[str]: ...


class Resolver(Protocol):
    async def addresses(self, name: str, *, ipv6: bool = True) -> Answer: ...


class Doorstep:
    """lists: zones, "" none. greylist_s: how long a stranger's first try is put off, 0: nobody's is."""

    def __init__(self, resolver: Resolver, clock: Clock, lists: Sequence[str], greylist_s: float) -> None:
        self._resolver, self._clock, self._lists, self._greylist_s = resolver, clock, tuple(lists), greylist_s
        self._first: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._known: OrderedDict[str, float] = OrderedDict()

    async def refusal(self, submission: Submission) -> Reply | None:
        """What a stranger is told instead of 250; None: come in."""
        address = _ip(submission.peer)
        if address is None:
            return None
        zone = await self._listed(address)
        if zone:
            log.info("block-listed", ip=address, list=zone)
            return Reply(_LISTED.code, _LISTED.detail, _LISTED.text.format(zone))
        return self._greylisted(_network(address), submission) if self._greylist_s else None

    async def _listed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
        """The first list that has it, "" none."""
        if not self._lists:
            return ""
        name = address.reverse_pointer.rpartition(".in-addr.arpa" if address.version == 4 else ".ip6.arpa")[0]
        try:
            async with asyncio.timeout(LIST_S):
                asked = [self._resolver.addresses(f"{name}.{zone}", ipv6=False) for zone in self._lists]
                answers = await asyncio.gather(*asked)
        except TimeoutError:
            return ""
        for zone, answer in zip(self._lists, answers, strict=True):
            # RFC 5782 §2.1: within 127.0.0.0/8; 127.255.255.0/24 says that we asked in a wrong way.
            if any(one.startswith("127.") and not one.startswith("127.255.255.") for one in answer.records):
                return zone
        return ""

    def _greylisted(self, network: str, submission: Submission) -> Reply | None:
        now = self._clock.now()
        if now - self._known.get(network, -KNOWN_S) < KNOWN_S:
            self._remember(network, now)
            return None
        sender = str(submission.reverse_path) if submission.reverse_path else ""
        key = (network, sender.lower(), submission.recipients[0].key if submission.recipients else "")
        first = self._first.get(key)
        if first is None or now - first > TOO_OLD_S:
            self._first[key] = now
            self._first.move_to_end(key)
            if len(self._first) > MOST:
                self._first.popitem(last=False)
            wait_s = self._greylist_s
        else:
            wait_s = first + self._greylist_s - now
        if wait_s > 0:
            return Reply(_LATER.code, _LATER.detail, _LATER.text.format(wait_s))
        self._remember(network, now)
        return None

    def _remember(self, network: str, now: float) -> None:
        self._known[network] = now
        self._known.move_to_end(network)
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """ "[192.0.2.1]", "[IPv6:2001:db8::1]" or bare."""
    bare = text.strip("[]").removeprefix("IPv6:")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Big senders come from neighbouring addresses."""
    prefix = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, prefix), strict=False))
