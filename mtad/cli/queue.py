"""mtad queue: what waits and why; try it now, drop it, pause.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.results import QueueItem
from mtad.cli.common import CLOCK, operator
from mtad.cli.output import Output
from mtad.cli.words import count, distance, moment, size, why

NO_DAEMON = "No daemon is running: nothing is delivered, and nobody can say why things wait."


@click.group()
def queue() -> None:
    """What waits to be delivered, and why."""


@queue.command("list")
@click.option("--site", default="", metavar="KEY", help="Only recipients at this MX-site.")
@click.option("--domain", default="", metavar="NAME", help="Only mail that this domain of ours sends.")
@click.option(
    "--recipient", default="", metavar="ADDRESS", help="Only this recipient; @example.org for a whole domain."
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@operator
async def list_(desk: Desk, out: Output, site: str, domain: str, recipient: str, limit: int) -> None:
    """List recipients that are not done, the next due first."""
    found = await desk.ask(Operations.queue_list, site, domain, recipient, limit)
    if out.json:
        out.document(found)
        return
    now = CLOCK.now()
    rows = [
        (item.message, item.recipient, item.site, str(item.attempts), distance(item.due_at, now), reason(item, now))
        for item in found.items
    ]
    out.table(("ID", "RECIPIENT", "SITE", "TRIES", "DUE", "WHY"), rows, "Nothing that was asked for waits.")
    out.line(f"{count(found.waiting, 'recipient')} waiting, {found.sending} being sent; {len(rows)} shown.")
    if not found.daemon:
        out.line(NO_DAEMON)


def reason(item: QueueItem, now: float) -> str:
    """Why it waits; without a daemon, what the last host said."""
    if item.why is not None:
        return why(item.why, now)
    return f"last reply: {item.last_reply}" if item.last_reply else ""


@queue.command()
@click.argument("message", metavar="ID")
@operator
async def show(desk: Desk, out: Output, message: str) -> None:
    """Show a message and why each of its recipients waits.

    ID is the message's queue id, as in the 250 reply and the log, or that of one of its recipients.
    """
    found = await desk.ask(Operations.queue_show, message)
    if out.json:
        out.document(found)
        return
    now, about = CLOCK.now(), found.about
    out.facts(
        [
            ("Message", found.id),
            ("Accepted", f"{moment(found.accepted_at)} ({distance(found.accepted_at, now)})"),
            ("Scheduled", moment(found.scheduled_for)),
            ("Domain", found.domain),
            ("Reverse-path", f"<{found.reverse_path}>"),
            ("From", str(about.get("from", ""))),
            ("To", str(about.get("to", ""))),
            ("Subject", str(about.get("subject", ""))),
            ("Size", size(found.size)),
        ]
    )
    for item in found.recipients:
        out.line()
        out.facts(
            [
                ("Recipient", f"{item.recipient}  (id {item.id})"),
                ("  State", f"{item.state}, {count(item.attempts, 'attempt')}"),
                ("  Site", item.site),
                ("  Why", why(item.why, now)),
                ("  Due", f"{moment(item.due_at)} ({distance(item.due_at, now)})" if item.due_at is not None else ""),
                ("  Given up", moment(item.expire_at)),
                ("  Last reply", item.last_reply or ""),
                ("  Unknown", f"{count(item.unknown_outcomes, 'outcome')}: duplicates are possible")
                if item.unknown_outcomes
                else ("  Unknown", ""),
            ]
        )
    if found.recipient_count > len(found.recipients):
        out.line(f"… and {found.recipient_count - len(found.recipients)} recipients more.")
    if not found.daemon:
        out.line()
        out.line(NO_DAEMON)


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--site", default="", metavar="KEY", help="All that waits for this MX-site.")
@click.option("--all", "every", is_flag=True, help="All that waits after a failure.")
@operator
async def retry(desk: Desk, out: Output, ids: tuple[str, ...], site: str, every: bool) -> None:
    """Try now what waits after a temporary failure.

    ID is the queue id of a message or of one recipient. Mail scheduled for later is left alone.
    """
    if bool(ids) + bool(site) + every != 1:
        raise click.UsageError("Name ids, or --site, or --all.")
    number = await desk.ask(Operations.queue_retry, ids, site, every)
    if out.json:
        out.document({"retried": number})
    else:
        later = "" if desk.live else " when a daemon runs"
        out.line(f"{count(number, 'recipient')} will be tried at once{later}.")


@queue.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--why", default="", metavar="TEXT", help="What the failed event says.")
@operator
async def drop(desk: Desk, out: Output, ids: tuple[str, ...], why: str) -> None:
    """Take messages or recipients out of the queue.

    They fail, with an event; their senders get no DSN. What is being sent at this moment is not stopped.
    """
    number = await desk.ask(Operations.queue_drop, ids, why)
    if out.json:
        out.document({"dropped": number})
    else:
        out.line(f"{count(number, 'recipient')} dropped.")


@queue.command()
@click.option("--why", default="", metavar="TEXT", help="What is said of the mail that waits.")
@operator
async def pause(desk: Desk, out: Output, why: str) -> None:
    """Start no deliveries; mail is still taken and kept.

    It holds until `mtad queue resume` or a restart; queue.paused in the configuration holds longer.
    """
    await desk.ask(Operations.queue_pause, why)
    out.document({"paused": True}) if out.json else out.line("The queue is paused.")


@queue.command()
@operator
async def resume(desk: Desk, out: Output) -> None:
    """Deliver again."""
    await desk.ask(Operations.queue_unpause)
    out.document({"paused": False}) if out.json else out.line("The queue goes on.")
