"""Main: the command `mtad` with all that is under it.

Room: cli. Called by mtad.__main__. Exit codes: 0 done; 1 it could not be done, one line on standard error says why;
2 the command was not understood; 130 ended by Ctrl-C; 141 nobody reads what it prints.
"""

from importlib import import_module

import click

from mtad import __version__

# What a command is in. Only the one that is asked for is loaded: the daemon needs none of the others in its memory.
_COMMANDS = {
    "serve": "service:serve",
    "dev": "service:dev",
    "check-config": "service:check_config",
    "check": "service:check",
    "queue": "queue:queue",
    "site": "sites:site",
    "events": "events:events",
    "message": "events:message",
    "domain": "domains:domain",
    "credential": "credentials:credential",
    "captured": "captured:captured",
    "campaign": "campaigns:campaign",
    "dkim": "dkim:dkim",
    "key": "keys:key",
    "list": "lists:list_",
    "route": "routes:route",
    "send": "send:send",
    "stored": "stored:stored",
    "suppression": "suppressions:suppression",
    "webhook": "webhooks:webhook",
}


class Commands(click.Group):
    """Those of _COMMANDS, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(f"mtad.cli.{module}"), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mtad", message="%(prog)s %(version)s")
def main() -> None:
    """mtad, an email service as one daemon.

    Commands find the daemon, or its store when none runs, by --data or --config (or MTAD_DATA); without them they
    mean a running `mtad dev` of yours, else /etc/mtad/mtad.toml.
    """
