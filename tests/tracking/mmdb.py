"""Writes small databases in MaxMind's format (MaxMind DB File Format 2.0), for tests: IPv4, records of 24 bits."""

import ipaddress
from pathlib import Path
from typing import Any, NamedTuple


class Number(NamedTuple):
    """kind: 5, 6 and 9 are unsigned of 16, 32 and 64 bits."""

    value: int
    kind: int


def write(path: Path, networks: dict[str, Any]) -> Path:
    """networks: "192.0.2.0/24" -> what the database says; none may hold another."""
    nodes: list[list[Any]] = [[None, None]]
    data, offsets = b"", []
    for text, value in networks.items():
        network = ipaddress.ip_network(text)
        offsets.append(len(data))
        data += encode(value)
        at = 0
        for place in range(network.prefixlen):
            bit = int(network.network_address) >> (31 - place) & 1
            if place == network.prefixlen - 1:
                nodes[at][bit] = ("data", offsets[-1])
            else:
                if nodes[at][bit] is None:
                    nodes.append([None, None])
                    nodes[at][bit] = len(nodes) - 1
                at = nodes[at][bit]
    count = len(nodes)
    tree = b""
    for node in nodes:
        for record in node:
            number = count if record is None else count + 16 + record[1] if isinstance(record, tuple) else record
            tree += number.to_bytes(3, "big")
    about = {
        "node_count": Number(count, 6),
        "record_size": Number(24, 5),
        "ip_version": Number(4, 5),
        "database_type": "Test-City",
        "languages": ["en"],
        "binary_format_major_version": Number(2, 5),
        "binary_format_minor_version": Number(0, 5),
        "build_epoch": Number(1_700_000_000, 9),
        "description": {"en": "test"},
    }
    path.write_bytes(tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(about))
    return path


def encode(value: Any) -> bytes:
    match value:
        case str():
            raw = value.encode()
            return _control(2, len(raw)) + raw
        case dict():
            return _control(7, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())
        case list():
            return _control(11, len(value)) + b"".join(map(encode, value))
        case Number(number, kind):
            raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return _control(kind, len(raw)) + raw
    raise TypeError(value)


def _control(kind: int, size: int) -> bytes:
    """Sizes up to 284."""
    first, more = (size, b"") if size < 29 else (29, bytes((size - 29,)))
    return bytes((kind << 5 | first,)) + more if kind < 8 else bytes((first, kind - 7)) + more
