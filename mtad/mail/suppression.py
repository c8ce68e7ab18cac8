"""Suppression: why a domain does not write to an address any more.

Room: mail. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum


class Why(StrEnum):
    BOUNCE = "bounce"
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True)
class Suppressed:
    """words: what is known of it beside the kind: the refusal that caused it, the tag that was left; "" nothing."""

    kind: Why
    words: str = ""
