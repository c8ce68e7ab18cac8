"""Events as JSON: the event objects of the HTTP API (docs/events.rst), the same in every place that shows them.

Room: webhooks. Pure. May import: mail, message. Readers are strict about types: texts are "" and never null, codes
whole numbers.
"""

from typing import Any

from mtad.mail.event import Event, EventType
from mtad.mail.ids import event_id
from mtad.webhooks.personal import headers_of, variables_of

UNKNOWN = "Unknown"
_PERMANENT = (EventType.FAILED_PERMANENT, EventType.FAILED_LATE)
_FAILED = (*_PERMANENT, EventType.FAILED_TEMPORARY)
_OUTCOMES = (EventType.DELIVERED, *_FAILED)
# What a person did with the message: told with where and with what, and little of the message.
_ENGAGED = (EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED)
_NO_ENVELOPE = (*_ENGAGED, EventType.REJECTED, EventType.COMPLAINED, EventType.STORED)
_TO_ALL = (EventType.STORED, EventType.ACCEPTED)
_AS_STORED = ("storage", "routes", "mailing-list")


def event_json(event: Event, base_url: str = "") -> dict[str, Any]:
    """Ready for any JSON writer. base_url: of the HTTP API, for links to what was stored; "" leaves them out."""
    about, detail = event.about, event.detail
    made: dict[str, Any] = {
        "event": event.type.word,
        "id": event_id(event.id),
        "timestamp": event.at,
        "log-level": event.type.level,
        "tags": tags_of(event),
        "campaigns": [{"id": id, "name": name} for id, name in campaigns_of(event)],
        "user-variables": variables_of(event),
    }
    if event.type in _ENGAGED:
        made |= _engagement(event)
    else:
        made["flags"] = _flags(event)
        made["message"] = _message(event)
    recipient = event.recipient or str(detail.get("recipient", ""))
    if recipient:
        made["recipient"] = recipient
        made["recipient-domain"] = recipient.rpartition("@")[2]
    method = about.get("method") or detail.get("method")
    if method:
        made["method"] = method
    if event.type is EventType.REJECTED:
        made["reject"] = _reject(detail)
    if event.type not in _NO_ENVELOPE:
        made["envelope"] = _envelope(event)
    if event.type in _OUTCOMES:
        made["delivery-status"] = _status(detail.get("delivery-status") or {})
    if event.type in _FAILED:
        code = made["delivery-status"].get("enhanced-code")
        if code:
            made["delivery-status"]["bounce-code"] = code
        made["severity"] = "permanent" if event.type in _PERMANENT else "temporary"
        made["reason"] = str(detail.get("reason") or "generic")
    if event.options is not None and event.options.template:
        made["template"] = {"name": event.options.template, "version": event.options.template_version}
    for name in _AS_STORED:
        value = detail.get(name) or about.get(name)
        if value:
            made[name] = value
    if base_url and isinstance(made.get("storage"), dict):
        made["storage"] = _storage(made["storage"], event.domain, base_url)
    return made


def _storage(stored: dict[str, Any], domain: str, base_url: str) -> dict[str, Any]:
    """With the address of the message, unless it has one."""
    key = stored.get("key")
    if not key or stored.get("url"):
        return stored
    return {**stored, "url": f"{base_url}/v3/domains/{domain}/messages/{key}"}


def tags_of(event: Event) -> list[str]:
    """The event's own ("*" of who left the whole domain), else the message's."""
    own = event.detail.get("tags")
    if isinstance(own, list):
        return [str(tag) for tag in own]
    return list(event.options.tags) if event.options is not None else []


def campaigns_of(event: Event) -> list[tuple[str, str]]:
    """Id and name of each, as they were when the message was taken."""
    if event.options is None:
        return []
    ids, names = event.options.campaigns, event.options.campaign_names
    return list(zip(ids, names if len(names) == len(ids) else ids, strict=True))


def _engagement(event: Event) -> dict[str, Any]:
    detail = event.detail
    made: dict[str, Any] = {
        "message": {"headers": {"message-id": message_id_of(event)}},
        "ip": str(detail.get("ip") or ""),
        "geolocation": geolocation_of(event),
        "client-info": client_of(event),
    }
    if event.type is EventType.CLICKED:
        made["url"] = str(detail.get("url") or "")
    return made


def geolocation_of(event: Event) -> dict[str, str]:
    """country, region, city; UNKNOWN where it is not known."""
    known = event.detail.get("geolocation") or {}
    return {name: str(known.get(name) or UNKNOWN) for name in ("country", "region", "city")}


def client_of(event: Event) -> dict[str, str]:
    """bot: its kind, "" for people."""
    known = event.detail.get("client-info") or {}
    made = {
        name: str(known.get(name) or "unknown") for name in ("client-type", "client-os", "device-type", "client-name")
    }
    return {**made, "user-agent": str(known.get("user-agent") or ""), "bot": str(known.get("bot") or "")}


def message_id_of(event: Event) -> str:
    """Without angle brackets."""
    headers = event.about or event.detail
    return str(headers.get("message-id", "")).strip().removeprefix("<").removesuffix(">")


def _flags(event: Event) -> dict[str, bool]:
    about, detail = event.about, event.detail
    told = detail.get("flags") or {}
    flags = {
        "is-authenticated": bool(about.get("login") or detail.get("login")),
        "is-test-mode": event.options is not None and event.options.test_mode,
        "is-routed": bool(told.get("is-routed") or detail.get("is-routed") or about.get("is-routed")),
        "is-system-test": False,
    }
    if event.type is EventType.FAILED_LATE:
        flags["is-delayed-bounce"] = True
    return flags


def _message(event: Event) -> dict[str, Any]:
    headers, told = event.about or event.detail, headers_of(event)
    everybody = list(event.everybody) or (headers.get("recipients") if event.type in _TO_ALL else None)
    made: dict[str, Any] = {
        "headers": {
            "to": told["to"],
            "message-id": message_id_of(event),
            "from": told["from"],
            "subject": told["subject"],
        },
        "attachments": _attachments(headers.get("attachments")),
        "recipients": everybody or ([event.recipient] if event.recipient else []),
        "size": event.size or int(event.detail.get("size", 0)),
    }
    if "scheduled-for" in event.about:
        made["scheduled-for"] = int(event.about["scheduled-for"])
    return made


def _attachments(stored: Any) -> list[dict[str, Any]]:
    return [
        {
            "filename": str(one.get("filename") or ""),
            "content-type": str(one.get("content-type") or ""),
            "size": int(one.get("size") or 0),
        }
        for one in (stored if isinstance(stored, list) else [])
    ]


def _envelope(event: Event) -> dict[str, Any]:
    transport = str(event.detail.get("transport") or ("http" if event.target else "smtp"))
    targets = event.target or str(event.detail.get("target") or event.recipient)
    made = {"sender": event.reverse_path, "transport": transport, "targets": targets}
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
