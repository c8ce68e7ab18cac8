"""Addresses: which of a host's addresses may be connected to, and in which order.

Room: delivery. Pure. Source: RFC 8305 §4 (order), RFC 6890 (special addresses), RFC 6052 (NAT64).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

MAX_ADDRESSES = 10  # of one host
_PROTOCOLS = bytes((192, 0, 0))  # 192.0.0.0/24, RFC 6890 §2.2.2: nobody's mail, but some clouds' metadata
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32  # RFC 6052 §2.1: an IPv4 address stands in the low 32 bits

Ip = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class HostAddresses:
    """addresses: in the order of trial. why: in words, when there are none."""

    addresses: tuple[str, ...]
    why: str = ""


def addresses_of(host: str, records: Iterable[str], *, ipv6: bool, private: bool) -> HostAddresses:
    """What of `records` may be connected to: families in turn, IPv6 first (RFC 8305 §4), so that a host with many
    addresses of a family that is down is still reached. private: private and loopback networks too."""
    six: list[str] = []
    four: list[str] = []
    refused = ""
    for text in records:
        ip = parse_ip(text)
        if ip is None or not (private or is_public(ip)) or is_nowhere(ip):
            refused = text
        elif ip.version == 4:
            four.append(str(ip))
        elif ipv6:
            six.append(str(ip))
    turns = [address for pair in zip(six, four, strict=False) for address in pair]
    rest = six[len(four) :] or four[len(six) :]
    found = tuple(dict.fromkeys(turns + rest))[:MAX_ADDRESSES]
    if found:
        return HostAddresses(found)
    return HostAddresses((), f"{host} has only {refused}, where no mail goes" if refused else f"{host} has no address")


def parse_ip(text: str) -> Ip | None:
    """A v4-mapped address is the IPv4 address it means, so that no spelling gets around a check."""
    try:
        ip = ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        return None if ip.scope_id else ip.ipv4_mapped or ip
    return ip


def is_nowhere(ip: Ip) -> bool:
    """No host: 0.0.0.0/8, "::", multicast, 240.0.0.0/4 with the broadcast address."""
    if ip.version == 4:
        return ip.is_multicast or ip.is_reserved or ip.packed[0] == 0
    return ip.is_multicast or ip.is_unspecified


def is_public(ip: Ip) -> bool:
    """What the whole Internet can mean by it; an IPv4 address inside an IPv6 one must be public too."""
    if isinstance(ip, IPv4Address):
        return ip.is_global and ip.packed[:3] != _PROTOCOLS
    inner = [IPv4Address(int(ip) & 0xFFFFFFFF)] if int(ip) >> 32 == _NAT64 else [ip.sixtofour, *(ip.teredo or ())]
    if any(one is not None for one in inner):
        return all(is_public(one) for one in inner if one is not None)
    if int(ip) >> 32 == 0:  # ::a.b.c.d, IPv4-compatible, long deprecated
        return False
    return ip.is_global and not ip.is_site_local and not ip.is_reserved
