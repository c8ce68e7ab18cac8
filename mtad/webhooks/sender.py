"""Sender: outbox -> HTTP POST, with retries; every attempt goes into the ledger.

Room: webhooks. May import: mail, message, storage. A row of the outbox is held in memory from the look that found it
until the commit that settles it; a crash in between makes the post again. Bounds: so many posts at a time for one
webhook, one host and all together, of which slow hosts together get half, so that a dead receiver delays nobody but
itself.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.ids import IdSource, queue_id
from mtad.message.variables import Unfillable
from mtad.storage import outbox as store
from mtad.storage.database import PROBE_S, Database
from mtad.storage.outbox import AttemptRow, Content, Post, PostState, Settled, Wanted
from mtad.storage.outgoing import StoredMessage, StoredRecipient
from mtad.webhooks.hooks import Hook, Hooks
from mtad.webhooks.kinds import Kind, applies
from mtad.webhooks.ladder import Again, GivenUp, Taken, Unwanted, next_step
from mtad.webhooks.payload import Body, body_of, sample_event, stamp
from mtad.webhooks.poster import Answer, Poster
from mtad.webhooks.settings import WebhookConfig
from mtad.webhooks.targets import parse_target

log = log_module.get("webhooks")

POLL_S = 30.0  # the store is looked at so often even when nobody says there is news
_TURNS = 4  # lanes that get another chance when a post has ended
LINGER_S = 0.01  # between two looks: what is committed meanwhile comes with the second
MAX_LINGER_S = 0.25

# The header of a message as stored -> as this recipient got it. Raises Unfillable: he got none.
SentHeader = Callable[[bytes, StoredMessage, StoredRecipient], bytes]


@dataclass(slots=True)
class Tally:
    """Since the start, for /metrics. posted: attempts; done, given_up, refused: posts."""

    posted: int = 0
    done: int = 0
    given_up: int = 0
    refused: int = 0
    unanswered: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Lane:
    """A webhook some of whose posts are in memory. held: ids from look to commit."""

    webhook: int
    waiting: deque[Post] = field(default_factory=deque)
    held: set[int] = field(default_factory=set)
    at_once: int = 0


@dataclass(slots=True)
class _Host:
    """A host and port that is posted to, or that did not answer lately."""

    at_once: int = 0
    slow: bool = False


class Sender:
    """Run `run()`; set `wake` when posts have been committed. token: 50 random hexadecimal digits. sent_header: None
    where no message differs from one recipient to the next."""

    def __init__(
        self,
        *,
        database: Database,
        hooks: Hooks,
        poster: Poster,
        ids: IdSource,
        clock: Clock,
        token: Callable[[], str],
        config: WebhookConfig,
        sent_header: SentHeader | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._sent_header = sent_header
        self._database, self._hooks, self._poster = database, hooks, poster
        self._ids, self._clock, self._token, self._config = ids, clock, token, config
        self._waits_s = tuple(wait * config.scale for wait in config.waits_s)
        self._half = max(1, config.at_once // 2)  # nobody who may be dead gets more
        self._settle = database.writer.lane(store.settle, patient=True)
        self._lanes: dict[int, _Lane] = {}
        self._hosts: dict[str, _Host] = {}
        self._at_once = self._slow_at_once = self._octets = 0
        self._passed: dict[int, _Lane] = {}  # lanes that had their turn and found another bound than their own
        self._passed_slow: dict[int, _Lane] = {}  # the same at slow hosts
        self._unsettled: list[tuple[_Lane, Post, Settled]] = []
        self._looks_at = self._again_at = 0.0
        self._partial = self._stopping = False
        self._tasks: asyncio.TaskGroup | None = None
        self.wake = asyncio.Event()
        self.tally = tally or Tally()
        hooks.on_change = self._changed
        self._changed()

    @property
    def at_once(self) -> int:
        """Posts under way."""
        return self._at_once

    async def run(self) -> None:
        """Post until stop(); then wait for what is under way. Cancel me to hurry: what is cut short is posted again."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while not self._stopping:
                self.wake.clear()
                started = self._clock.steady()
                until = await self._look()
                took_s = self._clock.steady() - started
                await self._clock.nap(self.wake, until)
                if not self._stopping:
                    # With thousands of lanes that wait, looking must not become what the store does all day.
                    await self._clock.sleep(min(max(LINGER_S, 4 * took_s), MAX_LINGER_S))

    def stop(self) -> None:
        self._stopping = True
        self.wake.set()

    def stir(self) -> None:
        """There are posts to make."""
        self.wake.set()

    def clock_set_back(self) -> None:
        """Nothing waits for a time that was read from the clock as it was before."""
        self._again_at = 0.0
        self.wake.set()

    async def reload(self) -> None:
        """The webhooks, or the domains that have them, were changed."""
        await self._hooks.load()

    async def test(self, kind: Kind, domain: str, url: str) -> Answer:
        """Post a sample to `url` now, signed like any other; nothing is kept of it. Raises BadTarget."""
        target, now = parse_target(url), self._clock.now()
        event = sample_event(kind, domain, self._ids.next(), now)
        return await self._poster.post(target, self._body(kind, Content(event)))

    # Looking.

    async def _look(self) -> float:
        """Take in due posts and begin with them; seconds until the next look has a reason."""
        self._put_again()
        wanted = replace(
            self._wanted,
            held={number: frozenset(lane.held) for number, lane in self._lanes.items()},
            octets=max(0, self._config.memory_octets - self._octets),
        )
        now = self._clock.now()
        try:
            found = await self._database.read(lambda connection: store.look(connection, now, wanted))
        except sqlite3.Error as error:
            log.error("outbox-unreadable", cause=error)
            return PROBE_S
        self._partial = found.partial
        until = POLL_S if found.next_at is None else min(POLL_S, max(0.0, found.next_at - now))
        until = min(until, PROBE_S) if self._unsettled else until
        self._looks_at = now + until
        self._start_passed()
        self._take_in(found.posts)
        for webhook in found.strays:
            await self._give_up_stray(webhook)
        return until

    def _take_in(self, posts: Sequence[Post]) -> None:
        touched: dict[int, _Lane] = {}
        for post in posts:
            hook = self._hooks.get(post.lane)
            if hook is None or hook.paused:
                continue  # since the look began
            lane = touched[post.lane] = self._lanes.setdefault(post.lane, _Lane(post.lane))
            lane.waiting.append(post)
            lane.held.add(post.id)
            self._octets += post.content.octets if post.content else 0
        for lane in touched.values():
            self._start(lane)

    async def _give_up_stray(self, webhook: int) -> None:
        """Its webhook was removed. Hooks are loaded before they make posts, so it cannot be a new one."""
        if self._hooks.get(webhook) is not None:
            return
        try:
            count = await self._database.writer.write(lambda connection: store.give_up_lane(connection, webhook))
        except sqlite3.Error as error:
            log.error("outbox-unwritable", cause=error)
            return
        if count:
            log.info("webhook-gone", webhook=webhook, posts=count)
        if count == store.BATCH:
            self.wake.set()

    def _changed(self) -> None:
        """Webhooks were added, removed, paused or resumed. What waits in memory is found again by the next look."""
        hooks = self._hooks.all
        self._wanted = Wanted(
            lanes={number: self._config.window for number in hooks},
            held={},
            paused=frozenset(number for number, hook in hooks.items() if hook.paused),
            whole=frozenset(number for number, hook in hooks.items() if hook.kind.is_form),
            octets=0,
        )
        for lane in list(self._lanes.values()):
            hook = hooks.get(lane.webhook)
            if hook is None or hook.paused:
                while lane.waiting:
                    self._forget(lane, lane.waiting.popleft())
        places = {hook.target.place for hook in hooks.values()}
        self._hosts = {place: host for place, host in self._hosts.items() if host.at_once or place in places}
        self.wake.set()

    def _forget(self, lane: _Lane, post: Post) -> None:
        lane.held.discard(post.id)
        self._octets -= post.content.octets if post.content else 0
        if not lane.held and self._lanes.get(lane.webhook) is lane:
            del self._lanes[lane.webhook]

    # Starting.

    def _start(self, lane: _Lane) -> None:
        """Begin what may begin. A lane that another bound than its own stands against is passed over for now."""
        hook = self._hooks.get(lane.webhook)
        if hook is None or hook.paused or self._tasks is None or self._stopping:
            return
        config, place = self._config, hook.target.place
        while lane.waiting and lane.at_once < config.at_once_each:
            host = self._hosts.setdefault(place, _Host())
            most = config.at_once_slow if host.slow else config.at_once_host
            full = self._at_once >= config.at_once or host.at_once >= min(most, self._half)
            if full or (host.slow and self._slow_at_once >= self._half):
                (self._passed_slow if host.slow else self._passed)[lane.webhook] = lane
                return
            post = lane.waiting.popleft()
            lane.at_once += 1
            host.at_once += 1
            self._at_once += 1
            self._slow_at_once += host.slow
            self._tasks.create_task(self._one(lane, hook, host, post, host.slow), name=f"post {post.id}")

    def _start_passed(self) -> None:
        """The first few of those that were passed over; who is so again goes to the end."""
        for passed in (self._passed, self._passed_slow):
            for webhook in list(islice(passed, _TURNS)):
                self._start(passed.pop(webhook))

    async def _one(self, lane: _Lane, hook: Hook, host: _Host, post: Post, was_slow: bool) -> None:
        try:
            settled = await self._attempt(hook, host, post)
        finally:
            lane.at_once -= 1
            host.at_once -= 1
            self._at_once -= 1
            self._slow_at_once -= was_slow
        self._put(lane, post, settled)
        self._start_passed()
        self._start(lane)

    async def _attempt(self, hook: Hook, host: _Host, post: Post) -> Settled:
        if post.content is None:
            log.warning("webhook-event-gone", post=queue_id(post.id), webhook=hook.id, domain=hook.domain)
            return Settled(post.id, PostState.GIVEN_UP, post.attempts, None, None)
        if not applies(hook.kind, post.content.event):
            return Settled(post.id, PostState.DONE, post.attempts, None, None)
        try:
            body = self._body(hook.kind, post.content)
            answer = await self._poster.post(hook.target, body)
        except Exception:  # one odd event must not end all posting
            log.exception("post-crashed", post=queue_id(post.id), webhook=hook.id)
            body, answer = Body("", b"", b""), Answer(None, "internal error", 0.0)
        self._remember(hook, host, answer)
        return self._settled(hook, post, body, answer)

    def _body(self, kind: Kind, content: Content) -> Body:
        """Signed anew each time: receivers refuse old timestamps and tokens they have seen."""
        if content.header is not None and content.origin is not None and self._sent_header is not None:
            content = replace(content, header=self._personal(content.header, *content.origin))
        return body_of(kind, content, stamp(self._hooks.signing_key, int(self._clock.now()), self._token()))

    def _personal(self, header: bytes, message: StoredMessage, recipient: StoredRecipient) -> bytes | None:
        assert self._sent_header is not None
        try:
            return self._sent_header(header, message, recipient)
        except Unfillable:
            return None

    def _remember(self, hook: Hook, host: _Host, answer: Answer) -> None:
        self.tally.posted += 1
        self.tally.seconds += answer.took_s
        self.tally.unanswered += answer.status is None
        slow = answer.status is None or answer.took_s > self._config.slow_s
        if slow and not host.slow:
            log.warning("receiver-unwell", place=hook.target.place, took_s=answer.took_s, cause=answer.error or None)
        elif host.slow and not slow:
            log.info("receiver-well", place=hook.target.place)
        host.slow = slow

    # Settling.

    def _settled(self, hook: Hook, post: Post, body: Body, answer: Answer) -> Settled:
        attempts, now = post.attempts + 1, self._clock.now()
        step = next_step(answer.status, attempts, self._waits_s, once=hook.kind.once)
        state, due_at = PostState.WAITING, None
        match step:
            case Taken():
                state = PostState.DONE
                self.tally.done += 1
            case Unwanted():
                state = PostState.REFUSED
                self.tally.refused += 1
                self._say("webhook-refused", hook, post, answer, attempts)
            case GivenUp():
                state = PostState.GIVEN_UP
                self.tally.given_up += 1
                self._say("webhook-given-up", hook, post, answer, attempts)
            case Again(wait_s=wait_s):
                due_at = now + wait_s
        attempt = AttemptRow(
            self._ids.next(), hook.target.url, answer.status, answer.error, answer.took_s, store.packed(body.kept)
        )
        return Settled(post.id, state, attempts, due_at, attempt)

    def _say(self, word: str, hook: Hook, post: Post, answer: Answer, attempts: int) -> None:
        log.warning(
            word,
            post=queue_id(post.id),
            webhook=hook.id,
            domain=hook.domain,
            name=hook.kind,
            place=hook.target.place,
            status=answer.status,
            cause=answer.error or None,
            attempts=attempts,
        )

    def _put(self, lane: _Lane, post: Post, settled: Settled) -> None:
        future = self._settle.put(settled)
        future.add_done_callback(lambda done: self._committed(done, lane, post, settled))

    def _committed(self, done: "asyncio.Future[None]", lane: _Lane, post: Post, settled: Settled) -> None:
        """Only now may a look find the row: before, it would find what was done already."""
        if done.cancelled():
            return
        if done.exception() is not None:
            log.error("post-unsettled", post=queue_id(post.id), cause=done.exception())
            if not self._unsettled:
                self._again_at = self._clock.now() + PROBE_S
            self._unsettled.append((lane, post, settled))
            self.wake.set()
            return
        self._forget(lane, post)
        more = self._partial and len(lane.held) <= self._config.window // 2
        if more or (settled.due_at is not None and settled.due_at < self._looks_at):
            self.wake.set()

    def _put_again(self) -> None:
        """What was posted and could not be written down: not at once, as the store has to recover first."""
        if self._clock.now() < self._again_at:
            return
        unsettled, self._unsettled = self._unsettled, []
        for lane, post, settled in unsettled:
            self._put(lane, post, settled)
