"""ARF: complaints that mailbox providers pass on, each with the message it is about.

Room: feedback. Pure. Source: RFC 5965, RFC 6650 (who reads them how), RFC 6591 and RFC 6430 (types that are no
complaints).
"""

import ipaddress
import re
from email.utils import parsedate_to_datetime

from mtad.feedback.dsn import address_of, fields
from mtad.feedback.incoming import Complaint, NoReport, Returned
from mtad.feedback.mime import Part
from mtad.mail.address import Address
from mtad.message.headers import HeaderBlock, scan

TYPE = "message/feedback-report"

_MAX_NAMED = 100  # recipients
_MAX_TEXT = 300  # characters
_COMPLAINTS = {  # the registered types by which a recipient complains, and what else is written for them
    **{name: name for name in ("abuse", "fraud", "opt-out", "other")},
    **dict.fromkeys(("spam", "unsolicited", "complaint"), "abuse"),
    **dict.fromkeys(("phishing", "phish"), "fraud"),
    "opt-out-list": "opt-out",
}
_MARK = re.compile(rb"(?im)^feedback-type[ \t]*:")


def report_in(message: Part) -> Part | None:
    """The part with the fields, also where it only calls itself text; None: this is no feedback report."""
    labelled = [part for part in message.leaves() if part.type == TYPE]
    if labelled:
        return labelled[0]
    if message.report_type != "feedback-report":
        return None
    return next((part for part in message.leaves() if _MARK.search(part.body[:65_536])), None)


def complaint(report: Part, returned: Returned) -> Complaint | NoReport:
    """What the part from report_in says. NoReport: it is of a type by which nobody complains ("auth-failure",
    "not-spam", "virus"), or of an unknown one. A missing type is "abuse": that is what feedback loops are for.
    """
    first: dict[str, str] = {}
    to: list[str] = []
    for name, value in fields(report.header + b"\r\n" + report.body):
        first.setdefault(name, value)
        if name in ("original-rcpt-to", "removal-recipient") and len(to) < _MAX_NAMED:
            to.append(value)
    kind = _COMPLAINTS.get(first.get("feedback-type", "abuse").split(";")[0].strip().lower())
    if kind is None:
        return NoReport()
    original = scan(returned.original_header)
    return Complaint(
        feedback_type=kind,
        original_rcpt_to=_unique(to),
        original_mail_from=_reverse_path(first.get("original-mail-from", ""), original),
        source_ip=_ip(first.get("source-ip", "")),
        user_agent=first.get("user-agent", "")[:_MAX_TEXT],
        arrived_at=_epoch(first.get("arrival-date") or first.get("received-date", "")),
        returned=returned,
    )


def _unique(values: list[str]) -> tuple[Address, ...]:
    found = (address_of(value) for value in values)
    return tuple({address.key: address for address in found if address}.values())


def _reverse_path(value: str, original: HeaderBlock) -> Address | None:
    return address_of(value) or address_of((original.first(b"return-path") or b"").decode("utf-8", "replace"))


def _ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip(" []").removeprefix("IPv6:")[:60]))
    except ValueError:
        return ""


def _epoch(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value[:100]).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
