"""Events: one fact about one recipient, as the journal keeps it and everybody is told it.

Room: mail. Pure. Source: the event shapes of the HTTP API (docs/events.rst).
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from mtad.mail.options import Options


class EventType(IntEnum):
    """The number is what the store holds: never renumber."""

    ACCEPTED = 1
    DELIVERED = 2
    FAILED_TEMPORARY = 3
    FAILED_PERMANENT = 4
    REJECTED = 5
    INTERRUPTED = 6  # ours alone: an attempt whose outcome we never learnt; the next one may make a duplicate
    NOTIFIED = 7  # ours alone: a DSN went to the sender
    OPENED = 8
    CLICKED = 9
    UNSUBSCRIBED = 10
    COMPLAINED = 11
    STORED = 12
    FAILED_LATE = 13  # a report came after the other side had taken the message: "failed", but not its end
    EXPANDED = 14  # ours alone: a post to a mailing list has become the copies of its members; its end

    @property
    def word(self) -> str:
        """The `event` member: both kinds of failure are "failed"."""
        return _WORDS[self]

    @property
    def level(self) -> str:
        return _LEVELS[self]

    @property
    def is_terminal(self) -> bool:
        return self in (EventType.DELIVERED, EventType.FAILED_PERMANENT, EventType.EXPANDED)


_WORDS = {
    EventType.ACCEPTED: "accepted",
    EventType.DELIVERED: "delivered",
    EventType.FAILED_TEMPORARY: "failed",
    EventType.FAILED_PERMANENT: "failed",
    EventType.REJECTED: "rejected",
    EventType.INTERRUPTED: "interrupted",
    EventType.NOTIFIED: "notified",
    EventType.OPENED: "opened",
    EventType.CLICKED: "clicked",
    EventType.UNSUBSCRIBED: "unsubscribed",
    EventType.COMPLAINED: "complained",
    EventType.STORED: "stored",
    EventType.EXPANDED: "expanded",
    EventType.FAILED_LATE: "failed",
}
_LEVELS = {
    EventType.ACCEPTED: "info",
    EventType.DELIVERED: "info",
    EventType.FAILED_TEMPORARY: "warn",
    EventType.FAILED_PERMANENT: "error",
    EventType.REJECTED: "warn",
    EventType.INTERRUPTED: "warn",
    EventType.NOTIFIED: "info",
    EventType.OPENED: "info",
    EventType.CLICKED: "info",
    EventType.UNSUBSCRIBED: "info",
    EventType.COMPLAINED: "warn",
    EventType.STORED: "info",
    EventType.EXPANDED: "info",
    EventType.FAILED_LATE: "error",
}
INTERNAL = frozenset((EventType.INTERRUPTED, EventType.NOTIFIED, EventType.EXPANDED))


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the journal with what its message and recipient rows add. detail: this event's own JSON members.

    recipient: whom the message came for, also where a route posts it; then target is the URL, without password.
    options: what the sender asked for, None: nothing. personal: of a recipient who got his own copy. everybody: all
    recipients of the message, where that is told and they are more than one.
    """

    id: int
    type: EventType
    at: float
    domain: str
    queue_id: str
    recipient: str
    reverse_path: str
    size: int
    about: dict[str, Any]
    detail: dict[str, Any]
    options: Options | None = None
    personal: dict[str, Any] = field(default_factory=dict)
    everybody: tuple[str, ...] = ()
    target: str = ""
