"""Main: the command `mtad` with all that is under it.

Room: cli. Called by mtad.__main__. Exit codes: 0 done; 1 it could not be done, one line on standard error says why;
2 the command was not understood; 130 ended by Ctrl-C; 141 nobody reads what it prints.
"""

import click

from mtad import __version__
from mtad.cli.campaigns import campaign
from mtad.cli.captured import captured
from mtad.cli.credentials import credential
from mtad.cli.dkim import dkim
from mtad.cli.domains import domain
from mtad.cli.events import events, message
from mtad.cli.keys import key
from mtad.cli.lists import list_
from mtad.cli.queue import queue
from mtad.cli.routes import route
from mtad.cli.send import send
from mtad.cli.service import check, check_config, dev, serve
from mtad.cli.sites import site
from mtad.cli.stored import stored
from mtad.cli.suppressions import suppression
from mtad.cli.webhooks import webhook


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mtad", message="%(prog)s %(version)s")
def main() -> None:
    """mtad, an email service as one daemon.

    Commands find the daemon, or its store when none runs, by --data or --config (or MTAD_DATA); without them they
    mean a running `mtad dev` of yours, else /etc/mtad/mtad.toml.
    """


_COMMANDS = (
    *(serve, dev, check_config, check, queue, site, events, message, domain, credential, captured),
    *(campaign, dkim, key, list_, route, send, stored, suppression, webhook),
)
for command in _COMMANDS:
    main.add_command(command)
