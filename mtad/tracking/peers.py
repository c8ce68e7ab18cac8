"""Peers: whose request it is, also behind a proxy.

Room: tracking. Pure. Source: RFC 7239 §5.2 for the idea, X-Forwarded-For for the practice.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mtad.config import IPNetwork

_MAX_HOPS = 20
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Peer:
    """text: as events show it. group: what a rate is counted for: an IPv4 address, an IPv6 /64."""

    text: str
    group: str
    address: IPAddress | None


NOBODY = Peer("", "", None)


@lru_cache(maxsize=8192)
def peer_of(text: str) -> Peer:
    """ "::ffff:192.0.2.1" and "fe80::1%eth0" too. NOBODY: it is no address."""
    try:
        address: IPAddress = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return NOBODY
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    group = str(address) if address.version == 4 else str(int(address) >> 64)
    return Peer(str(address), group, address)


def client_of(remote: str, forwarded: Sequence[str], proxies: Sequence[IPNetwork]) -> Peer:
    """remote: who is connected. forwarded: values of X-Forwarded-For; the last address in them that is no proxy of
    ours is believed, and only when one of our proxies says so.
    """
    peer = peer_of(remote)
    if not proxies or not forwarded or not _within(peer, proxies):
        return peer
    for hop in reversed(",".join(forwarded).rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
        found = peer_of(hop[:60])
        if found is NOBODY:
            return peer
        peer = found
        if not _within(peer, proxies):
            return peer
    return peer


def _within(peer: Peer, networks: Sequence[IPNetwork]) -> bool:
    address = peer.address
    return address is not None and any(address in network for network in networks)
