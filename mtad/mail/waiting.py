"""Waiting: why something does not happen now, said by the very object that holds it up.

Room: mail. Pure. Every gate of the queue returns one of these or None, never a bare bool.
"""

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    SCHEDULED = "scheduled"
    RETRY = "retry-backoff"
    SITE_RATE = "site-rate"
    SITE_CONNECTIONS = "site-connections"
    SITE_SUSPENDED = "site-suspended"
    SITE_UNREACHABLE = "site-unreachable"
    DOMAIN_PAUSED = "domain-paused"
    WARM_UP = "warm-up"
    QUOTA = "quota"
    TURN = "awaiting-turn"
    ATTEMPT = "attempt-under-way"
    STORE = "store-unhealthy"
    PAUSED = "queue-paused"


@dataclass(frozen=True, slots=True)
class Waiting:
    """until: epoch seconds when it will be looked at again, None when nobody can say. detail: one sentence."""

    reason: WaitReason
    until: float | None
    detail: str
