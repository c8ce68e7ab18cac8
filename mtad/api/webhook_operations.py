"""Webhook operations: where news of a domain is posted, what became of each post, and posting again.

Room: api. May import: mail, storage, webhooks.
"""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, domain_name, number_of, reason, shorten
from mtad.mail.ids import event_id, queue_id
from mtad.storage import accounts, outbox, webhooks
from mtad.storage.outbox import LoggedPost, PostFilter, PostState
from mtad.storage.webhooks import WebhookRow
from mtad.webhooks.hooks import new_signing_key
from mtad.webhooks.kinds import Kind
from mtad.webhooks.poster import Answer
from mtad.webhooks.targets import BadTarget, parse_target, shown

log = log_module.get("api")

MAX_POSTS = 1000  # of one answer
MAX_URLS = 3  # of one id
MAX_KEY = 200  # characters
_STATES = {
    PostState.WAITING: "waiting",
    PostState.DONE: "done",
    PostState.GIVEN_UP: "given up",
    PostState.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class WebhookView:
    """id: the number commands take. url: without user and password. waiting: posts not made yet."""

    id: int
    domain: str
    name: str
    url: str
    paused_why: str | None
    created_at: float
    waiting: int


@dataclass(frozen=True, slots=True)
class AttemptView:
    """status None: no answer. request: what was posted, without files; "" unless it was asked for."""

    at: float
    url: str
    status: int | None
    error: str
    took_s: float
    request: str


@dataclass(frozen=True, slots=True)
class PostView:
    """webhook 0, domain and name "": it was removed. state: "waiting", "done", "given up" or "refused"."""

    id: str
    webhook: int
    domain: str
    name: str
    event: str
    state: str
    due_at: float | None
    attempts: tuple[AttemptView, ...]


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """What a receiver said to a sample; status None: nothing, and error says why."""

    url: str
    status: int | None
    error: str
    took_s: float


class Posting(Protocol):
    """The sender of the running daemon."""

    async def reload(self) -> None:
        """The webhooks have changed."""

    def stir(self) -> None:
        """There are posts to make."""

    async def test(self, kind: Kind, domain: str, url: str) -> Answer: ...


class WebhookOperations(Base):
    """posting: set by the daemon; None: no daemon runs, and nothing is posted."""

    posting: Posting | None = None

    async def webhook_add(self, domain: str, name: str, url: str) -> WebhookView:
        """Post this kind of news of the domain to one more URL. open and click turn their tracking on."""
        kind, ours = _kind(name), domain_name(domain)
        _check(url)
        row_domain, now = await self._domain_id(ours), self._clock.now()
        number = await self._write(lambda connection: _add(connection, row_domain, ours, kind, url, now))
        log.info("webhook-added", webhook=number, domain=ours, name=kind, url=shown(url))
        await self._webhooks_changed()
        return next(view for view in await self.webhook_list(ours) if view.id == number)

    async def webhook_set(self, domain: str, name: str, urls: tuple[str, ...]) -> tuple[WebhookView, ...]:
        """Exactly these URLs, none: the id is not set any more. An older id takes the last of them."""
        kind, ours = _kind(name), domain_name(domain)
        wanted = tuple(dict.fromkeys(urls))[-1:] if kind.is_form else tuple(dict.fromkeys(urls))
        if len(wanted) > MAX_URLS:
            raise Impossible(f"{kind} takes at most {MAX_URLS} URLs")
        for url in wanted:
            _check(url)
        row_domain, now = await self._domain_id(ours), self._clock.now()
        await self._write(lambda connection: _set(connection, row_domain, kind, wanted, now))
        log.info("webhook-set", domain=ours, name=kind, urls=len(wanted))
        await self._webhooks_changed()
        return tuple(view for view in await self.webhook_list(ours) if view.name == kind)

    async def webhook_list(self, domain: str = "") -> tuple[WebhookView, ...]:
        only = domain_name(domain) if domain else ""
        rows, waiting = await self._read(lambda connection: (webhooks.webhooks(connection), outbox.waiting(connection)))
        return tuple(
            WebhookView(r.id, r.domain, r.name, shown(r.url), r.paused_why, r.created_at, waiting.get(r.id, 0))
            for r in rows
            if not only or r.domain == only
        )

    async def webhook_remove(self, domain: str, name: str, url: str = "") -> int:
        """One URL of the id, or all of them; how many. What waits for them is not posted any more."""
        rows = await self._rows(domain, name, url)
        await self._write(lambda connection: _remove(connection, rows))
        log.info("webhook-removed", domain=rows[0].domain, name=name, urls=len(rows))
        await self._webhooks_changed()
        return len(rows)

    async def webhook_pause(self, domain: str, name: str, url: str = "", why: str = "") -> int:
        """Its posts wait, for as long as their events are kept. How many URLs."""
        return await self._set_paused(domain, name, url, reason(why, "by the operator"))

    async def webhook_resume(self, domain: str, name: str, url: str = "") -> int:
        return await self._set_paused(domain, name, url, None)

    async def _set_paused(self, domain: str, name: str, url: str, why: str | None) -> int:
        rows = await self._rows(domain, name, url)
        await self._write(lambda connection: _pause(connection, rows, why))
        log.info("webhook-paused" if why else "webhook-resumed", domain=rows[0].domain, name=name, why=why)
        await self._webhooks_changed()
        return len(rows)

    async def webhook_log(
        self,
        webhook: str = "",
        domain: str = "",
        failed: bool = False,
        since: float = 0.0,
        until: float | None = None,
        limit: int = 50,
        requests: bool = False,
    ) -> tuple[PostView, ...]:
        """The last posts, newest first, with every attempt. webhook: a number, or an id as "bounce"; "": all.

        failed: given up, refused, or waiting for another attempt. requests: show what was posted.
        """
        rows = await self._read(webhooks.webhooks)
        wanted = PostFilter(_lanes(rows, webhook, domain), failed, since, until)
        most = max(0, min(limit, MAX_POSTS))
        found = await self._read(lambda connection: outbox.posts(connection, wanted, most))
        known = {row.id: row for row in rows}
        return tuple(post_view(post, known.get(post.lane), requests) for post in found)

    async def webhook_replay(
        self,
        ids: tuple[str, ...] = (),
        failed: bool = False,
        since: float = 0.0,
        until: float | None = None,
        webhook: str = "",
        domain: str = "",
    ) -> int:
        """Post again: single posts, all of a time, or all that failed; how many. Their ladder begins anew."""
        if not ids and not failed and not since and until is None:
            raise Impossible("say what to post again: ids, a time, or all that failed")
        rows = await self._read(webhooks.webhooks)
        numbers = tuple(number_of(one) for one in ids) if ids else None
        wanted = PostFilter(_lanes(rows, webhook, domain), failed, since, until, numbers)
        count, after, now = 0, 0, self._clock.now()
        while True:
            start = after
            some, last = await self._write(lambda connection: outbox.replay(connection, wanted, now, start))  # noqa: B023
            count += some
            if last is None:
                break
            after = last
        if ids and not count:
            raise NotThere("no such post is left with its webhook and event; `mtad webhook log` shows those there are")
        log.info("webhook-replayed", posts=count)
        if self.posting is not None:
            self.posting.stir()
        return count

    async def webhook_test(self, domain: str, name: str, url: str = "") -> tuple[SampleAnswer, ...]:
        """Post a sample, signed, to each URL of the id, or to one that need not be set."""
        if self.posting is None:
            raise Impossible("no daemon is running that could post")
        kind, ours = _kind(name), domain_name(domain)
        if url:
            _check(url)
            await self._domain_id(ours)
        urls = [url] if url else [row.url for row in await self._rows(ours, kind)]
        answers = []
        for one in urls:
            answer = await self.posting.test(kind, ours, one)
            answers.append(SampleAnswer(shown(one), answer.status, answer.error, answer.took_s))
        return tuple(answers)

    async def webhook_key(self, key: str = "", new: bool = False) -> str:
        """The key that posts are signed with; set to `key`, or made anew."""
        if key and not (key.isascii() and key.isprintable() and len(key) <= MAX_KEY):
            raise Impossible(f"a key is 1 to {MAX_KEY} printable ASCII characters")
        wanted = key or (new_signing_key() if new else "")
        if wanted:
            await self._write(lambda connection: webhooks.set_signing_key(connection, wanted))
            log.info("signing-key-set")
            await self._webhooks_changed()
            return wanted
        return await self._write(lambda connection: webhooks.ensure_signing_key(connection, new_signing_key()))

    async def _domain_id(self, name: str) -> int:
        row = next((row for row in await self._read(accounts.domains) if row.name == name), None)
        if row is None:
            raise NotThere(f"{name} is no domain of ours; `mtad domain list` shows them")
        return row.id

    async def _rows(self, domain: str, name: str, url: str = "") -> list[WebhookRow]:
        """At least one."""
        kind, ours = _kind(name), domain_name(domain)
        found = [row for row in await self._read(webhooks.webhooks) if row.domain == ours and row.name == kind]
        if url:
            found = [row for row in found if url in (row.url, shown(row.url))]
        if not found:
            where = f"{kind} of {ours} is not posted {'to that URL' if url else 'anywhere'}"
            raise NotThere(f"{where}; `mtad webhook list` shows what is")
        return found

    async def _webhooks_changed(self) -> None:
        await self._changed()
        if self.posting is not None:
            await self.posting.reload()


def _kind(name: str) -> Kind:
    try:
        return Kind(name.strip().lower())
    except ValueError:
        raise Impossible(f"no webhook is called {shorten(name)!r}; there are {', '.join(Kind)}") from None


def _check(url: str) -> None:
    try:
        parse_target(url)
    except BadTarget as error:
        raise Impossible(str(error)) from None


def _add(connection: sqlite3.Connection, domain_id: int, domain: str, kind: Kind, url: str, now: float) -> int:
    there = [row for row in webhooks.webhooks(connection) if row.domain_id == domain_id and row.name == kind]
    if any(row.url == url for row in there):
        raise Impossible(f"{kind} of {domain} is posted to that URL already")
    most = 1 if kind.is_form else MAX_URLS
    if len(there) >= most:
        takes = "one URL" if most == 1 else f"at most {most} URLs"
        raise Impossible(f"{kind} takes {takes}, and {domain} has that many; remove one first")
    _track(connection, domain_id, kind)
    return webhooks.add_webhook(connection, domain_id, kind, url, len(there), now)


def _remove(connection: sqlite3.Connection, rows: list[WebhookRow]) -> None:
    for row in rows:
        webhooks.remove_webhook(connection, row.id)


def _pause(connection: sqlite3.Connection, rows: list[WebhookRow], why: str | None) -> None:
    for row in rows:
        webhooks.pause_webhook(connection, row.id, why)


def _set(connection: sqlite3.Connection, domain_id: int, kind: Kind, urls: tuple[str, ...], now: float) -> None:
    """What stays keeps its number, and so its posts."""
    there = [row for row in webhooks.webhooks(connection) if row.domain_id == domain_id and row.name == kind]
    for row in there:
        if row.url not in urls:
            webhooks.remove_webhook(connection, row.id)
    known = {row.url for row in there}
    for place, url in enumerate(urls):
        if url not in known:
            webhooks.add_webhook(connection, domain_id, kind, url, place, now)
    if urls:
        _track(connection, domain_id, kind)


def _track(connection: sqlite3.Connection, domain_id: int, kind: Kind) -> None:
    webhooks.track(connection, domain_id, opens=kind is Kind.OPEN, clicks=kind is Kind.CLICK)


def _lanes(rows: list[WebhookRow], webhook: str, domain: str) -> Collection[int] | None:
    """Numbers of the webhooks that are meant; None: all, those that were removed too."""
    wanted = webhook.strip().lower()
    if not wanted and not domain:
        return None
    if wanted and not (wanted.isascii() and wanted.isdigit()):
        _kind(wanted)
    ours = domain_name(domain) if domain else ""
    found = [
        row.id for row in rows if (not ours or row.domain == ours) and (not wanted or wanted in (row.name, str(row.id)))
    ]
    if not found:
        raise NotThere("there is no such webhook; `mtad webhook list` shows those there are")
    return found


def post_view(post: LoggedPost, row: WebhookRow | None, requests: bool) -> PostView:
    """row None: the webhook was removed."""
    return PostView(
        id=queue_id(post.id),
        webhook=row.id if row else 0,
        domain=row.domain if row else "",
        name=row.name if row else "",
        event=event_id(post.event_id),
        state=_STATES[post.state],
        due_at=post.due_at if post.state is PostState.WAITING else None,
        attempts=tuple(
            AttemptView(
                one.at,
                one.url,
                one.status,
                one.error,
                one.took_s,
                one.request.decode("utf-8", "replace") if requests else "",
            )
            for one in post.made
        ),
    )
