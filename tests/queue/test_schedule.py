import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.feedback.classify import Cause, Kind, Verdict
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Phase, Reply
from mtad.queue.schedule import Done, GiveUp, RetryIn, RetryPlan, next_step, too_old
from mtad.queue.shaping import Action, Do

HOUR = 3600.0
PLAN = RetryPlan((60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0))
HOP = Hop("mx.example.net", "192.0.2.1")
LATER, NEVER = Reply(451, "4.1", "not now"), Reply(550, "1.1", "no such user")
SOFT = Verdict(Cause.SYSTEM, Kind.SOFT, "system")
HARD = Verdict(Cause.NO_SUCH_USER, Kind.HARD, "user-unknown", True)
POLICY = Verdict(Cause.SPAM, Kind.POLICY, "spam")
THROTTLED = Verdict(Cause.RATE_LIMITED, Kind.THROTTLED, "rate-limited", False)
GREYLISTED = Verdict(Cause.GREYLISTED, Kind.THROTTLED, "greylisted", False)


def deferred(reply: Reply = LATER) -> Deferred:
    return Deferred(reply, HOP, Phase.RCPT)


def failed(reply: Reply = NEVER) -> Failed:
    return Failed(reply, HOP, Phase.RCPT)


def test_what_is_delivered_is_done():
    assert next_step(Delivered(Reply(250, "", "ok"), HOP), SOFT, 1, 0, PLAN, 0.5) == Done()


def test_a_4xx_is_tried_again_after_the_wait_of_its_attempt():
    waits = [next_step(deferred(), SOFT, attempts, 0, PLAN, 0.5) for attempts in (1, 2, 6, 7, 1000)]
    assert waits == [RetryIn(wait_s, "generic") for wait_s in (60, 300, 3600, 3600, 3600)]


def test_a_5xx_about_the_recipient_is_a_bounce_and_suppresses():
    assert next_step(failed(), HARD, 1, 0, PLAN, 0.5) == GiveUp(NEVER, "bounce", NEVER, suppress=True)


def test_a_5xx_by_policy_is_an_espblock_and_does_not_suppress():
    assert next_step(failed(), POLICY, 1, 0, PLAN, 0.5) == GiveUp(NEVER, "espblock", NEVER)


def test_a_4xx_that_is_hard_by_rule_is_given_up_at_once():
    assert next_step(deferred(), HARD, 1, 0, PLAN, 0.5) == GiveUp(LATER, "bounce", LATER, suppress=True)


def test_a_5xx_that_only_asks_for_patience_is_tried_again():
    assert next_step(failed(), THROTTLED, 1, 0, PLAN, 0.5) == RetryIn(60, "generic")
    assert next_step(failed(), GREYLISTED, 1, 0, PLAN, 0.5) == RetryIn(60, "greylisted")


def test_mail_that_grew_too_old_says_602_and_keeps_the_last_words():
    step = next_step(deferred(), SOFT, 20, 8 * HOUR, PLAN, 0.5)
    assert isinstance(step, GiveUp)
    assert (step.reply.code, step.reason, step.last, step.suppress) == (602, "old", LATER, False)
    assert step.reply.text == "Too old: not delivered within 8 h; the last reply was: 451 4.4.1 not now"


def test_policy_to_the_end_is_an_espblock_in_the_hosts_words():
    assert next_step(deferred(), POLICY, 20, 8 * HOUR, PLAN, 0.5) == GiveUp(LATER, "espblock", LATER)


def test_mail_whose_turn_never_came_is_too_old_as_well():
    step = too_old(None, None, PLAN)
    assert (step.reply.code, step.reason, step.last) == (602, "old", step.reply)


def test_used_up_attempts_are_an_espblock():
    plan = RetryPlan((60.0,), max_attempts=3)
    assert isinstance(next_step(deferred(), SOFT, 2, 0, plan, 0.5), RetryIn)
    assert next_step(deferred(), SOFT, 3, 0, plan, 0.5) == GiveUp(LATER, "espblock", LATER)


def test_a_reply_rule_may_make_it_a_bounce_or_name_the_wait():
    assert next_step(deferred(), SOFT, 1, 0, PLAN, 0.5, Action(Do.HARD, 0, "x")) == GiveUp(LATER, "bounce", LATER, True)
    assert next_step(failed(), POLICY, 1, 0, PLAN, 0.5, Action(Do.RETRY_IN, 77, "x")) == RetryIn(77, "espblock")
    assert next_step(failed(), HARD, 1, 0, PLAN, 0.5, Action(Do.SLOW, 77, "x")) == GiveUp(NEVER, "bounce", NEVER, True)


def test_the_ladder_of_eight_hours_uses_all_of_its_time():
    age_s, step = 0.0, None
    for attempts in range(1, 100):
        step = next_step(deferred(), SOFT, attempts, age_s, PLAN, attempts * 0.37 % 1)
        if not isinstance(step, RetryIn):
            break
        age_s += step.wait_s
    assert isinstance(step, GiveUp)
    assert step.reason == "old"
    assert 8 * HOUR - 60 <= age_s < 8 * HOUR
    assert 12 <= attempts <= 16


@given(
    age_s=st.floats(0, 10 * 86_400),
    attempts=st.integers(1, 1000),
    dice=st.floats(0, 1, exclude_max=True),
    waits_s=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=8),
    give_up_after_s=st.floats(1, 1e6),
    asked_s=st.one_of(st.none(), st.floats(1, 1e6)),
)
def test_no_retry_is_planned_past_the_give_up_age(age_s, attempts, dice, waits_s, give_up_after_s, asked_s):
    plan = RetryPlan(tuple(waits_s), 0.1, give_up_after_s)
    action = Action(Do.RETRY_IN, asked_s, "x") if asked_s else None
    step = next_step(deferred(), SOFT, attempts, age_s, plan, dice, action)
    assert isinstance(step, RetryIn | GiveUp)
    if isinstance(step, RetryIn):
        assert step.wait_s > 0
        assert age_s + step.wait_s <= give_up_after_s
    else:
        assert age_s + max(asked_s or 0, 1.1 * max(waits_s)) > give_up_after_s


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_part(attempts, dice):
    assert abs(PLAN.wait_s(attempts, dice) / PLAN.wait_s(attempts, 0.5) - 1) <= PLAN.jitter + 1e-9


@pytest.mark.parametrize(
    "wrong",
    [
        {"waits_s": ()},
        {"waits_s": (0.0,)},
        {"waits_s": (1.0,), "jitter": 1.0},
        {"waits_s": (1.0,), "give_up_after_s": 0},
    ],
)
def test_a_plan_that_would_spin_or_never_try_is_refused(wrong):
    with pytest.raises(ValueError, match="a retry plan needs"):
        RetryPlan(**wrong)


def test_a_post_whose_waits_are_used_up_was_not_blocked_by_anybody():
    plan = RetryPlan((60.0,), max_attempts=2)
    outcome = Deferred(Reply(500, "", "HTTP 500"), None, Phase.HTTP)
    assert isinstance(next_step(outcome, SOFT, 1, 0, plan, 0.5), RetryIn)
    assert next_step(outcome, SOFT, 2, 0, plan, 0.5) == GiveUp(outcome.reply, "generic", outcome.reply)
