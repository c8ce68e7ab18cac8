"""mtad events, and mtad message: the journal, and one message's way through it.

Room: cli.
"""

from collections.abc import Sequence
from typing import Any

import click

from mtad.api.base import Impossible
from mtad.api.control import Desk
from mtad.api.journal_operations import EVENT_WORDS, MAX_EVENTS
from mtad.api.operations import Operations
from mtad.api.results import MessageView, Timeline
from mtad.api.webhook_operations import PostView
from mtad.cli import follow as following
from mtad.cli.common import CLOCK, Moment, operator
from mtad.cli.output import Output
from mtad.cli.words import count, moment, size, span
from mtad.mail.event import Event, EventType
from mtad.mail.ids import event_id
from mtad.webhooks.event_json import event_json


@click.command()
@click.option("--follow", is_flag=True, help="Go on with new events until Ctrl-C.")
@click.option("--recipient", default="", metavar="ADDRESS", help="Only those of this recipient.")
@click.option("--domain", default="", metavar="NAME", help="Only those of this domain of ours.")
@click.option(
    "--event",
    "words",
    multiple=True,
    type=click.Choice(list(EVENT_WORDS)),
    metavar="WORD",
    help=f"Only these; repeatable. One of {', '.join(EVENT_WORDS)}.",
)
@click.option("--since", default=0.0, type=Moment(), help="None older: 2h (ago), 2026-11-23, '2026-11-23 09:44'.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0, MAX_EVENTS), help="The last so many.")
@operator
async def events(
    desk: Desk,
    out: Output,
    follow: bool,
    recipient: str,
    domain: str,
    words: tuple[str, ...],
    since: float,
    limit: int,
) -> None:
    """Print events, oldest first. With --json one object a line, of the shape the HTTP API gives."""
    if follow and not desk.live:
        raise Impossible("no daemon is running: there will be no new events to follow")
    # Who follows must know what is there already and is not shown, so that it is not taken for new.
    found = await desk.ask(
        Operations.events, recipient, domain, words, 0.0 if follow else since, MAX_EVENTS if follow else limit
    )
    for event in [event for event in found if event.at >= since][-limit:] if limit else []:
        _print(event, out)
    if not follow:
        return

    async def look(after: int) -> Sequence[Event]:
        return await desk.ask(Operations.events, recipient, domain, words, 0.0, following.PAGE, after)

    async for event in following.follow(look, found, CLOCK):
        _print(event, out)


def _print(event: Event, out: Output) -> None:
    if out.json:
        out.object(event_json(event))
    else:
        name = f"{event.type.word} (temporary)" if event.type is EventType.FAILED_TEMPORARY else event.type.word
        parts = (moment(event.at), f"{name:<18}", event.queue_id, event.recipient, _facts(event))
        out.line("  ".join(part for part in parts if part))


def _show_post(post: PostView, out: Output) -> None:
    """A webhook's post, attempt by attempt."""
    name = post.name or "a removed webhook"
    for made in post.attempts:
        said = str(made.status) if made.status is not None else made.error
        out.line(f"{moment(made.at)}    posted to {made.url} ({name}): {said}; took {made.took_s:.2f} s")
    if post.state != "done":
        wait = f", next try {moment(post.due_at)}" if post.state == "waiting" and post.due_at else ""
        out.line(f"{'':<19}    post to {name}: {post.state}{wait}")


def _facts(event: Event) -> str:
    """What this event alone knows, in one line."""
    about, detail = event.about, event.detail
    match event.type:
        case EventType.ACCEPTED:
            return _origin(about)
        case EventType.DELIVERED | EventType.FAILED_TEMPORARY | EventType.FAILED_PERMANENT:
            return _attempt(event)
        case EventType.REJECTED:
            said = detail.get("reject") or {}
            return f"{said.get('reason', '')} {said.get('description', '')}".strip()
        case EventType.INTERRUPTED:
            number = detail.get("attempt-no", "?")
            return f"attempt {number} was cut off and its outcome is unknown: the next one may make a duplicate"
        case EventType.NOTIFIED:
            return f"a delivery status notification went to <{event.reverse_path}>"
        case EventType.FAILED_LATE:
            return f"a report came after it was taken: {_status_text(detail)}"
        case EventType.OPENED | EventType.CLICKED | EventType.UNSUBSCRIBED:
            return _visit(event)
        case EventType.COMPLAINED:
            return f"a feedback report says: {detail.get('feedback-type', 'abuse')}"
        case EventType.EXPANDED:
            return str((detail.get("delivery-status") or {}).get("description", ""))
        case EventType.STORED:
            return str((detail.get("storage") or {}).get("key", ""))


def _visit(event: Event) -> str:
    """ "https://shop.example/ by Firefox on Linux from [192.0.2.7], Berlin, DE"."""
    detail = event.detail
    client, place = detail.get("client-info") or {}, detail.get("geolocation") or {}
    words = [str(detail.get("url") or "")]
    if event.type is EventType.UNSUBSCRIBED:
        tags = [str(tag) for tag in detail.get("tags") or ()]
        words.append("from all mail of the domain" if tags in ([], ["*"]) else f"from {', '.join(tags)}")
    if client.get("client-name"):
        words.append(f"by {client['client-name']} on {client.get('client-os', 'Unknown')}")
    if client.get("bot"):
        words.append(f"({client['bot']}: not a person)")
    if detail.get("ip"):
        words.append(f"from [{detail['ip']}]")
    where = [str(place[key]) for key in ("city", "country") if place.get(key) not in (None, "", "Unknown")]
    return ", ".join([" ".join(word for word in words if word), *where])


def _status_text(detail: dict[str, Any]) -> str:
    status = detail.get("delivery-status") or {}
    words = [str(status[key]) for key in ("code", "enhanced-code", "message") if status.get(key)]
    return f"{' '.join(words)}; {detail.get('cause', 'unknown')}"


def _origin(about: dict[str, Any]) -> str:
    parts = [f"by {about.get('method', 'smtp')}"]
    if about.get("peer"):
        parts.append(f"from [{about['peer']}]" + (f" ({about['helo']})" if about.get("helo") else ""))
    if about.get("login"):
        parts.append(f"as {about['login']}")
    if "scheduled-for" in about:
        parts.append(f"for {moment(float(about['scheduled-for']))}")
    return " ".join(parts)


def _attempt(event: Event) -> str:
    """ "attempt 2 to mx.example.org [192.0.2.1] by TLSv1.3: 250 2.0.0 ok; took 0.3 s"."""
    status: dict[str, Any] = event.detail.get("delivery-status") or {}
    hop: dict[str, Any] = event.detail.get("hop") or {}
    if not status.get("code"):  # no attempt: an operator took it out of the queue
        return str(status.get("description") or "")
    if str(event.detail.get("reason", "")).startswith("suppress"):
        why = f" ({status['message']})" if status.get("message") else ""
        return f"{status['code']} {status.get('description', '')}{why}; nothing was tried"
    number = status.get("attempt-no", "?")
    words = [f"attempt {number}" if number else "never tried"]
    if status.get("mx-host"):
        words.append(f"to {status['mx-host']}" + (f" [{hop['ip']}]" if hop.get("ip") else ""))
    if hop.get("sending-ip"):
        words.append(f"from [{hop['sending-ip']}]")
    if status.get("tls-version"):
        words.append(f"by {status['tls-version']}" + (" verified" if status.get("certificate-verified") else ""))
    said = [str(status[key]) for key in ("code", "enhanced-code") if status.get(key)]
    said.append(str(status.get("message") or status.get("description") or ""))
    text = f"{' '.join(words)}: {' '.join(said)}"
    notes = []
    if event.type is EventType.FAILED_PERMANENT:
        notes.append(f"given up: {event.detail.get('reason', 'generic')}, {event.detail.get('cause', 'unknown')}")
        if status.get("last-reply"):
            notes.append(f"last reply {status['last-reply']}")
    if "retry-seconds" in status:
        notes.append(f"next try in {span(float(status['retry-seconds']))}")
    if event.detail.get("possible-duplicate") or status.get("possible-duplicate"):
        notes.append("POSSIBLE DUPLICATE")
    return "; ".join([text, *notes])


@click.group()
def message() -> None:
    """One message, from its acceptance to its end."""


@message.command()
@click.argument("id_", metavar="ID")
@operator
async def show(desk: Desk, out: Output, id_: str) -> None:
    """Show a message's timeline: accepted, each attempt with the host's words, the outcome.

    ID is the queue id, as in the 250 reply and the log. Where a crash or a lost connection may have made a second
    copy, the timeline says POSSIBLE DUPLICATE.
    """
    found = await desk.ask(Operations.message_show, id_)
    if out.json:
        timeline = [{**event_json(event), "detail": event.detail} for event in found.events]
        out.document({"message": found.message, "timeline": timeline, "posts": found.posts})
    else:
        _show(found, out)


def _show(found: Timeline, out: Output) -> None:
    view: MessageView = found.message
    out.facts(
        [
            ("Message", view.id),
            ("Domain", view.domain),
            ("Reverse-path", f"<{view.reverse_path}>"),
            ("From", str(view.about.get("from", ""))),
            ("Subject", str(view.about.get("subject", ""))),
            ("Size", f"{size(view.size)}, {count(view.recipient_count, 'recipient')}"),
        ]
    )
    out.line()
    posts: dict[str, list[PostView]] = {}
    for post in found.posts:
        posts.setdefault(post.event, []).append(post)
    for event in found.events:
        recipient = event.recipient if view.recipient_count > 1 or event.type is EventType.ACCEPTED else ""
        for said in event.detail.get("dialogue") or ():
            out.line(f"{'':<19}    {said}")
        parts = (moment(event.at), f"{event.type.word:<12}", recipient, _facts(event))
        out.line("  ".join(part for part in parts if part))
        for post in posts.get(event_id(event.id), ()):
            _show_post(post, out)
    still = [item for item in view.recipients if item.state in ("waiting", "sending")]
    if still:
        out.line()
        out.line(f"{count(len(still), 'recipient')} not done; `mtad queue show {view.id}` says why.")
