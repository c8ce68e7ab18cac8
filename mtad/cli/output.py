"""Output: what commands print: JSON for programs, tables and lines for people.

Room: cli. No markup is read from what is printed, and nothing in it can drive the terminal.
"""

import os
import sys
from collections.abc import Sequence

import click

from mtad.api.codec import to_json
from mtad.cli.words import plain

UNREAD = 141  # the exit code of a program whose reader is gone, as `head` is after its lines: 128 + SIGPIPE
_PIPE_WIDTH = 240  # columns of a table that goes to a file or another program
# JSON lets them stand in its strings, and Python's splitlines, for one, ends a line there.
_SEPARATORS = [(mark.encode(), b"\\u%04x" % ord(mark)) for mark in "\x85\u2028\u2029"]


def say(content: str | bytes, *, nl: bool = True) -> None:
    """To standard output, at once. When nobody reads it any more, the command ends without a word.

    Not by SIGPIPE itself: a daemon that goes away while it is asked must be told of, and its socket would raise it too.
    """
    try:
        click.echo(content, nl=nl)
    except BrokenPipeError:
        # What is left in the buffer would be tried again at the exit, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(UNREAD) from None


class Output:
    """json: --json was given."""

    def __init__(self, json: bool) -> None:
        self.json = json

    def document(self, value: object) -> None:
        """One JSON document."""
        say(to_json(value, indent=True))

    def object(self, value: object) -> None:
        """One JSON object on a line of its own, by whatever its reader tells lines apart."""
        octets = to_json(value)
        for separator, escaped in _SEPARATORS:
            octets = octets.replace(separator, escaped)
        say(octets)

    def line(self, text: str = "") -> None:
        say(plain(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        """empty: what is said when there are no rows."""
        if not rows:
            self.line(empty)
            return
        from rich.console import Console  # the daemon prints no tables
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*[Text(plain(cell)) for cell in row])
        terminal = sys.stdout.isatty()
        console = Console(file=sys.stdout, width=None if terminal else _PIPE_WIDTH, no_color=not terminal)
        with console.capture() as printed:
            console.print(table)
        say("\n".join(line.rstrip() for line in printed.get().splitlines()))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Name and value, those without a value left out."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            if value:
                self.line(f"{name:<{width}}  {value}")
