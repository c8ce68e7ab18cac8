"""Ourselves: which MX hosts are this very server. Mail sent to them would come back (RFC 5321 §5.1).

Room: delivery.
"""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from mtad.config import parse_listen
from mtad.delivery.addresses import parse_ip


def _never(address: str, port: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Ourselves:
    """names: host names of ours, lower case. has_address: do we listen there?"""

    names: frozenset[str] = frozenset()
    has_address: Callable[[str, int], bool] = _never


NOBODY = Ourselves()


def is_local_address(address: str) -> bool:
    """Is it an address of this machine? The kernel sends to such an address from that address; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return ip_address(probe.getsockname()[0]) == ip_address(address)
    except (OSError, ValueError):
        return False


def ourselves(hostname: str, listeners: Iterable[str], is_local: Callable[[str], bool] = is_local_address) -> Ourselves:
    """listeners: the addresses of the MX listeners, "[::]:25". Without any we take no mail: nothing comes back."""
    places = [parse_listen(text) for text in listeners]
    if not places:
        return NOBODY
    exact = {(parse_ip(host), port) for host, port in places if parse_ip(host)}
    everywhere = {port for host, port in places if host in ("0.0.0.0", "::")}  # noqa: S104  compared, not bound

    def has_address(address: str, port: int) -> bool:
        return (parse_ip(address), port) in exact or (port in everywhere and is_local(address))

    return Ourselves(frozenset({hostname.lower()}), has_address)
