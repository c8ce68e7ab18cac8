import re

import dkim as dkimpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound import arc
from mtad.inbound.arc import Arc, ArcResult, BrokenChain, Sealer
from mtad.inbound.dkim_check import key_of
from mtad.inbound.signature import Bodies
from mtad.message.dkim import BadKey
from mtad.message.finish import finish
from mtad.message.headers import scan
from tests.inbound.zones import ED_KEY, NOW, RSA_KEY, RSA_RECORD, RSA_SIGNER, TROUBLE, said

MAIL = b"From: Bob <bob@example.org>\r\nTo: amy@example.com\r\nSubject: hello\r\n\r\nhello  there\r\n\r\n"
SEALER = Sealer("example.net", "k1", RSA_KEY)
RESULTS = 'mx.example.net; spf=pass smtp.mailfrom=example.org; dkim=fail reason="body hash did not verify"; arc=none'


def verified(message, answer=None, now=NOW):
    block = scan(message)
    try:
        sets = arc.read_sets(block)
    except BrokenChain as error:
        return Arc(ArcResult.FAIL, reason=str(error))
    keys = {name: key_of(answer or said(RSA_RECORD)) for name in arc.names_wanted(sets)}
    return arc.verify(block, sets, keys, Bodies(block), now)


def sealed(message=MAIL, times=1, now=NOW):
    for number in range(times):
        sealer = Sealer(f"hop{number + 1}.example", "k1", RSA_KEY)
        message = arc.seal(scan(message), sealer, verified(message), RESULTS, now) + message
    return message


def by_dkimpy(message):
    return dkimpy.ARC(message).verify(dnsfunc=lambda name, timeout=5: RSA_RECORD.encode())


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_chain_of_ours_passes_here_and_at_dkimpy(times):
    message = sealed(b"".join(finish(MAIL, (RSA_SIGNER,), NOW)), times)
    assert verified(message) == Arc(ArcResult.PASS, times, f"hop{times}.example")
    result, sets, reason = by_dkimpy(message)
    assert (result, reason, len(sets)) == (b"pass", "success", times)


def test_a_message_without_sets_has_no_chain():
    assert verified(MAIL) == Arc(ArcResult.NONE)


def test_a_body_changed_behind_the_last_seal_breaks_the_chain():
    found = verified(sealed().replace(b"hello  there", b"hello, there"))
    assert (found.result, found.reason) == ("fail", "message signature 1: body hash did not verify")
    assert by_dkimpy(sealed().replace(b"hello  there", b"hello, there"))[0] == b"fail"


def test_a_change_between_two_seals_is_vouched_for_by_the_second():
    once = sealed().replace(b"Subject: hello", b"Subject: [list] hello")
    assert verified(once).result == "fail"
    first = sealed()
    block = scan(first.replace(b"Subject: hello", b"Subject: [list] hello"))
    twice = arc.seal(block, SEALER, verified(first), RESULTS, NOW) + block.content
    assert verified(twice).result == "pass"
    assert by_dkimpy(twice)[0] == b"pass"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"spf=pass", b"spf=fail"),  # the results are under the seal
        (rb"ARC-Seal: i=1; a=rsa-sha256; cv=none", b"ARC-Seal: i=1; a=rsa-sha256; cv=pass"),
        (rb"ARC-Seal: i=1; a=rsa-sha256; cv=none", b"ARC-Seal: i=1; a=rsa-sha256; cv=what"),
        (rb"ARC-Seal: i=1;", b"ARC-Seal: i=2;"),
        (rb"ARC-Seal: i=1;", b"ARC-Seal: i=0;"),
        (rb"ARC-Seal: i=1;", b"ARC-Seal: i=1; h=from;"),
        (rb"ARC-Seal: [^!]*?(?=ARC-Mess)", b""),
        (rb"ARC-Authentication-Results: i=1;", b"ARC-Authentication-Results: "),
        (
            rb"ARC-Authentication-Results: i=1;",
            b"ARC-Authentication-Results: i=1; x\r\nARC-Authentication-Results: i=1;",
        ),
        (rb"h=from:", b"h=arc-seal:from:"),
        (rb"d=hop1.example", b"d=..example"),
    ],
)
def test_a_set_that_was_touched_breaks_the_chain(old, new):
    message = re.sub(old, new, sealed(), count=1)
    assert message != sealed()
    assert verified(message).result == "fail"


def test_the_seal_of_an_older_set_counts_too():
    first, second = sealed(), sealed(times=2)
    assert second.endswith(first)
    touched = second[: -len(first)] + first.replace(b"spf=pass", b"spf=none")
    found = verified(touched)
    assert found.result == "fail"
    assert "seal" in found.reason


def test_a_chain_somebody_found_broken_stays_broken():
    broken = sealed().replace(b"hello  there", b"hello, there")
    again = arc.seal(scan(broken), SEALER, verified(broken), RESULTS, NOW) + broken
    assert b"cv=fail" in again
    assert verified(again).result == "fail"


def test_without_dns_nothing_is_known_and_nothing_sealed():
    message = sealed()
    found = verified(message, TROUBLE)
    assert (found.result, found.sets) == ("temperror", 1)
    assert arc.seal(scan(message), SEALER, found, RESULTS, NOW) == b""


def test_keys_that_are_gone_break_the_chain():
    assert verified(sealed(), said()).result == "fail"


def test_a_chain_that_is_too_long_is_not_followed():
    assert verified(b"ARC-Seal: i=1\r\n" * 2 + MAIL).reason == "two fields of set 1"
    fields = b"".join(b"ARC-Seal: i=%d; cv=pass\r\n" % number for number in range(1, 50))
    assert verified(fields + MAIL).reason == "the chain is too long"
    full = Arc(ArcResult.PASS, arc.MAX_SETS, "x.example")
    assert arc.seal(scan(MAIL), SEALER, full, RESULTS, NOW) == b""


def test_nobody_seals_with_a_key_that_others_do_not_know():
    with pytest.raises(BadKey):
        Sealer("example.net", "k1", ED_KEY)


def test_no_line_of_a_seal_is_too_long():
    fields = arc.seal(scan(MAIL), SEALER, Arc(ArcResult.NONE), RESULTS, NOW)
    assert max(map(len, fields.split(b"\r\n"))) <= 100
    assert [name for name, _ in scan(fields + b"\r\n").fields] == [
        b"arc-seal",
        b"arc-message-signature",
        b"arc-authentication-results",
    ]


NAMES = st.sampled_from([b"ARC-Seal: ", b"ARC-Message-Signature: ", b"ARC-Authentication-Results: "])
VALUES = st.sampled_from(
    [
        *(
            b"i=1;",
            b"i=2;",
            b"i=x;",
            b"cv=none;",
            b"cv=pass;",
            b"a=rsa-sha256;",
            b"b=AAAA;",
            b"bh=AAAA;",
            b"d=a.example;",
        ),
        *(b"s=k;", b"h=from;", b"\xff;", b"=;", b";", b"\r\n "),
    ]
)


@settings(max_examples=150)
@given(st.lists(st.tuples(NAMES, st.lists(VALUES, max_size=9).map(b"".join)), max_size=7))
def test_no_sets_break_it(fields):
    message = b"".join([name + value + b"\r\n" for name, value in fields]) + MAIL
    assert verified(message).result in {"none", "fail"}
