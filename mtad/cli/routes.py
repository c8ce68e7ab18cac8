"""mtad route: what becomes of mail that comes in, and why.

Room: cli.
"""

from pathlib import Path

import click

from mtad.api.control import Desk
from mtad.api.route_operations import MAX_PAGE, RouteOperations, RouteView
from mtad.cli.common import operator
from mtad.cli.output import Output
from mtad.cli.words import moment
from mtad.inbound.routes.explain import Condition, RouteVerdict, Verdict
from mtad.message.headers import MAX_HEADER

_ACTION = """forward("…"), store(), store(notify="http…") or stop(); may be given several times."""
_SAID = {True: "true", False: "false", None: "unknown"}


@click.group()
def route() -> None:
    """What becomes of mail that comes in.

    Routes are looked at by priority, the lowest first. The actions of every one that matches are done, until one says
    stop().
    """


@route.command()
@click.argument("expression")
@click.option("--action", "actions", multiple=True, required=True, metavar="ACTION", help=_ACTION)
@click.option("--priority", default=0, show_default=True, help="Lower ones are looked at first.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@operator
async def add(
    desk: Desk, out: Output, expression: str, actions: tuple[str, ...], priority: int, description: str
) -> None:
    """Add a route for what EXPRESSION is true of.

    mtad route add 'match_recipient("(.*)@example.org")' --action 'forward("https://app.example.org/mail?to=\\1")'
    """
    made = await desk.ask(RouteOperations.route_add, expression, actions, priority, description)
    out.document(made) if out.json else out.line(f"Route {made.id} is added.")


@route.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0, MAX_PAGE), help="How many.")
@click.option("--skip", default=0, show_default=True, type=click.IntRange(0), help="How many to leave out before.")
@operator
async def list_(desk: Desk, out: Output, limit: int, skip: int) -> None:
    """List the routes in the order they are looked at."""
    found = await desk.ask(RouteOperations.route_list, limit, skip)
    if out.json:
        out.document(found)
        return
    rows = [(view.id, str(view.priority), view.expression, "  ".join(view.actions)) for view in found.items]
    out.table(("ID", "PRIORITY", "EXPRESSION", "ACTIONS"), rows, "There is no route; `mtad route add` adds one.")
    if len(rows) < found.total:
        out.line(f"{len(rows)} of {found.total} routes; --limit and --skip show others.")


@route.command()
@click.argument("id_", metavar="ID")
@operator
async def show(desk: Desk, out: Output, id_: str) -> None:
    """Show a route."""
    _print(await desk.ask(RouteOperations.route_show, id_), out)


@route.command("set")
@click.argument("id_", metavar="ID")
@click.option("--expression", metavar="TEXT", help="Which mail it is for.")
@click.option("--action", "actions", multiple=True, metavar="ACTION", help=f"Instead of all there were: {_ACTION}")
@click.option("--priority", type=int, metavar="NUMBER", help="Lower ones are looked at first.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@operator
async def set_(
    desk: Desk,
    out: Output,
    id_: str,
    expression: str | None,
    actions: tuple[str, ...],
    priority: int | None,
    description: str | None,
) -> None:
    """Change a route; what is not named stays as it is."""
    if expression is None and not actions and priority is None and description is None:
        raise click.UsageError("Name what to set: --expression, --action, --priority or --description.")
    _print(
        await desk.ask(RouteOperations.route_set, id_, expression, actions or None, priority, description),
        out,
    )


@route.command()
@click.argument("id_", metavar="ID")
@operator
async def remove(desk: Desk, out: Output, id_: str) -> None:
    """Remove a route."""
    await desk.ask(RouteOperations.route_remove, id_)
    out.document({"removed": id_}) if out.json else out.line(f"Route {id_} is removed.")


@route.command()
@click.option("--recipient", required=True, metavar="ADDRESS", help="Whom the message is for.")
@click.option("--file", "file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", help="The message.")
@operator
async def test(desk: Desk, out: Output, recipient: str, file: Path | None) -> int:
    """Tell what every route would do with a message, and why; nothing is done.

    Without --file the message has no headers. The exit code is 1 when no route matches.
    """
    verdicts = await desk.ask(RouteOperations.route_test, recipient, _beginning(file) if file else b"")
    if out.json:
        out.document(verdicts)
    else:
        _explain(verdicts, recipient, out)
    return 0 if any(one.verdict is Verdict.MATCHED for one in verdicts) else 1


def _beginning(file: Path) -> bytes:
    """The header, with the line ends of the wire, and perhaps some more."""
    with click.open_file(str(file), "rb") as content:
        return bytes(content.read(MAX_HEADER)).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _print(view: RouteView, out: Output) -> None:
    if out.json:
        out.document(view)
        return
    out.facts(
        [
            ("Route", view.id),
            ("Priority", str(view.priority)),
            ("Description", view.description),
            ("Expression", view.expression),
            *[("Action", action) for action in view.actions],
            ("Added", moment(view.created_at)),
        ]
    )


def _explain(verdicts: tuple[RouteVerdict, ...], recipient: str, out: Output) -> None:
    for one in verdicts:
        name = f" ({one.description})" if one.description else ""
        out.line(f"{one.id}  priority {one.priority}{name}: {one.verdict}: {one.why}")
        for condition in one.conditions:
            out.line(f"    {'  ' * condition.depth}{_condition(condition)}")
        for capture in one.captures:
            out.line(f"    {capture.reference} is {capture.text!r}")
        for action in one.actions:
            kind = " (the message itself)" if action.kind == "raw-url" else ""
            out.line(f"    -> {' '.join(filter(None, (action.action, action.to)))}{kind}")
        for fault in one.faults:
            out.line(f"    !! {fault}")
    if not verdicts:
        out.line("There is no route; `mtad route add` adds one.")
    elif not any(one.verdict is Verdict.MATCHED for one in verdicts):
        out.line(f"No route takes this message for {recipient}.")


def _condition(condition: Condition) -> str:
    looked = f"  [looked at {condition.looked_at!r}]" if condition.looked_at else ""
    matched = f"  [matched {condition.matched!r}]" if condition.matched else ""
    note = f": {condition.note}" if condition.note else ""
    return f"{_SAID[condition.said]}  {condition.text}{note}{looked}{matched}"
