"""Limits: how many connections, how many octets, how many wrong passwords; and the counts of what was refused.

Room: smtp. Pure: time is passed in. May import: mail. Every table here is bounded, because strangers fill it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mtad.mail.reply import Reply


@dataclass(slots=True)
class Counters:
    """Name -> how often since the start: "connections", "messages", "refused-too-big" ... for the metrics page."""

    values: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int = 1) -> None:
        self.values[name] = self.values.get(name, 0) + count

    def __getitem__(self, name: str) -> int:
        return self.values.get(name, 0)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(sorted(self.values.items()))


class Budget:
    """Octets of message content that may be in memory over all connections together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def reserve(self, octets: int) -> bool:
        """False: no room, and nothing was reserved."""
        if self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def release(self, octets: int) -> None:
        self.used -= octets
        if self.used < 0:  # released twice: everything built on this number would be wrong from here on
            raise ValueError("more octets released than were reserved")


def plain_address(host: str) -> str:
    """ "::ffff:192.0.2.1", as a dual-stack socket names an IPv4 peer, -> "192.0.2.1"; others unchanged."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host.partition("%")[0]


def client_key(peer: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address (one site owns the whole of it)."""
    if ":" not in peer:
        return peer
    try:
        return str(IPv6Address(int(IPv6Address(peer)) >> 64 << 64)) + "/64"
    except ValueError:
        return peer


class Connections:
    """How many there are, together and by client. `admit` and `leave` come in pairs; admit that refuses needs none."""

    def __init__(self, limit: int, limit_per_client: int) -> None:
        self._limit, self._limit_per_client = limit, limit_per_client
        self._by_client: dict[str, int] = {}
        self.total = 0

    def admit(self, client: str) -> Reply | None:
        """client: of client_key. None: come in."""
        if self.total >= self._limit:
            return Reply(421, "3.2", f"All {self._limit} connections are in use; try again later")
        count = self._by_client.get(client, 0)
        if count >= self._limit_per_client:
            text = f"You hold {count} connections, the most allowed; close some or try again later"
            return Reply(421, "7.0", text)
        self._by_client[client] = count + 1
        self.total += 1
        return None

    def leave(self, client: str) -> None:
        self.total -= 1
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]

    def of(self, client: str) -> int:
        return self._by_client.get(client, 0)


class AuthFailures:
    """Wrong passwords by client in a window of time. Remembers at most `max_clients`; the oldest are forgotten first.

    Times are of one steady clock, in seconds.
    """

    def __init__(self, limit: int, window_s: float, delay_s: float, max_clients: int = 10_000) -> None:
        self._limit, self._window_s, self._delay_s, self._max_clients = limit, window_s, delay_s, max_clients
        self._seen: dict[str, tuple[float, int]] = {}  # client -> start of its window, failures since

    def count(self, client: str, now: float) -> int:
        started_at, failures = self._seen.get(client, (now, 0))
        return failures if now - started_at < self._window_s else 0

    def is_shut_out(self, client: str, now: float) -> bool:
        return self.count(client, now) >= self._limit

    def failed(self, client: str, now: float) -> float:
        """Count one more; how many seconds to wait before saying so: it doubles each time, up to 10."""
        failures = self.count(client, now) + 1
        started_at = self._seen.pop(client)[0] if failures > 1 else now
        self._seen.pop(client, None)
        if len(self._seen) >= self._max_clients:
            del self._seen[next(iter(self._seen))]
        self._seen[client] = (started_at, failures)
        return float(min(10.0, self._delay_s * 2 ** min(failures - 1, 20)))
