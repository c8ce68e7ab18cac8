"""Sites: the name of the MX-site that a domain's hosts make up; all domains with the same hosts share its limits.

Room: queue. Pure. Used by queue.shaping.
"""

import hashlib
import re
from collections.abc import Sequence

UNRESOLVED = "?"  # the site of domains whose hosts are not known yet
RELAY, CAPTURE = "relay", "capture"  # the smarthost; the inbox of captured mail
WEB = "http:"  # what the key of a host that is posted to begins with
MAX_KEY = 120  # characters
_ODD = re.compile(r"[^a-z0-9._:\[\]-]")
_SHORT_SECOND = 3  # "co.uk", "com.au", "or.jp": with a country's two letters, names begin one label further left


def normal_hosts(hosts: Sequence[str]) -> list[str]:
    """Lower case, no dot at the end, each once, sorted: whatever order DNS gave them in."""
    return sorted({_ODD.sub("?", host.lower().rstrip(".")) or "?" for host in hosts})


def rolled_up(hosts: Sequence[str]) -> str:
    """["mx.example.net", "alt1.example.net"] -> "(alt1|mx).example.net"; at most 120 characters.

    Never without a dot, colon, bracket or #: such names are profiles' (`gmail`, `relay`), which nobody's MX may take.
    """
    names = normal_hosts(hosts)
    if not names:
        return UNRESOLVED
    if len(names) == 1:
        name = names[0] if any(mark in names[0] for mark in ".:[") else names[0] + "."
        return _short(name, name)
    suffix = _common_suffix(names)
    heads = [name[: -len(suffix) - 1] for name in names] if suffix else names
    full = f"({'|'.join(heads)})" + (f".{suffix}" if suffix else "")
    return _short(full, f"({heads[0]}|{len(heads) - 1} more)" + (f".{suffix}" if suffix else ""))


def _short(full: str, brief: str) -> str:
    if len(full) <= MAX_KEY:
        return full
    mark = "#" + hashlib.blake2b(full.encode(), digest_size=6).hexdigest()
    return brief[: MAX_KEY - len(mark)] + mark


def _common_suffix(names: Sequence[str]) -> str:
    """The labels all names end with, at least as long as what one registers; "" none. No name is all suffix."""
    if any("[" in name or ":" in name or name.rpartition(".")[2].isdigit() for name in names):  # addresses
        return ""
    split = [name.split(".")[::-1] for name in names]
    shared: list[str] = []
    for labels in zip(*split, strict=False):
        if len(set(labels)) > 1:
            break
        shared.append(labels[0])
    shared = shared[: min(len(labels) for labels in split) - 1]
    second_level = len(shared) > 1 and len(shared[0]) == 2 and len(shared[1]) <= _SHORT_SECOND
    return ".".join(reversed(shared)) if len(shared) >= (3 if second_level else 2) else ""


def is_under(host: str, suffixes: Sequence[str]) -> bool:
    """host: lower case. A suffix is whole labels: "google.com" covers "mx.google.com", not "notgoogle.com"."""
    return any(host == suffix or host.endswith("." + suffix) for suffix in suffixes)
