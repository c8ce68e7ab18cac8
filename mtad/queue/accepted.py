"""Accepted: what is told and counted of a message as it is taken, in the same commit.

Room: queue. May import: mail, storage, feedback. Source: docs/events.rst for the members of an event.
"""

from dataclasses import dataclass

import orjson

from mtad.feedback.record import Posts, counts_of, labels_of, providers_of
from mtad.mail.address import ListPost
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.metric import Metric
from mtad.mail.options import Options
from mtad.queue.prepare import Copy, End
from mtad.storage.expansions import Step
from mtad.storage.outgoing import Flag, StoredMessage
from mtad.storage.record import EventRow, Records

_TEST_DETAIL = orjson.dumps(
    {
        "delivery-status": {
            "code": 650,
            "message": "",
            "description": "Test mode: the message was accepted, and not sent",
            "attempt-no": 0,
        }
    }
)


@dataclass(frozen=True, slots=True)
class Whole:
    """A message to store. header: kept for webhooks that tell it, else None. needed: so are its bytes. step: of the
    mailing list whose copies it has.
    """

    message: StoredMessage
    copies: list[Copy]
    options: Options | None
    header: bytes | None
    needed: bool = True
    step: Step | None = None


class Accepted:
    """posts: the owner's webhooks, None: there are none."""

    def __init__(self, ids: IdSource, posts: Posts | None) -> None:
        self._ids, self._posts = ids, posts

    def wants_header(self, domain_id: int) -> bool:
        """A webhook of the domain tells the header of its messages."""
        return self._posts is not None and self._posts.wants_header(domain_id)

    def records(self, whole: Whole, recipients: list[int], now: float) -> Records:
        """The events of the message's acceptance, and all that goes with them."""
        message, options = whole.message, whole.options
        domain_id, number = message.domain_id, message.id
        accepted = int(EventType.ACCEPTED)
        records = Records(
            [
                (self._ids.next(), accepted, domain_id, number, one, copy.told)
                for one, copy in zip(recipients, whole.copies, strict=True)
            ]
        )
        if message.flags & Flag.REPORT:
            return records
        labels, told = labels_of(options), [row[0] for row in records.events]
        metric = Metric.ACCEPTED_INCOMING
        if not message.flags & Flag.ROUTED:  # a list's members are counted and told of, each for himself
            metric = Metric.ACCEPTED_OUTGOING
            told = [event for event, copy in zip(told, whole.copies, strict=True) if not _is_post(copy)]
        records.counts = counts_of(domain_id, labels, metric, now, len(told)) if told else []
        if options is not None and options.tags:
            records.tags = [(domain_id, tag, now) for tag in options.tags]
            if metric is Metric.ACCEPTED_OUTGOING:
                domains = [copy.address.domain for copy in whole.copies if not _is_post(copy)]
                records.aggregates = providers_of(domain_id, labels, metric, now, domains)
        if options is not None and options.campaign_keys:
            records.campaigned = [(event, 1) for event in told]
        if self._posts is not None:
            records.posts = self._posts.rows(EventType.ACCEPTED, domain_id, told, now)
        if message.flags & Flag.TEST_MODE:
            self._pretend(records, whole, recipients, now)
        for own, copy in zip(recipients, whole.copies, strict=True):
            if copy.end is not None:
                self._end(records, message, own, copy.end, now)
        return records

    def _end(self, records: Records, message: StoredMessage, own: int, end: End, now: float) -> None:
        """This copy is done as soon as it is taken: stored by a route, or consumed."""
        domain_id, number, event = message.domain_id, message.id, self._ids.next()
        records.events.append((event, int(end.kind), domain_id, number, own, end.detail))
        records.counts += counts_of(domain_id, (), end.metric, now)
        if self._posts is not None:
            records.posts += self._posts.rows(end.kind, domain_id, [event], now)
        if end.key:
            people = orjson.dumps(list(end.recipients)).decode()
            sender = message.reverse_path
            records.stored.append((self._ids.next(), end.key, domain_id, number, people, sender, now))

    def _pretend(self, records: Records, whole: Whole, recipients: list[int], now: float) -> None:
        """Test mode: told as delivered, with a code that nobody else uses."""
        number, domain_id = whole.message.id, whole.message.domain_id
        events: list[EventRow] = [
            (self._ids.next(), int(EventType.DELIVERED), domain_id, number, one, _TEST_DETAIL) for one in recipients
        ]
        records.events += events
        if self._posts is not None:
            records.posts += self._posts.rows(EventType.DELIVERED, domain_id, [row[0] for row in events], now)


def _is_post(copy: Copy) -> bool:
    return isinstance(copy.address, ListPost)
