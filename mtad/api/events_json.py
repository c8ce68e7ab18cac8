"""Events as JSON: the event objects of the HTTP API (docs/events.rst), the same in every place that shows them.

Room: api. Pure. May import: mail. Readers are strict about types: texts are "" and never null, codes whole numbers.
"""

from typing import Any

from mtad.mail.event import Event, EventType
from mtad.mail.ids import event_id

_OUTCOMES = (EventType.DELIVERED, EventType.FAILED_TEMPORARY, EventType.FAILED_PERMANENT)


def event_json(event: Event) -> dict[str, Any]:
    """Ready for any JSON writer."""
    about, detail = event.about, event.detail
    made: dict[str, Any] = {
        "event": event.type.word,
        "id": event_id(event.id),
        "timestamp": event.at,
        "log-level": event.type.level,
        "tags": [],
        "campaigns": [],
        "user-variables": {},
        "flags": {
            "is-authenticated": bool(about.get("login") or detail.get("login")),
            "is-test-mode": False,
            "is-routed": False,
            "is-system-test": False,
        },
        "message": _message(event),
    }
    recipient = event.recipient or str(detail.get("recipient", ""))
    if recipient:
        made["recipient"] = recipient
        made["recipient-domain"] = recipient.rpartition("@")[2]
    method = about.get("method") or detail.get("method")
    if method:
        made["method"] = method
    if event.type is EventType.REJECTED:
        made["reject"] = _reject(detail)
    else:
        made["envelope"] = _envelope(event)
    if event.type in _OUTCOMES:
        made["delivery-status"] = _status(detail.get("delivery-status") or {})
    if event.type in (EventType.FAILED_TEMPORARY, EventType.FAILED_PERMANENT):
        permanent = event.type is EventType.FAILED_PERMANENT
        made["severity"] = "permanent" if permanent else "temporary"
        made["reason"] = str(detail.get("reason") or "generic")
    return made


def _message(event: Event) -> dict[str, Any]:
    headers = event.about or event.detail
    made: dict[str, Any] = {
        "headers": {
            "to": str(headers.get("to", "")),
            "message-id": str(headers.get("message-id", "")).strip().removeprefix("<").removesuffix(">"),
            "from": str(headers.get("from", "")),
            "subject": str(headers.get("subject", "")),
        },
        "attachments": [],
        "recipients": [event.recipient] if event.recipient else [],
        "size": event.size or int(event.detail.get("size", 0)),
    }
    if "scheduled-for" in event.about:
        made["scheduled-for"] = int(event.about["scheduled-for"])
    return made


def _envelope(event: Event) -> dict[str, Any]:
    made = {"sender": event.reverse_path, "transport": "smtp", "targets": event.recipient}
    sending_ip = (event.detail.get("hop") or {}).get("sending-ip")
    if sending_ip:
        made["sending-ip"] = sending_ip
    return made


def _status(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        **stored,
        "code": int(stored.get("code") or 0),
        "message": str(stored.get("message") or ""),
        "description": str(stored.get("description") or ""),
    }


def _reject(detail: dict[str, Any]) -> dict[str, str]:
    said = detail.get("reject") or {}
    return {"reason": str(said.get("reason") or "generic"), "description": str(said.get("description") or "")}
