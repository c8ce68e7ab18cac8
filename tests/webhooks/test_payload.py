import hashlib
import hmac
import json
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.event import EventType
from mtad.mail.options import Options
from mtad.storage.outbox import Content, File
from mtad.webhooks.event_json import event_json
from mtad.webhooks.kinds import Kind, applies, fires
from mtad.webhooks.ladder import Again, GivenUp, Taken, Unwanted, next_step
from mtad.webhooks.payload import body_of, sample_event, stamp
from tests.webhooks import samples
from tests.webhooks.samples import NOW, content

KEY = "key-0123"
MARK = stamp(KEY, int(NOW), "ab" * 25)
SIGNED = ["timestamp", "token", "signature"]
FORM = [kind for kind in Kind if kind.is_form]
COMMON = ["event", "recipient", "domain"]
SENT = ["message-headers", "Message-Id", "X-Mailgun-Sid"]
WHERE = ["ip", "country", "region", "city"]
CLIENT = ["user-agent", "device-type", "client-type", "client-name", "client-os"]
CAMPAIGN = ["campaign-id", "campaign-name"]
CUSTOM = ["order", "who", "nested"]
FIELDS = {
    Kind.DELIVER: [*COMMON, *SENT, *CAMPAIGN, "X-Mailgun-Tag", "X-Mailgun-Tag", *CUSTOM],
    Kind.BOUNCE: [*COMMON, *SENT, "code", "error", *CAMPAIGN, "tag", "tag", *CUSTOM],
    Kind.DROP: [
        *COMMON,
        *SENT,
        "reason",
        "code",
        "description",
        *CAMPAIGN,
        "X-Mailgun-Tag",
        "X-Mailgun-Tag",
        *CUSTOM,
    ],
    Kind.SPAM: [*COMMON, *SENT, *CAMPAIGN, "tag", "tag", *CUSTOM],
    Kind.UNSUBSCRIBE: [*COMMON, "message-id", *WHERE, *CLIENT, *CAMPAIGN, "tag", "tag", *CUSTOM],
    Kind.CLICK: [*COMMON, "message-id", *WHERE, *CLIENT, "url", *CAMPAIGN, "tag", "tag", *CUSTOM],
    Kind.OPEN: [*COMMON, "message-id", *WHERE, *CLIENT, *CAMPAIGN, "tag", "tag", *CUSTOM],
}


def posted(kind, what):
    body = body_of(kind, what, MARK)
    assert body.content_type == "application/x-www-form-urlencoded; charset=utf-8"
    return parse_qsl(body.content.decode(), keep_blank_values=True, strict_parsing=True)


@pytest.mark.parametrize("kind", FORM)
def test_a_form_has_the_fields_of_its_row_and_no_other_and_ends_with_the_signature(kind):
    assert [name for name, _ in posted(kind, content(kind))] == [*FIELDS[kind], *SIGNED]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Kind.DELIVER, "delivered"),
        (Kind.BOUNCE, "bounced"),
        (Kind.DROP, "dropped"),
        (Kind.SPAM, "complained"),
        (Kind.UNSUBSCRIBE, "unsubscribed"),
        (Kind.CLICK, "clicked"),
        (Kind.OPEN, "opened"),
    ],
)
def test_the_event_field_has_the_older_word(kind, word):
    fields = dict(posted(kind, content(kind)))
    assert (fields["event"], fields["recipient"], fields["domain"]) == (word, "bob@example.net", "ours.example")


def test_the_signature_is_of_timestamp_and_token_with_the_key():
    fields = dict(posted(Kind.OPEN, content(Kind.OPEN)))
    assert fields["timestamp"].isdigit()
    expected = hmac.new(KEY.encode(), (fields["timestamp"] + fields["token"]).encode(), hashlib.sha256).hexdigest()
    assert fields["signature"] == expected


def test_message_headers_are_those_that_were_sent_with_one_pair_of_merged_variables():
    pairs = json.loads(dict(posted(Kind.DELIVER, content(Kind.DELIVER)))["message-headers"])
    assert [name for name, _ in pairs] == [
        "Received", "From", "To", "Subject", "Message-Id", "X-Mailgun-Sid", "X-Odd", "X-Mailgun-Variables",
    ]  # fmt: skip
    assert pairs[0][1] == "from app\tby mail.ours.example"
    assert json.loads(pairs[-1][1]) == {"order": 17, "who": "Zoë", "nested": {"a": [1, None]}}


def test_without_a_kept_header_what_is_known_of_it_stands_there():
    fields = dict(posted(Kind.DELIVER, replace(content(Kind.DELIVER), header=None)))
    assert json.loads(fields["message-headers"])[:4] == [
        ["From", "Ann <ann@ours.example>"],
        ["To", "bob@example.net"],
        ["Subject", "Hello"],
        ["Message-Id", "<m1@ours.example>"],
    ]
    assert "X-Mailgun-Sid" not in fields


def test_also_without_a_kept_header_a_batch_names_one_recipient():
    whole = replace(content(Kind.DELIVER), header=None)
    options = replace(whole.event.options, recipient_variables={})
    about = {**whole.event.about, "to": "bob@example.net, eve@example.net"}
    fields = dict(posted(Kind.DELIVER, replace(whole, event=replace(whole.event, about=about, options=options))))
    assert ["To", "bob@example.net"] in json.loads(fields["message-headers"])


def test_custom_data_comes_as_text_or_as_json():
    fields = dict(posted(Kind.CLICK, content(Kind.CLICK)))
    assert (fields["order"], fields["who"], fields["nested"]) == ("17", "Zoë", '{"a":[1,null]}')


def test_a_clash_of_names_leaves_the_event_first_and_the_signature_last():
    mine = Options(variables={"event": "mine", "token": "mine", "message-headers": "mine", "code": 1})
    what = content(Kind.BOUNCE)
    fields = posted(Kind.BOUNCE, replace(what, event=replace(what.event, options=mine)))
    assert [value for name, value in fields if name == "event"] == ["bounced", "mine"]
    assert [value for name, value in fields if name == "token"] == ["mine", MARK.token]
    assert len([value for name, value in fields if name == "message-headers"]) == 1
    assert [name for name, _ in fields[-3:]] == SIGNED


def test_a_bounce_has_the_enhanced_code_and_the_hosts_words():
    fields = dict(posted(Kind.BOUNCE, content(Kind.BOUNCE)))
    assert (fields["code"], fields["error"]) == ("5.1.1", "no such user")
    bare = {"code": 550, "message": "no", "mx-host": "mx.x"}
    event = replace(samples.BOUNCED, detail={"delivery-status": bare})
    assert dict(posted(Kind.BOUNCE, Content(event)))["code"] == "550"


@pytest.mark.parametrize(
    ("event", "reason", "code", "description"),
    [
        (samples.BOUNCED, "hardfail", "550", "no such user"),
        (samples.TOO_OLD, "old", "602", "Too old"),
        (samples.SUPPRESSED, "suppress-bounce", "605", "Not delivering to previously bounced address"),
        (
            replace(samples.BOUNCED, detail={"reason": "espblock", "delivery-status": samples.HARD}),
            "espblock",
            "550",
            "no such user",
        ),
        (
            replace(
                samples.BOUNCED,
                detail={"reason": "generic", "delivery-status": {"code": 498, "description": "no MX"}},
            ),
            "generic",
            "498",
            "no MX",
        ),
        (
            replace(
                samples.BOUNCED,
                detail={"reason": "bounce", "delivery-status": {"code": 556, "description": "its MX is null"}},
            ),
            "hardfail",
            "556",
            "its MX is null",
        ),
        (
            replace(
                samples.BOUNCED,
                detail={"reason": "bounce", "delivery-status": {"code": 450, "message": "gone", "mx-host": "mx.x"}},
            ),
            "hardfail",
            "450",
            "gone",
        ),
    ],
)
def test_a_drop_says_why(event, reason, code, description):
    fields = dict(posted(Kind.DROP, Content(event)))
    assert (fields["reason"], fields["code"], fields["description"]) == (reason, code, description)


def test_unknown_places_are_unknown_in_small_letters():
    fields = dict(posted(Kind.OPEN, content(Kind.OPEN)))
    assert (fields["country"], fields["city"]) == ("DE", "unknown")


def test_files_of_a_report_make_it_multipart_with_the_signature_last():
    files = (
        File('od"d\r\n.txt', "text/plain", b"It \xff failed\r\n--mtad"),
        File("", "message/rfc822; x=y", b"Subject: x"),
    )
    body = body_of(Kind.BOUNCE, content(Kind.BOUNCE, files=files), MARK)
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    parts = list(BytesParser(policy=HTTP).parsebytes(head + body.content).iter_parts())
    named = [(part.get_param("name", header="content-disposition"), part) for part in parts]
    names = [name for name, _ in named]
    assert names[-3:] == SIGNED
    assert names.count("attachment-count") == 1
    found = dict(named)
    assert found["attachment-1"].get_payload(decode=True) == files[0].content
    assert found["attachment-1"].get_filename() == "od%22d%0D%0A.txt"
    assert found["attachment-2"].get_filename() == "attachment-2"
    assert found["attachment-2"].get_content_type() == "application/octet-stream"
    assert b"failed" not in body.kept


@pytest.mark.parametrize("kind", [Kind.DELIVER, Kind.OPEN, Kind.CLICK, Kind.UNSUBSCRIBE])
def test_other_kinds_never_carry_files(kind):
    posted(kind, content(kind, files=(File("a", "text/plain", b"x"),)))


@pytest.mark.parametrize("kind", [kind for kind in Kind if not kind.is_form])
def test_the_newer_ids_get_the_event_as_the_api_shows_it(kind):
    body = body_of(kind, content(kind), MARK)
    assert body.content_type == "application/json"
    told = json.loads(body.content)
    assert told["signature"] == {"timestamp": str(int(NOW)), "token": MARK.token, "signature": MARK.signature}
    assert told["event-data"] == json.loads(json.dumps(event_json(samples.OF_KIND[kind])))
    assert set(told) == {"signature", "event-data"}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_sample_can_be_posted_for_every_id(kind):
    event = sample_event(kind, "ours.example", 5, NOW)
    assert kind in fires(event.type, False)
    assert applies(kind, event)
    assert body_of(kind, Content(event), MARK).content


@given(
    variables=st.dictionaries(
        st.text(max_size=20), st.one_of(st.text(max_size=40), st.integers(-(2**53), 2**53), st.lists(st.booleans()))
    ),
    header=st.one_of(st.none(), st.binary(max_size=300)),
    named=st.sampled_from(FORM),
)
def test_whatever_senders_wrote_can_be_posted_and_read_again(variables, header, named):
    event = replace(samples.OF_KIND[named], options=Options(variables=variables))
    fields = posted(named, Content(event, header))
    assert [name for name, _ in fields[-3:]] == SIGNED
    for name, value in variables.items():
        if isinstance(value, str) and name != "message-headers":
            assert (name, value) in fields


@pytest.mark.parametrize(
    ("event", "suppressed", "kinds"),
    [
        (EventType.ACCEPTED, False, {"accepted"}),
        (EventType.DELIVERED, False, {"deliver", "delivered"}),
        (EventType.FAILED_TEMPORARY, False, {"temporary_fail"}),
        (EventType.FAILED_PERMANENT, False, {"bounce", "drop", "permanent_fail"}),
        (EventType.FAILED_PERMANENT, True, {"drop", "permanent_fail"}),
        (EventType.FAILED_LATE, False, {"bounce", "permanent_fail"}),
        (EventType.OPENED, False, {"open", "opened"}),
        (EventType.CLICKED, False, {"click", "clicked"}),
        (EventType.UNSUBSCRIBED, False, {"unsubscribe", "unsubscribed"}),
        (EventType.COMPLAINED, False, {"spam", "complained"}),
        (EventType.REJECTED, False, set()),
        (EventType.INTERRUPTED, False, set()),
        (EventType.NOTIFIED, False, set()),
        (EventType.STORED, False, set()),
    ],
)
def test_an_event_fires_the_ids_of_both_families(event, suppressed, kinds):
    assert set(fires(event, suppressed)) == kinds


def test_giving_up_without_a_refusal_is_a_drop_and_no_bounce():
    assert applies(Kind.BOUNCE, samples.BOUNCED)
    assert applies(Kind.BOUNCE, samples.LATE)
    assert not applies(Kind.BOUNCE, samples.TOO_OLD)
    assert not applies(Kind.BOUNCE, samples.SUPPRESSED)
    assert applies(Kind.DROP, samples.TOO_OLD)


@pytest.mark.parametrize(
    ("reason", "code", "host", "bounces"),
    [
        ("bounce", 550, "mx.x", True),
        ("bounce", 450, "mx.x", True),  # by a rule
        ("espblock", 550, "mx.x", True),
        ("espblock", 450, "mx.x", False),  # put off too often
        ("bounce", 556, "", False),  # its MX is null
    ],
)
def test_what_a_host_refuses_for_good_is_bounced_and_dropped(reason, code, host, bounces):
    status = {"code": code, "message": "no", "mx-host": host}
    event = replace(samples.BOUNCED, detail={"reason": reason, "delivery-status": status})
    assert applies(Kind.DROP, event)
    assert applies(Kind.BOUNCE, event) is bounces


WAITS = (600.0, 900.0)


@pytest.mark.parametrize(
    ("status", "attempts", "once", "step"),
    [
        (200, 1, False, Taken()),
        (204, 3, False, Taken()),
        (406, 1, False, Unwanted()),
        (301, 1, False, Again(600.0)),
        (203, 1, False, Again(600.0)),
        (500, 2, False, Again(900.0)),
        (None, 2, False, Again(900.0)),
        (None, 3, False, GivenUp()),
        (500, 1, True, GivenUp()),
        (200, 1, True, Taken()),
    ],
)
def test_the_answer_and_the_ladder_decide_what_is_next(status, attempts, once, step):
    assert next_step(status, attempts, WAITS, once=once) == step
