"""mtad list: mailing lists and who is on them.

Room: cli.
"""

from typing import TextIO

import click
import orjson

from mtad.api.control import Desk
from mtad.api.list_desk import MemberView
from mtad.api.list_operations import MAX_PAGE, ListOperations
from mtad.api.list_rows import columns_of
from mtad.api.member_operations import MemberOperations, MembersImported
from mtad.cli.common import operator
from mtad.cli.output import Output
from mtad.cli.pieces import pieces_of
from mtad.cli.words import count, moment
from mtad.mail.lists import AccessLevel, MailingList, ReplyPreference

_ACCESS = click.Choice([level.value for level in AccessLevel])
_REPLY = click.Choice([preference.value for preference in ReplyPreference])
_LIMIT = click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, MAX_PAGE), help="At most so many."
)
_SUBSCRIBED = click.option(
    "--subscribed/--unsubscribed", default=None, help="Whether they get the list's mail; else they do."
)


@click.group("list")
def list_() -> None:
    """Mailing lists: an address of a domain of ours that stands for those of its members."""


@list_.command()
@click.argument("address")
@click.option("--name", default="", metavar="TEXT", help="Shown beside the address.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option(
    "--access",
    default=AccessLevel.READONLY.value,
    show_default=True,
    type=_ACCESS,
    help="Who may write to it besides our own users: nobody, subscribed members, everyone.",
)
@click.option(
    "--reply",
    default=ReplyPreference.LIST.value,
    show_default=True,
    type=_REPLY,
    help="Where answers to its mail go.",
)
@operator
async def add(desk: Desk, out: Output, address: str, name: str, description: str, access: str, reply: str) -> None:
    """Make a mailing list."""
    made = await desk.ask(ListOperations.list_add, address, name, description, access, reply)
    out.document(made) if out.json else out.line(f"{made.address} is a mailing list.")


@list_.command("list")
@_LIMIT
@click.option("--skip", default=0, show_default=True, type=click.IntRange(0), help="How many to leave out before.")
@operator
async def list_all(desk: Desk, out: Output, limit: int, skip: int) -> None:
    """List the mailing lists, in the order of their addresses."""
    found = await desk.ask(ListOperations.list_list, limit, skip)
    if out.json:
        out.document(found)
        return
    rows = [
        (one.address, str(one.members_count), str(one.subscribed_count), one.access_level.value, one.name)
        for one in found.items
    ]
    columns = ("ADDRESS", "MEMBERS", "SUBSCRIBED", "ACCESS", "NAME")
    out.table(columns, rows, "There is no mailing list; `mtad list add` makes one.")
    if len(rows) < found.total:
        out.line(f"{len(rows)} of {found.total} lists; --limit and --skip show others.")


@list_.command()
@click.argument("address")
@operator
async def show(desk: Desk, out: Output, address: str) -> None:
    """Show a mailing list, and what became of its mail."""
    found = await desk.ask(ListOperations.list_show, address)
    stats = await desk.ask(ListOperations.list_stats, address)
    if out.json:
        out.document({"list": found, "stats": stats})
        return
    out.facts(_facts(found))
    out.line(
        f"Of its mail: {stats.delivered} delivered, {stats.bounced} bounced, opened {stats.opened} times, clicked"
        f" {stats.clicked} times, {stats.unsubscribed} unsubscribed, {stats.complained} complained."
    )


def _facts(found: MailingList) -> list[tuple[str, str]]:
    return [
        ("address", found.address),
        ("name", found.name),
        ("description", found.description),
        ("who may write", found.access_level.value),
        ("answers go to", found.reply_preference.value),
        ("made", moment(found.created_at)),
        ("members", f"{found.members_count}, {found.subscribed_count} of them subscribed"),
    ]


@list_.command("set")
@click.argument("address")
@click.option("--address", "new", metavar="ADDRESS", help="Another address; the members stay.")
@click.option("--name", metavar="TEXT", help="Shown beside the address.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--access", type=_ACCESS, help="Who may write to it.")
@click.option("--reply", type=_REPLY, help="Where answers go.")
@operator
async def set_(
    desk: Desk,
    out: Output,
    address: str,
    new: str | None,
    name: str | None,
    description: str | None,
    access: str | None,
    reply: str | None,
) -> None:
    """Change a mailing list; what is not named stays as it is."""
    if all(one is None for one in (new, name, description, access, reply)):
        raise click.UsageError("Name what to set: --address, --name, --description, --access or --reply.")
    changed = await desk.ask(ListOperations.list_set, address, new, name, description, access, reply)
    out.document(changed) if out.json else out.facts(_facts(changed))


@list_.command()
@click.argument("address")
@operator
async def remove(desk: Desk, out: Output, address: str) -> None:
    """Remove a mailing list with its members."""
    removed = await desk.ask(ListOperations.list_remove, address)
    if out.json:
        out.document({"removed": removed.address, "members": removed.members_count})
    else:
        out.line(f"{removed.address} is removed, with {count(removed.members_count, 'member')}.")


@list_.group()
def member() -> None:
    """Who is on a mailing list."""


@member.command("add")
@click.argument("list_address", metavar="LIST")
@click.argument("address")
@click.option("--name", metavar="TEXT", help="For %recipient_name% in the list's mail.")
@click.option("--vars", "variables", metavar="JSON", help="An object; its members are for %recipient.…%.")
@_SUBSCRIBED
@click.option("--upsert", is_flag=True, help="Change who is a member already, by what is said here.")
@operator
async def add_member(
    desk: Desk,
    out: Output,
    list_address: str,
    address: str,
    name: str | None,
    variables: str | None,
    subscribed: bool | None,
    upsert: bool,
) -> None:
    """Put an address on a list."""
    made = await desk.ask(MemberOperations.member_add, list_address, address, name, subscribed, variables, upsert)
    out.document(made) if out.json else out.line(f"{made.address} is on {list_address}.")


@member.command("list")
@click.argument("list_address", metavar="LIST")
@_LIMIT
@click.option("--after", default="", metavar="ADDRESS", help="Go on after this one.")
@click.option("--subscribed/--unsubscribed", default=None, help="Only those who get its mail, or only the others.")
@operator
async def list_members(
    desk: Desk, out: Output, list_address: str, limit: int, after: str, subscribed: bool | None
) -> None:
    """List the members, in the order of their addresses."""
    found = await desk.ask(MemberOperations.member_list, list_address, limit, 0, subscribed, after)
    if out.json:
        out.document(found)
        return
    out.table(("ADDRESS", "SUBSCRIBED", "NAME", "VARS"), [_row(one) for one in found.items], "Nobody is there.")
    out.line(f"{found.total} on the list; {len(found.items)} shown.")


def _row(one: MemberView) -> tuple[str, str, str, str]:
    return one.address, "yes" if one.subscribed else "no", one.name, orjson.dumps(one.vars).decode() if one.vars else ""


@member.command("remove")
@click.argument("list_address", metavar="LIST")
@click.argument("address")
@operator
async def remove_member(desk: Desk, out: Output, list_address: str, address: str) -> None:
    """Take an address off a list."""
    removed = await desk.ask(MemberOperations.member_remove, list_address, address)
    out.document({"removed": removed}) if out.json else out.line(f"{removed} is off {list_address}.")


@member.command("import")
@click.argument("list_address", metavar="LIST")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@_SUBSCRIBED
@click.option("--upsert", is_flag=True, help="Change who is a member already, by what the file says.")
@operator
async def import_(
    desk: Desk, out: Output, list_address: str, file: TextIO, subscribed: bool | None, upsert: bool
) -> None:
    """Put the rows of a CSV file on a list; - is standard input.

    Its first line names the columns: address, name, subscribed, vars (JSON); others become variables. Without such a
    line the columns are address and name. Rows that cannot be read are skipped, and members stay as they are.
    """
    total = MembersImported(0, 0, 0, "")
    for before, piece in pieces_of(file, lambda cells: bool(columns_of(cells))):
        one = await desk.ask(MemberOperations.member_import, list_address, piece, subscribed, upsert, before)
        total = MembersImported(
            total.added + one.added,
            total.known + one.known,
            total.skipped + one.skipped,
            total.first_fault or one.first_fault,
        )
    if out.json:
        out.document(total)
        return
    known = "changed" if upsert else "there already"
    out.line(f"{total.added} added, {total.known} {known}, {total.skipped} skipped.")
    if total.first_fault:
        out.line(f"The first that was skipped: {total.first_fault}")
