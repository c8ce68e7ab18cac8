"""Settle: what an attempt came to -> the row's next state and the event that tells of it, in one commit.

Room: queue. May import: mail, storage, feedback. Source: docs/events.rst for the members of an event.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.feedback.classify import Cause, Classifier, Kind, Verdict
from mtad.feedback.record import Posts, providers_of
from mtad.mail.address import is_list, is_url, key_of, without_password
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.metric import HOUR_S, Metric
from mtad.mail.reply import Deferred, Delivered, Dialogue, Failed, Hop, Phase, Reply
from mtad.mail.suppression import Suppressed, Why
from mtad.queue.schedule import Done, GiveUp, RetryIn, RetryPlan, next_step
from mtad.queue.shaping import Action
from mtad.queue.work import Held, Job
from mtad.storage.database import Lane
from mtad.storage.outgoing import Flag, Settle, State, StoredMessage, StoredRecipient
from mtad.storage.record import BounceRow, EventRow, Records

log = log_module.get("queue")


@dataclass(slots=True)
class Tally:
    """Counted since the start, for /metrics. failures: permanent ones by cause."""

    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    interrupted: int = 0
    attempts: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)


class Settler:
    """Records outcomes. on_failed is told of each recipient given up, with the reply: the sender may want a DSN.

    dice: a random number in [0, 1) for the jitter of retries. posts: the owner's webhooks, None: there are none.
    bounced: told of each (domain id, address in the form for comparing) that goes into the bounces. on_relayed: told,
    as on_failed, of recipients who asked to hear of success and whose message went to a host that does not offer DSN.
    web_plan: for what is posted to a URL; None: as for mail.
    """

    def __init__(
        self,
        *,
        lane: Lane[Settle],
        ids: IdSource,
        clock: Clock,
        classifier: Classifier,
        plan: RetryPlan,
        dice: Callable[[], float],
        on_failed: Callable[[Held, StoredRecipient, Reply, Hop | None], None],
        posts: Posts | None = None,
        web_plan: RetryPlan | None = None,
        bounced: Callable[[int, str], None] | None = None,
        on_relayed: Callable[[Held, StoredRecipient, Reply, Hop | None], None] | None = None,
    ) -> None:
        self._lane, self._ids, self._clock, self._dice = lane, ids, clock, dice
        self.classifier, self._plan, self._web_plan = classifier, plan, web_plan or plan
        self._on_failed, self._posts, self._bounced = on_failed, posts, bounced
        self._on_relayed = on_relayed
        self.tally = Tally()

    def reload(self, classifier: Classifier, plan: RetryPlan) -> None:
        self.classifier, self._plan = classifier, plan

    def delivered(self, job: Job, outcome: Delivered) -> None:
        recipient, hop = job.recipient, outcome.hop
        if is_list(recipient.address):
            self._expanded(job, outcome)
            return
        status = _status(recipient, outcome.reply, hop, outcome.took_s)
        asked = recipient.notify is not None and "SUCCESS" in recipient.notify
        if asked:  # RFC 3461 §5.2: whose duty the notice is from here on
            status["dsn"] = "passed-on" if hop.dsn else "relayed"
        self._put(
            job,
            State.DELIVERED,
            EventType.DELIVERED,
            Metric.DELIVERED_HTTP if hop.web else Metric.DELIVERED_SMTP,
            {"delivery-status": status, **_envelope(hop), **_dialogue(outcome.dialogue)},
        )
        if asked and not hop.dsn and self._on_relayed is not None:
            self._on_relayed(job.held, recipient, outcome.reply, hop)
        self.tally.delivered += 1
        self.tally.attempts += 1
        self.tally.seconds += outcome.took_s
        log.info(
            "delivered",
            msg=queue_id(recipient.message_id),
            rcpt=without_password(recipient.address),
            host=hop.host,
            ip=hop.address,
            reply=outcome.reply,
            took_s=outcome.took_s,
        )

    def _expanded(self, job: Job, outcome: Delivered) -> None:
        """The copies of a list's members are rows of their own, and will be told and counted as such."""
        recipient, message = job.recipient, job.held.message
        detail = orjson.dumps({"delivery-status": _status(recipient, outcome.reply, None, outcome.took_s)})
        about = (recipient.domain_id, recipient.message_id, recipient.id)
        event = (self._ids.next(), int(EventType.EXPANDED), *about, detail)
        spooled = message.segment is not None or message.content is None
        self._lane.tell(Settle(recipient.id, recipient.message_id, State.DELIVERED, event, spooled, recipient.site_id))
        self.tally.attempts += 1

    def settle(
        self, job: Job, outcome: Deferred | Failed, action: Action | None = None
    ) -> tuple[Verdict, float | None]:
        """The verdict, and when the recipient is due again (None: given up). action: a reply rule's."""
        recipient, now = job.recipient, self._clock.now()
        host = outcome.hop.host if outcome.hop else ""
        verdict = self.classifier.verdict(outcome.reply, outcome.phase, host)
        plan = self._web_plan if is_url(recipient.address) else self._plan
        age_s = plan.give_up_after_s - (recipient.expire_at - now)
        step = next_step(outcome, verdict, recipient.attempts, age_s, plan, self._dice(), action)
        self.tally.attempts += 1
        self.tally.seconds += outcome.took_s
        match step:
            case RetryIn():
                self._defer(job, outcome, verdict, now, step)
                return verdict, now + step.wait_s
            case GiveUp():
                self._fail(job, outcome, verdict, step)
                return verdict, None
            case Done():
                raise AssertionError("only Delivered is done")

    def _defer(self, job: Job, outcome: Deferred | Failed, verdict: Verdict, now: float, step: RetryIn) -> None:
        recipient, wait_s = job.recipient, step.wait_s
        if isinstance(outcome, Deferred) and outcome.unknown:
            recipient.unknown += 1
            log.warning("outcome-unknown", msg=queue_id(recipient.message_id), rcpt=without_password(recipient.address))
        status = _status(recipient, outcome.reply, outcome.hop, outcome.took_s)
        status["retry-seconds"] = round(wait_s, 1)
        detail = {
            "severity": "temporary",
            "reason": step.reason,
            "cause": verdict.cause,
            "delivery-status": status,
            **_envelope(outcome.hop),
            **_dialogue(outcome.dialogue),
        }
        if isinstance(outcome, Deferred) and outcome.unknown:
            detail["possible-duplicate"] = True
        metric = Metric.FAILED_ESPBLOCK if verdict.kind is Kind.POLICY else Metric.FAILED_TEMPORARY
        last_reply = str(outcome.reply)[:1000]
        self._put(job, State.WAITING, EventType.FAILED_TEMPORARY, metric, detail, now + wait_s, last_reply)
        self.tally.deferred += 1
        log.info(
            "deferred",
            msg=queue_id(recipient.message_id),
            rcpt=without_password(recipient.address),
            host=outcome.hop.host if outcome.hop else None,
            reply=outcome.reply,
            cause=verdict.cause,
            wait_s=wait_s,
            attempt=recipient.attempts,
        )

    def _fail(self, job: Job, outcome: Deferred | Failed, verdict: Verdict, step: GiveUp) -> None:
        recipient, reply = job.recipient, step.reply
        status = _status(recipient, reply, outcome.hop, outcome.took_s)
        if step.last is not reply and outcome.phase is not Phase.LOCAL:
            status["last-reply"] = str(step.last)[:1000]
        detail = {
            "severity": "permanent",
            "reason": step.reason,
            "cause": verdict.cause,
            "delivery-status": status,
            **_envelope(outcome.hop),
            **_dialogue(outcome.dialogue),
        }
        metric = Metric.FAILED_BOUNCE if step.reason in _REFUSED else Metric.FAILED_OTHER
        bounce = self._bounce(job.held.message, recipient, reply, verdict) if step.suppress else None
        # A 4xx that a rule of ours makes final is a refusal like a 5xx.
        refused = reply.is_permanent or step.reason in _REFUSED
        unrefused = outcome.hop is None or not refused or step.last is not reply
        self._put(job, State.FAILED, EventType.FAILED_PERMANENT, metric, detail, unrefused=unrefused, bounce=bounce)
        self.tally.failed += 1
        self.tally.failures[verdict.cause] = self.tally.failures.get(verdict.cause, 0) + 1
        log.info(
            "failed",
            msg=queue_id(recipient.message_id),
            rcpt=without_password(recipient.address),
            host=outcome.hop.host if outcome.hop else None,
            reply=reply,
            cause=verdict.cause,
            reason=step.reason,
            attempt=recipient.attempts,
        )
        self._on_failed(job.held, recipient, step.last, outcome.hop)

    def drop(self, job: Job, why: str) -> None:
        """An operator takes it out of the queue: a permanent failure like any other, without a DSN."""
        status = {"code": 0, "message": why, "description": why, "attempt-no": job.recipient.attempts}
        detail = {"severity": "permanent", "reason": "generic", "cause": Cause.UNKNOWN, "delivery-status": status}
        self._put(job, State.FAILED, EventType.FAILED_PERMANENT, Metric.FAILED_OTHER, detail, unrefused=True)
        self.tally.failed += 1
        log.info(
            "dropped", msg=queue_id(job.recipient.message_id), rcpt=without_password(job.recipient.address), why=why
        )

    def suppressed(self, job: Job, found: Suppressed) -> None:
        """The domain does not write to this address any more: nothing is tried."""
        recipient, (reason, reply, metric) = job.recipient, _SUPPRESSED[found.kind]
        status = _status(recipient, reply, None, 0.0)
        if found.words:
            status["message"] = found.words[:1000]
        detail = {"severity": "permanent", "reason": reason, "cause": "suppressed", "delivery-status": status}
        self._put(job, State.FAILED, EventType.FAILED_PERMANENT, metric, detail, unrefused=True)
        self.tally.failed += 1
        self.tally.failures["suppressed"] = self.tally.failures.get("suppressed", 0) + 1
        log.info(
            "suppressed", msg=queue_id(recipient.message_id), rcpt=without_password(recipient.address), reason=reason
        )
        self._on_failed(job.held, recipient, reply, None)

    def give_back(self, recipient: StoredRecipient, site_id: int, *, begun: bool = False) -> None:
        """Return a lease. begun: an attempt was under way and we shall never learn what came of it."""
        event: EventRow | None = None
        attempts, unknown, now = recipient.attempts - 1, recipient.unknown, self._clock.now()
        if begun:
            attempts, unknown = recipient.attempts, recipient.unknown + 1
            self.tally.interrupted += 1
            event = (
                self._ids.next(),
                int(EventType.INTERRUPTED),
                recipient.domain_id,
                recipient.message_id,
                recipient.id,
                orjson.dumps({"attempt-no": recipient.attempts}),
            )
        self._lane.tell(
            Settle(
                recipient.id,
                recipient.message_id,
                State.WAITING,
                event,
                site_id=site_id,
                due_at=now,
                attempts=max(0, attempts),
                unknown=unknown,
                last_reply=recipient.last_reply,
            )
        )

    def _put(
        self,
        job: Job,
        state: State,
        kind: EventType,
        metric: Metric,
        detail: dict[str, Any],
        due_at: float | None = None,
        last_reply: str | None = None,
        *,
        unrefused: bool = False,
        bounce: BounceRow | None = None,
    ) -> None:
        """unrefused: no host said no to it, so it is no bounce to webhooks."""
        recipient, message, now = job.recipient, job.held.message, self._clock.now()
        number = self._ids.next()
        event = (
            number,
            int(kind),
            recipient.domain_id,
            recipient.message_id,
            recipient.id,
            orjson.dumps(detail),
        )
        self._lane.tell(
            Settle(
                recipient.id,
                recipient.message_id,
                state,
                event,
                message.segment is not None or message.content is None,
                recipient.site_id,
                due_at,
                recipient.attempts,
                recipient.unknown,
                last_reply,
                (recipient.domain_id, "", int(metric), int(now) // HOUR_S, 1),
                self._besides(job, kind, metric, number, now, unrefused, bounce),
            )
        )

    def _besides(
        self,
        job: Job,
        kind: EventType,
        metric: Metric,
        event: int,
        now: float,
        unrefused: bool,
        bounce: BounceRow | None,
    ) -> Records | None:
        """What goes with an event of some messages, and of most does not."""
        domain_id, labels = job.recipient.domain_id, job.held.labels
        posts = self._posts.rows(kind, domain_id, (event,), now, suppressed=unrefused) if self._posts else []
        if not labels and not posts and bounce is None:
            return None
        hour, options = int(now) // HOUR_S, job.held.options
        counts = [(domain_id, label, int(metric), hour, 1) for label in labels]
        records = Records(counts=counts, posts=posts, bounces=[bounce] if bounce else [])
        if metric is Metric.DELIVERED_SMTP:
            provider = job.recipient.address.rpartition("@")[2]
            records.aggregates = providers_of(domain_id, labels, metric, now, [provider])
        if options is not None and options.campaign_keys and kind is not EventType.FAILED_TEMPORARY:
            records.campaigned.append((event, 1))
        return records

    def _bounce(
        self, message: StoredMessage, recipient: StoredRecipient, reply: Reply, verdict: Verdict
    ) -> BounceRow | None:
        if not recipient.domain_id or message.flags & Flag.ROUTED:
            return None
        key = key_of(recipient.address)
        if self._bounced is not None:
            self._bounced(recipient.domain_id, key)
        code, words = reply.enhanced or str(reply.code), str(reply)[:1000]
        return recipient.domain_id, key, code, words, verdict.rule, self._clock.now()


_REFUSED = frozenset(("bounce", "hardfail"))
_SUPPRESSED = {
    Why.BOUNCE: (
        "suppress-bounce",
        Reply(605, "", "Not delivering to previously bounced address"),
        Metric.SUPPRESSED_BOUNCE,
    ),
    Why.UNSUBSCRIBE: (
        "suppress-unsubscribe",
        Reply(606, "", "Not delivering to an address that unsubscribed"),
        Metric.SUPPRESSED_UNSUBSCRIBE,
    ),
    Why.COMPLAINT: (
        "suppress-complaint",
        Reply(607, "", "Not delivering to an address that complained about mail of this domain"),
        Metric.SUPPRESSED_COMPLAINT,
    ),
}


def _status(recipient: StoredRecipient, reply: Reply, hop: Hop | None, took_s: float) -> dict[str, Any]:
    """The delivery-status member. `message` is the remote side's, `description` ours when nobody remote spoke."""
    status: dict[str, Any] = {
        "code": reply.code,
        "message": reply.text if hop else "",
        "description": "" if hop else reply.text,
        "attempt-no": recipient.attempts,
        "session-seconds": round(took_s, 3),
    }
    if reply.detail:
        status["enhanced-code"] = reply.enhanced
    if hop:
        status["mx-host"] = hop.host
        status["tls"] = hop.tls is not None
        status["certificate-verified"] = hop.verified
        if hop.tls:
            status["tls-version"] = hop.tls
    if recipient.unknown:
        status["possible-duplicate"] = True
    return status


def _dialogue(said: Dialogue) -> dict[str, Any]:
    """What the host answered before its last word, which is the status."""
    lines = [f"{phase}: {code} {text.decode('utf-8', 'replace')}" for phase, code, text in said[:-1]]
    return {"dialogue": lines} if lines else {}


def _envelope(hop: Hop | None) -> dict[str, Any]:
    if hop is None:
        return {}
    if hop.web:
        return {"transport": "http"}
    return {"hop": {"ip": hop.address, "sending-ip": hop.source}}
