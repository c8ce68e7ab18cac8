import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtad.feedback.incoming import AutoReply, Bounce, Complaint, Delayed, NoReport, Relayed
from mtad.feedback.mime import MAX_OCTETS
from mtad.feedback.reading import read_incoming
from mtad.feedback.reports import Action as OurAction
from mtad.feedback.reports import RecipientReport, Report, dsn
from mtad.mail.address import Address
from mtad.mail.reply import Phase, Reply
from tests.feedback.reports import CLASSIFIER, SAMPLES, read, sample

# sample, recipient, cause, kind. What is hard puts the address into the bounces; nothing else does.
BOUNCES = [
    ("postfix-unknown", "bob@example.net", "no-such-user", "hard"),
    ("postfix-expired", "bob@example.net", "connection", "soft"),
    ("postfix-local-full", "bob@example.net", "mailbox-full", "soft"),
    ("exim-text", "bob@example.net", "no-such-user", "hard"),
    ("exim-expired-text", "bob@example.net", "expired", "soft"),
    ("exim-report", "bob@example.net", "mailbox-full", "soft"),
    ("sendmail-unknown", "bob@example.net", "no-such-user", "hard"),
    ("sendmail-expired", "bob@example.net", "greylisted", "throttled"),
    ("qmail-unknown", "bob@example.net", "no-such-user", "hard"),
    ("qmail-expired", "bob@example.net", "connection", "soft"),
    ("exchange-online", "bob@example.net", "no-such-user", "hard"),
    ("exchange-restricted", "staff@example.net", "restricted", "policy"),
    ("exchange-2003", "bob@example.net", "no-such-user", "hard"),
    ("exchange-ims", "bob@example.net", "no-such-user", "hard"),
    ("exchange-hash-lines", "bob@example.net", "no-such-user", "hard"),
    ("outlook-com-full", "bob@hotmail.example", "mailbox-full", "soft"),
    ("gmail-unknown", "bob@gmail.example", "no-such-user", "hard"),
    ("yahoo-text", "bob@yahoo.example", "no-such-user", "hard"),
    ("mail-ru-text", "bob@mail.example", "no-such-user", "hard"),
    ("ses-report", "bob@example.net", "mailbox-disabled", "hard"),
    ("ses-dns", "bob@exampel.invalid", "dns", "soft"),
    ("domino-report", "bob@example.net", "no-such-user", "hard"),
    ("domino-text", "bob@example.net", "no-such-user", "hard"),
    ("notes-old-text", "bob@example.net", "no-such-user", "hard"),
    ("courier-report", "bob@example.net", "recipient-refused", "hard"),
    ("messaging-server", "bob@example.net", "policy", "policy"),
    ("groupwise-text", "", "no-such-user", "hard"),
    ("exchange-supplement", "bob@gmail.example", "no-such-user", "hard"),
    ("reason-in-paragraphs", "bob@example.net", "message-too-large", "message"),
    ("code-before-recipients", "bob@example.net", "no-such-user", "hard"),
    ("reason-in-brackets", "bob@example.net", "no-such-user", "hard"),
    ("aborted", "bob@example.net", "unknown", "unknown"),
    # made wrongly
    ("status-as-text", "bob@example.net", "no-such-user", "hard"),
    ("status-as-octets", "bob@example.net", "no-such-user", "hard"),
    ("report-as-mixed", "bob@example.net", "no-such-user", "hard"),
    ("status-in-base64", "bob@example.net", "no-such-user", "hard"),
    ("status-in-quoted-printable", "bob@example.net", "no-such-user", "hard"),
    ("status-not-in-base64", "bob@example.net", "no-such-user", "hard"),
    ("no-blank-lines", "bob@example.net", "no-such-user", "hard"),
    ("blank-lines-everywhere", "bob@example.net", "no-such-user", "hard"),
    ("unfolded-diagnostic", "bob@example.net", "no-such-user", "hard"),
    ("no-boundary-parameter", "bob@example.net", "no-such-user", "hard"),
    ("cut-off", "bob@example.net", "no-such-user", "hard"),
    ("failed-without-status", "bob@example.net", "no-such-user", "hard"),
    ("no-action", "bob@example.net", "no-such-user", "hard"),
    ("no-recipient-fields", "bob@example.net", "no-such-user", "hard"),
    ("utf8-report", "jörg@example.net", "no-such-user", "hard"),
    ("xtext-recipient", "bob+news@example.net", "no-such-user", "hard"),
    ("forwarded", "bob@example.net", "no-such-user", "hard"),
    ("forwarded-twice", "bob@example.net", "no-such-user", "hard"),
    ("charset-garbage", "bob@example.net", "no-such-user", "hard"),
    # words alone
    ("code-alone", "", "no-such-user", "hard"),
    ("phrase-alone", "", "no-such-user", "hard"),
    ("only-possible-reasons", "", "unknown", "unknown"),
    ("html-only", "bob@example.net", "mailbox-disabled", "hard"),
    ("german", "bob@example.net", "no-such-user", "hard"),
    ("german-full", "", "mailbox-full", "soft"),
    ("french", "bob@example.net", "no-such-user", "hard"),
    ("spanish", "bob@example.net", "no-such-user", "hard"),
    ("portuguese", "bob@example.net", "mailbox-full", "soft"),
    ("italian", "bob@example.net", "no-such-user", "hard"),
    ("dutch", "bob@example.net", "no-such-user", "hard"),
    ("polish", "bob@example.net", "no-such-user", "hard"),
    ("russian", "bob@example.net", "no-such-user", "hard"),
    ("japanese", "bob@example.net", "no-such-user", "hard"),
    ("chinese", "bob@example.net", "mailbox-full", "soft"),
]
SEVERAL = {
    "postfix-two": [("team@example.net", "no-such-user"), ("team@example.net", "mailbox-full")],
    "qmail-two": [("bob@example.net", "spam"), ("carol@example.net", "mailbox-full")],
    "no-blank-line-between-two": [("bob@example.net", "no-such-user"), ("carol@example.net", "mailbox-full")],
    "failed-and-delayed": [("bob@example.net", "no-such-user")],
}
OTHERS = {
    "postfix-delayed": Delayed,
    "exim-delayed-text": Delayed,
    "sendmail-warning": Delayed,
    "gmail-delayed": Delayed,
    "german-delayed": Delayed,
    "delayed-says-failed": Delayed,
    "postfix-relayed": Relayed,
    "action-delivered": Relayed,
    "failed-with-success": Relayed,
    "out-of-office": AutoReply,
    "left-the-company": AutoReply,
    "vacation-german": AutoReply,
    "vacation-unix": AutoReply,
    "autoresponder-field": AutoReply,
    "challenge": AutoReply,
    "read-receipt": AutoReply,
    "list-notice": AutoReply,
    "human-answer": NoReport,
    "human-answer-unquoted": NoReport,
    "spam-null-path": NoReport,
    "temporary-alone": NoReport,
    "reply-alone": NoReport,
    "empty": NoReport,
    "arf-abuse": Complaint,
    "arf-redacted": Complaint,
    "arf-headers-only": Complaint,
    "arf-as-text": Complaint,
    "arf-forwarded": Complaint,
    "ses-complaint": Complaint,
    "arf-auth-failure": NoReport,
    "arf-not-spam": NoReport,
    "arf-unknown-type": NoReport,
}


def failures(bounce):
    """(recipient or "", cause, kind) of each."""
    told = []
    for one in bounce.failed:
        verdict = CLASSIFIER.verdict(one.reply, one.phase, one.remote_mta)
        told.append((str(one.address or ""), verdict.cause, verdict.kind))
    return told


def test_every_sample_has_its_row():
    rows = {row[0] for row in BOUNCES} | set(SEVERAL) | set(OTHERS)
    assert rows == {file.stem for file in SAMPLES.glob("*.eml")}


@pytest.mark.parametrize(("name", "recipient", "cause", "kind"), BOUNCES, ids=[row[0] for row in BOUNCES])
def test_a_bounce_names_the_recipient_and_the_cause(name, recipient, cause, kind):
    found = read(sample(name))
    assert isinstance(found, Bounce)
    assert failures(found) == [(recipient, cause, kind)]


@pytest.mark.parametrize("name", SEVERAL)
def test_each_of_several_recipients_has_a_cause_of_its_own(name):
    assert [told[:2] for told in failures(read(sample(name)))] == SEVERAL[name]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_bounce_is_none(name):
    assert type(read(sample(name))) is OTHERS[name]


def without_parts(found):
    """What is said, without the octets that line ends are part of."""
    return found if isinstance(found, AutoReply | NoReport) else (type(found), repr(found).partition("parts=")[0])


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n"], ids=["lf", "cr", "crcrlf"])
def test_line_ends_of_any_kind_change_nothing(line_end):
    for file in SAMPLES.glob("*.eml"):
        other = file.read_bytes().replace(b"\n", line_end)
        null_path = other.startswith(b"Return-Path: <>")
        assert without_parts(read_incoming(other, CLASSIFIER, null_path)) == without_parts(read(sample(file.stem)))


def test_mixed_line_ends_change_nothing():
    rng = random.Random(7)
    for name, *_ in BOUNCES:
        lines = (SAMPLES / f"{name}.eml").read_bytes().split(b"\n")
        mixed = b"".join(line + rng.choice((b"\n", b"\r\n")) for line in lines)
        assert failures(read(mixed)) == failures(read(sample(name)))


def test_the_parts_that_came_back_are_kept_with_names():
    returned = read(sample("postfix-unknown")).returned
    assert [(part.name, part.content_type.partition(";")[0]) for part in returned.parts] == [
        ("notification.txt", "text/plain"),
        ("report.txt", "message/delivery-status"),
        ("message.eml", "message/rfc822"),
    ]
    assert returned.parts[1].content.startswith(b"Reporting-MTA: dns; mx.example.net\r\nX-Postfix-Queue-ID: 77A1\r\n")
    assert returned.parts[2].content.startswith(b"Return-Path: <bounce+abc@news.example.com>\r\n")
    assert returned.parts[2].content.rstrip().endswith(b"album.")
    assert "I'm sorry to have to inform you" in returned.text


@pytest.mark.parametrize(
    "name",
    ["postfix-unknown", "postfix-delayed", "exim-text", "qmail-unknown", "forwarded-twice", "arf-abuse", "cut-off"],
)
def test_the_message_it_is_about_is_found(name):
    returned = read(sample(name)).returned
    assert returned.original_message_id == "m1@news.example.com"
    assert returned.original_header.startswith(b"Return-Path: <bounce+abc@news.example.com>\r\n")
    assert returned.original_header.rstrip().endswith(b"charset=utf-8")


def test_the_message_it_is_about_is_not_searched_for_reasons():
    found = read(sample("exim-expired-text"))
    assert b"Error 550 is our new album" in found.returned.parts[-1].content
    assert "album" not in found.returned.text


def test_pictures_of_a_report_are_left_out():
    names = [part.name for part in read(sample("gmail-unknown")).returned.parts]
    assert names == ["notification.txt", "report.txt", "message.eml"]


def test_a_report_keeps_who_spoke_and_when():
    (one,) = read(sample("postfix-unknown")).recipients
    assert (one.remote_mta, one.phase, one.status) == ("store.example.net", Phase.RCPT, "5.1.1")
    assert one.reply == Reply(
        550,
        "1.1",
        "<bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table",
    )
    two = read(sample("postfix-two")).recipients
    assert [(str(one.address), str(one.final)) for one in two] == [
        ("team@example.net", "bob@example.net"),
        ("team@example.net", "carol@example.net"),
    ]


def test_words_are_believed_of_mailers_alone():
    content = sample("qmail-unknown").replace(b"Return-Path: <>\r\n", b"")
    assert isinstance(read_incoming(content, CLASSIFIER, False), Bounce)  # From says so
    content = content.replace(b"MAILER-DAEMON@", b"alice@")
    assert isinstance(read_incoming(content, CLASSIFIER, False), NoReport)
    assert isinstance(read_incoming(content, CLASSIFIER, True), Bounce)


def test_fields_are_believed_of_everybody_only_under_their_own_type():
    content = sample("status-as-text").replace(b"MAILER-DAEMON@", b"alice@").replace(b"Return-Path: <>\r\n", b"")
    assert isinstance(read_incoming(content, CLASSIFIER, False), Bounce)  # multipart/report
    content = content.replace(b"multipart/report; report-type=delivery-status; ", b"multipart/mixed; ")
    assert isinstance(read_incoming(content, CLASSIFIER, False), NoReport)


BOB = Address("bob+x", "example.com")


@given(
    reply=st.builds(Reply, st.integers(400, 599), st.sampled_from(["", "1.1", "2.2", "7.26"]), st.text(max_size=80)),
    action=st.sampled_from((OurAction.FAILED, OurAction.DELAYED)),
    utf8=st.booleans(),
)
def test_our_own_reports_are_understood(reply, action, utf8):
    one = RecipientReport(BOB, action, reply, 1.7e9, "mx.example.com", "rfc822;bob+2Bx@example.com")
    to, original = Address("bounce+a", "example.org"), b"Message-ID: <m1@a.example>\r\n\r\nx\r\n"
    about = {"hostname": "a.example", "report_id": "r", "to": to, "original": original, "arrival_at": 1.7e9}
    found = read_incoming(dsn(Report(recipients=(one,), now=1.7e9, smtputf8=utf8, **about)), CLASSIFIER, True)
    assert type(found) is (Bounce if action is OurAction.FAILED else Delayed)
    (told,) = found.recipients
    assert (told.address, told.final, told.action, told.remote_mta) == (BOB, BOB, action, "mx.example.com")
    assert told.reply.code // 100 in (4, 5)
    assert told.reply.detail.startswith(reply.detail)
    assert found.returned.original_message_id == "m1@a.example"


KINDS = Bounce | Complaint | Delayed | Relayed | AutoReply | NoReport
PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"--b", b"--b--", b"\r\n--b\r\n", b" ", b"\t", b":", b";", b'"', b"<", b"("),
    *(b"\0", b"\xff", b"\xc3", b"From: MAILER-DAEMON@a.b\r\n", b"Subject: undelivered\r\n", b"=?utf-8?q?a", b"?="),
    *(b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n", b"550 5.1.1 user unknown"),
    *(b"Content-Type: message/rfc822\r\n", b"Content-Type: message/delivery-status\r\n", b"Action: failed\r\n"),
    *(b"Content-Type: message/feedback-report\r\n", b"Feedback-Type: abuse\r\n", b"Source-IP: 1.2\r\n"),
    *(b"Final-Recipient: rfc822; bob@example.net\r\n", b"Status: 5.1.1\r\n", b"Diagnostic-Code: smtp; 550 x\r\n"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/html; charset=hz\r\n", b"Arrival-Date: 99\r\n"),
    *(
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"QUJD",
        b"=\r\n",
        b"&#x110000;",
        b"<style>",
        b"bob@a.b:\r\n",
    ),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=40), st.booleans())
def test_any_octets_are_read_without_an_error(pieces, null_path):
    assert isinstance(read_incoming(b"".join(pieces), CLASSIFIER, null_path), KINDS)


@settings(max_examples=150)
@given(st.sampled_from(sorted(SAMPLES.glob("*.eml"))), st.integers(0, 4000), st.binary(max_size=8), st.integers(0, 60))
def test_a_damaged_report_is_read_without_an_error(file, place, octets, dropped):
    content = file.read_bytes()
    damaged = content[:place] + octets + content[place + dropped :]
    assert isinstance(read_incoming(damaged, CLASSIFIER, True), KINDS)


DAEMON = b"From: MAILER-DAEMON@a.b\r\nSubject: undelivered\r\n"
STATUS = DAEMON + b"Content-Type: message/delivery-status\r\n\r\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
HEAVY = {
    "lines": b"\n" * MAX_OCTETS,
    "random": random.Random(1).randbytes(MAX_OCTETS),
    "nested": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(20_000)),
    "nested, then lines": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)
    )
    + b"\n" * 900_000,
    "nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 30_000,
    "many parts": MIXED + b"--b\r\n" * 200_000,
    "many messages": MIXED + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n" * 20_000,
    "no boundary": MIXED.replace(b"=b", b"=c") + b"--" * 500_000,
    "fields": b"A: b\r\n" * 170_000,
    "folds": b"A: b\r\n" + b" x\r\n" * 250_000,
    "parameters": b"Content-Type: multipart/mixed" + b"; a=b" * 200_000,
    "recipients": STATUS + b"Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\n\r\n" * 15_000,
    "comments": STATUS + b"Action: failed\r\nFinal-Recipient: rfc822; " + b"(" * 900_000,
    "replies": STATUS + b"Action: failed\r\nDiagnostic-Code: smtp; " + b"550 5.1.1 " * 90_000,
    "address lines": DAEMON + b"\r\n" + b"bob@example.net\r\n" * 60_000,
    "at signs": DAEMON + b"\r\n" + b"@" * 900_000,
    "tags": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<style" * 150_000,
    "brackets": DAEMON + b"Content-Type: text/html\r\n\r\n" + b"<" * 900_000,
    "paragraphs": DAEMON + b"\r\n" + b"blocked ip\n\n" * 80_000,
    "base 64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"AAAAA\r\n" * 140_000,
    "From": b"From: " + b"a@b, " * 50_000,
    "beyond the end": STATUS + b"\r\n" * 20_000_000,
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_content_takes_long(name):
    before = time.thread_time()
    found = read_incoming(HEAVY[name], CLASSIFIER, True)
    assert time.thread_time() - before < 1.0  # it is about 0.15 s at most; the rest is for slow machines
    if isinstance(found, Bounce):
        assert len(found.recipients) <= 1000


@given(st.integers(0, 400), st.booleans())
@example(400, True)
def test_the_text_is_bounded(count, failed):
    text = b"could not be delivered 550 5.1.1 user unknown. " * count * (20 if failed else 1)
    found = read_incoming(DAEMON + b"\r\n" + text, CLASSIFIER, True)
    if isinstance(found, Bounce):
        assert len(found.returned.text) <= 16_384
        assert all(len(one.diagnostic) <= 1100 for one in found.recipients)
