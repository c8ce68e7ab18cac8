import email
import email.policy
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.feedback.reports import Action, RecipientReport, Report, dsn, may_report
from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.message.headers import scan

AT = 1_767_607_200.0  # Mon, 05 Jan 2026 10:00:00 UTC
ALICE, BOB, CAROL = (
    Address("alice", "example.org"),
    Address("bob", "example.com"),
    Address("carol", "example.net"),
)
ORIGINAL = (
    b"Received: from a by b; Mon, 05 Jan 2026 10:00:00 +0000\r\nFrom: alice@example.org\r\nTo: bob@example.com\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <one@example.org>\r\n\r\nhello\r\n"
)
NO_USER = Reply(550, "1.1", "no such user")


def bounced(address=BOB, reply=NO_USER, remote="mx.example.com", **more):
    return RecipientReport(address, more.pop("action", Action.FAILED), reply, AT + 60, remote, **more)


def report(*recipients, **more):
    about = {"hostname": "mail.example.org", "report_id": "r1", "to": ALICE, "original": ORIGINAL, "arrival_at": AT}
    return Report(recipients=recipients or (bounced(),), now=AT + 61, **{**about, **more})


def parsed(content):
    """(the message, its text, groups of status fields, the third part); checks what every report must be."""
    assert re.fullmatch(rb"(?:[^\r\n]{0,998}\r\n)+", content)
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, status, returned = message.iter_parts()
    for part in (text, status, returned):
        assert not part.defects
    if status.get_content_type() == "message/delivery-status":
        groups = status.get_payload()
    else:
        octets = status.get_payload()[0].as_bytes() if status.is_multipart() else status.get_payload(decode=True)
        parts = octets.replace(b"\r\n", b"\n").strip().split(b"\n\n")
        groups = [email.message_from_bytes(part, policy=email.policy.SMTPUTF8) for part in parts]
    return message, text.get_content().replace("\r\n", "\n"), groups, returned


def test_the_header_says_what_it_is_and_breaks_loops():
    message, *_ = parsed(dsn(report()))
    assert message["From"] == "MAILER-DAEMON@mail.example.org"
    assert message["To"] == "alice@example.org"
    assert message["Subject"] == "Your message could not be delivered"
    assert message["Date"] == "Mon, 05 Jan 2026 10:01:01 +0000"
    assert message["Message-ID"] == "<r1@mail.example.org>"
    assert message["References"] == "<one@example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["X-Mtad-Report"] == "mail.example.org"
    assert message["MIME-Version"] == "1.0"


def test_programs_are_told_every_field():
    one = bounced(orcpt="rfc822;bob+2Bnews@example.com")
    two = bounced(CAROL, Reply(452, "2.2", "over quota"), "mx.example.net")
    _, _, groups, _ = parsed(dsn(report(one, two, envid="id+2B7")))
    assert [dict(group.items()) for group in groups] == [
        {
            "Reporting-MTA": "dns; mail.example.org",
            "Original-Envelope-Id": "id+7",
            "Arrival-Date": "Mon, 05 Jan 2026 10:00:00 +0000",
        },
        {
            "Original-Recipient": "rfc822; bob+news@example.com",
            "Final-Recipient": "rfc822; bob@example.com",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx.example.com",
            "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
            "Last-Attempt-Date": "Mon, 05 Jan 2026 10:01:00 +0000",
        },
        {
            "Final-Recipient": "rfc822; carol@example.net",
            "Action": "failed",
            "Status": "4.2.2",
            "Remote-MTA": "dns; mx.example.net",
            "Diagnostic-Code": "smtp; 452 4.2.2 over quota",
            "Last-Attempt-Date": "Mon, 05 Jan 2026 10:01:00 +0000",
        },
    ]


def test_people_are_told_what_happened_and_what_to_do():
    _, text, _, _ = parsed(dsn(report(bounced(), bounced(CAROL, Reply(602, "4.7", "too old"), ""))))
    assert "<bob@example.com>: delivery failed" in text
    assert "mx.example.com answered:\n        550 5.1.1 no such user" in text
    assert "typing errors" in text
    assert "<carol@example.net>: delivery failed\n    Reason:\n        602 too old" in text
    assert "as long as we may" in text
    assert "Subject: Grüße" in text
    assert all(len(line) <= 78 for line in text.splitlines())


def test_what_we_decided_ourselves_is_not_put_in_a_hosts_mouth():
    _, _, groups, _ = parsed(dsn(report(bounced(reply=Reply(498, "", "no MX"), remote=""))))
    assert groups[1]["Diagnostic-Code"] == "x-mtad; 498 no MX"
    assert groups[1]["Status"] == "4.0.0"
    assert groups[1]["Remote-MTA"] is None
    _, _, groups, _ = parsed(dsn(report(bounced(reply=Reply(602, "4.7", "too old"), remote=""))))
    assert groups[1]["Diagnostic-Code"] == "x-mtad; 602 too old"
    assert groups[1]["Status"] == "5.4.7"


def test_a_delay_says_how_long_we_try():
    late = bounced(action=Action.DELAYED, reply=Reply(451, "7.1", "greylisted"), retry_until=AT + 3600)
    message, text, groups, returned = parsed(dsn(report(late)))
    assert message["Subject"] == "Your message is delayed"
    assert "you need not send it again" in text
    assert "We try until Mon, 05 Jan 2026 11:00:00 +0000." in text
    assert groups[1]["Action"] == "delayed"
    assert groups[1]["Will-Retry-Until"] == "Mon, 05 Jan 2026 11:00:00 +0000"
    assert returned.get_content_type() == "text/rfc822-headers"  # RFC 3461 §4.3: FULL is for failures


HEADER = ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


def payload(part):
    octets = part.get_payload(decode=True) if not part.is_multipart() else part.get_payload()[0].as_bytes()
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("ret", "limit", "kind", "expected"),
    [
        ("FULL", 65_536, "message/rfc822", ORIGINAL),
        ("", 65_536, "message/rfc822", ORIGINAL),
        ("HDRS", 65_536, "text/rfc822-headers", HEADER),
        ("FULL", len(ORIGINAL) - 1, "text/rfc822-headers", HEADER),
        ("FULL", 100, "text/rfc822-headers", ORIGINAL[: ORIGINAL.index(b"To:")]),
        ("FULL", 10, "text/rfc822-headers", b""),
    ],
)
def test_the_original_comes_back_within_bounds(ret, limit, kind, expected):
    content = dsn(report(ret=ret, max_return_octets=limit))
    _, _, _, returned = parsed(content)
    assert returned.get_content_type() == kind
    assert b"\r\n\r\n" + expected + b"\r\n--" in content


def test_eight_bit_octets_are_declared_or_encoded():
    original = ORIGINAL + "grün\r\n".encode()
    message, _, _, returned = parsed(dsn(report(original=original)))
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert returned["Content-Transfer-Encoding"] == "8bit"
    original = "Subject: grün\r\n\r\n".encode()
    content = dsn(report(original=original, ret="HDRS"))
    message, _, _, returned = parsed(content)
    assert content.isascii()
    assert message["Content-Transfer-Encoding"] is None
    assert payload(returned) == "Subject: grün\r\n".encode()


JOERG = Address("jörg+x=1", "xn--bcher-kva.example")


def test_utf8_addresses_are_written_in_ascii_for_an_ascii_sender():
    content = dsn(report(bounced(JOERG, orcpt=r"utf-8;j\x{F6}rg@example.com")))
    assert content.isascii()
    _, text, groups, _ = parsed(content)
    assert groups[1]["Final-Recipient"] == r"utf-8; j\x{F6}rg\x{2B}x\x{3D}1@xn--bcher-kva.example"
    assert groups[1]["Original-Recipient"] == r"utf-8; j\x{F6}rg@example.com"
    assert str(JOERG) in text


@pytest.mark.parametrize("about", [{"smtputf8": True}, {"to": Address("ålice", "example.org")}])
def test_utf8_addresses_are_written_as_they_are_for_a_utf8_sender(about):
    about["original"] = "Subject: grün\r\n\r\nx\r\n".encode()
    content = dsn(report(bounced(JOERG, orcpt=r"utf-8;j\x{F6}rg@example.com"), **about))
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n" in content
    assert b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n" in content
    assert "\r\nFinal-Recipient: utf-8; jörg+x=1@xn--bcher-kva.example\r\n".encode() in content
    assert "\r\nOriginal-Recipient: utf-8; jörg@example.com\r\n".encode() in content
    headers = dsn(report(bounced(JOERG), ret="HDRS", **about))
    assert b"Content-Type: message/global-headers\r\n" in headers


@pytest.mark.parametrize("orcpt", ["nonsense", ";x", "rfc822;", "rfc822;a b", "a" * 40 + ";x"])
def test_an_orcpt_that_is_none_is_left_out(orcpt):
    _, _, groups, _ = parsed(dsn(report(bounced(orcpt=orcpt))))
    assert groups[1]["Original-Recipient"] is None


def test_an_encoded_line_end_in_a_parameter_ends_nothing():
    one = bounced(orcpt="rfc822;a+0D+0AAction:+20delivered")
    _, _, groups, _ = parsed(dsn(report(one, envid="a+0D+0A+0D+0Ab")))
    assert groups[0]["Original-Envelope-Id"] == "a b"
    assert groups[1]["Action"] == "failed"


HOSTILE = st.text(st.sampled_from("a \r\n\t\x00\x85\u2028é-=+\\.:;<>") | st.characters(), max_size=60)


@settings(max_examples=150)
@given(said=HOSTILE, remote=HOSTILE, orcpt=HOSTILE, envid=HOSTILE, utf8=st.booleans(), count=st.integers(1, 3))
def test_hostile_text_cannot_break_the_report(said, remote, orcpt, envid, utf8, count):
    one = bounced(reply=Reply(550, "7.1", said * 30), remote=remote, orcpt=orcpt)
    content = dsn(report(*[one] * count, envid=envid, smtputf8=utf8))
    assert re.fullmatch(rb"(?:[^\r\n]{0,998}\r\n)+", content)
    assert content.count(b"\r\nFinal-Recipient: ") == content.count(b"\r\nAction: failed\r\n") == count
    assert utf8 or content.isascii()
    message = email.message_from_bytes(content)
    assert len(message.get_payload()) == 3
    assert not message.defects


def test_an_original_that_holds_a_report_does_not_end_the_report():
    inner = dsn(report())
    _, _, _, returned = parsed(dsn(report(original=inner)))
    assert returned.get_payload()[0]["Subject"] == "Your message could not be delivered"
    assert len(list(returned.get_payload()[0].iter_parts())) == 3


BLOCK = scan(ORIGINAL)


@pytest.mark.parametrize(
    ("notify", "failed", "delayed"),
    [
        ("", True, True),
        ("NEVER", False, False),
        ("never", False, False),
        ("FAILURE", True, False),
        ("SUCCESS,FAILURE,DELAY", True, True),
        ("success,failure", True, False),
        ("SUCCESS", False, False),
        ("DELAY", False, True),
        ("NEVER,FAILURE", False, False),
    ],
)
def test_notify_decides(notify, failed, delayed):
    assert may_report(ALICE, BLOCK, notify, 50) is failed
    assert may_report(ALICE, BLOCK, notify, 50, Action.DELAYED) is delayed


def test_nobody_is_told_about_reports_or_loops():
    assert not may_report(None, BLOCK, "FAILURE", 50)
    assert not may_report(ALICE, scan(dsn(report())), "FAILURE", 50)
    assert not may_report(ALICE, scan(b"Received: x\r\n" * 51 + b"\r\n"), "", 50)
    assert may_report(ALICE, scan(b"Received: x\r\n" * 50 + b"\r\n"), "", 50)


def test_a_relay_is_told_without_alarm_and_without_the_body():
    taken = bounced(reply=Reply(250, "1.5", "ok"), action=Action.RELAYED)
    message, text, (_, about), returned = parsed(dsn(report(taken, ret="FULL")))
    assert message["Subject"] == "Your message was passed on"
    assert "was taken by the mail server" in text
    assert "could not be delivered" not in text
    assert "mx.example.com answered:\n        250 2.1.5 ok" in text
    assert (about["Action"], about["Status"]) == ("relayed", "2.1.5")
    assert returned.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("notify", "told"), [("", False), ("NEVER", False), ("FAILURE,DELAY", False), ("SUCCESS", True)]
)
def test_success_is_told_to_nobody_who_did_not_ask(notify, told):
    assert may_report(ALICE, scan(ORIGINAL), notify, 50, Action.RELAYED) is told
