"""PROXY: the header a balancer puts before a connection, which names the real client.

Room: smtp. Pure. Source: haproxy's proxy-protocol.txt, versions 1 and 2. Used by smtp.server, which asks only for
connections from smtp.proxy_networks.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = re.compile(rb"PROXY (?:TCP4 ([0-9.]{7,15})|TCP6 ([0-9A-Fa-f:.]{2,45})) \S{2,45} \d{1,5} \d{1,5}")
_V1_LONGEST = 107
_V2_LONGEST = 16 + 4096  # addresses and what else a balancer may add


class BadHeader(ValueError):
    """These octets are no PROXY header, whatever follows."""


def parse_header(data: bytes | bytearray) -> tuple[str, int] | None:
    """The client's address and the octets the header takes; None when more must come.

    "" for the address: the balancer speaks for itself (a health check), or does not know.
    """
    if data[:1] == b"P":
        return _version_1(bytes(data[: _V1_LONGEST + 1]))
    if _SIGNATURE.startswith(data[:12]):
        return _version_2(bytes(data[:_V2_LONGEST])) if len(data) >= 16 else None
    raise BadHeader


def _version_1(data: bytes) -> tuple[str, int] | None:
    end = data.find(b"\r\n")
    if end < 0:
        if len(data) > _V1_LONGEST or not (data.startswith(b"PROXY ") or b"PROXY ".startswith(data)):
            raise BadHeader
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return "", end + 2
    found = _V1.fullmatch(line)
    if not found:
        raise BadHeader
    try:
        address = IPv4Address(found[1].decode()) if found[1] else IPv6Address(found[2].decode())
    except AddressValueError as error:
        raise BadHeader from error
    return str(address), end + 2


def _version_2(data: bytes) -> tuple[str, int] | None:
    version, command, family = data[12] >> 4, data[12] & 15, data[13]
    size = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or size > _V2_LONGEST:
        raise BadHeader
    if len(data) < size:
        return None
    if command == 0 or family not in (0x11, 0x21):  # LOCAL, or neither TCP over IPv4 nor over IPv6
        return "", size
    if size < (28 if family == 0x11 else 52):
        raise BadHeader
    return str(IPv4Address(data[16:20]) if family == 0x11 else IPv6Address(data[16:32])), size
