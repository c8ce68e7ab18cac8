"""Limits: how many requests an account may make in a minute, and how long a wrong key waits for its answer.

Room: api. Pure: the time is told.
"""

from dataclasses import dataclass
from math import ceil

PER_MINUTE = 300
WINDOW_S = 60.0
FREE_FAILURES = 3  # a program with an old key in it is no attack
FAILURES_S = 600.0  # after so long an address begins anew
MAX_WAIT_S = 8.0
MAX_WAITING = 50  # answers to one address held back at one time
MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """After a request was counted. reset_at: epoch seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: float

    def headers(self, now: float) -> dict[str, str]:
        """X-RateLimit-*, and for a refusal Retry-After."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(ceil(self.reset_at)),
        }
        return told if self.allowed else {**told, "Retry-After": str(self.retry_s(now))}

    def retry_s(self, now: float) -> int:
        return max(1, min(int(WINDOW_S), ceil(self.reset_at - now)))


class PerMinute:
    """One window after the other. limit 0: any number."""

    def __init__(self, limit: int = PER_MINUTE) -> None:
        self._limit, self._started_at, self._count = limit, 0.0, 0

    def count(self, now: float) -> Standing | None:
        """One more request at `now` (epoch seconds). None: there is no limit."""
        if not self._limit:
            return None
        if not 0 <= now - self._started_at < WINDOW_S:  # below 0: the clock was set back
            self._started_at, self._count = now, 0
        allowed = self._count < self._limit
        self._count += allowed
        return Standing(allowed, self._limit, self._limit - self._count, self._started_at + WINDOW_S)


@dataclass(slots=True)
class _Address:
    since: float
    failures: int = 0
    waiting: int = 0


class WrongKeys:
    """Failures by address. Times are of a steady clock. The oldest of MAX_ADDRESSES is forgotten."""

    def __init__(self) -> None:
        self._seen: dict[str, _Address] = {}

    def failed(self, group: str, now: float) -> float | None:
        """Seconds to wait before 401 is said, from 0, doubling; None: too many wait, say 429 at once. Who waits calls
        `answered` behind it.
        """
        known = self._seen.pop(group, None)
        if known is None or (now - known.since >= FAILURES_S and not known.waiting):
            known = _Address(now)
        if len(self._seen) >= MAX_ADDRESSES:
            del self._seen[next(iter(self._seen))]
        self._seen[group] = known
        if known.waiting >= MAX_WAITING:
            return None
        known.failures += 1
        known.waiting += 1
        behind = known.failures - FREE_FAILURES
        return 0.0 if behind <= 0 else min(MAX_WAIT_S, 0.25 * 2.0 ** min(behind - 1, 20))

    def answered(self, group: str) -> None:
        known = self._seen.get(group)
        if known is not None and known.waiting:
            known.waiting -= 1
