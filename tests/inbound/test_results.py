import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound.arc import Arc, ArcResult
from mtad.inbound.dkim_check import Dkim
from mtad.inbound.dmarc import Dmarc, DmarcResult, Policy
from mtad.inbound.results import OURS, Findings, Session, added_fields, cleaned, forged, results_value, scan_head
from mtad.inbound.signature import Result
from mtad.inbound.spam import Scan, Spam
from mtad.inbound.spf import Identity, Spf, SpfResult
from mtad.message.headers import scan
from tests.inbound.zones import NOW

US = "mx.mtad.test"
CAME = Session("bob@example.org", "192.0.2.1", "mail.example.org")


def findings(spf="pass", dkim=(Result.PASS,), spam=None, **other):
    signatures = tuple(Dkim(one, "example.org", "s1", "@example.org", "rsa-sha256", "aB3/x+Z=") for one in dkim)
    return Findings(
        other.get("spf_found") or Spf(SpfResult(spf), Identity.MAILFROM, "example.org"),
        signatures,
        Dmarc(DmarcResult.PASS, "example.org", Policy.REJECT),
        Arc(ArcResult.NONE),
        spam,
    )


def added(found, came=CAME):
    block = scan(added_fields(US, found, came) + b"\r\n")
    assert not block.broken
    return {name.decode(): block.text(name) for name in block.by_name}


def test_all_results_are_in_one_field():
    assert results_value(US, findings()) == (
        "mx.mtad.test; spf=pass smtp.mailfrom=example.org; dkim=pass header.d=example.org header.s=s1 "
        'header.i=@example.org header.a=rsa-sha256 header.b="aB3/x+Z="; '
        "dmarc=pass header.from=example.org policy.dmarc=reject; arc=none"
    )


def test_what_is_missing_is_said_to_be():
    found = Findings(Spf(SpfResult.NONE, Identity.HELO, ""), (), Dmarc(DmarcResult.PERMERROR), Arc(ArcResult.FAIL))
    assert results_value(US, found) == "mx.mtad.test; spf=none; dkim=none; dmarc=permerror; arc=fail"


def test_a_stranger_s_words_stay_within_their_quotes():
    bad = Dkim(Result.FAIL, 'a";\r\nX: y', "s", "\u2028@x", "rsa", "", 'no "key"; dkim=pass\r\n')
    value = results_value(US, Findings(findings().spf, (bad,), findings().dmarc, findings().arc))
    assert 'dkim=fail reason="no ?key?; dkim=pass??" header.d="a?;??X: y" header.s=s header.i="?@x"' in value
    assert value.isascii()


def test_without_a_filter_only_the_session_is_told():
    assert list(added(findings())) == [
        "authentication-results",
        "x-mailgun-incoming",
        "x-envelope-from",
        "x-originating-ip",
    ]
    assert added(findings())["x-mailgun-incoming"] == "Yes"
    assert added(findings())["x-envelope-from"] == "<bob@example.org>"
    assert added(findings())["x-originating-ip"] == "[192.0.2.1]"


def test_the_null_path_and_an_unknown_peer_are_shown_as_such():
    fields = added(findings(), Session("", "", "x"))
    assert fields["x-envelope-from"] == "<>"
    assert "x-originating-ip" not in fields


def test_a_scanned_message_has_the_filter_s_fields():
    rules = tuple(f"RULE_NUMBER_{number}" for number in range(20))
    fields = added(findings(spam=Spam(Scan.DONE, 5.26, 5.0, True, rules)))
    assert fields["x-mailgun-sflag"] == "Yes"
    assert fields["x-mailgun-sscore"] == "5.3"
    assert fields["x-mailgun-spam-rules"] == ", ".join(rules)
    assert fields["x-mailgun-spf"] == "Pass"
    assert fields["x-mailgun-dkim-check-result"] == "Pass"
    assert added(findings(spam=Spam(Scan.DONE, -1.04, 5.0)))["x-mailgun-sflag"] == "No"
    assert added(findings(spam=Spam(Scan.DONE, -1.04, 5.0)))["x-mailgun-sscore"] == "-1.0"


@pytest.mark.parametrize("scan", [Scan.UNAVAILABLE, Scan.TOO_LARGE])
def test_a_message_that_was_not_scanned_has_no_score(scan):
    fields = added(findings(spam=Spam(scan)))
    assert not {"x-mailgun-sflag", "x-mailgun-sscore", "x-mailgun-spam-rules"} & fields.keys()
    assert fields["x-mailgun-spf"] == "Pass"


@pytest.mark.parametrize(
    ("result", "word"),
    [("pass", "Pass"), ("fail", "Fail"), ("softfail", "SoftFail"), ("neutral", "Neutral"), ("none", "Neutral"),
     ("temperror", "Neutral"), ("permerror", "Neutral")],
)  # fmt: skip
def test_spf_has_one_of_four_words(result, word):
    assert added(findings(result, spam=Spam(Scan.DONE)))["x-mailgun-spf"] == word


@pytest.mark.parametrize(
    ("dkim", "word"),
    [
        ((Result.FAIL, Result.PASS), "Pass"),
        ((Result.FAIL,), "Fail"),
        ((Result.PERMERROR,), "Fail"),
        ((Result.TEMPERROR,), None),
        ((), None),
    ],
)
def test_dkim_has_a_word_when_the_message_was_signed(dkim, word):
    assert added(findings(dkim=dkim, spam=Spam(Scan.DONE))).get("x-mailgun-dkim-check-result") == word


@pytest.mark.parametrize(
    "value",
    [
        b"mx.mtad.test; spf=pass",
        b" MX.Mtad.TEST 1; spf=pass",
        b'"mx.mtad.test"; spf=pass',
        b'"mx\\.mtad.test"; spf=pass',
        b"(a (comment;) with \\) more) mx.mtad.test; spf=pass",
        b"\r\n\tmx.mtad.test;\r\n\tspf=pass",
        b"mx.(c)mtad.test; spf=pass",
        b"(never closed mx.mtad.test; spf=pass",
    ],
)
def test_results_in_our_name_are_forged(value):
    block = scan(b"Subject: x\r\nAuthentication-Results:" + value + b"\r\n\r\nbody")
    assert forged(block, US) == {1}
    assert cleaned(block, US) == b"Subject: x\r\n\r\nbody"


def test_results_of_others_stay():
    message = b"Authentication-Results: mx.other.example; spf=pass\r\nSubject: x\r\n\r\nmx.mtad.test"
    block = scan(message)
    assert forged(block, US) == frozenset()
    assert cleaned(block, US) is message


@pytest.mark.parametrize("name", sorted(OURS))
def test_fields_only_we_write_are_taken_out(name):
    spelt = name.decode().title().encode()
    block = scan(b"A: 1\r\n" + spelt + b" : Yes\r\n\tmore\r\nB: 2\r\n" + name + b":\r\n\r\n" + name + b": body\r\n")
    assert cleaned(block, US) == b"A: 1\r\nB: 2\r\n\r\n" + name + b": body\r\n"


def test_the_filter_reads_who_was_talking_to_us():
    head = scan_head(US, Session("bob@example.org", "192.0.2.1", "mail.ex\r\nX: y"), NOW)
    assert head.startswith(b"Received: from mail.ex??X:?y (unknown [192.0.2.1])\r\n\tby mx.mtad.test with ESMTP; ")
    assert head.endswith(b"\r\nX-Envelope-From: <bob@example.org>\r\n")


@settings(max_examples=150)
@given(st.binary(max_size=120), st.text(max_size=40), st.text(max_size=40))
def test_no_octets_break_it(header, sender, helo):
    block = scan(b"Authentication-Results: " + header + b"\r\n\r\nbody")
    kept = cleaned(block, US)
    assert forged(scan(kept), US) == frozenset()
    fields = scan(added_fields(US, findings(), Session(sender, "", helo)) + b"\r\n")
    assert len(fields.fields) == 3
    assert len(scan(scan_head(US, Session(sender, "", helo), NOW) + b"\r\n").fields) == 2
