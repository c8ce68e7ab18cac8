"""Inward: the rooms that mail from the world goes through, built for the house.

No room knows it. What comes in is a report about what we sent, or mail that a route wants.
"""

import secrets
from collections.abc import Callable
from hashlib import blake2b
from random import SystemRandom

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mtad.api.tenants import Tenants
from mtad.clock import Clock
from mtad.config import Config, ConfigError, parse_listen
from mtad.delivery.dns import DnsResolver
from mtad.inbound import listed
from mtad.inbound.arc import Sealer
from mtad.inbound.copies import Copies
from mtad.inbound.dmarc import author_domains
from mtad.inbound.doorstep import Doorstep
from mtad.inbound.onward import Onward
from mtad.inbound.posting import Postings
from mtad.inbound.postmaster import Postmaster
from mtad.inbound.routes.live import Routes
from mtad.inbound.spam import SpamSettings
from mtad.inbound.take import Take
from mtad.inbound.verdicts import Checker, CheckSettings, Filter, OnReject
from mtad.lists.known import Lists
from mtad.mail.address import BadAddress, parse_address
from mtad.mail.ids import IdSource
from mtad.message.dkim import BadKey
from mtad.message.headers import scan
from mtad.queue.submit import Submit
from mtad.webhooks.forward import WebTransport
from mtad.webhooks.hooks import Hooks


def checker(config: Config, hostname: str, resolver: DnsResolver, clock: Clock, rng: SystemRandom) -> Checker:
    inbound = config.inbound
    settings = CheckSettings(
        authserv_id=hostname,
        time_limit_s=inbound.check_timeout_s,
        on_reject=OnReject(inbound.dmarc_reject),
        trusted_sealers=frozenset(inbound.trusted_sealers),
    )
    return Checker(settings, resolver, clock, _spamd(config), rng.random)


def _spamd(config: Config) -> Filter | None:
    inbound = config.inbound
    if not inbound.spamd:
        return None
    from mtad.inbound.spamd import Spamd, dialer  # with a megabyte of libraries that most do not need

    host, port = parse_listen(inbound.spamd)
    settings = SpamSettings(
        host=host,
        port=port,
        time_limit_s=inbound.spamd_timeout_s,
        max_octets=inbound.spamd_max_octets,
        at_once=inbound.spamd_at_once,
        fail_closed=inbound.spamd_fail_closed,
    )
    return Spamd(settings, dialer(settings))


def take(
    *,
    submit: Submit,
    checks: Checker,
    routes: Routes,
    tenants: Tenants,
    resolver: DnsResolver,
    base_url: Callable[[], str],
    token_key: bytes,
    ids: IdSource,
    clock: Clock,
    config: Config,
    hostname: str,
    lists: Lists,
) -> Take:
    def sealer(domain: str) -> Sealer | None:
        """The first RSA key of the domain; others know ARC with no other kind."""
        for signer in tenants.signers(tenants.id_of(domain)):
            if isinstance(signer.key, RSAPrivateKey):
                try:
                    return Sealer(signer.domain, signer.selector, signer.key)
                except BadKey:
                    return None
        return None

    return Take(
        submit=submit,
        checker=checks,
        routes=routes,
        receiving=tenants.receiving,
        copies=Copies(
            stored_url=lambda domain, key: f"{base_url()}/v3/domains/{domain}/messages/{key}",
            key=lambda: secrets.token_urlsafe(24),
        ),
        onward=Onward(sealer, loop_key(token_key), clock),
        ids=ids,
        clock=clock,
        max_hops=config.smtp.max_hops,
        doorstep=Doorstep(resolver, clock, config.inbound.block_lists, config.inbound.greylist_s),
        postmaster=_postmaster(config, hostname),
        spare=tenants.first,
        lists=lists,
    )


def _postmaster(config: Config, hostname: str) -> Postmaster:
    """Raises ConfigError."""
    to = config.inbound.postmaster
    try:
        return Postmaster(parse_address(to) if to else None, config.server.default_domain or hostname)
    except BadAddress as error:
        raise ConfigError("inbound.postmaster", to, str(error)) from None


def loop_key(token_key: bytes) -> bytes:
    """For the marks of what came by here."""
    return blake2b(token_key, person=b"loop").digest()[:32]


async def rewrites_from(config: Config, checks: Checker, tenants: Tenants, content: bytes, domain: str) -> bool:
    """Copies of a list at `domain` have the list in From: they are signed by its domain and by nobody else, which is
    too little for what the author's domain asks for, or too much for a stranger who claims to be there.
    """
    if config.lists.from_rewrite != "dmarc":
        return config.lists.from_rewrite == "always"
    row = tenants.receiving(domain)
    signers = tenants.signers(row.id) if row is not None else ()
    signer, block = signers[0].domain if signers else "", scan(content)
    authors = author_domains(block)
    return await checks.would_fail(authors, signer) or listed.borrows(block, authors or (), signer)


def web_transport(hooks: Hooks, clock: Clock) -> WebTransport:
    return WebTransport(
        fields_of=Postings().fields,
        signing_key=lambda: hooks.signing_key,
        token=lambda: secrets.token_hex(25),
        clock=clock,
    )
