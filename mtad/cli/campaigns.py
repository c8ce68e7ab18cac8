"""mtad campaign: the names under which a domain's mail is counted and looked at.

Room: cli.
"""

import click

from mtad.api.campaign_operations import MAX_PAGE, CampaignOperations
from mtad.api.control import Desk
from mtad.cli.common import operator
from mtad.cli.output import Output
from mtad.cli.words import moment


@click.group()
def campaign() -> None:
    """Names under which mail of a domain is counted.

    A message says which by o:campaign or X-Mailgun-Campaign-Id; it may be of three.
    """


@campaign.command()
@click.argument("domain")
@click.argument("name")
@click.option("--id", "id_", default="", metavar="ID", help="What messages say; one is made if there is none.")
@operator
async def add(desk: Desk, out: Output, domain: str, name: str, id_: str) -> None:
    """Add a campaign NAME to DOMAIN."""
    made = await desk.ask(CampaignOperations.campaign_add, domain, name, id_)
    out.document(made) if out.json else out.line(f"Campaign {made.id} of {made.domain} is added.")


@campaign.command("list")
@click.argument("domain")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0, MAX_PAGE), help="How many.")
@click.option("--skip", default=0, show_default=True, type=click.IntRange(0), help="How many to leave out before.")
@operator
async def list_(desk: Desk, out: Output, domain: str, limit: int, skip: int) -> None:
    """List the campaigns of DOMAIN with what became of their mail, the oldest first."""
    found = await desk.ask(CampaignOperations.campaign_list, domain, limit, skip)
    if out.json:
        out.document(found)
        return
    rows = [
        (
            view.id,
            view.name,
            str(view.submitted),
            str(view.delivered),
            str(view.opened),
            str(view.clicked),
            str(view.bounced + view.dropped),
            str(view.unsubscribed),
            str(view.complained),
        )
        for view in found.items
    ]
    columns = ("ID", "NAME", "SENT", "DELIVERED", "OPENED", "CLICKED", "FAILED", "LEFT", "COMPLAINED")
    out.table(columns, rows, "There is no campaign; `mtad campaign add` adds one.")
    if len(rows) < found.total:
        out.line(f"{len(rows)} of {found.total} campaigns; --limit and --skip show others.")


@campaign.command()
@click.argument("domain")
@click.argument("id_", metavar="ID")
@operator
async def show(desk: Desk, out: Output, domain: str, id_: str) -> None:
    """Show a campaign of DOMAIN with what became of its mail."""
    view = await desk.ask(CampaignOperations.campaign_show, domain, id_)
    if out.json:
        out.document(view)
        return
    out.facts(
        [
            ("Campaign", view.id),
            ("Domain", view.domain),
            ("Name", view.name),
            ("Added", moment(view.created_at)),
            ("Sent", str(view.submitted)),
            ("Delivered", str(view.delivered)),
            ("Bounced", str(view.bounced)),
            ("Dropped", str(view.dropped)),
            ("Opened", str(view.opened)),
            ("Clicked", str(view.clicked)),
            ("Unsubscribed", str(view.unsubscribed)),
            ("Complained", str(view.complained)),
        ]
    )


@campaign.command()
@click.argument("domain")
@click.argument("id_", metavar="ID")
@operator
async def remove(desk: Desk, out: Output, domain: str, id_: str) -> None:
    """Remove a campaign of DOMAIN with all its data."""
    await desk.ask(CampaignOperations.campaign_remove, domain, id_)
    out.document({"removed": id_}) if out.json else out.line(f"Campaign {id_} of {domain} is removed.")
