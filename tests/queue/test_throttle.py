from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.shaping import Profile, WarmUpCurve
from mtad.queue.throttle import DAY_S, HOUR_S, Pace, PaceState, WarmUp, WarmUpState

NOW = 1_700_000_000.0
PROFILE = Profile(
    name="test",
    min_connections=1,
    start_connections=4,
    max_connections=8,
    min_rate=1.0,
    start_rate=4.0,
    max_rate=16.0,
    burst=8,
    rate_step=4.0,
    connection_step=1.0,
)
FREE = replace(PROFILE, max_rate=0.0, min_rate=0.1)
SAID = "421 4.7.28 slow down"


def send(pace: Pace, now: float) -> bool:
    """One message, if it may."""
    if pace.send_gate(now) is not None:
        return False
    pace.take(now)
    return True


def run(pace: Pace, now: float, for_s: float) -> float:
    """Send and deliver whenever it may, for for_s; the time after it."""
    end = now + for_s
    while now < end:
        why = pace.send_gate(now)
        if why is None:
            pace.take(now)
            pace.on_delivered(now)
            now += 0.25
        else:
            assert why.until is not None
            now = max(why.until, now + 0.001)
    return now


def wait_of(why: Waiting | None) -> Waiting:
    assert why is not None
    return why


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    pace = Pace(PROFILE, NOW)
    assert [send(pace, NOW) for _ in range(3)] == [True, True, False]  # burst 8 of 16/s is 2 of 4/s
    why = wait_of(pace.send_gate(NOW))
    assert (why.reason, why.until) == (WaitReason.SITE_RATE, NOW + 0.25)
    assert why.detail == "4 messages a second is the limit now"
    assert send(pace, NOW + 0.25)


def test_growth_ends_at_the_ceiling_of_each():
    narrow = replace(PROFILE, max_connections=4)
    pace = Pace(narrow, NOW)
    run(pace, NOW, 90)
    assert pace.connection_limit == 4
    pace = Pace(replace(PROFILE, max_rate=5.0), NOW)
    run(pace, NOW, 90)
    assert pace.rate == 5


def test_the_pace_grows_with_success_up_to_the_ceiling():
    pace = Pace(PROFILE, NOW)
    now = run(pace, NOW, 60)
    assert pace.rate == pytest.approx(8, abs=0.2)
    assert pace.connection_limit in (4, 5)
    run(pace, now, 300)
    assert (pace.rate, pace.connection_limit) == (16, 8)


def test_a_quiet_night_does_not_count_as_success():
    pace = Pace(PROFILE, NOW)
    pace.on_delivered(NOW + 10 * HOUR_S)
    assert pace.rate == 8


def test_a_throttling_reply_halves_the_pace_and_is_quoted():
    pace = Pace(PROFILE, NOW)
    pace.on_throttled(NOW, SAID)
    assert (pace.rate, pace.connection_limit) == (2, 2)
    assert wait_of(pace.send_gate(NOW)).detail.endswith(f"lowered since the host said: {SAID}")
    why = wait_of(pace.connect_gate(NOW, 2))
    assert why == Waiting(
        WaitReason.SITE_CONNECTIONS,
        None,
        f"2 connections are open and 2 is the limit now, lowered since the host said: {SAID}",
    )


def test_the_same_limit_heard_on_many_connections_counts_once():
    pace = Pace(PROFILE, NOW)
    for i in range(9):
        pace.on_throttled(NOW + i, SAID)
    assert pace.rate == 2
    pace.on_throttled(NOW + PROFILE.settle_s, SAID)
    assert pace.rate == 1


def test_at_the_floor_the_site_rests_longer_each_time_and_less_long_after_success():
    pace = Pace(PROFILE, NOW)
    now, rests = NOW, []
    for _ in range(9):
        now += 1000
        pace.on_throttled(now, SAID)
        why = pace.send_gate(now)
        rests.append(why.until - now if why and why.detail.startswith("Resting") and why.until else 0)
    assert rests == [0, 0, 60, 120, 240, 480, 900, 900, 900]
    now += 1000
    assert send(pace, now)
    pace.on_delivered(now)
    for _ in range(4):  # down to the floor again, and once more
        now += 30
        pace.on_throttled(now, SAID)
    assert wait_of(pace.connect_gate(now, 0)).until == now + 60


def test_a_hold_keeps_the_pace_from_growing():
    pace = Pace(PROFILE, NOW)
    pace.on_throttled(NOW, SAID, hold_s=600)
    run(pace, NOW + 1, 590)
    assert pace.rate == 2
    run(pace, NOW + 601, 120)
    assert (pace.rate or 0) > 2


def test_a_site_that_cannot_be_reached_is_tried_again_less_and_less_often():
    pace = Pace(PROFILE, NOW)
    now, waits = NOW, []
    for _ in range(8):
        pace.on_connect_failed(now, "connection refused")
        pace.on_connect_failed(now + 1, "dialled at the same time")
        why = wait_of(pace.connect_gate(now, 0))
        assert why.reason is WaitReason.SITE_UNREACHABLE
        assert why.until is not None
        waits.append(why.until - now)
        now = why.until
        assert pace.connect_gate(now, 0) is None
    assert waits == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    pace.on_connect_failed(now, "connection refused")
    assert wait_of(pace.connect_gate(now, 0)).detail == "Connecting failed 9 times in a row: connection refused"
    pace.on_connected(now)
    assert pace.connect_gate(now, 0) is None


def test_a_host_that_takes_no_further_connection_keeps_those_it_has():
    pace = Pace(PROFILE, NOW)
    pace.on_connect_failed(NOW, "refused", open_connections=2)
    assert pace.connection_limit == 2
    assert pace.send_gate(NOW) is None
    assert wait_of(pace.connect_gate(NOW, 2)).until == NOW + 60
    assert wait_of(pace.connect_gate(NOW + 61, 2)).reason is WaitReason.SITE_CONNECTIONS
    assert pace.connect_gate(NOW + 61, 1) is None


def test_a_suspension_stops_all_until_its_end_or_a_word():
    pace = Pace(FREE, NOW)
    pace.suspend(NOW + 60, "550 banned")
    for why in (pace.send_gate(NOW), pace.connect_gate(NOW, 0)):
        assert why == Waiting(WaitReason.SITE_SUSPENDED, NOW + 60, "The site is suspended: 550 banned")
    assert pace.send_gate(NOW + 60) is None
    pace.suspend(None, "by the operator")
    assert wait_of(pace.send_gate(NOW + 1e8)).until is None
    pace.resume()
    assert pace.send_gate(NOW) is None


def test_without_a_rate_any_number_may_leave_and_connections_still_adapt():
    pace = Pace(FREE, NOW)
    assert all(send(pace, NOW) for _ in range(10_000))
    assert pace.rate is None
    pace.on_throttled(NOW, SAID)
    assert pace.connection_limit == 2
    assert send(pace, NOW)


def test_a_clock_that_is_set_back_stops_nothing_for_long():
    pace = Pace(PROFILE, NOW)
    while send(pace, NOW):
        pass
    for i in range(4):
        pace.on_throttled(NOW + 100 * i, SAID)
    pace.on_connect_failed(NOW + 300, "refused")
    back = NOW - 10 * DAY_S
    assert pace.connect_gate(back, 0) is None
    assert not send(pace, back)
    assert send(pace, back + 2)


def test_success_on_a_clock_that_is_set_back_lowers_nothing():
    pace = Pace(PROFILE, NOW)
    pace.on_delivered(NOW - DAY_S)
    assert (pace.rate, pace.connection_limit) == (4, 4)
    pace.on_delivered(NOW - DAY_S + 30)
    assert pace.rate == 6


# ---- properties

TIMES = st.floats(0, 300)
STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "send", "ok", "ok", "throttled", "failed", "connected", "save"]), TIMES),
    min_size=5,
    max_size=60,
)
PROFILES = st.builds(
    lambda low, start, high, clow, cstart, chigh, burst, cut: replace(
        PROFILE,
        min_rate=low,
        start_rate=low + start,
        max_rate=low + start + high,
        min_connections=clow,
        start_connections=clow + cstart,
        max_connections=clow + cstart + chigh,
        burst=burst,
        decrease=cut,
    ),
    st.floats(0.01, 5),
    st.floats(0, 20),
    st.floats(0, 50),
    st.integers(1, 5),
    st.integers(0, 5),
    st.integers(0, 20),
    st.integers(1, 50),
    st.floats(0.1, 0.95),
)


@settings(max_examples=200, deadline=None)
@given(PROFILES, STEPS, st.integers(0, 30))
def test_whatever_happens_the_limits_hold(profile, steps, open_connections):
    pace, now, sent = Pace(profile, NOW), NOW, []
    for what, wait_s in steps:
        now += wait_s / 100 if what == "send" else wait_s
        match what:
            case "send":
                sent += [now for _ in range(20) if send(pace, now)]
            case "ok":
                pace.on_delivered(now)
            case "throttled":
                pace.on_throttled(now, SAID)
            case "failed":
                pace.on_connect_failed(now, "refused", open_connections)
            case "connected":
                pace.on_connected(now)
            case "save":
                pace = Pace(profile, now, PaceState.from_json(pace.save().to_json()))
        assert profile.min_connections <= pace.connection_limit <= profile.max_connections
        assert profile.min_rate <= (pace.rate or 0) <= profile.max_rate
        assert pace.connect_gate(now, profile.max_connections) is not None
    assert fullest(sent, profile.max_rate) <= max(1, profile.burst) + 1e-6


def fullest(sent: list[float], rate: float) -> float:
    """The most that any window holds above rate * window: how full a bucket that leaks at `rate` gets."""
    level = most = 0.0
    for before, at in pairwise([sent[0], *sent] if sent else []):
        level = max(0.0, level - (at - before) * rate) + 1
        most = max(most, level)
    return most


@settings(max_examples=30, deadline=None)
@given(PROFILES, STEPS)
def test_after_the_last_complaint_the_full_pace_comes_back(profile, steps):
    pace, now = Pace(profile, NOW), NOW
    for what, wait_s in steps:
        now += wait_s
        if what == "throttled":
            pace.on_throttled(now, SAID, hold_s=wait_s)
        if what == "failed":
            pace.on_connect_failed(now, "refused")
    for _ in range(20_000):
        why = pace.send_gate(now)
        if why is not None:
            assert why.until is not None
            assert why.until - now <= max(profile.max_rest_s, 1 / profile.min_rate) + 1
            now = why.until + 1e-6
        else:
            pace.take(now)
            pace.on_delivered(now)
            now += 20
        if pace.rate == profile.max_rate and pace.connection_limit == profile.max_connections:
            break
    assert (pace.rate, pace.connection_limit) == (profile.max_rate, profile.max_connections)
    assert pace.connect_gate(now + profile.max_connect_backoff_s, 0) is None


@settings(max_examples=60)
@given(st.sampled_from([PROFILE, FREE]), STEPS, st.booleans())
def test_a_saved_pace_goes_on_where_it_was(profile, steps, suspended):
    pace, now = Pace(profile, NOW), NOW
    for what, wait_s in steps:
        now += wait_s
        if what == "send":
            send(pace, now)
        if what == "ok":
            pace.on_delivered(now)
        if what == "throttled":
            pace.on_throttled(now, SAID)
        if what == "failed":
            pace.on_connect_failed(now, 'refused "\n')
    if suspended:
        pace.suspend(None, "ü")
    state = pace.save()
    read = PaceState.from_json(state.to_json())
    assert read == state
    again = Pace(profile, now, read)
    assert again.save() == state
    for later in (0, 1, 100, 5000):
        assert again.send_gate(now + later) == pace.send_gate(now + later)
        assert again.connect_gate(now + later, 1) == pace.connect_gate(now + later, 1)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '{"rate":"x"}', '{"rate":NaN}', '{"rate":-1}', '{"tokens":1e400}', '{"failures":1.5}',
     '{"suspended":1}', '{"rest_until":null}', '{"said":1}', '{"rate":' + "9" * 400 + "}"],
)  # fmt: skip
def test_a_state_that_cannot_be_read_is_none(text):
    assert PaceState.from_json(text) is None


def test_tokens_do_not_come_twice_when_the_clock_jumped_between_saving_and_loading():
    pace = Pace(PROFILE, NOW)
    while send(pace, NOW):
        pass
    again = Pace(PROFILE, NOW - DAY_S, pace.save())
    assert not send(again, NOW - DAY_S)
    assert send(again, NOW - DAY_S + 1)


def test_a_state_of_another_release_or_profile_is_fitted_in():
    assert PaceState.from_json('{"rate":3,"unheard_of":1}') == PaceState(rate=3)
    state = PaceState(rate=1000, connections=1000, tokens=1e9, tokens_at=NOW + 1e9, unreachable_until=NOW + 1e9)
    pace = Pace(PROFILE, NOW, state)
    assert (pace.rate, pace.connection_limit) == (16, 8)
    assert sum(send(pace, NOW) for _ in range(100)) == 8
    assert wait_of(pace.connect_gate(NOW, 0)).until == NOW + PROFILE.max_connect_backoff_s
    assert Pace(PROFILE, NOW, Pace(FREE, NOW).save()).rate == PROFILE.start_rate


# ---- warm-up

CURVE = WarmUpCurve((8, 16, 32), hour_share=0.5)


def test_a_new_address_sends_what_its_day_and_hour_allow():
    warm_up = WarmUp(CURVE, NOW)
    for _ in range(4):
        assert warm_up.gate(NOW) is None
        warm_up.take(NOW)
    why = wait_of(warm_up.gate(NOW))
    assert (why.reason, why.until) == (WaitReason.WARM_UP, NOW + HOUR_S)
    assert why.detail == "This source address is on day 1 of its warm-up: the 4 messages of this hour are sent"
    warm_up.take(NOW + HOUR_S, 4)
    why = wait_of(warm_up.gate(NOW + 3 * HOUR_S))
    assert why.until == NOW + DAY_S
    assert why.detail.endswith(": the 8 messages of that day are sent")
    assert warm_up.gate(NOW + DAY_S) is None


def test_thirty_days_of_warm_up_send_exactly_the_curve():
    curve = WarmUpCurve(tuple(50 * (day + 1) for day in range(30)))
    warm_up, now, sent = WarmUp(curve, NOW), NOW, [0] * 30
    while not warm_up.is_over(now):
        why = warm_up.gate(now)
        if why is None:
            sent[int((now - NOW) // DAY_S)] += 1
            warm_up.take(now)
        else:
            assert why.until is not None
            assert why.until > now
            now = why.until
    assert tuple(sent) == curve.per_day
    assert warm_up.gate(now) is None


def test_a_saved_warm_up_goes_on_where_it_was():
    warm_up = WarmUp(CURVE, NOW)
    warm_up.take(NOW + DAY_S + 5, 3)
    state = WarmUpState.from_json(warm_up.save().to_json())
    assert state == WarmUpState(NOW, 1, 3, 24, 3)
    again = WarmUp(CURVE, NOW + 1e6, state)
    assert again.save() == state
    again.take(NOW + DAY_S + 6, 5)
    assert again.gate(NOW + DAY_S + 7) is not None


def test_a_clock_set_back_gives_no_day_twice():
    warm_up = WarmUp(CURVE, NOW)
    warm_up.take(NOW + DAY_S, 16)
    assert warm_up.gate(NOW) is not None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"started_at":0,"day":-1,"sent_today":0,"hour":0,"sent_this_hour":0}']
)
def test_a_warm_up_state_that_cannot_be_read_is_none(text):
    assert WarmUpState.from_json(text) is None
