from hypothesis import given
from hypothesis import strategies as st

from mtad.tracking.rates import Rates


def test_a_burst_and_then_the_rate():
    rates = Rates(2.0, 4)
    assert [rates.allow("a", 10.0) for _ in range(5)] == [True] * 4 + [False]
    assert rates.allow("b", 10.0)
    assert not rates.allow("a", 10.4)
    assert rates.allow("a", 10.5)
    assert not rates.allow("a", 10.5)
    assert [rates.allow("a", 100.0) for _ in range(5)] == [True] * 4 + [False]


@given(gaps=st.lists(st.floats(0, 3), max_size=200), burst=st.integers(1, 10))
def test_never_more_than_burst_and_rate_allow(gaps, burst):
    rates, now, allowed = Rates(1.0, burst), 0.0, 0
    for gap in gaps:
        now += gap
        allowed += rates.allow("a", now)
    assert allowed <= burst + now + 1e-6


def test_many_addresses_take_bounded_memory():
    rates = Rates(1.0, 1, addresses=100)
    for n in range(1000):
        assert rates.allow(f"address {n}", 1.0)
    assert len(rates) <= 200
    assert not rates.allow("address 999", 1.0)
