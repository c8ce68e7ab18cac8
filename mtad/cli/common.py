"""Common: what all commands share: the options that say which mtad is meant, one loop, and errors of one line.

Room: cli.
"""

import asyncio
import functools
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from mtad.api.base import Impossible
from mtad.api.control import Desk
from mtad.cli import place
from mtad.cli.output import Output
from mtad.cli.reach import open_desk
from mtad.cli.words import moment_of, plain, seconds_of
from mtad.clock import SystemClock
from mtad.config import ConfigError
from mtad.storage.database import StoreError

P = ParamSpec("P")
T = TypeVar("T")

# What may go wrong without a fault of the program: the text says it all.
EXPECTED = (Impossible, StoreError, ConfigError, OSError, sqlite3.Error)
CLOCK = SystemClock()
INTERRUPTED = 130  # the exit code of a program ended by Ctrl-C


class Problem(click.ClickException):
    """One clear line for each thing that is wrong, on standard error; exit code 1."""

    def show(self, file: Any = None) -> None:
        for line in self.message.splitlines() or [""]:
            click.echo(f"mtad: {plain(line)}", err=True)


def run(work: Coroutine[Any, Any, T]) -> T:
    """On a loop of its own. Raises Problem for what is expected to go wrong."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        leaves = list(_leaves(error))
        if isinstance(leaves[0], click.ClickException | click.exceptions.Exit | click.Abort):
            raise leaves[0] from None
        if os.environ.get("MTAD_DEBUG"):
            raise
        raise problem_of(error) or Problem(f"internal error: {leaves[0]!r}; MTAD_DEBUG=1 shows where") from None


def problem_of(error: BaseException) -> Problem | None:
    """None: a fault of the program, whose traceback somebody needs to see."""
    leaves = list(_leaves(error))
    if not all(isinstance(leaf, EXPECTED) for leaf in leaves):
        return None
    return Problem("\n".join(dict.fromkeys(_said(leaf) for leaf in leaves)))


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, sqlite3.Error):
        return f"the store could not do it: {error}"
    return str(error) or type(error).__name__


def operator(asked: Callable[Concatenate[Desk, Output, P], Awaitable[int | None]]) -> Callable[..., None]:
    """A command that asks a desk. It gets --data, --config and --json, and may return an exit code."""
    return _command(asked, create=False)


def founder(asked: Callable[Concatenate[Desk, Output, P], Awaitable[int | None]]) -> Callable[..., None]:
    """The same for what one does first of all: it may make the store where there is none."""
    return _command(asked, create=True)


def _command(
    asked: Callable[Concatenate[Desk, Output, P], Awaitable[int | None]], *, create: bool
) -> Callable[..., None]:
    @functools.wraps(asked)
    def command(data: Path | None, config_file: Path | None, as_json: bool, *args: Any, **kwargs: Any) -> None:
        async def session() -> int | None:
            found = place.find(data, config_file, os.environ)
            async with open_desk(found, CLOCK, create=create) as desk:
                return await asked(desk, Output(as_json), *args, **kwargs)

        code = run(session())
        if code:
            sys.exit(code)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The configuration file of the mtad that is meant.",
        ),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The data folder of the mtad that is meant; also MTAD_DATA.",
        ),
    ):
        command = option(command)
    return command


class Duration(click.ParamType):  # type: ignore[type-arg]  # older click is not generic
    """A length of time -> seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = value if isinstance(value, float) else seconds_of(str(value))
        if seconds is None:
            self.fail(f"{value!r} is no length of time: write 90s, 30m, 2h or 1d", param, ctx)
        return seconds


class Moment(click.ParamType):  # type: ignore[type-arg]  # older click is not generic
    """A point in time -> epoch seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        at = value if isinstance(value, float) else moment_of(str(value), CLOCK.now())
        if at is None:
            self.fail(f"{value!r} is no time: write 2h (ago), 2026-11-23 or '2026-11-23 09:44'", param, ctx)
        return at
