"""Metrics: what is counted per domain, tag and campaign, by the hour.

Room: mail. Pure. Sources: the members of the totals in the HTTP API (docs/api.rst).
"""

from enum import IntEnum


class Metric(IntEnum):
    """The number is what the store holds: never renumber."""

    ACCEPTED_OUTGOING = 1
    ACCEPTED_INCOMING = 2
    DELIVERED_SMTP = 3
    DELIVERED_HTTP = 4
    FAILED_TEMPORARY = 5
    FAILED_ESPBLOCK = 6  # temporary, refused as spam or by policy; not in FAILED_TEMPORARY
    FAILED_BOUNCE = 7  # permanent, refused by the other side
    FAILED_OTHER = 8  # permanent: too old, dropped, unreachable
    FAILED_DELAYED = 9  # a report that came after the message was taken
    SUPPRESSED_BOUNCE = 10
    SUPPRESSED_UNSUBSCRIBE = 11
    SUPPRESSED_COMPLAINT = 12
    OPENED = 13
    OPENED_UNIQUE = 14
    CLICKED = 15
    CLICKED_UNIQUE = 16
    UNSUBSCRIBED = 17
    COMPLAINED = 18
    STORED = 19
    REJECTED = 20


HOUR_S = 3600
PERIOD_H = 720  # aggregates are counted by so many hours
