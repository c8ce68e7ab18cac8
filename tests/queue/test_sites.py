import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtad.queue.sites import MAX_KEY, is_under, rolled_up


@pytest.mark.parametrize(
    ("hosts", "key"),
    [
        ([], "?"),
        (["MX.Example.net."], "mx.example.net"),
        (["mx.example.net", "alt2.example.net", "alt1.example.net"], "(alt1|alt2|mx).example.net"),
        (["a.mx.example.net", "b.mx.example.net"], "(a|b).mx.example.net"),
        (["example.net", "mx.example.net"], "(example.net|mx.example.net)"),
        (["mx.a.example", "mx.b.example"], "(mx.a.example|mx.b.example)"),
        (["mx.foo.co.uk", "mx.bar.co.uk"], "(mx.bar.co.uk|mx.foo.co.uk)"),
        (["mx1.foo.co.uk", "mx2.foo.co.uk"], "(mx1|mx2).foo.co.uk"),
        (["192.0.2.1", "198.51.2.1"], "(192.0.2.1|198.51.2.1)"),
        (["[192.0.2.1]"], "[192.0.2.1]"),
        (["gmail"], "gmail."),
        (["relay"], "relay."),
        (["mx.example.net\r\nX", "b\0.example.net"], "(b?.example.net|mx.example.net??x)"),
    ],
)
def test_hosts_are_rolled_up_to_one_readable_name(hosts, key):
    assert rolled_up(hosts) == key


NAMES = st.lists(st.from_regex(r"[a-zA-Z0-9-]{1,20}(\.[a-zA-Z0-9-]{1,20}){0,5}\.?", fullmatch=True), max_size=30)


@given(NAMES, st.randoms(use_true_random=False))
def test_the_order_case_and_repeats_of_hosts_do_not_matter(hosts, chance):
    other = [host.upper() for host in hosts] + hosts
    chance.shuffle(other)
    assert rolled_up(other) == rolled_up(hosts)


@given(st.lists(st.text(max_size=300), max_size=40))
@example(["0" * MAX_KEY])
def test_whatever_dns_says_the_key_is_short_printable_and_no_profiles_name(hosts):
    key = rolled_up(hosts)
    assert len(key) <= MAX_KEY
    assert key.isprintable()
    assert key == "?" or any(mark in key for mark in ".:[(#")


def test_long_sets_that_differ_have_keys_that_differ():
    many = [f"mx{number}.mail.example.net" for number in range(100)]
    assert rolled_up(many) != rolled_up(many[:-1])
    assert len(rolled_up(many)) <= MAX_KEY
    assert rolled_up(many).startswith("(mx0|99 more).mail.example.net#")


def test_a_suffix_covers_whole_labels():
    assert is_under("mx.google.com", ("google.com",))
    assert is_under("google.com", ("google.com",))
    assert not is_under("notgoogle.com", ("google.com",))
