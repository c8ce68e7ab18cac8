"""mtad suppression: whom a domain does not write to any more, and how that is taken back.

Room: cli.
"""

from typing import TextIO

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.suppression_operations import Imported, SuppressionItem
from mtad.cli.common import Moment, operator
from mtad.cli.output import Output
from mtad.cli.pieces import pieces_of
from mtad.cli.words import count, moment
from mtad.storage.suppressions import Table

_TABLE = click.Choice([table.value for table in Table])


@click.group()
def suppression() -> None:
    """Addresses that a domain does not write to: bounces, unsubscribes, complaints; and the allowlist."""


@suppression.command()
@click.argument("domain")
@click.argument("table", type=_TABLE)
@click.argument("address")
@click.option("--code", default="550", show_default=True, help="Of a bounce: what the host answered.")
@click.option("--why", default="", metavar="TEXT", help="Of a bounce: what the host said; of the allowlist: why.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Of an unsubscribe: only mail with this tag.")
@operator
async def add(
    desk: Desk, out: Output, domain: str, table: str, address: str, code: str, why: str, tags: tuple[str, ...]
) -> None:
    """Add an address to a table, or replace what is there."""
    item = await desk.ask(Operations.suppression_add, domain, table, address, code, why, tags)
    out.document(item) if out.json else out.line(f"{item.address} is in the {table} of {domain}.")


@suppression.command()
@click.argument("domain")
@click.argument("value", metavar="ADDRESS|@DOMAIN")
@click.option("--why", default="", metavar="TEXT", help="Shown in the list.")
@operator
async def allow(desk: Desk, out: Output, domain: str, value: str, why: str) -> None:
    """Never enter an address, or those of a whole domain, into the bounces.

    What is in the bounces already stays there: `mtad suppression remove` takes it out.
    """
    item = await desk.ask(Operations.suppression_add, domain, Table.ALLOWLIST.value, value, "550", why, ())
    out.document(item) if out.json else out.line(f"{item.address} is on the allowlist of {domain}.")


@suppression.command("list")
@click.argument("domain")
@click.argument("table", type=_TABLE)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@click.option("--after", default="", metavar="ADDRESS", help="Go on after this one.")
@click.option("--begins", default="", metavar="TEXT", help="Only addresses that begin so.")
@operator
async def list_(desk: Desk, out: Output, domain: str, table: str, limit: int, after: str, begins: str) -> None:
    """List a table, in the order of the addresses."""
    found = await desk.ask(Operations.suppression_list, domain, table, limit, after, begins)
    if out.json:
        out.document(found)
        return
    rows = [(item.address, moment(item.created_at), *_more(Table(table), item)) for item in found.items]
    out.table(_COLUMNS[Table(table)], rows, "Nothing that was asked for is there.")
    out.line(f"{found.total} in the table; {len(rows)} shown.")


_COLUMNS = {
    Table.BOUNCES: ("ADDRESS", "SINCE", "CODE", "RULE", "ERROR"),
    Table.UNSUBSCRIBES: ("ADDRESS", "SINCE", "TAGS"),
    Table.COMPLAINTS: ("ADDRESS", "SINCE", "TIMES"),
    Table.ALLOWLIST: ("ADDRESS", "SINCE", "WHY"),
}


def _more(table: Table, item: SuppressionItem) -> tuple[str, ...]:
    match table:
        case Table.BOUNCES:
            return item.code, item.rule or "(a person)", item.words
        case Table.UNSUBSCRIBES:
            return (", ".join("all mail" if tag == "*" else tag for tag in item.tags),)
        case Table.COMPLAINTS:
            return (str(item.count),)
        case Table.ALLOWLIST:
            return (item.words,)


@suppression.command()
@click.argument("domain")
@click.argument("address")
@operator
async def find(desk: Desk, out: Output, domain: str, address: str) -> None:
    """Say which tables hold an address."""
    found = await desk.ask(Operations.suppression_find, domain, address)
    if out.json:
        out.document({"address": address, "tables": found})
    else:
        out.line(f"{address}: {', '.join(found) or 'in no table'}")


@suppression.command()
@click.argument("domain")
@click.argument("table", type=_TABLE)
@click.argument("address", required=False, default="")
@click.option("--tag", default="", metavar="TAG", help="Of an unsubscribe: only this tag.")
@click.option("--all", "every", is_flag=True, help="Everything in the table.")
@operator
async def remove(desk: Desk, out: Output, domain: str, table: str, address: str, tag: str, every: bool) -> None:
    """Take an address out of a table, or all of them: the domain writes to it again."""
    if bool(address) + every != 1 or (tag and (every or table != Table.UNSUBSCRIBES)):
        raise click.UsageError("Name an address, or --all; --tag is for an address of the unsubscribes.")
    if every:
        number = await desk.ask(Operations.suppression_clear, domain, table)
        out.document({"removed": number}) if out.json else out.line(f"{number} removed.")
        return
    await desk.ask(Operations.suppression_remove, domain, table, address, tag)
    out.document({"removed": 1}) if out.json else out.line(f"{address} is out of the {table} of {domain}.")


@suppression.command("import")
@click.argument("domain")
@click.argument("table", type=_TABLE)
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@operator
async def import_(desk: Desk, out: Output, domain: str, table: str, file: TextIO) -> None:
    """Add the rows of a CSV file; - is standard input.

    Its first line names the columns: address, and code, error, tags, reason or created_at where they are known. Rows
    that cannot be read are skipped.
    """
    added = skipped = 0
    first_fault = ""
    for before, piece in pieces_of(file, lambda _: True):
        found = await desk.ask(Operations.suppression_import, domain, table, piece, before)
        added, skipped = added + found.added, skipped + found.skipped
        first_fault = first_fault or found.first_fault
    if out.json:
        out.document(Imported(added, skipped, first_fault))
        return
    out.line(f"{added} added, {skipped} skipped.")
    if first_fault:
        out.line(f"The first that was skipped: {first_fault}")


@suppression.command()
@click.option("--rule", required=True, metavar="NAME", help="The rule of bounces.toml that caused them.")
@click.option("--since", required=True, type=Moment(), help="From when on: 2h (ago), 2026-11-23, '2026-11-23 09:44'.")
@click.option("--until", default="0s", show_default="now", type=Moment(), help="Before when.")
@click.option("--domain", default="", metavar="NAME", help="Only this domain of ours.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@operator
async def undo(desk: Desk, out: Output, rule: str, since: float, until: float, domain: str, dry_run: bool) -> None:
    """Take back the bounces that one rule caused in a time: it was wrong, or the other side was."""
    number = await desk.ask(Operations.suppression_undo, rule, since, until, domain, dry_run)
    if out.json:
        out.document({"removed": 0 if dry_run else number, "found": number})
    else:
        bounces = count(number, "bounce")
        out.line(f"{bounces} would be taken back." if dry_run else f"{bounces} taken back.")
