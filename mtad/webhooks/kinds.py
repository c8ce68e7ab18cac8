"""Kinds: the ids a webhook can be set for, and which events each of them is posted.

Room: webhooks. Pure. May import: mail. Two families: the older ids get form fields, the newer ones JSON.
"""

from enum import StrEnum

from mtad.mail.event import Event, EventType


class Kind(StrEnum):
    """The id of a webhook."""

    BOUNCE = "bounce"
    DELIVER = "deliver"
    DROP = "drop"
    SPAM = "spam"
    UNSUBSCRIBE = "unsubscribe"
    CLICK = "click"
    OPEN = "open"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    PERMANENT_FAIL = "permanent_fail"
    TEMPORARY_FAIL = "temporary_fail"

    @property
    def is_form(self) -> bool:
        """Posted as form fields; the others as JSON."""
        return self in _FORM

    @property
    def once(self) -> bool:
        """Posted one time, whatever the answer."""
        return self is Kind.DELIVER


_FORM = frozenset((Kind.BOUNCE, Kind.DELIVER, Kind.DROP, Kind.SPAM, Kind.UNSUBSCRIBE, Kind.CLICK, Kind.OPEN))
_FIRES: dict[EventType, tuple[Kind, ...]] = {
    EventType.ACCEPTED: (Kind.ACCEPTED,),
    EventType.DELIVERED: (Kind.DELIVER, Kind.DELIVERED),
    EventType.FAILED_TEMPORARY: (Kind.TEMPORARY_FAIL,),
    EventType.FAILED_PERMANENT: (Kind.BOUNCE, Kind.DROP, Kind.PERMANENT_FAIL),
    EventType.FAILED_LATE: (Kind.BOUNCE, Kind.PERMANENT_FAIL),
    EventType.OPENED: (Kind.OPEN, Kind.OPENED),
    EventType.CLICKED: (Kind.CLICK, Kind.CLICKED),
    EventType.UNSUBSCRIBED: (Kind.UNSUBSCRIBE, Kind.UNSUBSCRIBED),
    EventType.COMPLAINED: (Kind.SPAM, Kind.COMPLAINED),
    EventType.REJECTED: (),
    EventType.INTERRUPTED: (),
    EventType.NOTIFIED: (),
    EventType.STORED: (),
    EventType.EXPANDED: (),
}


def fires(kind: EventType, suppressed: bool) -> tuple[Kind, ...]:
    """The ids an event is posted to. suppressed: no host has refused it, as nothing was tried."""
    return tuple(one for one in _FIRES[kind] if not (suppressed and one is Kind.BOUNCE))


def applies(kind: Kind, event: Event) -> bool:
    """False: a recipient was given up for another reason than a refusal, and that is no bounce."""
    return kind is not Kind.BOUNCE or event.type is EventType.FAILED_LATE or is_refused(event)


def is_refused(event: Event) -> bool:
    """A host has said no for good: with a 5xx, or with a 4xx that a rule of ours takes for that."""
    status = event.detail.get("delivery-status") or {}
    code = status.get("code")
    for_good = isinstance(code, int) and (500 <= code < 600 or event.detail.get("reason") == "bounce")
    return for_good and bool(status.get("mx-host"))
