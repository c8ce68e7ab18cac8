import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.sts import MAX_AGE_S, BadPolicy, Mode, Policy, matches, parse_policy, policy_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "name"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=STSv1 ; more=x; id=1 ; id=2"], "1"),
        (["v=spf1 -all", "v=STSv1; id=7"], "7"),
        ([], None),
        (["v=STSv1; id=1", "v=STSv1; id=2"], None),
        (["v=STSv1"], None),
        (["v=STSv1; id="], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["v=STSv1; id=a-b"], None),
        (["v=STSv12; id=1"], None),
        ([" v=STSv1; id=1"], None),
    ],
)
def test_exactly_one_good_record_names_a_policy(records, name):
    assert policy_id(records) == name


def test_a_policy_is_read():
    assert parse_policy(GOOD) == Policy(Mode.ENFORCE, ("mail.example.com", "*.example.net"), 604_800)
    assert parse_policy(GOOD.replace(b"\r\n", b"\n").rstrip()) == parse_policy(GOOD)


def test_unknown_fields_are_passed_over_and_the_first_of_two_counts():
    body = GOOD + b"mode: none\nmax_age: 1\nfuture: x\nno colon\n\n"
    assert parse_policy(body) == parse_policy(GOOD)


def test_a_policy_of_mode_none_needs_no_mx_and_a_long_age_means_a_year():
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999") == Policy(Mode.NONE, (), MAX_AGE_S)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "version"),
        (GOOD.replace(b"STSv1", b"STSv2"), "version"),
        (GOOD.replace(b"enforce", b"Enforce!"), "mode"),
        (GOOD.replace(b"604800", b"-1"), "max_age"),
        (GOOD.replace(b"604800", b"\xd9\xa1"), "max_age"),
        (GOOD.replace(b"604800", b"12345678901"), "max_age"),
        (b"version: STSv1\nmode: enforce\nmax_age: 60", "no mx"),
        (GOOD + b"mx: a.*.example.com", "no host name"),
        (GOOD + b"mx: *", "no host name"),
        (GOOD + b"mx: ", "no host name"),
        (GOOD + b"".join(b"mx: h%d.example\n" % number for number in range(200)), "more than"),
        (GOOD + b" " * 65_536, "longer"),
    ],
)
def test_what_is_no_policy_says_why(body, why):
    with pytest.raises(BadPolicy, match=why):
        parse_policy(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.Example.com.", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", False),
        ("example.com", False),
        ("mail.example.com.evil.test", False),
        ("", False),
    ],
)
def test_a_star_stands_for_one_label(host, allowed):
    assert matches(host, parse_policy(GOOD).patterns) is allowed


LINES = st.lists(
    st.one_of(
        st.sampled_from(GOOD.split(b"\r\n")), st.sampled_from([b"mode: none", b"mx: *.a.b", b"max_age:0"]), st.binary()
    )
)


@given(st.one_of(st.binary(max_size=2000), LINES.map(b"\n".join)))
def test_any_octets_are_a_policy_or_a_reason(body):
    try:
        policy = parse_policy(body)
    except BadPolicy:
        return
    assert 0 <= policy.max_age_s <= MAX_AGE_S
    assert policy.patterns or policy.mode is Mode.NONE


@given(st.lists(st.one_of(st.text(), st.text().map("v=STSv1;".__add__))))
def test_any_texts_name_a_policy_or_none(records):
    name = policy_id(records)
    assert name is None or (name.isalnum() and name.isascii() and len(name) <= 32)


@given(st.text(), st.lists(st.text()))
def test_matching_never_raises(host, patterns):
    assert matches(host, patterns) in (True, False)
