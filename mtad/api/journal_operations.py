"""Journal operations: events, a message's timeline, captured mail, and the check of the store.

Room: api. May import: mail, message, storage, webhooks.
"""

from mtad.api.base import Impossible, NotThere, number_of, shorten
from mtad.api.queue_operations import QueueOperations
from mtad.api.results import CapturedItem, CapturedMessage, CheckReport, Timeline
from mtad.api.webhook_operations import MAX_POSTS, post_view
from mtad.mail.event import INTERNAL, Event, EventType
from mtad.mail.ids import queue_id
from mtad.message.headers import scan
from mtad.storage import captured, journal, outbox, upkeep, webhooks
from mtad.storage.journal import EventFilter
from mtad.storage.outbox import PostFilter

MAX_EVENTS = 10_000  # of one answer

# What people ask for: the words of the `event` member, and both kinds of failure by name.
EVENT_WORDS = {
    "accepted": (EventType.ACCEPTED,),
    "delivered": (EventType.DELIVERED,),
    "failed": (EventType.FAILED_TEMPORARY, EventType.FAILED_PERMANENT, EventType.FAILED_LATE),
    "failed-temporary": (EventType.FAILED_TEMPORARY,),
    "failed-permanent": (EventType.FAILED_PERMANENT,),
    "failed-late": (EventType.FAILED_LATE,),
    "rejected": (EventType.REJECTED,),
    "opened": (EventType.OPENED,),
    "clicked": (EventType.CLICKED,),
    "unsubscribed": (EventType.UNSUBSCRIBED,),
    "complained": (EventType.COMPLAINED,),
    "stored": (EventType.STORED,),
}
_EVERY = tuple(kind for kind in EventType if kind not in INTERNAL)


class JournalOperations(QueueOperations):
    async def events(
        self,
        recipient: str = "",
        domain: str = "",
        words: tuple[str, ...] = (),
        since: float = 0.0,
        limit: int = 100,
        after: int | None = None,
    ) -> tuple[Event, ...]:
        """Oldest first: the last `limit` ones not older than `since`, or the first `limit` with an id above `after`.

        words: keys of EVENT_WORDS; none: all.
        """
        unknown = [word for word in words if word not in EVENT_WORDS]
        if unknown:
            raise Impossible(f"no event is called {shorten(unknown[0])!r}; there are {', '.join(EVENT_WORDS)}")
        types = tuple(kind for word in words for kind in EVENT_WORDS[word]) if words else _EVERY
        wanted = EventFilter(recipient.strip(), domain.strip().lower(), types)
        most = max(0, min(limit, MAX_EVENTS))
        if after is not None:
            last = after
            return tuple(await self._read(lambda connection: journal.after(connection, wanted, last, most)))
        return tuple(await self._read(lambda connection: journal.recent(connection, wanted, most, since)))

    async def message_show(self, message: str) -> Timeline:
        view = await self.queue_show(message)
        events = await self._read(lambda connection: journal.timeline(connection, number_of(view.id)))
        wanted = PostFilter(events=[event.id for event in events])
        found = await self._read(lambda connection: outbox.posts(connection, wanted, MAX_POSTS))
        rows = {row.id: row for row in await self._read(webhooks.webhooks)}
        posts = [post_view(post, rows.get(post.lane), False) for post in reversed(found)]
        return Timeline(view, tuple(events), tuple(posts))

    async def captured_list(self, recipient: str = "", limit: int = 100) -> tuple[CapturedItem, ...]:
        """The last ones first."""
        most = max(0, min(limit, 1000))
        rows = await self._read(lambda connection: captured.newest(connection, most, recipient.strip()))
        return tuple(_captured(row) for row in rows)

    async def captured_show(self, message: str) -> CapturedMessage:
        """By its own id, or that of the message it is a copy of."""
        number = number_of(message)
        row = await self._read(lambda connection: captured.get(connection, number))
        if row is None:
            raise NotThere(f"no captured message {message.strip().lower()}; `mtad captured list` shows those there are")
        return CapturedMessage(_captured(row), row.content)

    async def captured_clear(self) -> int:
        """How many there were."""
        return await self._write(captured.clear)

    async def check(self) -> CheckReport:
        """SQLite's own integrity, that every accepted recipient is queued or ended exactly once, and that what is still
        needed of messages, posts and files is there.
        """
        found = await self._read(upkeep.check)
        faults = (*found.faults, *await self._read(self._outgoing.spool_faults))
        counts = found.counts
        return CheckReport(counts.accepted, counts.delivered, counts.failed, counts.waiting, counts.leased, faults)


def _captured(row: captured.Captured) -> CapturedItem:
    block = scan(row.content)
    return CapturedItem(
        id=queue_id(row.id),
        message=queue_id(row.message_id),
        captured_at=row.captured_at,
        reverse_path=row.reverse_path,
        recipients=row.recipients,
        sender=block.text(b"from"),
        to=block.text(b"to"),
        subject=block.text(b"subject"),
    )
