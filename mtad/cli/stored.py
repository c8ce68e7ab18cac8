"""mtad stored: mail from the world that routes keep for some days.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.stored_operations import MAX_PAGE
from mtad.cli.common import operator
from mtad.cli.output import Output, say
from mtad.cli.words import moment, plain, size


@click.group()
def stored() -> None:
    """Mail that came in and that a route stored, until it is removed or too old (inbound.stored_keep_s)."""


@stored.command("list")
@click.option("--domain", default="", metavar="NAME", help="Only those of this domain.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MAX_PAGE), help="The last so many.")
@operator
async def list_(desk: Desk, out: Output, domain: str, limit: int) -> None:
    """List stored messages, the last one first."""
    found = await desk.ask(Operations.stored_list, domain, limit)
    if out.json:
        out.document(found)
        return
    rows = [
        (one.key, moment(one.stored_at), f"<{one.sender}>", ", ".join(one.recipients), size(one.size), one.subject)
        for one in found
    ]
    out.table(("KEY", "TIME", "SENDER", "RECIPIENTS", "SIZE", "SUBJECT"), rows, "No message is stored.")


@stored.command()
@click.argument("key")
@click.option("--raw", is_flag=True, help="The message alone, octet by octet.")
@operator
async def show(desk: Desk, out: Output, key: str, raw: bool) -> None:
    """Show a stored message as it came in, with the fields that were added."""
    found = await desk.ask(Operations.stored_show, key)
    if raw:
        say(found.content, nl=False)
        return
    text = found.content.decode("utf-8", "replace").replace("\r\n", "\n")
    item = found.item
    if out.json:
        out.document({"item": item, "files": found.files, "content": text})
        return
    out.facts(
        [
            ("Stored", moment(item.stored_at)),
            ("Message", item.message),
            ("Domain", item.domain),
            ("Sender", f"<{item.sender}>"),
            ("Recipients", ", ".join(item.recipients)),
            *[("File", f"{one.number}  {one.name}  {one.content_type}  {size(one.size)}") for one in found.files],
        ]
    )
    out.line()
    say(plain(text, keep="\n\t"), nl=not text.endswith("\n"))


@stored.command()
@click.argument("key")
@operator
async def remove(desk: Desk, out: Output, key: str) -> None:
    """Remove a stored message. Copies of it that are still on their way are delivered."""
    found = await desk.ask(Operations.stored_remove, key)
    out.document({"removed": found.key}) if out.json else out.line(f"Message {found.key} is removed.")
