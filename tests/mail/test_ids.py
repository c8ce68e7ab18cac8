from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.ids import IdSource, event_id, floor_at, from_queue_id, made_at, queue_id

NOW = 1_700_000_000.0


@given(st.lists(st.tuples(st.floats(-3600, 3600), st.integers(1, 10_000)), max_size=50))
def test_ids_grow_and_never_overlap_whatever_the_clock_does(steps):
    now = [NOW]
    ids = IdSource(lambda: now[0], node=5)
    last = 0
    for by_s, count in steps:
        now[0] += by_s
        first = ids.take(count)
        assert first > last
        last = first + count - 1
        assert first >> 15 & 63 == last >> 15 & 63 == 5


def test_a_clock_set_back_does_not_give_an_id_twice():
    now = [NOW]
    ids = IdSource(lambda: now[0])
    before = ids.next()
    now[0] -= 86_400
    assert ids.next() == before + 1


def test_a_new_source_goes_on_above_the_floor_of_the_store():
    floor = IdSource(lambda: NOW + 60).next()
    assert IdSource(lambda: NOW, floor=floor).next() > floor


@given(st.integers(0, (1 << 63) - 1))
def test_a_queue_id_reads_back(number):
    text = queue_id(number)
    assert len(text) == 13
    assert from_queue_id(text) == from_queue_id(f" {text.upper()} ") == number


@given(st.text(max_size=20) | st.text("0z9aZilou", min_size=13, max_size=13))
def test_any_text_is_a_queue_id_or_none(text):
    number = from_queue_id(text)
    assert number is None or queue_id(number) == text.strip().lower()


@given(st.integers(0, 1 << 41))
def test_the_time_of_an_id_is_the_time_it_was_made(millis):
    at = 1_577_836_800 + millis / 1000
    number = IdSource(lambda: at).next()
    assert abs(made_at(number) - at) < 0.002
    assert floor_at(at) <= number < floor_at(at + 1)


def test_event_ids_differ():
    some = [event_id(n) for n in range(1000)]
    assert len(set(some)) == 1000
    assert {len(one) for one in some} == {22}
