"""Rates: how many requests one address may make. Two generations of a table, so its size is bounded.

Room: tracking. Pure: the time is told.
"""

MAX_ADDRESSES = 20_000  # of one generation


class Rates:
    """per_s in the long run, `burst` at once. An address forgotten because of many others begins anew."""

    def __init__(self, per_s: float, burst: int, *, addresses: int = MAX_ADDRESSES) -> None:
        self._gap_s, self._lead_s, self._most = 1 / per_s, burst / per_s, addresses
        self._now: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def allow(self, address: str, now: float) -> bool:
        """now: seconds that never jump. A refused request does not count."""
        due = self._now.get(address)
        if due is None:
            due = self._before.get(address, 0.0)
            if len(self._now) >= self._most:
                self._before, self._now = self._now, {}
        due = max(due, now)
        if due - now + self._gap_s > self._lead_s + 1e-9:
            return False
        self._now[address] = due + self._gap_s
        return True

    def __len__(self) -> int:
        return len(self._now) + len(self._before)
