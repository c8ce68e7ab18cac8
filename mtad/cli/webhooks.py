"""mtad webhook: where news of a domain is posted, what became of each post, and posting again.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.webhook_operations import MAX_POSTS, AttemptView, WebhookOperations
from mtad.cli.common import CLOCK, Moment, operator
from mtad.cli.output import Output
from mtad.cli.words import count, distance, moment
from mtad.webhooks.kinds import Kind

_ID = click.Choice([str(kind) for kind in Kind])
_NO_DAEMON = "No daemon is running: nothing is posted until one does."


@click.group()
def webhook() -> None:
    """Where news of a domain is posted.

    The ids bounce, deliver, drop, spam, unsubscribe, click and open get form fields; accepted, delivered, opened,
    clicked, unsubscribed, complained, permanent_fail and temporary_fail get JSON.
    """


@webhook.command()
@click.argument("domain")
@click.argument("id_", metavar="ID", type=_ID)
@click.argument("url")
@operator
async def add(desk: Desk, out: Output, domain: str, id_: str, url: str) -> None:
    """Post events of kind ID of DOMAIN to URL.

    JSON ids take up to three URLs, the others one. open and click turn that tracking on for the domain. A user and
    password in the URL become a Basic Authorization header.
    """
    made = await desk.ask(WebhookOperations.webhook_add, domain, id_, url)
    if out.json:
        out.document(made)
    else:
        out.line(f"{made.name} of {made.domain} is posted to {made.url} (webhook {made.id}).")


@webhook.command("list")
@click.argument("domain", default="")
@operator
async def list_(desk: Desk, out: Output, domain: str) -> None:
    """List the webhooks, of DOMAIN or of all."""
    found = await desk.ask(WebhookOperations.webhook_list, domain)
    if out.json:
        out.document(found)
        return
    rows = [
        (
            str(view.id),
            view.domain,
            view.name,
            view.url,
            str(view.waiting),
            f"paused: {view.paused_why}" if view.paused_why is not None else "",
        )
        for view in found
    ]
    columns = ("NUMBER", "DOMAIN", "ID", "URL", "WAITING", "STATE")
    out.table(columns, rows, "There is no webhook yet; `mtad webhook add DOMAIN ID URL` adds one.")


@webhook.command()
@click.argument("domain")
@click.argument("id_", metavar="ID", type=_ID)
@click.argument("url", default="")
@operator
async def remove(desk: Desk, out: Output, domain: str, id_: str, url: str) -> None:
    """Stop posting ID of DOMAIN to URL, or to all its URLs.

    Posts that wait for them are given up. Tracking stays as it is.
    """
    number = await desk.ask(WebhookOperations.webhook_remove, domain, id_, url)
    out.document({"removed": number}) if out.json else out.line(f"{count(number, 'URL')} removed.")


@webhook.command()
@click.argument("domain")
@click.argument("id_", metavar="ID", type=_ID)
@click.argument("url", default="")
@click.option("--why", default="", metavar="TEXT", help="What the list says of it.")
@operator
async def pause(desk: Desk, out: Output, domain: str, id_: str, url: str, why: str) -> None:
    """Keep the posts of ID of DOMAIN until it is resumed; for one URL or for all."""
    number = await desk.ask(WebhookOperations.webhook_pause, domain, id_, url, why)
    out.document({"paused": number}) if out.json else out.line(f"{count(number, 'URL')} paused.")


@webhook.command()
@click.argument("domain")
@click.argument("id_", metavar="ID", type=_ID)
@click.argument("url", default="")
@operator
async def resume(desk: Desk, out: Output, domain: str, id_: str, url: str) -> None:
    """Post what has waited since the pause, and go on."""
    number = await desk.ask(WebhookOperations.webhook_resume, domain, id_, url)
    out.document({"resumed": number}) if out.json else out.line(f"{count(number, 'URL')} resumed.")


@webhook.command()
@click.option("--failed", is_flag=True, help="Only posts given up, refused, or waiting for another attempt.")
@click.option("--webhook", "which", default="", metavar="ID", help="Only of this webhook: its number, or an id.")
@click.option("--domain", default="", metavar="NAME", help="Only of this domain of ours.")
@click.option("--since", default=0.0, type=Moment(), help="None older: 2h (ago), 2026-11-23, '2026-11-23 09:44'.")
@click.option("--until", default=None, type=Moment(), help="None newer.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MAX_POSTS), help="The last so many.")
@click.option("--requests", is_flag=True, help="Show what was posted.")
@operator
async def log(
    desk: Desk,
    out: Output,
    failed: bool,
    which: str,
    domain: str,
    since: float,
    until: float | None,
    limit: int,
    requests: bool,
) -> None:
    """Show posts, the newest first, with every attempt."""
    found = await desk.ask(WebhookOperations.webhook_log, which, domain, failed, since, until, limit, requests)
    if out.json:
        out.document(found)
        return
    now = CLOCK.now()
    for post in found:
        due = f", next attempt {distance(post.due_at, now)}" if post.due_at is not None else ""
        name = f"{post.name} of {post.domain} (webhook {post.webhook})" if post.webhook else "a removed webhook"
        out.line(f"{post.id}  {name}  {post.state}{due}")
        for attempt in post.attempts:
            out.line(f"  {_line(attempt)}")
            if attempt.request:
                out.line(f"    {attempt.request}")
    if not found:
        out.line("Nothing that was asked for is in the log.")


def _line(attempt: AttemptView) -> str:
    said = str(attempt.status) if attempt.status is not None else attempt.error
    return f"{moment(attempt.at)}  {attempt.url}  {said}  ({attempt.took_s:.2f} s)"


@webhook.command()
@click.argument("posts", metavar="[POST]...", nargs=-1)
@click.option("--failed", is_flag=True, help="All that failed.")
@click.option("--since", default=0.0, type=Moment(), help="All since then: 2h (ago), 2026-11-23, '2026-11-23 09:44'.")
@click.option("--until", default=None, type=Moment(), help="All until then.")
@click.option("--webhook", "which", default="", metavar="ID", help="Only of this webhook: its number, or an id.")
@click.option("--domain", default="", metavar="NAME", help="Only of this domain of ours.")
@operator
async def replay(
    desk: Desk,
    out: Output,
    posts: tuple[str, ...],
    failed: bool,
    since: float,
    until: float | None,
    which: str,
    domain: str,
) -> None:
    """Post again: POSTs as the log names them, all of a time, or all that failed.

    Each is signed anew, and its attempts are counted from the beginning.
    """
    if not posts and not failed and not since and until is None:
        raise click.UsageError("Name posts, or --failed, --since or --until.")
    number = await desk.ask(WebhookOperations.webhook_replay, posts, failed, since, until, which, domain)
    if out.json:
        out.document({"replayed": number})
        return
    out.line(f"{count(number, 'post')} will be made again.")
    if not desk.live:
        out.line(_NO_DAEMON)


@webhook.command()
@click.argument("domain")
@click.argument("id_", metavar="ID", type=_ID)
@click.argument("url", default="")
@operator
async def test(desk: Desk, out: Output, domain: str, id_: str, url: str) -> int:
    """Post a sample of ID, signed, to its URLs or to URL, and show what the receiver says.

    The exit code is 1 when one of them does not answer with success.
    """
    answers = await desk.ask(WebhookOperations.webhook_test, domain, id_, url)
    if out.json:
        out.document(answers)
    else:
        for one in answers:
            said = one.error if one.status is None else str(one.status)
            out.line(f"{one.url}  {said}  ({one.took_s:.2f} s)")
    return 0 if all(one.status is not None and 200 <= one.status < 300 for one in answers) else 1


@webhook.command()
@click.argument("value", metavar="[KEY]", default="")
@click.option("--new", is_flag=True, help="Make a new one.")
@operator
async def key(desk: Desk, out: Output, value: str, new: bool) -> None:
    """Show the key posts are signed with; set it to KEY, or make a new one.

    Receivers need the new key at once.
    """
    if value and new:
        raise click.UsageError("Give KEY or --new, not both.")
    found = await desk.ask(WebhookOperations.webhook_key, value, new)
    out.document({"signing_key": found}) if out.json else out.line(found)
