"""Front: the HTTP API, its chapters put together for the house.

No room knows it.
"""

import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from mtad.api.http.analytics import Analytics
from mtad.api.http.app import HttpApi
from mtad.api.http.call import Chapter
from mtad.api.http.campaign_reports import CampaignReports
from mtad.api.http.campaigns import Campaigns
from mtad.api.http.credentials import Credentials
from mtad.api.http.dkim import Dkim
from mtad.api.http.domains import Domains
from mtad.api.http.events import Events
from mtad.api.http.idempotency import Idempotency
from mtad.api.http.keys import Keys
from mtad.api.http.lists import Lists
from mtad.api.http.logs import Logs
from mtad.api.http.members import Members
from mtad.api.http.messages import Limits, Messages, Submitting
from mtad.api.http.routes import Routes
from mtad.api.http.settings import Settings
from mtad.api.http.stats import Stats
from mtad.api.http.stored import StoredMessages
from mtad.api.http.stubs import Drop, Stubs
from mtad.api.http.suppressions import Suppressions
from mtad.api.http.tags import Tags
from mtad.api.http.templates import Render, TemplateChapter
from mtad.api.http.webhooks import Webhooks
from mtad.api.list_desk import ListDesk
from mtad.api.operations import Operations
from mtad.api.suppression_desk import SuppressionDesk
from mtad.api.templates import Templates
from mtad.api.tenants import Tenants
from mtad.clock import Clock
from mtad.config import Config, parse_networks
from mtad.delivery.dns import DnsResolver
from mtad.mail.ids import IdSource
from mtad.storage.database import Database, Lane
from mtad.storage.idempotency import Answered
from mtad.storage.outgoing import Outgoing
from mtad.tracking.peers import client_of


def chapters(
    *,
    config: Config,
    operations: Operations,
    database: Database,
    outgoing: Outgoing,
    submit: Submitting,
    answers: Lane[Answered],
    clock: Clock,
    ids: IdSource,
    templates: Templates,
    suppressed: Callable[[int, str], None],
    drop: Drop,
) -> list[Chapter]:
    """Every chapter of the API; each says which calls it answers."""
    limits = Limits(
        message=config.smtp.max_message_octets,
        options=config.api.max_option_octets,
        schedule_s=config.queue.max_schedule_s,
    )
    desk = ListDesk(database)
    return [
        Messages(
            submit=submit,
            idempotency=Idempotency(database, answers, clock.now),
            mark=lambda: secrets.token_hex(12),
            render=Render(templates),
            limits=limits,
        ),
        StoredMessages(database, outgoing, submit),
        Domains(operations),
        Credentials(operations),
        Settings(operations),
        Dkim(operations),
        Webhooks(operations, database),
        Events(database, clock, lambda: config.store.events_keep_s),
        Stats(database, lambda: config.store.counters_keep_s),
        Tags(database),
        Analytics(database),
        Campaigns(operations),
        CampaignReports(database, clock),
        Logs(database, clock, lambda: config.store.events_keep_s),
        Suppressions(SuppressionDesk(database, clock, suppressed)),
        TemplateChapter(database, ids, clock, templates),
        Routes(operations),
        Lists(operations, desk),
        Members(operations, desk),
        Stubs(config.delivery.sources, drop),
    ]


def http_api(*, config: Config, made: Sequence[Chapter], keys: Keys, tenants: Tenants, clock: Clock) -> HttpApi:
    networks = parse_networks(config.http.proxy_networks)
    return HttpApi(
        chapters=made,
        keys=keys,
        domains=tenants,
        clock=clock,
        token=lambda: secrets.token_hex(8),
        folder=config.server.data_dir,
        client=lambda remote, forwarded: client_of(remote, forwarded, networks),
        config=config.api,
    )


def teach(operations: Operations, config: Config, clock: Clock, public_url: Callable[[], str]) -> None:
    """What operations ask of the world: a resolver without old answers for each look at a domain's records."""
    operations.names = lambda: DnsResolver(config.dns, clock)
    operations.web_host = lambda: urlsplit(public_url()).hostname or ""
