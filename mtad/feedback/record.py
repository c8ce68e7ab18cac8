"""Record: an event -> all that is written with it: what is counted, and the posts that tell the owner.

Room: feedback. May import: mail, storage. Used by queue.submit and queue.settle for their own transactions, and by
inbound for reports that come in.
"""

from collections.abc import Callable, Iterable, Sequence

from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.lists import list_label
from mtad.mail.metric import HOUR_S, PERIOD_H, Metric
from mtad.mail.options import Options
from mtad.storage.record import Aggregate, Count, PostRow

# (type of event, domain id, suppressed: nothing was tried) -> ids of the webhooks it is posted to
PostsFor = Callable[[EventType, int, bool], tuple[int, ...]]


def labels_of(options: Options | None) -> tuple[str, ...]:
    """Under which labels the events of a message are counted besides the domain's own: tags, campaigns, its list."""
    if options is None:
        return ()
    through = (list_label(options.list_number),) if options.list_number else ()
    return (
        *(f"t:{tag.lower()}" for tag in options.tags),
        *(f"c:{key}" for key in options.campaign_keys),
        *through,
    )


def counts_of(domain_id: int, labels: Iterable[str], metric: Metric, at: float, number: int = 1) -> list[Count]:
    hour = int(at) // HOUR_S
    return [(domain_id, label, int(metric), hour, number) for label in ("", *labels)]


def providers_of(
    domain_id: int, labels: Iterable[str], metric: Metric, at: float, domains: Sequence[str]
) -> list[Aggregate]:
    """The same by the recipients' domains, of tags alone: nothing else is asked for so."""
    period = int(at) // HOUR_S // PERIOD_H
    tags = [label for label in labels if label.startswith("t:")]
    return [(domain_id, tag, "provider", name.lower(), int(metric), period, 1) for tag in tags for name in domains]


class Posts:
    """Makes the rows of the outbox. posts_for: from memory, as it is asked for every event. wants_header: a webhook
    of this domain (id) tells the header of the message. pending: rows were made that may not be committed yet.
    """

    def __init__(self, posts_for: PostsFor, ids: IdSource, wants_header: Callable[[int], bool]) -> None:
        self._posts_for, self._ids, self.wants_header = posts_for, ids, wants_header
        self.pending = False

    def lanes(self, kind: EventType, domain_id: int, suppressed: bool = False) -> tuple[int, ...]:
        """The webhooks the event is posted to; its rows will be in one of the next commits."""
        lanes = self._posts_for(kind, domain_id, suppressed)
        if lanes:
            self.pending = True
        return lanes

    def rows(
        self, kind: EventType, domain_id: int, events: Sequence[int], at: float, *, suppressed: bool = False
    ) -> list[PostRow]:
        """events: their ids, all of one kind."""
        lanes = self.lanes(kind, domain_id, suppressed)
        return [(self._ids.next(), lane, event, at) for event in events for lane in lanes] if lanes else []
