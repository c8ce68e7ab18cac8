from dataclasses import replace

import orjson
import pytest

from mtad.mail.event import Event, EventType
from mtad.mail.ids import IdSource, event_id
from mtad.mail.options import Options
from mtad.webhooks.event_json import event_json

ABOUT = {
    "message-id": "<m1@ours.example>",
    "from": "Ann <ann@ours.example>",
    "to": "bob@example.net, eve@example.net",
    "subject": "Hello",
    "method": "smtp",
    "login": "ann@ours.example",
}
STATUS = {
    "code": 250,
    "message": "ok",
    "description": "",
    "attempt-no": 1,
    "session-seconds": 0.1,
    "mx-host": "mx.example.net",
    "tls": True,
    "certificate-verified": False,
}
ACCEPTED = Event(
    id=IdSource(lambda: 1_700_000_000.0).next(),
    type=EventType.ACCEPTED,
    at=1_700_000_000.0,
    domain="ours.example",
    queue_id="0" * 13,
    recipient="bob@example.net",
    reverse_path="ann@ours.example",
    size=1234,
    about=ABOUT,
    detail={},
)
DELIVERED = replace(
    ACCEPTED,
    type=EventType.DELIVERED,
    detail={"delivery-status": STATUS, "hop": {"ip": "192.0.2.9", "sending-ip": "192.0.2.1"}},
)


def test_an_accepted_event_has_the_members_of_the_contract():
    assert event_json(ACCEPTED) == {
        "event": "accepted",
        "id": event_id(ACCEPTED.id),
        "timestamp": 1_700_000_000.0,
        "log-level": "info",
        "tags": [],
        "campaigns": [],
        "user-variables": {},
        "flags": {
            "is-authenticated": True,
            "is-test-mode": False,
            "is-routed": False,
            "is-system-test": False,
        },
        "envelope": {"sender": "ann@ours.example", "transport": "smtp", "targets": "bob@example.net"},
        "message": {
            "headers": {
                "to": "bob@example.net, eve@example.net",
                "message-id": "m1@ours.example",
                "from": "Ann <ann@ours.example>",
                "subject": "Hello",
            },
            "attachments": [],
            "recipients": ["bob@example.net"],
            "size": 1234,
        },
        "recipient": "bob@example.net",
        "recipient-domain": "example.net",
        "method": "smtp",
    }
    assert len(event_id(ACCEPTED.id)) == 22


def test_a_delivered_event_says_how_it_went():
    made = event_json(DELIVERED)
    assert made["delivery-status"] == STATUS
    assert made["envelope"]["sending-ip"] == "192.0.2.1"
    assert made["log-level"] == "info"
    assert "hop" not in made


@pytest.mark.parametrize(
    ("kind", "severity", "level"),
    [(EventType.FAILED_TEMPORARY, "temporary", "warn"), (EventType.FAILED_PERMANENT, "permanent", "error")],
)
def test_a_failure_has_severity_and_reason(kind, severity, level):
    status = {**STATUS, "code": 451, "retry-seconds": 60.0}
    made = event_json(replace(ACCEPTED, type=kind, detail={"reason": "greylisted", "delivery-status": status}))
    assert (made["event"], made["severity"], made["reason"], made["log-level"]) == (
        "failed",
        severity,
        "greylisted",
        level,
    )
    assert made["delivery-status"]["retry-seconds"] == 60.0


def test_a_rejected_event_has_a_reject_and_neither_envelope_nor_delivery_status():
    detail = {
        "reject": {"reason": "generic", "description": "too large"},
        "recipient": "bob@example.net",
        "from": "ann@ours.example",
    }
    made = event_json(replace(ACCEPTED, type=EventType.REJECTED, recipient="", about={}, size=0, detail=detail))
    assert made["reject"] == {"reason": "generic", "description": "too large"}
    assert made["recipient"] == "bob@example.net"
    assert made["message"]["headers"]["from"] == "ann@ours.example"
    assert "envelope" not in made
    assert "delivery-status" not in made


def test_scheduled_for_is_whole_seconds_and_there_only_when_scheduled():
    scheduled = replace(ACCEPTED, about={**ABOUT, "scheduled-for": 1_700_000_100.5})
    assert event_json(scheduled)["message"]["scheduled-for"] == 1_700_000_100
    assert "scheduled-for" not in event_json(ACCEPTED)["message"]


@pytest.mark.parametrize("kind", list(EventType))
def test_a_bare_event_still_has_the_types_that_strict_readers_want(kind):
    made = event_json(replace(ACCEPTED, type=kind, about={}, detail={}, recipient="", reverse_path=""))
    orjson.dumps(made)
    assert made["tags"] == made["campaigns"] == made["message"].get("attachments", []) == []
    assert made["user-variables"] == {}
    assert isinstance(made["message"].get("size", 0), int)
    assert made["message"]["headers"]["message-id"] == ""
    if "delivery-status" in made:
        assert made["delivery-status"] == {"code": 0, "message": "", "description": ""}


def test_null_texts_of_a_status_become_empty_ones():
    detail = {"delivery-status": {"code": None, "message": None, "description": None}}
    made = event_json(replace(DELIVERED, detail=detail))
    assert made["delivery-status"] == {"code": 0, "message": "", "description": ""}


OPTIONS = Options(
    tags=("News", "welcome"),
    campaigns=("c1",),
    campaign_names=("Summer sale",),
    variables={"id": 7, "who": "%recipient.name% %recipient.unknown%", "deep": [{"x": "%recipient.name%"}]},
    recipient_variables={},
    shared_variables={"name": "friend"},
    template="hello",
    template_version="v2",
)
WEB = {
    "ip": "198.51.100.4",
    "geolocation": {"country": "DE", "city": "Ulm"},
    "client-info": {"client-type": "browser", "client-name": "Firefox", "user-agent": "Mozilla/5.0", "bot": ""},
    "url": "https://x.example/?a=1",
}


def test_what_the_sender_asked_for_is_in_every_event_of_the_message():
    made = event_json(replace(DELIVERED, options=OPTIONS, personal={"variables": {"name": "Bob"}}))
    assert made["tags"] == ["News", "welcome"]
    assert made["campaigns"] == [{"id": "c1", "name": "Summer sale"}]
    assert made["user-variables"] == {"id": 7, "who": "Bob %recipient.unknown%", "deep": [{"x": "Bob"}]}
    assert made["template"] == {"name": "hello", "version": "v2"}


def test_who_has_no_variable_of_his_own_gets_that_of_all():
    assert event_json(replace(DELIVERED, options=OPTIONS))["user-variables"]["deep"] == [{"x": "friend"}]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("yes", "true"),
        ("none", ""),
        ("n", "1.5"),
        ("list", '[1,{"x":null}]'),
        ("a.b", "inner"),
        ("a", '{"b":"inner"}'),
        ("a.c", "%recipient.a.c%"),
    ],
)
def test_a_variable_in_custom_data_is_written_as_in_the_message(key, text):
    own = {"yes": True, "none": None, "n": 1.5, "list": [1, {"x": None}], "a": {"b": "inner"}}
    options = Options(variables={"v": f"<%recipient.{key}%>"}, recipient_variables={})
    made = event_json(replace(DELIVERED, options=options, personal={"variables": own}))
    assert made["user-variables"] == {"v": f"<{text}>"}


def test_other_variables_in_custom_data_stay_as_they_are_written():
    options = Options(variables={"v": "%recipient_email% %recipient%"}, recipient_variables={})
    made = event_json(replace(DELIVERED, options=options, personal={"variables": {"x": 1}}))
    assert made["user-variables"] == {"v": "%recipient_email% %recipient%"}


def test_a_message_that_is_no_batch_keeps_its_variables_as_they_are_written():
    options = Options(variables={"who": "%recipient.name%"})
    assert event_json(replace(DELIVERED, options=options))["user-variables"] == {"who": "%recipient.name%"}


def test_a_click_tells_where_and_with_what_and_little_of_the_message():
    made = event_json(replace(ACCEPTED, type=EventType.CLICKED, detail=WEB))
    assert made["message"] == {"headers": {"message-id": "m1@ours.example"}}
    assert made["geolocation"] == {"country": "DE", "region": "Unknown", "city": "Ulm"}
    assert made["client-info"]["device-type"] == "unknown"
    assert made["url"] == "https://x.example/?a=1"
    assert "envelope" not in made
    assert "flags" not in made


def test_leaving_the_whole_domain_has_a_star_for_tags():
    left = replace(ACCEPTED, type=EventType.UNSUBSCRIBED, options=OPTIONS, detail={**WEB, "tags": ["*"]})
    assert event_json(left)["tags"] == ["*"]


def test_a_late_bounce_is_a_permanent_failure_that_says_so():
    status = {"code": 550, "message": "no such user"}
    made = event_json(replace(ACCEPTED, type=EventType.FAILED_LATE, detail={"delivery-status": status}))
    assert (made["event"], made["severity"], made["log-level"]) == ("failed", "permanent", "error")
    assert made["flags"]["is-delayed-bounce"] is True
    assert made["delivery-status"]["code"] == 550


def test_attachments_storage_and_routes_are_told():
    about = {**ABOUT, "attachments": [{"filename": "a.pdf", "content-type": "application/pdf", "size": 9, "x": 1}]}
    detail = {"storage": {"url": "https://x.example/s", "key": "k"}, "routes": [{"id": "r"}]}
    made = event_json(replace(ACCEPTED, about=about, detail=detail))
    assert made["message"]["attachments"] == [{"filename": "a.pdf", "content-type": "application/pdf", "size": 9}]
    assert made["storage"]["key"] == "k"
    assert made["routes"] == [{"id": "r"}]


def test_an_accepted_event_names_everybody_who_was_written_to():
    everybody = ("bob@example.net", "eve@example.net")
    made = event_json(replace(ACCEPTED, everybody=everybody))
    assert made["message"]["recipients"] == list(everybody)


def test_what_was_stored_has_an_address_of_its_own_or_one_under_ours():
    stored = replace(ACCEPTED, detail={"storage": {"key": "k"}})
    assert event_json(stored)["storage"] == {"key": "k"}
    url = "https://api.example/v3/domains/ours.example/messages/k"
    assert event_json(stored, "https://api.example")["storage"] == {"key": "k", "url": url}
    given = {"key": "k", "url": "https://x.example/s"}
    assert event_json(replace(ACCEPTED, detail={"storage": given}), "https://api.example")["storage"] == given


def test_a_routed_copy_says_so():
    assert event_json(replace(ACCEPTED, detail={"flags": {"is-routed": True}}))["flags"]["is-routed"] is True


BATCH = Options(recipient_variables={}, shared_variables={"city": "Ulm"})
LISTED = {
    **ABOUT,
    "to": "Bob %recipient.city% <bob@example.net>, eve@example.net",
    "subject": "%recipient_fname% in %recipient.city%",
}


def headers_of(event):
    return event_json(event)["message"]["headers"]


def test_in_a_batch_only_the_one_it_was_for_is_named_and_the_subject_is_his():
    event = replace(ACCEPTED, about=LISTED, options=BATCH, personal={"name": "Bob %recipient.city%"})
    assert headers_of(event)["to"] == "Bob Ulm <bob@example.net>"
    assert headers_of(event)["subject"] == "Bob in Ulm"


def test_a_copy_for_cc_names_whose_copy_it_is():
    event = replace(ACCEPTED, about=LISTED, options=BATCH, personal={"name": "Eve", "to": "eve@example.net"})
    assert headers_of(event)["to"] == "Eve <eve@example.net>"
    assert headers_of(event)["subject"] == "Eve in Ulm"


def test_without_a_batch_everybody_is_named_and_only_what_every_message_has_is_filled():
    event = replace(ACCEPTED, about=LISTED, personal={"name": "Bob B"})
    assert headers_of(event)["to"] == LISTED["to"]
    assert headers_of(event)["subject"] == "Bob in %recipient.city%"


@pytest.mark.parametrize("change", [{"domain": ""}, {"about": {**LISTED, "is-routed": True}}])
def test_what_was_sent_as_it_came_is_told_as_it_came(change):
    event = replace(ACCEPTED, **{"about": LISTED, **change})
    assert headers_of(event)["subject"] == LISTED["subject"]


def test_links_that_are_a_recipients_own_are_not_told_and_texts_have_a_bound():
    about = {**ABOUT, "subject": "%unsubscribe_url% %recipient.x%"}
    event = replace(ACCEPTED, about=about, options=BATCH, personal={"variables": {"x": "y" * 1_000_000}})
    subject = headers_of(event)["subject"]
    assert subject.startswith("%unsubscribe_url% yyyy")
    assert len(subject) == 16_384


def test_a_failure_has_the_enhanced_code_by_its_other_name_too():
    status = {**STATUS, "code": 550, "enhanced-code": "5.1.1"}
    for kind, told in ((EventType.FAILED_PERMANENT, "5.1.1"), (EventType.DELIVERED, None)):
        made = event_json(replace(DELIVERED, type=kind, detail={"delivery-status": status}))
        assert made["delivery-status"].get("bounce-code") == told
    plain = replace(DELIVERED, type=EventType.FAILED_TEMPORARY, detail={"delivery-status": {"code": 451}})
    assert "bounce-code" not in event_json(plain)["delivery-status"]
