"""mtad credential: logins for SMTP. Passwords are made here, asked for, or read from standard input.

Room: cli.
"""

import sys

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.cli.common import Problem, operator
from mtad.cli.output import Output
from mtad.cli.words import moment

_MAX_LINE = 1024  # characters of standard input


@click.group()
def credential() -> None:
    """The logins that may submit mail."""


@credential.command()
@click.argument("login")
@click.option(
    "--password-stdin",
    "piped",
    is_flag=True,
    callback=lambda context, option, wanted: _read_line() if wanted else None,
    help="Read the password from the first line of standard input.",
)
@click.option(
    "--prompt",
    "typed",
    is_flag=True,
    callback=lambda context, option, wanted: _ask() if wanted else None,
    help="Ask for the password.",
)
@operator
async def add(desk: Desk, out: Output, login: str, piped: str | None, typed: str | None) -> None:
    """Add a login name@domain, or give it a new password.

    Without an option a password is made and printed, once: it is stored as a hash only.
    """
    made = await desk.ask(Operations.credential_add, login, typed or piped)
    if made.weak:
        click.echo(f"mtad: the password is weak: {made.weak}", err=True)
    if out.json:
        out.document(made)
        return
    out.line(f"{made.login} has a new password." if made.replaced else f"{made.login} is added.")
    if made.password is not None:
        out.facts([("Login", made.login), ("Password", made.password)])


# Both are called while the options are read: nothing is open yet that somebody else may wait for.
def _ask() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _read_line() -> str:
    line = sys.stdin.readline(_MAX_LINE).rstrip("\r\n")
    if not line:
        raise Problem("there is no password on standard input")
    return line


@credential.command("list")
@click.option("--domain", default="", metavar="NAME", help="Only those of this domain.")
@operator
async def list_(desk: Desk, out: Output, domain: str) -> None:
    """List the logins."""
    found = await desk.ask(Operations.credential_list, domain)
    if out.json:
        out.document(found)
        return
    rows = [(item.login, item.domain, moment(item.created_at)) for item in found]
    out.table(("LOGIN", "DOMAIN", "ADDED"), rows, "There is no login yet; `mtad credential add NAME@DOMAIN` adds one.")


@credential.command()
@click.argument("login")
@operator
async def remove(desk: Desk, out: Output, login: str) -> None:
    """Remove a login. Connections that have used it stay logged in until they close."""
    await desk.ask(Operations.credential_remove, login)
    out.document({"removed": login}) if out.json else out.line(f"{login} is removed.")
