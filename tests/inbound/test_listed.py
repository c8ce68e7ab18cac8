"""What the checks of a message say of its From."""

import pytest

from mtad.inbound.arc import Arc, ArcResult
from mtad.inbound.dkim_check import Dkim
from mtad.inbound.dmarc import Dmarc, DmarcResult, is_strict
from mtad.inbound.listed import borrows, proof_of
from mtad.inbound.results import Findings, Session, added_fields
from mtad.inbound.signature import Result
from mtad.inbound.spf import Spf, SpfResult
from mtad.lists.access import Proof
from mtad.message.headers import scan
from tests.inbound.zones import said

BLOCK = scan(b"From: ann@mail.example.org\r\n\r\n")


def proof(dmarc: DmarcResult, spf: SpfResult = SpfResult.NONE, sent="example.org", signed="") -> Proof:
    dkim = (Dkim(Result.PASS, signed),) if signed else ()
    return proof_of(Findings(Spf(spf, "mailfrom", sent), dkim, Dmarc(dmarc), Arc(ArcResult.NONE)), BLOCK)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (DmarcResult.PASS, Proof.PASSED),
        (DmarcResult.FAIL, Proof.FAILED),
        (DmarcResult.TEMPERROR, Proof.UNKNOWN),
        (DmarcResult.NONE, Proof.NONE),
        (DmarcResult.PERMERROR, Proof.NONE),
    ],
)
def test_dmarc_tells(result, expected):
    assert proof(result) is expected


def test_without_dmarc_what_would_be_aligned_proves_it():
    assert proof(DmarcResult.NONE, SpfResult.PASS) is Proof.PASSED
    assert proof(DmarcResult.NONE, SpfResult.PASS, sent="esp.example") is Proof.NONE
    assert proof(DmarcResult.NONE, signed="example.org") is Proof.PASSED
    assert proof(DmarcResult.NONE, signed="esp.example") is Proof.NONE


def test_an_envelope_that_spf_disowns_proves_the_contrary():
    assert proof(DmarcResult.NONE, SpfResult.FAIL) is Proof.FAILED
    assert proof(DmarcResult.FAIL, SpfResult.PASS) is Proof.FAILED


@pytest.mark.parametrize(
    ("record", "signer", "strict"),
    [
        ("v=DMARC1; p=reject", "lists.example", True),
        ("v=DMARC1; p=quarantine", "", True),
        ("v=DMARC1; p=none", "lists.example", False),
        ("v=DMARC1; p=reject", "lists.example.org", False),
        ("v=DMARC1; p=reject; adkim=s", "lists.example.org", True),
        (None, "lists.example", False),
    ],
)
def test_a_domain_that_wants_others_mail_refused_is_strict(record, signer, strict):
    answers = {"_dmarc.example.org": said(record) if record else said()}
    assert is_strict(["example.org"], answers, signer) is strict


def test_where_dns_does_not_tell_a_domain_is_taken_for_strict():
    class Trouble:
        found, records, why = "trouble", (), "timeout"

    assert is_strict(["example.org"], {"_dmarc.example.org": Trouble()}, "lists.example")


@pytest.mark.parametrize(
    ("author", "spf", "sent", "signed", "borrowed"),
    [
        ("lists.example", SpfResult.NONE, "lists.example", "", True),
        ("lists.example", SpfResult.SOFTFAIL, "lists.example", "", True),
        ("lists.example", SpfResult.PASS, "esp.example", "esp.example", True),
        ("mail.lists.example", SpfResult.NONE, "lists.example", "", True),
        ("lists.example", SpfResult.PASS, "lists.example", "", False),
        ("lists.example", SpfResult.NONE, "esp.example", "mail.lists.example", False),
        ("lists.example", SpfResult.PASS, 'x"; dkim=pass header.d=lists.example; y="', "", True),
        ("else.example", SpfResult.NONE, "else.example", "", False),
    ],
)
def test_a_stranger_who_claims_to_be_of_the_lists_own_domain_has_to_prove_it(author, spf, sent, signed, borrowed):
    dkim = (Dkim(Result.PASS, signed, selector="s", identity="@else.example"),) if signed else ()
    findings = Findings(Spf(spf, "mailfrom", sent), dkim, Dmarc(DmarcResult.NONE), Arc(ArcResult.NONE))
    ours = added_fields("mx.lists.example", findings, Session(f"ceo@{sent}", "192.0.2.1", "helo"))
    forged = b"Authentication-Results: mx.lists.example; dkim=pass header.d=lists.example\r\n"
    block = scan(ours + forged + b"From: Boss <ceo@" + author.encode() + b">\r\n\r\n")
    assert borrows(block, [author], "lists.example") is borrowed


def test_what_our_own_users_write_in_the_name_of_the_domain_is_theirs():
    assert not borrows(scan(b"From: ceo@lists.example\r\n\r\n"), ["lists.example"], "lists.example")
