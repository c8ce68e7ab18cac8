"""mtad domain: the domains that send through us, their settings, and the records to publish.

Room: cli.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TextIO

import click

from mtad.api.account_operations import CLICKS, MAX_FOOTER, MAX_HOURLY_LIMIT, SPAM_ACTIONS, WEB_SCHEMES
from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.api.results import DnsRecord, DomainView
from mtad.cli.common import founder, operator
from mtad.cli.output import Output
from mtad.cli.words import count, moment
from mtad.storage.accounts import DomainChanges

_STRING = 255  # octets of one string of a TXT record (RFC 1035 §3.3.14)


def _footer(context: click.Context, option: click.Parameter, file: TextIO | None) -> str | None:
    return file.read(MAX_FOOTER + 1).strip() if file is not None else None


# Each sets what it is named after in DomainChanges.
_SETTINGS: tuple[Callable[[Any], Any], ...] = (
    click.option("--track-opens/--no-track-opens", "opens", default=None, help="Put a pixel into html."),
    click.option("--pixel-top/--pixel-bottom", "pixel_top", default=None, help="Where in the html it is put."),
    click.option("--track-clicks", "clicks", type=click.Choice(CLICKS), help="Lead links through this server."),
    click.option("--footer/--no-footer", "footer", default=None, help="Add a footer to unsubscribe by."),
    click.option(
        "--footer-html",
        type=click.File("r", "utf-8"),
        metavar="FILE",
        callback=_footer,
        help="The footer of html, with %unsubscribe_url%; an empty file is the default one.",
    ),
    click.option(
        "--footer-text",
        type=click.File("r", "utf-8"),
        metavar="FILE",
        callback=_footer,
        help="The footer of text, with %unsubscribe_url%; an empty file is the default one.",
    ),
    click.option("--web-scheme", type=click.Choice(WEB_SCHEMES), help="Of links at the domain's own host."),
    click.option("--web-prefix", metavar="LABEL", help="Of the domain's own host for links."),
    click.option("--require-tls/--no-require-tls", default=None, help="Deliver over TLS or not at all."),
    click.option(
        "--skip-verification/--no-skip-verification", default=None, help="Take any certificate where TLS is required."
    ),
    click.option("--spam-action", type=click.Choice(SPAM_ACTIONS), help="What becomes of spam that comes in."),
    click.option("--wildcard/--no-wildcard", default=None, help="Take mail to its sub-domains too."),
)


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group()
def domain() -> None:
    """The domains that send and receive through this server."""


@domain.command()
@click.argument("name")
@click.option("--ed25519", is_flag=True, help="Make an Ed25519 key too (RFC 8463); both sign.")
@click.option(
    "--smtp-password",
    metavar="TEXT",
    help="Of the login postmaster; others on this machine may see it. Else one is made.",
)
@founder
async def add(desk: Desk, out: Output, name: str, ed25519: bool, smtp_password: str | None) -> None:
    """Add a domain, make its DKIM key (RSA, 2048 bits) and say what to publish in the DNS.

    Its login postmaster@NAME is made too. A password that is made is printed, once: it is stored as a hash only.
    """
    made = await desk.ask(Operations.domain_add, name, ed25519, smtp_password)
    login = f"postmaster@{made.domain.name}"
    if out.json:
        out.document(asdict(made.domain) | {"smtp_login": login, "smtp_password": made.password})
        return
    out.line(f"{made.domain.name} is added. Publish these records:")
    _records(made.domain, out)
    out.line()
    if smtp_password is None:
        out.line("Applications log in for SMTP with this; the password is not shown again:")
        out.facts([("Login", login), ("Password", made.password)])
    else:
        out.line(f"Applications log in for SMTP as {login}.")


def _records(view: DomainView, out: Output) -> None:
    for record in view.records:
        out.line()
        seen = "" if view.checked_at is None else f"; {record.valid}" + (f": {record.why}" if record.why else "")
        write_record(record, out, seen)


def write_record(record: DnsRecord, out: Output, seen: str = "") -> None:
    """As in a zone file. seen: what is said behind its purpose."""
    out.line(f"; {record.purpose}{seen}")
    value = record.value
    if record.type == "TXT":
        value = " ".join(f'"{value[at : at + _STRING]}"' for at in range(0, len(value), _STRING))
    else:
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
            f"paused: {view.paused_why}" if view.paused_why is not None else view.state,
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
            ("State", found.state),
            ("Added", moment(found.created_at)),
            ("DNS checked", moment(found.checked_at) or "never; `mtad domain verify` looks"),
            ("Logins", str(found.credentials)),
            ("Pool", found.pool or "none of its own"),
            ("Hourly limit", count(found.hourly_limit, "recipient") if found.hourly_limit else "none"),
            ("DSNs", "sent for relayed mail that fails" if found.dsn else "not sent"),
            ("Paused", found.paused_why or ""),
            ("Signed by", found.authority if found.authority != found.name else ""),
            *_shown(found),
        ]
    )
    _records(found, out)


def _shown(view: DomainView) -> list[tuple[str, str]]:
    settings = view.settings
    tls = "required" if settings.require_tls else "where the host offers it"
    own = f"{settings.web_scheme}://{settings.web_prefix}.{view.name}"
    clicks = {"no": "not tracked", "yes": "tracked", "htmlonly": "tracked in html"}
    top = ", the pixel on top" if settings.pixel_top else ""
    return [
        ("Opens", f"tracked{top}" if settings.opens else "not tracked"),
        ("Clicks", clicks[settings.clicks]),
        ("Footer", "added" if settings.footer else "not added"),
        ("Links", own if settings.web_ready else f"to this server until {own} is known to lead here"),
        ("TLS", tls + (", with any certificate" if settings.require_tls and settings.skip_verification else "")),
        ("Spam", {"disabled": "not looked for", "tag": "marked"}.get(settings.spam_action, "thrown away")),
        ("Sub-domains", "their mail is taken too" if settings.wildcard else ""),
    ]


@domain.command()
@click.argument("name")
@operator
async def verify(desk: Desk, out: Output, name: str) -> int:
    """Look a domain's records up in DNS, now.

    The exit code is 1 when one that is needed, SPF or a key, is not as it must be, or DNS does not answer.
    """
    found = await desk.ask(Operations.domain_verify, name)
    whole = all(record.valid == "valid" for record in found.records if not record.optional)
    if out.json:
        out.document(found)
        return 0 if whole else 1
    rows = [
        (record.name, record.type, record.valid + (" (optional)" if record.optional else ""), record.why)
        for record in found.records
    ]
    out.table(("RECORD", "TYPE", "IN DNS", "WHY"), rows, "")
    out.line(f"{found.name} is {found.state}.")
    return 0 if whole else 1


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


@domain.command()
@click.argument("name")
@operator
async def disable(desk: Desk, out: Output, name: str) -> None:
    """Take no more mail from a domain: 403 over HTTP, 550 over SMTP.

    What waits goes out, unless the domain is paused; mail to it comes in, links in its mail lead on.
    """
    await desk.ask(Operations.domain_set, name, changes=DomainChanges(is_disabled=True))
    out.document({"domain": name, "disabled": True}) if out.json else out.line(f"{name} is disabled.")


@domain.command()
@click.argument("name")
@operator
async def enable(desk: Desk, out: Output, name: str) -> None:
    """Take mail from a disabled domain again."""
    await desk.ask(Operations.domain_set, name, changes=DomainChanges(is_disabled=False))
    out.document({"domain": name, "disabled": False}) if out.json else out.line(f"{name} may send again.")


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
@_settings
@operator
async def set_(
    desk: Desk, out: Output, /, name: str, pool: str | None, dsn: bool | None, hourly_limit: int | None, **settings: Any
) -> None:
    """Change a domain's settings."""
    changes = DomainChanges(**{one.name: settings.get(one.name) for one in fields(DomainChanges)})
    if pool is None and dsn is None and hourly_limit is None and not changes.named:
        raise click.UsageError("Name what to set: --pool, --dsn, --hourly-limit, --track-opens and so on.")
    found = await desk.ask(Operations.domain_set, name, pool, dsn, hourly_limit, changes)
    if out.json:
        out.document(found)
        return
    limit = f"{found.hourly_limit} recipients an hour" if found.hourly_limit else "no hourly limit"
    out.line(f"{found.name}: pool {found.pool or '(none)'}, DSNs {'on' if found.dsn else 'off'}, {limit}.")
    if changes.named:
        out.facts(_shown(found))
