"""mtad key: keys of the HTTP API.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.key_operations import KeyOperations
from mtad.cli.common import founder, operator
from mtad.cli.output import Output
from mtad.cli.words import moment


@click.group()
def key() -> None:
    """The keys of the HTTP API."""


@key.command()
@click.argument("name")
@click.option("--domain", default="", metavar="NAME", help="Only for sending messages of this domain.")
@founder
async def add(desk: Desk, out: Output, name: str, domain: str) -> None:
    """Make a key; NAME says what it is for.

    It is printed once: only a hash of it is stored.
    """
    made = await desk.ask(KeyOperations.key_add, name, domain)
    if out.json:
        out.document(made)
        return
    out.facts([("Id", str(made.id)), ("Name", made.name), ("Domain", made.domain), ("Key", made.key)])


@key.command("list")
@operator
async def list_(desk: Desk, out: Output) -> None:
    """List the keys, without the keys themselves."""
    found = await desk.ask(KeyOperations.key_list)
    if out.json:
        out.document(found)
        return
    rows = [(str(item.id), item.name, item.domain or "(all)", moment(item.created_at)) for item in found]
    out.table(("ID", "NAME", "DOMAIN", "MADE"), rows, "There is no key yet; `mtad key add NAME` makes one.")


@key.command()
@click.argument("id_", metavar="ID", type=int)
@operator
async def revoke(desk: Desk, out: Output, id_: int) -> None:
    """Revoke a key: from now on it opens nothing."""
    await desk.ask(KeyOperations.key_revoke, id_)
    out.document({"revoked": id_}) if out.json else out.line(f"Key {id_} is revoked.")
