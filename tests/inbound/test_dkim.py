import base64
import contextlib
import re
import time

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound import dkim_check
from mtad.inbound.dkim_key import BadRecord, read_key
from mtad.inbound.signature import Bodies
from mtad.message.dkim import Signer
from mtad.message.finish import finish
from mtad.message.headers import scan
from tests.inbound.zones import ED_RECORD, ED_SIGNER, NOW, RSA_KEY, RSA_RECORD, RSA_SIGNER, TROUBLE, said

HEAD = (
    b"From: Bob <bob@example.org>\r\nTo: amy@example.com\r\nSubject: hello\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n"
)
MAIL = HEAD + b"\r\nhello  there\t \r\n\r\nbye\r\n\r\n\r\n"
KEYS = {"r1._domainkey.example.org": said(RSA_RECORD), "e1._domainkey.example.org": said(ED_RECORD)}
PEM = RSA_KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)


def signed(content=MAIL, *signers, at=NOW):
    return b"".join(finish(content, signers or (RSA_SIGNER,), at))


def check(message, keys=None, now=NOW, **some):
    block = scan(message)
    signatures = dkim_check.read_all(block)
    answers = {**KEYS, **(keys or {}), **some}
    known = {name: dkim_check.key_of(answers.get(name, said())) for name in dkim_check.names_wanted(signatures)}
    return dkim_check.check_all(block, signatures, known, Bodies(block), now)


def only(message, keys=None, now=NOW):
    (found,) = check(message, keys, now)
    return found


def rekeyed(record):
    return {"r1._domainkey.example.org": said(record) if isinstance(record, str) else record}


@pytest.mark.parametrize("signer", [RSA_SIGNER, ED_SIGNER], ids=["rsa", "ed25519"])
def test_what_we_sign_passes(signer):
    found = only(signed(MAIL, signer))
    assert (found.result, found.domain, found.selector) == ("pass", "example.org", signer.selector)
    assert found.identity == "@example.org"


@pytest.mark.parametrize("form", [(a, b) for a in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")])
@pytest.mark.parametrize(
    "content",
    [
        MAIL,
        HEAD + b"\r\n",
        HEAD + b"\r\n\r\n\r\n",
        HEAD + b"\r\n \t\r\n  \r\n",
        HEAD + b"X:  folded\r\n \t field \r\nSubject: twice\r\n\r\nno line end",
        HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n \r\nx \r\n",
    ],
)
def test_what_dkimpy_signs_passes_in_every_form(content, form):
    field = dkimpy.DKIM(content).sign(b"r1", b"example.org", PEM, canonicalize=form)
    assert only(field + content, now=time.time()).result == "pass"


@pytest.mark.parametrize("length", [True, False])
def test_a_length_tag_is_good_only_when_it_covers_all(length):
    field = dkimpy.DKIM(MAIL).sign(b"r1", b"example.org", PEM, canonicalize=(b"relaxed", b"relaxed"), length=length)
    assert only(field + MAIL, now=time.time()).result == "pass"
    longer = only(field + MAIL + b"something new\r\n", now=time.time())
    assert longer.result == ("policy" if length else "fail")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"hello  there", b"hello, there", "body hash did not verify"),
        (b"Subject: hello", b"Subject: hallo", "signature did not verify"),
        (b"\r\nTo: ", b"\r\nTo: eve@example.net\r\nTo: ", "signature did not verify"),  # oversigned
    ],
)
def test_a_change_on_the_way_fails(old, new, reason):
    found = only(signed().replace(old, new, 1))
    assert (found.result, found.reason) == ("fail", reason)


def test_white_space_that_changed_does_not_matter_in_relaxed_form():
    assert (
        only(signed().replace(b"hello  there\t ", b"hello there").replace(b"Subject: ", b"SUBJECT:   ")).result
        == "pass"
    )


def test_a_second_from_that_nobody_signed_is_not_covered():
    field = dkimpy.DKIM(MAIL).sign(b"r1", b"example.org", PEM, include_headers=[b"from", b"subject"])
    assert only(field + MAIL, now=time.time()).result == "pass"
    assert only(b"From: eve@example.net\r\n" + field + MAIL, now=time.time()).result == "policy"


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        (said(), "permerror", "no key for signature"),
        (TROUBLE, "temperror", "DNS: SERVFAIL"),
        ("v=DKIM1; p=", "permerror", "the key is revoked"),
        ("v=DKIM1; p=AAAA", "permerror", "the key cannot be read"),
        ("v=DKIM1; p=***", "permerror", "the key is not base 64"),
        ("v=DKIM2; " + RSA_RECORD[9:], "permerror", "the record is no DKIM key"),
        ("v=spf1 -all", "permerror", "the record is no DKIM key"),
        ("no tags at all", "permerror", "the key record is no list of tags"),
        (RSA_RECORD + "; h=sha1", "permerror", "the key is not for SHA-256"),
        (RSA_RECORD + "; s=tlsrpt", "permerror", "the key is not for mail"),
        (RSA_RECORD.replace("k=rsa", "k=dsa"), "permerror", "the key is of an unknown kind"),
        (ED_RECORD, "permerror", "the key is of another kind"),
    ],
)
def test_a_key_that_cannot_be_used(record, result, reason):
    found = only(signed(), rekeyed(record))
    assert (found.result, found.reason) == (result, reason)


def record_of(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return "p=" + base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()


def test_a_bare_key_and_one_of_several_records_will_do():
    der = RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    assert only(signed(), rekeyed("p=" + base64.b64encode(der).decode())).result == "pass"
    assert only(signed(), {"r1._domainkey.example.org": said("another text", RSA_RECORD)}).result == "pass"


def test_a_testing_key_is_reported_as_one():
    assert only(signed(), rekeyed(RSA_RECORD + "; t=y:s")).testing


def test_an_identity_below_a_strict_key_is_refused():
    field = dkimpy.DKIM(MAIL).sign(b"r1", b"example.org", PEM, identity=b"bob@sub.example.org")
    assert only(field + MAIL, now=time.time()).result == "pass"
    assert only(field + MAIL, rekeyed(RSA_RECORD + "; t=s"), now=time.time()).result == "permerror"


def test_a_short_key_does_not_count():
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert read_key(record_of(weak)).weak == ""
    der = bytes.fromhex("30819f300d06092a864886f70d010101050003818d00")  # cut short: no key at all
    with pytest.raises(BadRecord, match="cannot be read"):
        read_key("p=" + base64.b64encode(der).decode())
    shorter = rsa.RSAPublicNumbers(65537, (1 << 767) + 0x12D)
    octets = shorter.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    found = only(signed(), rekeyed("p=" + base64.b64encode(octets).decode()))
    assert (found.result, found.reason) == ("policy", "an RSA key of 768 bits is too short")


@pytest.mark.parametrize(("bits", "exponent"), [(8192, 65537), (2048, 2**64 + 13)])
def test_a_key_that_takes_long_is_not_calculated_with(bits, exponent):
    try:
        public = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 0x12D).public_key()
    except ValueError:
        return  # the library will not have it either
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    octets = public.public_bytes(serialization.Encoding.DER, form)
    assert only(signed(), rekeyed("p=" + base64.b64encode(octets).decode())).result in ("policy", "permerror")


def edited(message, old, new):
    changed = re.sub(old, new, message, count=1)
    assert changed != message
    return changed


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        (rb"a=rsa-sha256", b"a=rsa-sha1", "policy"),
        (rb"a=rsa-sha256", b"a=rsa-md5", "permerror"),
        (rb"v=1", b"v=2", "neutral"),
        (rb"d=example.org", b"d=exa mple", "neutral"),
        (rb"d=example.org;", b"", "neutral"),
        (rb"h=from:from:", b"h=", "neutral"),
        (rb"c=relaxed/relaxed", b"c=other", "neutral"),
        (rb"d=example.org", b"d=example.org; d=example.org", "neutral"),
        (rb"d=example.org", b"d=example.org; i=bob@example.net", "neutral"),
        (rb"d=example.org", b"d=example.org; i=bob@badexample.org", "neutral"),
        (rb"d=example.org", b"d=example.org; q=http", "neutral"),
        (rb"d=example.org", b"d=example.org; l=ten", "neutral"),
        (rb"d=example.org", b"d=example.org; x=1", "fail"),
        (rb"t=\d+", b"t=1990000000", "fail"),
        (rb"\tb=", b"\tb=*", "neutral"),
    ],
)
def test_a_signature_with_a_wrong_tag(old, new, result):
    assert only(edited(signed(), old, new)).result == result


def test_an_expired_signature_says_so():
    assert (
        only(edited(signed(), rb"d=example.org", b"d=example.org; x=1790000000"), now=NOW + 1).reason
        == "signature expired"
    )


def test_no_more_signatures_are_looked_at_than_there_may_be():
    assert len(check(b"DKIM-Signature: v=1\r\n" * 500 + MAIL)) == dkim_check.MAX_SIGNATURES


def test_two_signatures_each_have_their_verdict():
    other = Signer("example.net", "r1", RSA_KEY)
    found = check(signed(MAIL, other, RSA_SIGNER))
    assert sorted((one.domain, one.result) for one in found) == [("example.net", "permerror"), ("example.org", "pass")]


def test_a_message_without_signatures_has_no_verdicts():
    assert check(MAIL) == ()


@pytest.mark.parametrize("form", [b"relaxed/relaxed", b"simple/simple"])
@pytest.mark.parametrize("filling", [b" " * 3_000_000, b"\r\n" * 1_500_000, b" \t" * 1_000_000 + b"x"])
def test_white_space_without_end_takes_no_time(filling, form):
    """dkimpy would need hours: the time its patterns take grows with the square."""
    message = signed().replace(b"c=relaxed/relaxed", b"c=" + form, 1) + filling
    begun = time.process_time()
    check(message)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("value", [b"b=" + b" \r\n " * 4000, b"h=" + b" :" * 7000, b";" * 16_000, b"a=b;" * 4000])
def test_a_signature_field_made_to_be_slow_is_not(value):
    begun = time.process_time()
    check((b"DKIM-Signature: v=1; " + value + b"\r\n") * 10 + MAIL)
    assert time.process_time() - begun < 1


PIECES = st.sampled_from(
    [
        *(b"v=1;", b"a=rsa-sha256;", b"b=", b"bh=AAAA;", b"d=example.org;", b"h=from:to;", b"s=r1;", b"l=5;", b"\r\n "),
        *(
            b"c=relaxed;",
            b"c=relaxed/simple;",
            b"t=1;",
            b"x=99;",
            b"i=@example.org;",
            b"AAAA;",
            b"\xff",
            b"=",
            b";",
            b":",
        ),
    ]
)


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=14).map(b"".join), st.binary(max_size=60), st.binary(max_size=80))
def test_no_octets_break_it(field, header, body):
    message = b"DKIM-Signature: " + field + b"\r\nFrom: a@b\r\n" + header + b"\r\n\r\n" + body
    for found in check(message):
        assert found.result != "pass"


@settings(max_examples=60)
@given(st.text(alphabet="vkpsht=;:DKIM1rsa AQAB+/\t", max_size=60))
def test_no_key_record_breaks_it(text):
    with contextlib.suppress(BadRecord):
        assert read_key(text).bits


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"\xe4", b"  \r\n", b"\r\n\r\n"]), max_size=25).map(b"".join)
)
@pytest.mark.parametrize("form", [b"relaxed/relaxed", b"simple/simple"])
def test_bodies_are_hashed_as_dkimpy_hashes_them(form, body):
    content = HEAD + b"\r\n" + body + b"\r\n"
    field = dkimpy.DKIM(content).sign(b"r1", b"example.org", PEM, canonicalize=tuple(form.split(b"/")))
    assert only(field + content, now=time.time()).result == "pass"


def test_keys_of_both_kinds_are_read():
    assert read_key(RSA_RECORD).bits == 2048
    assert read_key(ED_RECORD).algorithm == "ed25519-sha256"
