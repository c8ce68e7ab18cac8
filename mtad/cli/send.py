"""mtad send: a message through the HTTP API of the running daemon, as any client sends one.

Room: cli. The daemon lends a key for it over its control socket, so none has to be at hand.
"""

import io
import sys
from pathlib import Path

import aiohttp
import click

from mtad.api.base import Impossible, shorten
from mtad.api.control import Desk
from mtad.api.key_operations import KeyOperations, LentKey
from mtad.cli.common import Problem, operator
from mtad.cli.output import Output
from mtad.mail.address import BadAddress, parse_address
from mtad.message.fields import entries

_ANSWER_S = 120.0
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)


@click.command()
@click.option("--from", "sender", metavar="ADDRESS", help="The author; with a name if you like: 'Ann <ann@…>'.")
@click.option("--to", multiple=True, required=True, metavar="ADDRESS", help="A recipient; may be given several times.")
@click.option("--cc", multiple=True, metavar="ADDRESS", help="Another one, shown in Cc.")
@click.option("--bcc", multiple=True, metavar="ADDRESS", help="Another one, shown nowhere.")
@click.option("--subject", metavar="TEXT", help="The subject.")
@click.option("--text", metavar="TEXT", help="The text.")
@click.option("--text-file", type=_FILE, metavar="FILE", help="The text from a file; - is standard input.")
@click.option("--html-file", type=_FILE, metavar="FILE", help="The html from a file; - is standard input.")
@click.option("--attach", multiple=True, type=_FILE, metavar="FILE", help="A file to attach.")
@click.option("--inline", multiple=True, type=_FILE, metavar="FILE", help="A file the html shows by cid: and its name.")
@click.option("--mime", type=_FILE, metavar="FILE", help="A whole MIME message in place of all that; - is stdin.")
@click.option("--domain", default="", metavar="NAME", help="Of ours, that sends it; without it that of the author.")
@click.option("--tag", multiple=True, metavar="TAG", help="A tag; at most three.")
@click.option("--header", multiple=True, metavar="NAME:VALUE", help="A header field.")
@click.option("--variable", multiple=True, metavar="NAME=VALUE", help="Data of yours, told back in events.")
@click.option("--at", metavar="TIME", help="When to send it: an RFC 2822 date or Unix seconds.")
@click.option("--option", multiple=True, metavar="NAME=VALUE", help="Any o: option of the API: tracking=no.")
@click.option("--test", is_flag=True, help="Accept it, and do not send it.")
@click.option("--idempotency-key", metavar="KEY", help="The same key sends once in a day.")
@operator
async def send(desk: Desk, out: Output, /, sender: str | None, domain: str, mime: Path | None, **said: object) -> None:
    """Send a message and print its id.

    It goes through the HTTP API of the daemon that runs on this machine, which lends the key for it.
    """
    name = domain or _domain_of(sender)
    fields = _fields(sender, mime, said)
    form = _form(fields, mime, said)
    door = await desk.ask(KeyOperations.key_lend, name)
    found = await _post(door, f"/v3/{name}/messages{'.mime' if mime else ''}", form)
    out.document(found) if out.json else out.line(f"{found['id']}  {found['message']}")


def _domain_of(sender: str | None) -> str:
    if not sender:
        raise Problem("--from is missing; with --mime, say --domain")
    named = entries(sender)
    try:
        return parse_address(named[0].address if named else sender).domain
    except BadAddress as error:
        raise Problem(f"{shorten(sender)!r} is no author: {error}") from None


def _fields(sender: str | None, mime: Path | None, said: dict[str, object]) -> list[tuple[str, str]]:
    """The form's fields but for files."""
    if sender and mime:
        raise Problem("--mime holds its own From: leave out --from, and say --domain")
    found = [("from", sender)] if sender else []
    for name in ("to", "cc", "bcc"):
        found += [(name, one) for one in _many(said, name)]
    found += [(name, str(said[name])) for name in ("subject", "text") if said.get(name) is not None]
    found += [("o:tag", one) for one in _many(said, "tag")]
    found += [(f"h:{name}", value.strip()) for name, value in _pairs(said, "header", ":")]
    found += [(f"v:{name}", value) for name, value in _pairs(said, "variable", "=")]
    found += [(f"o:{name}", value) for name, value in _pairs(said, "option", "=")]
    for name, parameter in (("at", "o:deliverytime"), ("idempotency_key", "h:X-Idempotency-Key")):
        if said.get(name):
            found.append((parameter, str(said[name])))
    return [*found, ("o:testmode", "yes")] if said.get("test") else found


def _many(said: dict[str, object], name: str) -> tuple[str, ...]:
    values = said.get(name) or ()
    return tuple(map(str, values)) if isinstance(values, tuple) else ()


def _pairs(said: dict[str, object], name: str, sign: str) -> list[tuple[str, str]]:
    pairs = [one.partition(sign) for one in _many(said, name)]
    wrong = next((first for first, found, _ in pairs if not found or not first.strip()), None)
    if wrong is not None:
        raise Problem(f"--{name} {shorten(wrong)!r}: write it as NAME{sign}VALUE")
    return [(first.strip(), value) for first, _, value in pairs]


def _form(fields: list[tuple[str, str]], mime: Path | None, said: dict[str, object]) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    for name, option in (("text", "text_file"), ("html", "html_file")):
        path = said.get(option)
        if isinstance(path, Path):
            form.add_field(name, _text(path))
    for name, option in (("attachment", "attach"), ("inline", "inline")):
        for one in _many(said, option):
            form.add_field(name, io.BytesIO(_octets(Path(one))), filename=Path(one).name)
    if mime is not None:
        form.add_field("message", io.BytesIO(_octets(mime)), filename="message.eml", content_type="message/rfc822")
    return form


def _octets(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


def _text(path: Path) -> str:
    try:
        return _octets(path).decode()
    except UnicodeDecodeError:
        raise Problem(f"{path} is no text in UTF-8") from None


async def _post(door: LentKey, path: str, form: aiohttp.FormData) -> dict[str, str]:
    headers = {"Authorization": aiohttp.encode_basic_auth("api", door.key)}
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
            async with session.post(door.url + path, data=form, headers=headers, allow_redirects=False) as response:
                found: dict[str, str] = await response.json(content_type=None)
                if response.status != 200:
                    raise Impossible(str(found.get("message", response.reason)))
                return found
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Impossible(f"the daemon did not answer at {door.url}: {str(error) or 'it took too long'}") from None
