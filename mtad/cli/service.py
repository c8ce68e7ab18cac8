"""mtad serve, dev, check-config and check: the daemon itself, its configuration, its store.

Room: cli. The daemon is imported by the command that starts it: no other command pays for that.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mtad.api.control import Desk
from mtad.api.operations import Operations
from mtad.cli.common import INTERRUPTED, Problem, operator, problem_of
from mtad.cli.output import Output, say
from mtad.config import ConfigError, load, parse_listen
from mtad.config.advice import advice

_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set one configuration key, as --set smtp.max_recipients=10; repeatable.",
)


class HostPort(click.ParamType):  # type: ignore[type-arg]  # older click is not generic
    """ "127.0.0.1:2525", "[::1]:0"."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_listen(str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return str(value)


@click.command()
@click.option(
    "--config", "file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="As /etc/mtad/mtad.toml."
)
@_SET
def serve(file: Path, overrides: tuple[str, ...]) -> None:
    """Run the daemon in the foreground, as systemd starts it.

    SIGTERM ends it when transactions under way are done; SIGHUP reads the configuration again.
    """

    def begin() -> None:
        config = load(file, overrides)
        importlib.import_module("mtad.daemon").serve(config, lambda: load(file, overrides))

    _run(begin)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Keep state and credentials here.")
@click.option("--mx", type=HostPort(), default="127.0.0.1:2525", show_default=True, help="Mail from the world.")
@click.option(
    "--submission", type=HostPort(), default="127.0.0.1:5587", show_default=True, help="Submission, with STARTTLS."
)
@click.option("--submissions", type=HostPort(), default="127.0.0.1:4465", show_default=True, help="Submission by TLS.")
@click.option("--http", type=HostPort(), default="127.0.0.1:8025", show_default=True, help="API, links, /health.")
@click.option("--relay", type=HostPort(), help="Send everything to this host instead of capturing it.")
@click.option("--password", metavar="TEXT", help="The login's password; otherwise one is made.")
@click.option("--api-key", metavar="TEXT", help="The API key; otherwise one is made.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), metavar="FILE", help="Written when all listeners accept."
)
@_SET
def dev(
    data: Path | None,
    mx: str,
    submission: str,
    submissions: str,
    http: str,
    relay: str | None,
    password: str | None,
    api_key: str | None,
    ready_file: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Run a complete mtad for development, without any configuration.

    Nothing leaves the machine: outgoing mail is captured, and `mtad captured list` shows it. Login, password and API
    key are printed. Port 0 takes a free port. Without --data all is gone at the end.
    """

    def begin() -> None:
        room = importlib.import_module("mtad.dev")
        room.dev(
            room.DevOptions(
                data=data,
                mx=mx,
                submission=submission,
                submissions=submissions,
                http=http,
                relay=relay,
                password=password,
                api_key=api_key,
                ready_file=ready_file,
                set=overrides,
            )
        )

    _run(begin)


def _run(begin: Callable[[], None]) -> None:
    """A fault of the program keeps its traceback: somebody will want it."""
    try:
        begin()
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        raise problem from None


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@_SET
def check_config(file: Path, overrides: tuple[str, ...]) -> None:
    """Say whether a configuration file is right, and if not, every mistake in it."""
    try:
        config = load(file, overrides)
    except ConfigError as error:
        raise Problem(str(error)) from None
    for key, why in advice(config):
        click.echo(f"mtad: {file}: warning: {key} {why}", err=True)
    say(f"{file}: no mistakes")


@click.command()
@operator
async def check(desk: Desk, out: Output) -> int:
    """Check the store: is it whole, and did every accepted recipient end once or is it queued?

    It may run while the daemon works. Exit code 1: something is wrong.
    """
    found = await desk.ask(Operations.check)
    if out.json:
        out.document({"ok": not found.faults, "report": found})
        return 1 if found.faults else 0
    out.line(
        f"accepted {found.accepted} = delivered {found.delivered} + failed {found.failed}"
        f" + waiting {found.waiting} + sending {found.sending}"
    )
    for fault in found.faults:
        out.line(f"FAULT: {fault}")
    out.line("The store is not whole." if found.faults else "The store is whole.")
    return 1 if found.faults else 0
