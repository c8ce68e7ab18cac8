import base64
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message import dkim
from mtad.message.dkim import Algorithm, BadKey, Signer, load_key, make_key, public_record
from mtad.message.finish import finish
from mtad.message.headers import scan
from tests.message.dkim_check import verify

NOW = 1_700_000_000.0
RSA_KEY = load_key(make_key(Algorithm.RSA), ours=True)
ED_KEY = load_key(make_key(Algorithm.ED25519))
RSA = Signer("example.org", "r1", RSA_KEY)
ED = Signer("example.org", "e1", ED_KEY)
RECORDS = {"r1._domainkey.example.org": public_record(RSA_KEY), "e1._domainkey.example.org": public_record(ED_KEY)}
HEAD = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: hello\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n"
BODY = b"\r\nhello there\r\n"


def sent(content, *signers):
    return b"".join(finish(content, signers or (RSA,), NOW))


def tags(message):
    value = scan(message).first(b"dkim-signature")
    return {tag.strip(): re.sub(rb"\s", b"", value) for tag, _, value in (p.partition(b"=") for p in value.split(b";"))}


@pytest.mark.parametrize("signer", [RSA, ED], ids=["rsa", "ed25519"])
@pytest.mark.parametrize(
    "content",
    [
        HEAD + BODY,
        HEAD,  # no blank line, no body
        HEAD + b"\r\n",  # empty body
        HEAD + b"\r\n\r\n\r\n",  # nothing but empty lines
        HEAD + b"\r\n \t\r\n  \r\n",  # nothing but white space
        HEAD + b"\r\nno line end",
        HEAD + b"\r\nwhite space at the end \t",
        HEAD + b"\r\na  b\t\tc \t d\r\n   e   \r\n\t\r\nf\t\r\n\r\n \r\n\r\n",
        HEAD + "\r\nGrüße\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
        HEAD + b"X: 1\r\nReceived: one\r\nReceived: two\r\n" + BODY,
        HEAD + b"To: second@example.com\r\nTo: third@example.com\r\nList-Id: a\r\nList-Id: b\r\n" + BODY,
        HEAD + b"Cc: a@b,\r\n\t  c@d,\r\n  e@f  \r\nReply-To:\r\n x@y\r\nReferences:\r\n" + BODY,
        b"FROM \t:  a@example.org  \t \r\nsubject:x\ty\r\n".replace(b" \t:", b":") + BODY,
        HEAD + b"From: second@example.org\r\n" + BODY,
        b"Subject: no From at all\r\n" + BODY,
        HEAD + b"Subject: " + b"x" * 5000 + b"\r\n" + BODY,
        HEAD + "Subject: grün\r\n".encode() + BODY,
    ],
)
def test_signatures_verify(content, signer):
    assert verify(sent(content, signer), RECORDS)


@pytest.mark.parametrize("line", [b"short  line \r\n", b"word " * 40_000, b" " * 200_000 + b"\r\n", b"x" * 200_000])
def test_a_huge_body_is_hashed_in_pieces_to_the_same_result(line):
    content = HEAD + b"\r\n" + line * (1_000_000 // len(line)) + b"end\r\n"
    assert verify(sent(content), RECORDS)


def test_two_signatures_stand_side_by_side():
    message = sent(HEAD + BODY, ED, RSA)
    assert message.count(b"DKIM-Signature: ") == 2
    assert verify(message, RECORDS, index=0)
    assert verify(message, RECORDS, index=1)
    assert message.endswith(HEAD + BODY)


LINES = st.lists(st.sampled_from([b" ", b"  ", b"\t", b"a", b"\xc3\xbc", b"."]), max_size=8).map(b"".join)
NAMES = st.sampled_from(
    [b"From", b"subject", b"To", b"CC", b"X-Any", b"List-Id", b"Received", b"Content-Type", b"Date"]
)
FIELDS = st.tuples(NAMES, LINES, st.lists(LINES.map(lambda line: b"\r\n " + line), max_size=2).map(b"".join))


@settings(max_examples=150, deadline=None)
@given(
    fields=st.lists(FIELDS.map(lambda f: f[0] + b":" + f[1] + f[2] + b"\r\n"), min_size=1, max_size=8).map(b"".join),
    body=st.lists(LINES, max_size=8).map(b"\r\n".join),
    ed=st.booleans(),
)
def test_any_message_signed_by_us_verifies(fields, body, ed):
    assert verify(sent(fields + b"\r\n" + body, ED if ed else RSA), RECORDS)


@pytest.mark.parametrize("signer", [RSA, ED], ids=["rsa", "ed25519"])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.replace(b"hello there", b"hello  there!"),
        lambda m: m.replace(b"Subject: hello", b"Subject: hallo"),
        lambda m: m + b"more\r\n",
        lambda m: b"From: evil@example.org\r\n" + m,
        lambda m: m.replace(b"Subject:", b"From: evil@example.org\r\nSubject:"),
        lambda m: b"Subject: evil\r\n" + m,
        lambda m: b"Cc: evil@example.org\r\n" + m,
        lambda m: b"Reply-To: evil@example.org\r\n" + m,
        lambda m: b"To: evil@example.org\r\n" + m,
    ],
)
def test_a_changed_message_does_not_verify(change, signer):
    message = sent(HEAD + BODY, signer)
    assert verify(message, RECORDS)
    assert not verify(change(message), RECORDS)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: b"Received: from somewhere\r\n" + m,
        lambda m: b"X-Spam: no\r\n" + m,
        lambda m: m.replace(b"hello there", b"hello \t there  ") + b"\r\n\r\n",
        lambda m: m.replace(b"Subject: hello", b"SUBJECT:  hello "),
    ],
)
def test_what_relays_do_on_the_way_does_no_harm(change):
    assert verify(change(sent(HEAD + BODY)), RECORDS)


def test_the_tags_say_what_was_signed():
    fields = (
        HEAD + b"Message-ID: <a@b>\r\nList-Unsubscribe: <x>\r\nList-Unsubscribe-Post: y\r\nReceived: z\r\nX-A: b\r\n"
    )
    found = tags(sent(fields + BODY))
    assert (found[b"v"], found[b"a"], found[b"c"]) == (b"1", b"rsa-sha256", b"relaxed/relaxed")
    assert (found[b"d"], found[b"s"], found[b"t"]) == (b"example.org", b"r1", b"1700000000")
    names = found[b"h"].split(b":")
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {
        b"from": 2, b"to": 2, b"subject": 2, b"date": 2, b"message-id": 2, b"cc": 1, b"reply-to": 1,
        b"list-unsubscribe": 1, b"list-unsubscribe-post": 1,
    }  # fmt: skip


def test_the_field_is_folded_at_a_bearable_length():
    fields = b"".join(b"%b: x\r\n" % name for name in dkim._SIGNED)
    field = sent(HEAD + fields + BODY).partition(b"\r\nFrom:")[0]
    assert all(len(line) <= 90 for line in field.split(b"\r\n"))


def test_the_body_hash_is_that_of_the_rfc():
    """RFC 6376 §3.4.5's body: " C \\r\\nD \\t E\\r\\n\\r\\n\\r\\n" is " C\\r\\nD E\\r\\n" when relaxed."""
    assert dkim.body_hash(b" C \r\nD \t E\r\n\r\n\r\n", 0) == dkim.body_hash(b" C\r\nD E\r\n", 0)
    # §3.4.4: the SHA-256 of an empty relaxed body
    assert dkim.body_hash(b"\r\n", 0) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_a_field_is_canonical_as_in_the_rfc():
    """RFC 6376 §3.4.5."""
    assert dkim.canonical_field(b"a", b"A: X\r\n") == b"a:X\r\n"
    assert dkim.canonical_field(b"b", b"B : Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"


def test_keys_are_made_kept_and_read_again():
    pem = make_key(Algorithm.RSA)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    key = load_key(pem)
    assert key.key_size == 2048
    record = public_record(key)
    assert record.startswith("v=DKIM1; k=rsa; p=")
    public = serialization.load_der_public_key(base64.b64decode(record.partition("p=")[2]))
    assert public == key.public_key()
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert public_record(load_key(old)) == record
    assert len(base64.b64decode(public_record(ED_KEY).partition("k=ed25519; p=")[2])) == 32


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(pem):
    with pytest.raises(BadKey):
        load_key(pem)


def test_keys_of_the_wrong_kind_or_size_are_refused():
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form, serialization.NoEncryption())
    locked = RSA_KEY.private_bytes(*form, serialization.BestAvailableEncryption(b"secret"))
    large = rsa.generate_private_key(65537, 1024).private_bytes(*form, serialization.NoEncryption())
    assert load_key(large).key_size == 1024
    for pem in (curve, locked):
        with pytest.raises(BadKey):
            load_key(pem)
    for bits in (512, 1024, 8192):
        with pytest.raises(BadKey):
            make_key(Algorithm.RSA, bits)


@pytest.mark.parametrize("name", ["", "a;b", "a b", "Example.org", "bücher.example", "a\r\nb", "a="])
def test_names_that_would_break_the_field_are_refused(name):
    with pytest.raises(BadKey):
        Signer(name, "s", ED_KEY)
    with pytest.raises(BadKey):
        Signer("example.org", name, ED_KEY)
