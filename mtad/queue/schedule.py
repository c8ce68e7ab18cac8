"""Schedule: after an attempt, what now?

Room: queue. Pure: every call is told the age and a throw of the dice. May import: mail, feedback.
Source: RFC 5321 §4.5.4.1; the reasons of `failed` events. Used by queue.runner.
"""

from dataclasses import dataclass
from typing import assert_never

from mtad.feedback.classify import Cause, Kind, Verdict, event_reason
from mtad.mail.reply import Deferred, Delivered, Failed, Outcome, Phase, Reply
from mtad.queue.shaping import Action, Do

TOO_OLD = 602  # the code of mail that was tried too long; no SMTP host says it
_GAP_S = 60.0  # a last attempt closer than this to the one before would tell nothing new
_MARGIN_S = 30.0  # it is made this long before the time is up


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """waits_s: after the 1st, 2nd … attempt; the last one repeats. jitter: 0.1 makes a wait up to 10 % off.

    give_up_after_s: the age at which mail is too old. max_attempts: 0 for any number within that age.
    """

    waits_s: tuple[float, ...]
    jitter: float = 0.1
    give_up_after_s: float = 8 * 3600.0
    max_attempts: int = 0

    def __post_init__(self) -> None:
        if not self.waits_s or min(self.waits_s) <= 0 or not 0 <= self.jitter < 1 or self.give_up_after_s <= 0:
            raise ValueError("a retry plan needs waits above 0, a jitter from 0 to below 1 and an age above 0")

    def wait_s(self, attempts: int, dice: float) -> float:
        """attempts: how many there were, 1 or more. dice: from 0 to below 1."""
        return self.waits_s[min(max(attempts, 1), len(self.waits_s)) - 1] * (1 + self.jitter * (2 * dice - 1))


@dataclass(frozen=True, slots=True)
class Done:
    """Delivered: nothing more to do."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """reason: of the temporary `failed` event."""

    wait_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """reply: what the event tells; code 602 when the mail is too old. reason: of the permanent `failed` event.

    last: what was said last. suppress: the address goes into the bounces.
    """

    reply: Reply
    reason: str
    last: Reply
    suppress: bool = False


Step = Done | RetryIn | GiveUp


def next_step(
    outcome: Outcome,
    verdict: Verdict,
    attempts: int,
    age_s: float,
    plan: RetryPlan,
    dice: float,
    action: Action | None = None,
) -> Step:
    """attempts counts this one; age_s is the time since the message was due first. action: a reply rule's.

    The verdict has the last word on what is permanent, an action on hard and retry-in even before it.
    """
    match outcome:
        case Delivered():
            return Done()
        case Deferred(reply=reply) | Failed(reply=reply):
            if action is not None and action.do is Do.HARD:
                return GiveUp(reply, "bounce", reply, suppress=True)
            asked_s = action.for_s if action is not None and action.do is Do.RETRY_IN else 0.0
            permanent = isinstance(outcome, Failed) if verdict.permanent is None else verdict.permanent
            if permanent and not asked_s:
                return GiveUp(reply, event_reason(verdict, permanent=True), reply, verdict.suppresses)
            if outcome.phase is Phase.LOCAL and age_s >= plan.give_up_after_s:
                return waited_too_long(reply, attempts, plan)
            if plan.max_attempts and attempts >= plan.max_attempts:
                return GiveUp(reply, "generic" if outcome.phase is Phase.HTTP else "espblock", reply)
            return _again(reply, verdict, age_s, plan, asked_s or plan.wait_s(attempts, dice))
        case _:
            assert_never(outcome)


def _again(reply: Reply, verdict: Verdict, age_s: float, plan: RetryPlan, wait_s: float) -> Step:
    left_s = plan.give_up_after_s - age_s
    if wait_s > left_s:
        # A last attempt when the time is nearly up, and not up to an hour before: the host may be back by then.
        gap_s = min(_GAP_S, plan.waits_s[0])
        wait_s = left_s - min(_MARGIN_S, gap_s / 2)
        if wait_s < gap_s:
            return too_old(reply, verdict, plan)
    return RetryIn(wait_s, event_reason(verdict, permanent=False))


def too_old(last: Reply | None, verdict: Verdict | None, plan: RetryPlan) -> GiveUp:
    """Mail past plan.give_up_after_s. last, verdict: of the last attempt, None when there was none.

    A host that refused us by policy all that time has blocked us: that is told in its own words.
    """
    if last is not None and verdict is not None and verdict.kind is Kind.POLICY:
        return GiveUp(last, "espblock", last)
    hours = f"{plan.give_up_after_s / 3600:.3g} h"
    said = f"; the last reply was: {last}" if last is not None else "; it was never its turn"
    reply = Reply(TOO_OLD, "", f"Too old: not delivered within {hours}{said}"[:1000])
    return GiveUp(reply, event_reason(_EXPIRED, permanent=True), last or reply)


def waited_too_long(why: Reply, attempts: int, plan: RetryPlan) -> GiveUp:
    """Mail that became too old while nothing could be tried, in our own words. attempts: how many there were."""
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''} failed, and then it waited" if attempts else "never tried"
    reply = Reply(TOO_OLD, "", f"Too old after {plan.give_up_after_s / 3600:.3g} h: {tried}: {why.text}"[:1000])
    return GiveUp(reply, event_reason(_EXPIRED, permanent=True), why)


_EXPIRED = Verdict(Cause.EXPIRED, Kind.SOFT, "")
