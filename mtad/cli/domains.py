"""mtad domain: the domains that send through us, their DKIM keys and the records to publish.

Room: cli.
"""

import click

from mtad.api.account_operations import MAX_HOURLY_LIMIT
from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.results import DomainView
from mtad.cli.common import founder, operator
from mtad.cli.output import Output
from mtad.cli.words import count, moment

_STRING = 255  # octets of one string of a TXT record (RFC 1035 §3.3.14)


@click.group()
def domain() -> None:
    """The domains that send through this server."""


@domain.command()
@click.argument("name")
@click.option("--ed25519", is_flag=True, help="Make an Ed25519 key too (RFC 8463); both sign.")
@founder
async def add(desk: Desk, out: Output, name: str, ed25519: bool) -> None:
    """Add a domain, make its DKIM key (RSA, 2048 bits) and say what to publish in the DNS."""
    made = await desk.ask(Operations.domain_add, name, ed25519)
    if out.json:
        out.document(made)
        return
    out.line(f"{made.name} is added. Publish these records:")
    _records(made, out)


def _records(view: DomainView, out: Output) -> None:
    for record in view.records:
        out.line()
        out.line(f"; {record.purpose}")
        value = record.value
        if record.type == "TXT":
            value = " ".join(f'"{value[at : at + _STRING]}"' for at in range(0, len(value), _STRING))
        elif record.type == "MX":
            value += "."
        out.line(f"{record.name}. IN {record.type} {value}")


@domain.command("list")
@operator
async def list_(desk: Desk, out: Output) -> None:
    """List the domains."""
    found = await desk.ask(Operations.domain_list)
    if out.json:
        out.document(found)
        return
    rows = [
        (
            view.name,
            moment(view.created_at),
            " ".join(view.selectors),
            str(view.credentials),
            view.pool,
            f"paused: {view.paused_why}" if view.paused_why is not None else "",
        )
        for view in found
    ]
    columns = ("DOMAIN", "ADDED", "DKIM SELECTORS", "LOGINS", "POOL", "STATE")
    out.table(columns, rows, "There is no domain yet; `mtad domain add NAME` adds one.")


@domain.command()
@click.argument("name")
@operator
async def show(desk: Desk, out: Output, name: str) -> None:
    """Show a domain's settings and the records to publish."""
    found = await desk.ask(Operations.domain_show, name)
    if out.json:
        out.document(found)
        return
    out.facts(
        [
            ("Domain", found.name),
            ("Added", moment(found.created_at)),
            ("Logins", str(found.credentials)),
            ("Pool", found.pool or "none of its own"),
            ("Hourly limit", count(found.hourly_limit, "recipient") if found.hourly_limit else "none"),
            ("DSNs", "sent for relayed mail that fails" if found.dsn else "not sent"),
            ("Paused", found.paused_why or ""),
        ]
    )
    _records(found, out)


@domain.command()
@click.argument("name")
@click.confirmation_option(prompt="Remove the domain, its DKIM keys and its logins?", help="Do not ask.")
@operator
async def remove(desk: Desk, out: Output, name: str) -> None:
    """Remove a domain with its keys and logins.

    Its mail in the queue still goes out, unsigned. Its events stay.
    """
    await desk.ask(Operations.domain_remove, name)
    out.document({"removed": name}) if out.json else out.line(f"{name} is removed.")


@domain.command()
@click.argument("name")
@click.option("--why", default="", metavar="TEXT", help="What is said of the mail that waits.")
@operator
async def pause(desk: Desk, out: Output, name: str, why: str) -> None:
    """Deliver none of a domain's mail; it is still taken and kept."""
    await desk.ask(Operations.domain_pause, name, why)
    out.document({"domain": name, "paused": True}) if out.json else out.line(f"{name} is paused.")


@domain.command()
@click.argument("name")
@operator
async def resume(desk: Desk, out: Output, name: str) -> None:
    """Deliver a paused domain's mail again."""
    await desk.ask(Operations.domain_resume, name)
    out.document({"domain": name, "paused": False}) if out.json else out.line(f"{name} goes on.")


@domain.command("set")
@click.argument("name")
@click.option("--pool", metavar="NAME", help='A pool of source addresses of its own (delivery.pools); "" for none.')
@click.option("--dsn/--no-dsn", default=None, help="Tell the senders of relayed mail when it fails.")
@click.option(
    "--hourly-limit",
    type=click.IntRange(0, MAX_HOURLY_LIMIT),
    metavar="N",
    help="To how many recipients it may send in an hour; the rest waits. 0 is no limit.",
)
@operator
async def set_(
    desk: Desk, out: Output, name: str, pool: str | None, dsn: bool | None, hourly_limit: int | None
) -> None:
    """Change a domain's settings."""
    if pool is None and dsn is None and hourly_limit is None:
        raise click.UsageError("Name what to set: --pool, --dsn, --no-dsn or --hourly-limit.")
    found = await desk.ask(Operations.domain_set, name, pool, dsn, hourly_limit)
    if out.json:
        out.document(found)
        return
    limit = f"{found.hourly_limit} recipients an hour" if found.hourly_limit else "no hourly limit"
    out.line(f"{found.name}: pool {found.pool or '(none)'}, DSNs {'on' if found.dsn else 'off'}, {limit}.")
