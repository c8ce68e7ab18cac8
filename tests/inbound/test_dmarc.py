import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound import dmarc
from mtad.inbound.dkim_check import Dkim
from mtad.inbound.dmarc import Policy, Record, aligned, author_domains, organisational, read_record
from mtad.inbound.signature import Result
from mtad.inbound.spf import Identity, Spf, SpfResult
from mtad.message.headers import scan
from tests.inbound.zones import TROUBLE, said

NOTHING = said()


def spf(result="none", domain=""):
    return Spf(SpfResult(result), Identity.MAILFROM, domain)


def dkim(domain, result="pass"):
    return Dkim(Result(result), domain, "s1")


def judge(sender="example.org", record="v=DMARC1; p=reject", *, spf=spf(), dkim=(), chance=0.0, more=None):  # noqa: B008
    domains = [sender] if isinstance(sender, str) else sender
    answers = {name: NOTHING for name in dmarc.names_wanted(domains or [])}
    answers["_dmarc.example.org"] = said(record) if isinstance(record, str) else record
    answers.update(more or {})
    return dmarc.evaluate(domains, answers, spf, dkim, lambda: chance)


@pytest.mark.parametrize(
    ("author", "authenticated", "strict", "expected"),
    [
        ("example.org", "example.org", True, True),
        ("example.org", "Example.ORG", True, True),
        ("example.org", "mail.example.org", True, False),
        ("example.org", "mail.example.org", False, True),
        ("news.example.org", "mail.example.org", False, True),
        ("example.org", "example.com", False, False),
        ("example.org", "badexample.org", False, False),
        ("a.co.uk", "b.co.uk", False, False),
        ("x.a.co.uk", "a.co.uk", False, True),
        ("alice.github.io", "bob.github.io", False, False),  # of the list's private part
        ("co.uk", "co.uk", False, True),
        ("xn--bcher-kva.example", "mail.xn--bcher-kva.example", False, True),
        ("example.org", "", False, False),
    ],
)
def test_alignment(author, authenticated, strict, expected):
    assert aligned(author, authenticated, strict) is expected


def test_the_organisational_domain_is_one_label_below_the_public_suffix():
    assert organisational("a.b.example.co.uk") == "example.co.uk"
    assert organisational("example.org") == "example.org"
    assert organisational("org") == "org"


def test_spf_that_is_aligned_passes():
    found = judge(spf=spf("pass", "bounces.example.org"))
    assert (found.result, found.spf_aligned, found.dkim_aligned) == ("pass", True, False)


def test_dkim_that_is_aligned_passes():
    found = judge(spf=spf("fail", "example.org"), dkim=[dkim("example.com"), dkim("mail.example.org")])
    assert (found.result, found.spf_aligned, found.dkim_aligned) == ("pass", False, True)


@pytest.mark.parametrize(
    ("spf", "dkim"),
    [
        (spf("pass", "example.com"), [dkim("example.com")]),
        (spf("softfail", "example.org"), []),
        (spf("neutral", "example.org"), [dkim("example.org", "fail"), dkim("example.org", "policy")]),
        (spf("temperror", "example.com"), [dkim("example.com", "temperror")]),
    ],
)
def test_what_is_not_aligned_or_does_not_pass_fails(spf, dkim):
    found = judge(spf=spf, dkim=dkim)
    assert (found.result, found.wanted) == ("fail", "reject")


def test_strict_alignment_wants_the_same_name():
    record = "v=DMARC1; p=reject; adkim=s; aspf=S"
    assert judge(record=record, spf=spf("pass", "a.example.org"), dkim=[dkim("b.example.org")]).result == "fail"
    assert judge(record=record, spf=spf("pass", "a.example.org"), dkim=[dkim("example.org")]).result == "pass"


def test_trouble_with_what_might_have_been_aligned_is_temporary():
    assert judge(spf=spf("temperror", "example.org")).result == "temperror"
    assert judge(dkim=[dkim("example.org", "temperror")]).result == "temperror"
    assert judge(spf=spf("temperror", "example.org"), dkim=[dkim("example.org")]).result == "pass"


@pytest.mark.parametrize(
    ("sender", "record", "wanted"),
    [
        ("example.org", "v=DMARC1; p=reject; sp=none", "reject"),
        ("news.example.org", "v=DMARC1; p=reject; sp=none", "none"),
        ("news.example.org", "v=DMARC1; p=quarantine", "quarantine"),
        ("news.example.org", "v=DMARC1; p=none; sp=reject", "reject"),
    ],
)
def test_sub_domains_have_the_policy_that_is_for_them(sender, record, wanted):
    found = judge(sender, record)
    assert (found.result, found.wanted) == ("fail", wanted)


def test_a_sub_domain_s_own_record_goes_first():
    more = {"_dmarc.news.example.org": said("v=DMARC1; p=none; sp=reject")}
    assert judge("news.example.org", more=more).wanted == "none"


@pytest.mark.parametrize(
    ("record", "chance", "wanted"),
    [
        ("p=reject; pct=30", 0.29, "reject"),
        ("p=reject; pct=30", 0.31, "quarantine"),
        ("p=quarantine; pct=0", 0.0, "none"),
        ("p=reject; pct=100", 0.999, "reject"),
    ],
)
def test_a_percentage_is_spared_one_step(record, chance, wanted):
    found = judge(record="v=DMARC1; " + record, chance=chance)
    assert (found.result, found.wanted) == ("fail", wanted)


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (NOTHING, "none"),
        (TROUBLE, "temperror"),
        (said("v=spf1 -all", "text"), "none"),
        (said("v=DMARC1; p=none", "v=DMARC1; p=reject"), "permerror"),
        (said("text", "v=DMARC1; p=reject"), "fail"),
        ("v=DMARC1", "permerror"),
        ("v=DMARC1; p=maybe", "permerror"),
        ("v=DMARC1; p=maybe; rua=mailto:a@example.org", "fail"),
        ("v=dmarc1; p=reject", "none"),
        ("p=reject; v=DMARC1", "none"),
    ],
)
def test_records_that_are_missing_doubled_or_broken(record, result):
    assert judge(record=record).result == result


def test_a_record_is_read_as_it_is_written():
    text = "v=DMARC1 ;P = Reject;SP=none; pct = 20; adkim=s;;; x=y; p=none; rua"
    assert read_record(text) == Record(Policy.REJECT, Policy.NONE, strict_dkim=True, percent=20)
    assert read_record("v=DMARC1;p=none;pct=x") == Record(Policy.NONE, Policy.NONE)
    assert read_record("v=DMARC1;p=none;pct=500").percent == 100


@pytest.mark.parametrize(
    ("header", "domains"),
    [
        (b"From: Bob <bob@Example.ORG>\r\n", ["example.org"]),
        (b'From: "x@evil.example" <bob@example.org>\r\n', ["example.org"]),
        (b"From: a@example.org, b@example.com, c@EXAMPLE.org\r\n", ["example.org", "example.com"]),
        (b"From: a@example.org\r\nFrom: b@example.com\r\n", ["example.org", "example.com"]),
        ("From: a@bücher.example\r\n".encode(), ["xn--bcher-kva.example"]),
        (b"Subject: no sender\r\n", None),
        (b"From: nobody:;\r\n", None),
        (b"From: Bob\r\n", None),
        (b"From: a@[192.0.2.1]\r\n", None),
        (b"From: a@[192.0.2.1], b@example.org\r\n", ["example.org"]),
        (b"From: " + b", ".join(b"a@d%d.example" % i for i in range(9)) + b"\r\n", [f"d{i}.example" for i in range(6)]),
    ],
)
def test_all_domains_of_from_are_found(header, domains):
    assert author_domains(scan(header + b"\r\n")) == domains


def test_of_several_authors_the_strictest_result_counts():
    more = {"_dmarc.example.com": said("v=DMARC1; p=quarantine")}
    passing = dkim("example.com")
    found = judge(["example.com", "example.org"], dkim=[passing], more=more)
    assert (found.result, found.domain, found.wanted) == ("fail", "example.org", "reject")
    both = judge(["example.com", "example.org"], more=more)
    assert (both.result, both.wanted) == ("fail", "reject")
    assert judge(["example.com", "example.org"], dkim=[passing, dkim("example.org")], more=more).result == "pass"


def test_mail_from_nobody_is_a_permanent_error_and_asks_for_nothing():
    found = judge(None)
    assert (found.result, found.wanted) == ("permerror", "none")


def test_a_domain_does_not_hide_among_many():
    domains = [f"d{number}.example" for number in range(dmarc.MAX_DOMAINS)] + ["example.org"]
    found = judge(domains, dkim=[dkim("d0.example")])
    assert (found.result, found.wanted) == ("fail", "reject")


@settings(max_examples=150)
@given(st.text(alphabet="v=DMARC1;p srejctnoqua%ds09\xff\n:", max_size=60))
def test_no_record_breaks_it(text):
    for record in (text, "v=DMARC1;" + text):
        found = read_record(record)
        assert found is None or 0 <= found.percent <= 100
    assert judge(record=said(text)).result in {"none", "permerror", "fail"}


@settings(max_examples=100)
@given(st.binary(max_size=100))
def test_no_from_field_breaks_it(value):
    domains = author_domains(scan(b"From: " + value + b"\r\n\r\n"))
    assert domains is None or (domains and all(one.isascii() for one in domains))
