import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound.lookup import MAX_QUESTIONS, TooManyQuestions
from mtad.inbound.spf import Identity, evaluate, has_record, sender_of
from mtad.mail.address import Address
from tests.inbound.zones import NOW, Book

BOB = Address("bob", "example.org")


def check(records, ip="192.0.2.1", sender=BOB, helo="mx.example.org"):
    book = records if isinstance(records, Book) else Book(records)
    return evaluate(sender_of(sender, helo), ip, helo, NOW, book)


def result(record, more=None, **about):
    return str(check({"TXT example.org": [record], **(more or {})}, **about).result)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:198.51.100.0/24 -all", "fail"),
        ("v=spf1 ip4:198.51.100.0/24 ~all", "softfail"),
        ("v=spf1 ip4:198.51.100.0/24 ?all", "neutral"),
        ("v=spf1 ip4:198.51.100.0/24", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf10 +all", "none"),
        ("spf2.0/pra +all", "none"),
        ("v=spf1 -ip4:192.0.2.1 +all", "fail"),
        ("v=spf1 nonsense:x -all", "permerror"),
        ("v=spf1 ip4:999.0.0.1 -all", "permerror"),
        ("v=spf1 a:%{x} -all", "permerror"),
        ("v=spf1 redirect=nothing.example", "permerror"),
        ("v=spf1 include:nothing.example -all", "permerror"),
        ("V=SPF1 IP4:192.0.2.1 -ALL", "pass"),
        ("v=spf1 unknown=modifier ip4:192.0.2.1 -all", "pass"),
        ("v=spf1 include:example.org -all", "permerror"),
        ("v=spf1 ip4:192.0.2.1 caf\xe9 -all", "permerror"),
    ],
)
def test_a_record_has_its_result(record, expected):
    assert result(record) == expected


@pytest.mark.parametrize(
    ("term", "more", "expected"),
    [
        ("a", {"A example.org": ["192.0.2.1"]}, "pass"),
        ("a:host.example.org", {"A host.example.org": ["192.0.2.9"]}, "fail"),
        ("a:host.example.org/24", {"A host.example.org": ["192.0.2.9"]}, "pass"),
        ("mx", {"MX example.org": ["mx1.example.org"], "A mx1.example.org": ["192.0.2.1"]}, "pass"),
        ("mx", {"MX example.org": ["mx1.example.org"], "A mx1.example.org": ["192.0.2.2"]}, "fail"),
        ("include:other.example", {"TXT other.example": ["v=spf1 ip4:192.0.2.1 -all"]}, "pass"),
        ("include:other.example", {"TXT other.example": ["v=spf1 -all"]}, "fail"),
        ("exists:%{i}.list.example", {"A 192.0.2.1.list.example": ["127.0.0.2"]}, "pass"),
        ("exists:%{ir}.%{v}.%{l}.list.example", {"A 1.2.0.192.in-addr.bob.list.example": ["127.0.0.2"]}, "pass"),
        ("exists:%{d2}.%{h}.x", {"A example.org.mx.example.org.x": ["127.0.0.2"]}, "pass"),
        ("exists:%{t}.x", {}, "permerror"),  # only for explanations (RFC 7208 §7.2)
        ("ptr", {"PTR 1.2.0.192.in-addr.arpa": ["a.example.org"], "A a.example.org": ["192.0.2.1"]}, "pass"),
        ("ptr", {"PTR 1.2.0.192.in-addr.arpa": ["a.example.org"], "A a.example.org": ["192.0.2.2"]}, "fail"),
    ],
)
def test_mechanisms_ask_and_compare(term, more, expected):
    assert result(f"v=spf1 {term} -all", more) == expected


def test_redirect_takes_the_other_domain_s_word():
    more = {"TXT other.example": ["v=spf1 ip4:192.0.2.1 -all"]}
    assert result("v=spf1 redirect=other.example", more) == "pass"
    assert result("v=spf1 redirect=other.example", more, ip="192.0.2.2") == "fail"


def test_ipv6_is_asked_for_and_compared():
    more = {"AAAA example.org": ["2001:db8::5"]}
    assert result("v=spf1 a -all", more, ip="2001:db8::5") == "pass"
    assert result("v=spf1 ip6:2001:db8::/32 -all", ip="2001:db8:1::1") == "pass"
    assert result("v=spf1 ip4:192.0.2.1 -all", ip="::ffff:192.0.2.1") == "pass"


@pytest.mark.parametrize("where", ["TXT example.org", "A host.example.org", "TXT inner.example"])
def test_trouble_with_dns_is_a_temporary_error(where):
    records = {
        "TXT example.org": ["v=spf1 a:host.example.org include:inner.example -all"],
        "A host.example.org": ["192.0.2.77"],
        "TXT inner.example": ["v=spf1 -all"],
        where: None,
    }
    assert check(records).result == "temperror"


def test_two_records_are_a_permanent_error():
    assert check({"TXT example.org": ["v=spf1 -all", "v=spf1 +all"]}).result == "permerror"


def test_eleven_lookups_are_too_many_and_ten_are_not():
    terms = " ".join(f"a:h{i}.example" for i in range(10))
    more = {f"A h{i}.example": ["198.51.100.1"] for i in range(11)}
    assert result(f"v=spf1 {terms} -all", more) == "fail"
    assert result(f"v=spf1 {terms} a:h10.example -all", more) == "permerror"


def test_includes_count_against_the_same_limit():
    more = {f"TXT i{i}.example": [f"v=spf1 include:i{i + 1}.example -all"] for i in range(15)}
    book = Book({"TXT example.org": ["v=spf1 include:i0.example -all"], **more})
    assert check(book).result == "permerror"
    assert len(book.asked) <= 12


def test_two_void_lookups_are_borne_and_three_are_not():
    assert result("v=spf1 a:v1.example a:v2.example -all") == "fail"
    assert result("v=spf1 a:v1.example a:v2.example a:v3.example -all") == "permerror"


def test_eleven_mail_hosts_are_too_many():
    hosts = [f"mx{i}.example.org" for i in range(11)]
    more = {"MX example.org": hosts, **{f"A {host}": ["198.51.100.1"] for host in hosts}}
    assert result("v=spf1 mx -all", more) == "permerror"


def test_no_more_questions_are_asked_than_there_may_be():
    def ask(name, kind):
        raise TooManyQuestions

    assert MAX_QUESTIONS < 110
    assert evaluate(sender_of(BOB, ""), "192.0.2.1", "", NOW, ask).result == "permerror"


@pytest.mark.parametrize("term", ["a:" + "%%." * 1300 + "x", "a:" + "%{s}." * 800 + "x", "ip4:" + "1" * 4000])
def test_a_term_that_is_too_long_is_an_error_before_it_takes_time(term):
    assert result(f"v=spf1 {term} +all") == "permerror"


def test_explanations_are_not_fetched():
    book = Book({"TXT example.org": ["v=spf1 -all exp=why.example.org"], "TXT why.example.org": ["rude words"]})
    found = check(book)
    assert found.result == "fail"
    assert "rude" not in found.reason
    assert book.asked == ["TXT example.org"]


def test_for_the_null_path_the_helo_name_is_asked():
    found = check({"TXT mx.example.net": ["v=spf1 ip4:192.0.2.1 -all"]}, sender=None, helo="MX.Example.NET.")
    assert (found.result, found.identity, found.domain) == ("pass", Identity.HELO, "mx.example.net")


@pytest.mark.parametrize("helo", ["", "[192.0.2.1]", "localhost", "a b.example", "x" * 300 + ".example"])
def test_a_helo_that_is_no_name_is_nobody(helo):
    assert sender_of(None, helo).domain == ""


def test_records_about_spf_are_told_from_others():
    assert has_record(["google-site-verification=1", "V=spf1 -all"])
    assert has_record(["v=spf1"])
    assert not has_record(["v=spf10 -all", "v=DMARC1"])


terms = st.sampled_from(
    [
        *("a", "mx", "ptr", "include:", "exists:", "ip4:", "ip6:", "%{", "}", "%{d99r.}", "/", "//", ":", "redirect="),
        *("exp=", "example.org", "-all", " ", "%%", "%", "\xff", "=", "1.2.3.4", "::1"),
    ]
)


@settings(max_examples=150)
@given(st.lists(terms, max_size=12).map("".join), st.text(max_size=20), st.text(max_size=20))
def test_no_record_and_no_name_breaks_it(record, local, helo):
    found = evaluate(sender_of(Address(local, "example.org"), helo), "192.0.2.1", helo, NOW,
                     Book({"TXT example.org": ["v=spf1 " + record]}))  # fmt: skip
    assert found.result in {"pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"}
    assert found.reason.isascii()
