"""One event of each kind, as the store gives them."""

from dataclasses import replace

from mtad.mail.event import Event, EventType
from mtad.mail.ids import IdSource
from mtad.mail.options import Options
from mtad.storage.outbox import Content
from mtad.webhooks.kinds import Kind

NOW = 1_700_000_000.0
OPTIONS = Options(
    tags=("News", "two words"),
    campaigns=("summer",),
    variables={"order": 17, "who": "Zoë", "nested": {"a": [1, None]}},
)
ABOUT = {
    "message-id": "m1@ours.example",
    "from": "Ann <ann@ours.example>",
    "to": "bob@example.net",
    "subject": "Hello",
    "method": "smtp",
}
STATUS = {"code": 250, "message": "2.0.0 ok", "description": "", "attempt-no": 1, "mx-host": "mx.example.net"}
HARD = {"code": 550, "enhanced-code": "5.1.1", "message": "no such user", "mx-host": "mx.example.net"}
WEB = {
    "ip": "198.51.100.4",
    "geolocation": {"country": "DE"},
    "client-info": {
        "client-type": "browser",
        "client-os": "Linux",
        "device-type": "desktop",
        "client-name": "Firefox",
        "user-agent": "Mozilla/5.0",
    },
}
ACCEPTED = Event(
    id=IdSource(lambda: NOW).next(),
    type=EventType.ACCEPTED,
    at=NOW,
    domain="ours.example",
    queue_id="0" * 13,
    recipient="bob@example.net",
    reverse_path="ann@ours.example",
    size=1234,
    about=ABOUT,
    detail={},
    options=OPTIONS,
)


def of(kind: EventType, **detail: object) -> Event:
    return replace(ACCEPTED, type=kind, detail=detail)


DELIVERED = of(EventType.DELIVERED, **{"delivery-status": STATUS})
DEFERRED = of(EventType.FAILED_TEMPORARY, reason="greylisted", **{"delivery-status": {**STATUS, "code": 451}})
BOUNCED = of(EventType.FAILED_PERMANENT, reason="bounce", **{"delivery-status": HARD})
TOO_OLD = of(
    EventType.FAILED_PERMANENT,
    reason="old",
    **{"delivery-status": {"code": 602, "message": "", "description": "Too old"}},
)
SUPPRESSED = of(
    EventType.FAILED_PERMANENT,
    reason="suppress-bounce",
    **{
        "delivery-status": {
            "code": 605,
            "message": "550 5.1.1 gone",
            "description": "Not delivering to previously bounced address",
        }
    },
)
LATE = of(EventType.FAILED_LATE, reason="bounce", notification="Your message …", **{"delivery-status": HARD})
OPENED = of(EventType.OPENED, **WEB)
CLICKED = of(EventType.CLICKED, url="https://x.example/?a=1&b=2", **WEB)
LEFT = of(EventType.UNSUBSCRIBED, tags=["*"], **WEB)
COMPLAINED = of(EventType.COMPLAINED)

OF_KIND = {
    Kind.BOUNCE: BOUNCED,
    Kind.DELIVER: DELIVERED,
    Kind.DROP: BOUNCED,
    Kind.SPAM: COMPLAINED,
    Kind.UNSUBSCRIBE: LEFT,
    Kind.CLICK: CLICKED,
    Kind.OPEN: OPENED,
    Kind.ACCEPTED: ACCEPTED,
    Kind.DELIVERED: DELIVERED,
    Kind.OPENED: OPENED,
    Kind.CLICKED: CLICKED,
    Kind.UNSUBSCRIBED: LEFT,
    Kind.COMPLAINED: COMPLAINED,
    Kind.PERMANENT_FAIL: BOUNCED,
    Kind.TEMPORARY_FAIL: DEFERRED,
}
HEADER = (
    b"Received: from app\r\n\tby mail.ours.example\r\n"
    b"From: Ann <ann@ours.example>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?H=C3=A9llo?=\r\n"
    b"Message-Id: <m1@ours.example>\r\nX-Mailgun-Tag: News\r\nBcc: eve@example.net\r\nX-Mailgun-Sid: WyJh\r\n"
    b'X-Mailgun-Variables: {"order": 1}\r\nX-Odd: caf\xe9\r\n'
)


def content(kind: Kind, **more: object) -> Content:
    return Content(OF_KIND[kind], HEADER, **more)  # type: ignore[arg-type]
