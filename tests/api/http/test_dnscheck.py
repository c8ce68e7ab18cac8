"""What DNS has, compared with what a domain needs; by a real resolver and a name server of the test's own."""

import asyncio
import base64

import pytest

from mtad.api.http import dnscheck
from mtad.api.http.dnscheck import Valid, check_cname, check_dkim, check_mx, check_spf, in_time
from mtad.clock import SystemClock
from mtad.config import DnsConfig
from mtad.delivery.dns import DnsResolver
from mtad.message.dkim import public_record
from tests.api.http.account import HOST
from tests.dnsserver import DnsServer
from tests.inbound.zones import ED_KEY, ED_RECORD, NOW, RSA_RECORD, quoted

DOMAIN, OURS = "news.example.org", "192.0.2.25"
KEY = f"s._domainkey.{DOMAIN}"


@pytest.fixture
async def dns():
    async with DnsServer() as server:
        server.add(HOST, "A", OURS)
        yield server


@pytest.fixture
async def names(dns):
    return DnsResolver(DnsConfig(nameservers=(dns.address,), timeout_s=0.5), SystemClock())


def nest(dns, depth):
    """spf0 includes spf1 and so on; the last one allows us."""
    for n in range(depth):
        dns.add(f"spf{n}.example.net", "TXT", f'"v=spf1 include:spf{n + 1}.example.net -all"')
    dns.add(f"spf{depth}.example.net", "TXT", f'"v=spf1 ip4:{OURS} -all"')


@pytest.mark.parametrize(
    ("record", "valid", "why"),
    [
        (f"v=spf1 a:{HOST} ~all", Valid.VALID, ""),
        (f"v=spf1 ip4:{OURS} -all", Valid.VALID, ""),
        ("v=spf1 ip4:192.0.2.0/24 -all", Valid.VALID, ""),
        ("v=spf1 +all", Valid.VALID, ""),
        ("V=SPF1 include:spf0.example.net -all", Valid.VALID, ""),
        ("v=spf1 redirect=spf0.example.net", Valid.VALID, ""),
        ("v=spf1 ip4:198.51.100.1 -all", Valid.INVALID, f"the record gives fail for {OURS}"),
        ("v=spf1 ~all", Valid.INVALID, "softfail"),
        ("v=spf1 -all include:spf0.example.net", Valid.INVALID, "fail"),
        (f"v=spf1 -ip4:{OURS} include:spf0.example.net", Valid.INVALID, "fail"),
        ("v=spf1 include:nowhere.example.net -all", Valid.INVALID, "permerror"),
        ("v=spf1 nonsense", Valid.INVALID, "permerror"),
        ("v=spf10 +all", Valid.INVALID, "has no SPF record"),
        ("some other text", Valid.INVALID, "has no SPF record"),
    ],
)
async def test_spf_is_what_a_receiver_would_find(dns, names, record, valid, why):
    nest(dns, 3)
    dns.add(DOMAIN, "TXT", quoted(record), quoted("google-site-verification=x"))
    check = await check_spf(names, DOMAIN, HOST, (), NOW)
    assert check.valid is valid
    assert why in check.why
    assert bool(check.why) is (valid is not Valid.VALID)


@pytest.mark.parametrize(
    ("depth", "valid"), [(8, Valid.VALID), (9, Valid.VALID), (10, Valid.INVALID), (30, Valid.INVALID)]
)
async def test_includes_are_followed_up_to_ten_lookups(dns, names, depth, valid):
    nest(dns, depth)
    dns.add(DOMAIN, "TXT", '"v=spf1 include:spf0.example.net -all"')
    assert (await check_spf(names, DOMAIN, HOST, (), NOW)).valid is valid
    assert len(dns.asked) < 20


async def test_every_address_we_send_from_must_be_allowed(dns, names):
    dns.add(DOMAIN, "TXT", '"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"')
    ours = ("192.0.2.26", "2001:db8::26")
    assert (await check_spf(names, DOMAIN, HOST, ours, NOW)).valid is Valid.VALID
    check = await check_spf(names, DOMAIN, HOST, (*ours, "198.51.100.9"), NOW)
    assert (check.valid, "198.51.100.9" in check.why) == (Valid.INVALID, True)


async def test_two_spf_records_are_none(dns, names):
    dns.add(DOMAIN, "TXT", '"v=spf1 +all"', f'"v=spf1 ip4:{OURS} -all"')
    check = await check_spf(names, DOMAIN, HOST, (), NOW)
    assert (check.valid, check.why) == (Valid.INVALID, f"{DOMAIN} has 2 SPF records, and may have one (RFC 7208 §3.2)")
    assert len(check.found) == 2


async def test_our_own_name_must_have_an_address_where_none_is_configured(dns, names):
    dns.add(DOMAIN, "TXT", '"v=spf1 a:gone.example.net -all"')
    check = await check_spf(names, DOMAIN, "gone.example.net", (), NOW)
    assert (check.valid, check.why) == (Valid.INVALID, "gone.example.net, our own name, has no address in DNS")


async def test_spf_is_unknown_when_dns_fails_anywhere_on_the_way(dns, names):
    dns.add(DOMAIN, "TXT", '"v=spf1 include:broken.example.net -all"')
    dns.fail("broken.example.net")
    assert (await check_spf(names, DOMAIN, HOST, (), NOW)).valid is Valid.UNKNOWN
    dns.fail(HOST)
    assert (await check_spf(names, DOMAIN, HOST, (), NOW)).valid is Valid.UNKNOWN


P = RSA_RECORD.partition("p=")[2]


@pytest.mark.parametrize(
    "text",
    [
        RSA_RECORD,
        f"k=rsa; p={P}",
        f"p={P}",
        f"v=DKIM1;k=rsa;p={P};",
        f"v=DKIM1 ; t=s ; h=sha256 ; s=email ; n=a note ; p={P[:100]} {P[100:200]}\t{P[200:]}",
    ],
)
async def test_of_a_key_record_only_the_key_counts(dns, names, text):
    dns.add(KEY, "TXT", quoted(text))
    assert (await check_dkim(names, KEY, RSA_RECORD)).valid is Valid.VALID


async def test_a_record_in_many_strings_is_one(dns, names):
    dns.add(KEY, "TXT", " ".join(f'"{RSA_RECORD[at : at + 20]}"' for at in range(0, len(RSA_RECORD), 20)))
    assert (await check_dkim(names, KEY, RSA_RECORD)).valid is Valid.VALID
    dns.add(KEY, "TXT", quoted(public_record(ED_KEY)))
    resolver = DnsResolver(DnsConfig(nameservers=(dns.address,)), SystemClock())
    assert (await check_dkim(resolver, KEY, ED_RECORD)).valid is Valid.VALID


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ED_RECORD, "it is another key"),
        ("v=DKIM1; k=rsa; p=", "revoked"),
        (f"v=DKIM2; p={P}", "no DKIM key"),
        (f"v=DKIM1; h=sha1; p={P}", "not for SHA-256"),
        (f"v=DKIM1; s=other; p={P}", "not for mail"),
        (f"v=DKIM1; k=rsa; p={P[:-40]}", "cannot be used"),
        ("v=DKIM1; k=rsa; p=" + base64.b64encode(b"x" * 200).decode(), "cannot be read"),
        ("nonsense", "cannot be used"),
        ('\\"' + f"k=rsa; p={P}" + '\\"', "cannot be used"),
    ],
)
async def test_a_key_that_would_not_verify_our_mail_is_invalid(dns, names, text, why):
    dns.add(KEY, "TXT", f'"{text[:250]}" "{text[250:]}"')
    check = await check_dkim(names, KEY, RSA_RECORD)
    assert check.valid is Valid.INVALID
    assert why in check.why


async def test_no_key_record_at_all(dns, names):
    assert (await check_dkim(names, KEY, RSA_RECORD)).why == f"there is no TXT record at {KEY}"
    dns.fail("x.example")
    assert (await check_dkim(names, "x.example", RSA_RECORD)).valid is Valid.UNKNOWN


@pytest.mark.parametrize(
    ("records", "valid", "why"),
    [
        ({("t.x.example", "CNAME"): HOST}, Valid.VALID, ""),
        ({("t.x.example", "CNAME"): "lb.x.example", ("lb.x.example", "CNAME"): HOST}, Valid.VALID, ""),
        ({("t.x.example", "A"): OURS}, Valid.VALID, ""),
        ({("t.x.example", "A"): "198.51.100.1"}, Valid.INVALID, "does not lead here"),
        ({("t.x.example", "CNAME"): "else.example"}, Valid.INVALID, "it leads to else.example"),
        ({}, Valid.INVALID, "does not lead here"),
    ],
)
async def test_the_tracking_host_must_lead_here(dns, names, records, valid, why):
    for (name, kind), value in records.items():
        dns.add(name, kind, value)
    check = await check_cname(names, "t.x.example", HOST)
    assert (check.valid, why in check.why) == (valid, True)


@pytest.mark.parametrize(
    ("hosts", "valid"),
    [
        ((f"10 {HOST}",), Valid.VALID),
        (("5 mx.else.example", f"50 {HOST.upper()}"), Valid.VALID),
        (("10 alias.x.example",), Valid.VALID),
        (("10 mx.else.example",), Valid.INVALID),
        (("0 .",), Valid.INVALID),
        ((), Valid.INVALID),
    ],
)
async def test_one_mx_must_be_ours(dns, names, hosts, valid):
    dns.add("alias.x.example", "A", OURS)
    dns.add(DOMAIN, "MX", *hosts) if hosts else dns.add(DOMAIN, "A", OURS)
    assert (await check_mx(names, DOMAIN, HOST)).valid is valid


async def test_a_name_server_that_fails_tells_nothing(dns, names):
    for name in ("a.example", "b.example"):
        dns.fail(name)
    assert (await check_mx(names, "a.example", HOST)).valid is Valid.UNKNOWN
    assert (await check_cname(names, "b.example", HOST)).valid is Valid.UNKNOWN
    dns.add(DOMAIN, "MX", "10 a.example")
    assert (await check_mx(names, DOMAIN, HOST)).valid is Valid.UNKNOWN


async def test_a_check_that_takes_too_long_is_unknown(monkeypatch):
    monkeypatch.setattr(dnscheck, "CHECK_S", 0.01)

    async def never():
        await asyncio.Event().wait()

    check = await in_time(never())
    assert (check.valid, "did not answer" in check.why) == (Valid.UNKNOWN, True)


async def test_hostile_records_are_shown_without_control_characters_and_cut(dns, names):
    dns.add(KEY, "TXT", '"\\027[31mred' + "x" * 200 + '"' + ' "' + "y" * 250 + '"' * 1 + ' "' + "z" * 250 + '"')
    [text] = (await check_dkim(names, KEY, RSA_RECORD)).found
    assert text.startswith("?[31mred")
    assert len(text) == 600
