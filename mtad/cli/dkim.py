"""mtad dkim: the keys that sign a domain's mail. All that are active sign; a new one waits until it is published.

Room: cli.
"""

from pathlib import Path

import click

from mtad.api.control import Desk
from mtad.api.dkim_operations import BITS, MAX_PEM
from mtad.api.operations import Operations
from mtad.api.results import DkimKeyItem
from mtad.cli.common import Problem, operator
from mtad.cli.domains import write_record
from mtad.cli.output import Output
from mtad.cli.words import moment


@click.group()
def dkim() -> None:
    """The DKIM keys of the domains."""


@dkim.command("list")
@click.argument("domain", default="")
@operator
async def list_(desk: Desk, out: Output, domain: str) -> None:
    """List the keys of one DOMAIN or of all."""
    found = await desk.ask(Operations.dkim_list, domain)
    if out.json:
        out.document(found)
        return
    rows = [
        (key.domain, key.selector, key.algorithm, "signs" if key.active else "does not sign", moment(key.created_at))
        for key in found
    ]
    out.table(("DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "ADDED"), rows, "There is no key yet.")


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@click.option("--bits", type=click.Choice([str(bits) for bits in BITS]), default="2048", help="Of an RSA key.")
@click.option("--ed25519", is_flag=True, help="Make an Ed25519 key (RFC 8463).")
@click.option(
    "--pem",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help='Take the private key in this file, "-" for standard input.',
)
@operator
async def add(desk: Desk, out: Output, domain: str, selector: str, bits: str, ed25519: bool, pem: Path | None) -> None:
    """Add a key to DOMAIN and say what to publish in the DNS.

    It signs from `mtad dkim activate` on, or at once if no other key does.
    """
    text = _read(pem) if pem is not None else ""
    made = await desk.ask(Operations.dkim_add, domain, selector, int(bits), text, ed25519)
    if out.json:
        out.document(made)
        return
    state = "it signs" if made.active else f"it signs when `mtad dkim activate {made.domain} {made.selector}` says so"
    out.line(f"{made.selector} of {made.domain} is added; {state}. Publish this record:")
    write_record(made.record, out)


def _read(path: Path) -> str:
    """Raises Problem."""
    try:
        with click.open_file(str(path), encoding="ascii") as file:
            text = str(file.read(MAX_PEM + 1))
    except UnicodeError:
        text = ""
    if not text.strip():
        raise Problem(f"{path} holds no key in PEM form")
    return text


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@operator
async def activate(desk: Desk, out: Output, domain: str, selector: str) -> None:
    """Sign with this key from now on, beside the others that are active."""
    _told(out, await desk.ask(Operations.dkim_activate, domain, selector, True))


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@operator
async def deactivate(desk: Desk, out: Output, domain: str, selector: str) -> None:
    """Sign no more with this key, and keep it."""
    _told(out, await desk.ask(Operations.dkim_activate, domain, selector, False))


def _told(out: Output, key: DkimKeyItem) -> None:
    if out.json:
        out.document(key)
    else:
        out.line(f"{key.selector} of {key.domain} {'signs' if key.active else 'signs no more'}.")


@dkim.command()
@click.argument("domain")
@click.argument("selector")
@click.confirmation_option(prompt="Remove the key? It cannot be had back.", help="Do not ask.")
@operator
async def remove(desk: Desk, out: Output, domain: str, selector: str) -> None:
    """Remove a key. Mail that waits is signed with those that are left."""
    await desk.ask(Operations.dkim_remove, domain, selector)
    if out.json:
        out.document({"domain": domain, "removed": selector})
    else:
        out.line(f"{selector} of {domain} is removed.")
