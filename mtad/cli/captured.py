"""mtad captured: the messages that `mtad dev` kept instead of sending.

Room: cli.
"""

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.cli.common import operator
from mtad.cli.output import Output, say
from mtad.cli.words import count, moment, plain


@click.group()
def captured() -> None:
    """The messages that `mtad dev` kept instead of sending."""


@captured.command("list")
@click.option("--recipient", default="", metavar="ADDRESS", help="Only those to this recipient.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="The last so many.")
@operator
async def list_(desk: Desk, out: Output, recipient: str, limit: int) -> None:
    """List captured messages, the last one first."""
    found = await desk.ask(Operations.captured_list, recipient, limit)
    if out.json:
        out.document(found)
        return
    rows = [
        (
            item.id,
            moment(item.captured_at),
            item.sender or f"<{item.reverse_path}>",
            _some(item.recipients),
            item.subject,
        )
        for item in found
    ]
    out.table(("ID", "TIME", "FROM", "RECIPIENTS", "SUBJECT"), rows, "No message has been captured.")


def _some(recipients: tuple[str, ...]) -> str:
    rest = len(recipients) - 3
    return ", ".join(recipients[:3]) + (f" and {rest} more" if rest > 0 else "")


@captured.command()
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="The message alone, octet by octet.")
@operator
async def show(desk: Desk, out: Output, id_: str, raw: bool) -> None:
    """Show a captured message as it would have gone out.

    ID is its own or the queue id of the message it is a copy of.
    """
    found = await desk.ask(Operations.captured_show, id_)
    if raw:
        say(found.content, nl=False)
        return
    text = found.content.decode("utf-8", "replace").replace("\r\n", "\n")
    if out.json:
        out.document({"item": found.item, "size": len(found.content), "content": text})
        return
    out.facts(
        [
            ("Captured", moment(found.item.captured_at)),
            ("Message", found.item.message),
            ("Reverse-path", f"<{found.item.reverse_path}>"),
            ("Recipients", ", ".join(found.item.recipients)),
        ]
    )
    out.line()
    say(plain(text, keep="\n\t"), nl=not text.endswith("\n"))


@captured.command()
@operator
async def clear(desk: Desk, out: Output) -> None:
    """Throw all captured messages away."""
    number = await desk.ask(Operations.captured_clear)
    out.document({"cleared": number}) if out.json else out.line(f"{count(number, 'message')} thrown away.")
