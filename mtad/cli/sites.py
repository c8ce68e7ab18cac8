"""mtad site: the MX-sites that mail waits for; suspend and resume them.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.results import SiteItem
from mtad.cli.common import CLOCK, Duration, operator
from mtad.cli.output import Output
from mtad.cli.queue import NO_DAEMON
from mtad.cli.words import distance, moment, span, why


@click.group()
def site() -> None:
    """The sites: hosts that take mail for one or more domains, or posts of routes, with one pace."""


@site.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@operator
async def list_(desk: Desk, out: Output, limit: int) -> None:
    """List sites that mail waits for or that are suspended, the fullest first."""
    found = await desk.ask(Operations.site_list, limit)
    if out.json:
        out.document(found)
        return
    now = CLOCK.now()
    rows = [
        (
            item.key,
            str(item.waiting),
            str(item.sending),
            _of(item.connections, item.connection_limit),
            _rate(item.rate_per_s),
            distance(item.first_due_at, now),
            why(item.why, now),
        )
        for item in found
    ]
    columns = ("SITE", "WAITING", "SENDING", "CONNECTIONS", "RATE", "NEXT DUE", "WHY IT IS SHUT")
    out.table(columns, rows, "No mail waits for any site, and none is suspended.")
    if not desk.live:
        out.line(NO_DAEMON)


def _of(number: int | None, most: int | None) -> str:
    return "" if number is None else f"{number} of {most}"


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return ""
    return f"{per_s:.1f}/s" if per_s >= 1 else f"{per_s * 60:.1f}/min"


@site.command()
@click.argument("key")
@operator
async def show(desk: Desk, out: Output, key: str) -> None:
    """Show one site: its queue, its pace, why it is shut."""
    found = await desk.ask(Operations.site_show, key)
    if out.json:
        out.document(found)
        return
    _show(found, out)
    if not desk.live:
        out.line(NO_DAEMON)


def _show(found: SiteItem, out: Output) -> None:
    now = CLOCK.now()
    out.facts(
        [
            ("Site", found.key),
            ("Waiting", str(found.waiting)),
            ("Being sent", str(found.sending)),
            (
                "Next due",
                f"{moment(found.first_due_at)} ({distance(found.first_due_at, now)})" * bool(found.first_due_at),
            ),
            ("Shut", why(found.why, now)),
            ("Connections", _of(found.connections, found.connection_limit)),
            ("Rate", _rate(found.rate_per_s)),
            ("In memory", "" if found.in_memory is None else str(found.in_memory)),
        ]
    )
    if found.sources:
        rows = [
            (one.source or "(any)", _of(one.connections, one.connection_limit), _rate(one.rate_per_s))
            for one in found.sources
        ]
        out.table(("SOURCE", "CONNECTIONS", "RATE"), rows, "")


@site.command()
@click.argument("key")
@click.option("--for", "for_s", type=Duration(), help="How long: 30m, 2h, 1d. Without it: until `mtad site resume`.")
@click.option("--why", default="", metavar="TEXT", help="What is said of the mail that waits.")
@operator
async def suspend(desk: Desk, out: Output, key: str, for_s: float | None, why: str) -> None:
    """Send nothing to a site; its mail waits."""
    await desk.ask(Operations.site_suspend, key, for_s, why)
    if out.json:
        out.document({"site": key, "suspended": True, "for_s": for_s})
    else:
        out.line(f"{key} is suspended {f'for {span(for_s)}' if for_s else 'until it is resumed'}.")


@site.command()
@click.argument("key")
@operator
async def resume(desk: Desk, out: Output, key: str) -> None:
    """Send to a site again."""
    await desk.ask(Operations.site_resume, key)
    if out.json:
        out.document({"site": key, "suspended": False})
    else:
        out.line(f"{key} takes mail again.")
