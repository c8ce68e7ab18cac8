"""Spam: what a filter thinks of a message, and what a domain wants done with it.

Room: inbound. Pure. How spamd is asked is in spamd.py.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SpamAction(StrEnum):
    """`spam_action` of a domain: nothing is scanned, spam is marked, or spam is dropped."""

    DISABLED = "disabled"
    TAG = "tag"
    DELETE = "delete"


def spam_action(text: str) -> SpamAction:
    """ "block" is today's word for "delete". Raises ValueError."""
    return SpamAction("delete" if text.lower() == "block" else text.lower())


class Scan(StrEnum):
    DONE = "done"
    TOO_LARGE = "too-large"  # longer than we send to spamd: taken for no spam
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Spam:
    """score, threshold, is_spam, rules: of a scan that is DONE. reason: why there is none."""

    scan: Scan
    score: float = 0.0
    threshold: float = 0.0
    is_spam: bool = False
    rules: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpamSettings:
    """host "": there is no spamd. socket: instead of host and port. threshold: 0 is what spamd is set to.

    max_octets: longer messages are not scanned. at_once: scans under way together; spamd has five children unless
    told otherwise. fail_closed: 451 while spamd gives no answer, else mail goes on unmarked.
    """

    host: str = ""
    port: int = 783
    socket: Path | None = None
    time_limit_s: float = 15.0
    max_octets: int = 512_000
    at_once: int = 5
    threshold: float = 0.0
    fail_closed: bool = False
