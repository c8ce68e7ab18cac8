"""The sections of the configuration file as frozen dataclasses, one per room, with their defaults.

Sections and keys are named as in the file: `[smtp] max_recipients` is `Config.smtp.max_recipients`. Units are in the
names: `_s` seconds, `_octets` octets. A type such as `Count` or `Listen` carries its check (see checks.py); a section
whose values are wrong cannot be made.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from mtad.config.checks import (
    HIDE,
    Addresses,
    BaseUrl,
    Check,
    Count,
    HostName,
    HostNames,
    Ladder,
    Listen,
    LogLevel,
    MailAddress,
    NameServers,
    Networks,
    Octets,
    Pools,
    Port,
    RelayTls,
    Seconds,
    SecondsOrZero,
    SecretText,
    Target,
    TlsLevel,
    between,
    one_of,
)
from mtad.config.error import ConfigError, Value, raise_any


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known of a key: its bare type, its checks, and whether its value may be shown."""

    type: Any
    checks: tuple[Check, ...]
    secret: bool


def hints(section: type) -> dict[str, Hint]:
    """Key -> Hint, in the order of the class."""
    annotations = get_type_hints(section, include_extras=True)
    return {one.name: _hint(annotations[one.name]) for one in fields(section)}


def _hint(annotation: Any) -> Hint:
    if get_origin(annotation) is not Annotated:
        return Hint(annotation, (), secret=False)
    bare, *marks = get_args(annotation)
    return Hint(bare, tuple(mark for mark in marks if callable(mark)), HIDE in marks)


def shown(hint: Hint, value: object) -> object:
    return Value.HIDDEN if hint.secret else value


class Section:
    """A part of the configuration: checks every value, then what the values say together."""

    __slots__ = ()
    NAME: ClassVar[str]

    def __post_init__(self) -> None:
        raise_any([*self._wrong_values()] or [*self.contradictions()])

    def _wrong_values(self) -> Iterator[ConfigError]:
        for key, hint in hints(type(self)).items():
            value = getattr(self, key)
            for check in hint.checks:
                try:
                    check(value)
                except ValueError as wrong:
                    yield ConfigError(f"{self.NAME}.{key}", shown(hint, value), str(wrong))
                    break

    def contradictions(self) -> Iterator[ConfigError]:
        """Values that are right alone but not together."""
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig(Section):
    NAME: ClassVar[str] = "server"
    hostname: HostName = ""  # our name in greetings, EHLO and Received; "" takes the machine's own
    data_dir: Path = Path("/var/lib/mtad")
    log_level: LogLevel = "info"
    default_domain: HostName = ""  # for mail of trusted networks whose MAIL FROM is none of ours
    grace_s: SecondsOrZero = 20.0  # SIGTERM: how long open transactions may take


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig(Section):
    NAME: ClassVar[str] = "smtp"
    mx: Listen = ("[::]:25",)
    submission: Listen = ("[::]:587",)  # STARTTLS
    submissions: Listen = ("[::]:465",)  # TLS from the first octet (RFC 8314)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    auth_without_tls: bool = False
    trusted_networks: Networks = ()  # may submit without AUTH on the submission listeners
    proxy_networks: Networks = ()  # their connections begin with a PROXY header
    bare_newline_networks: Networks = ()  # a bare LF or CR from here is made CRLF instead of refused
    max_message_octets: Annotated[int, between(1, 1 << 31)] = 26_214_400
    max_recipients: Count = 1000
    max_connections: Count = 2000
    max_connections_per_address: Count = 100
    max_commands: Count = 10_000  # in one session
    max_errors: Count = 20  # in one session
    max_hops: Count = 50  # Received fields: more is a loop (RFC 5321 §6.3)
    idle_timeout_s: Seconds = 300.0  # RFC 5321 §4.5.3.2.7
    data_timeout_s: Seconds = 600.0  # from DATA to the final dot
    auth_failures_per_address: Count = 10  # in auth_window_s, then 421
    auth_window_s: Seconds = 600.0
    auth_delay_s: SecondsOrZero = 1.0  # before the reply to a wrong password; doubles up to 10 s

    def contradictions(self) -> Iterator[ConfigError]:
        if self.tls_certificate and not self.tls_key:
            yield ConfigError("smtp.tls_key", Value.NONE, "must name the key of smtp.tls_certificate")
        if self.tls_key and not self.tls_certificate:
            yield ConfigError("smtp.tls_certificate", Value.NONE, "must name the certificate of smtp.tls_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig(Section):
    NAME: ClassVar[str] = "http"
    listen: Listen = ("127.0.0.1:8025",)
    public_listen: Listen = ()  # tracking and unsubscribe links alone, for the world; `listen` answers them too
    public_url: BaseUrl = ""  # how the world reaches them; "" makes it of hostname and the first listener's port
    proxy_networks: Networks = ()  # reverse proxies whose X-Forwarded-For is believed
    max_connections: Count = 2000  # of each of the two
    max_connections_each: Count = 100  # from one address, but for this machine and proxy_networks
    allow_private_targets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig(Section):
    NAME: ClassVar[str] = "api"
    base_url: BaseUrl = ""  # how callers reach the API, for links in its answers; "" takes what they call us
    rate_limits: bool = True  # 300 requests a minute for domains and webhooks
    max_body_octets: Annotated[int, between(1_048_576, 1 << 31)] = 62_914_560  # of one request, inflated
    body_memory_octets: Annotated[int, between(1_048_576, 1 << 40)] = 104_857_600  # requests being worked on, together
    max_option_octets: Annotated[int, between(0, 1 << 24)] = 16_384  # of o:, h:, v: and t: of one send; 0: any


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig(Section):
    NAME: ClassVar[str] = "dns"
    nameservers: NameServers = ()  # "127.0.0.1:5353"; none: the system's
    timeout_s: Seconds = 5.0
    cache_entries: Count = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig(Section):
    NAME: ClassVar[str] = "store"
    inline_octets: Octets = 65_536  # bodies up to this size are rows, larger ones go to spool files
    min_free_octets: Octets = 268_435_456  # less free disk: 452 4.3.1
    cache_octets: Octets = 2_097_152
    events_keep_s: Seconds = 30 * 86_400.0
    counters_keep_s: Seconds = 183 * 86_400.0
    captured_keep_s: Seconds = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig(Section):
    NAME: ClassVar[str] = "queue"
    retry_waits_s: Ladder = (60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)  # the last one repeats
    retry_jitter: Annotated[float, between(0, 1)] = 0.1
    give_up_after_s: Seconds = 8 * 3600.0
    max_schedule_s: SecondsOrZero = 3 * 86_400.0
    connections: Count = 500  # outgoing, all sites together
    window_per_site: Count = 500  # recipients of one site held in memory
    window: Count = 10_000  # all sites together
    memory_octets: Annotated[int, between(2, 1 << 50)] = 268_435_456  # message bytes in memory, incoming and outgoing
    paused: bool = False

    @property
    def incoming_octets(self) -> int:
        """Of memory_octets. The halves do not borrow: a full queue must not shut the doors, nor a flood the queue."""
        return self.memory_octets // 2

    @property
    def outgoing_octets(self) -> int:
        return self.memory_octets - self.incoming_octets


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryConfig(Section):
    NAME: ClassVar[str] = "delivery"
    relay: Target = ""  # "host:port" or "[address]:port": everything goes there instead of to the MX
    relay_login: str = ""
    relay_password: SecretText = field(default="", repr=False)
    relay_tls: RelayTls = "opportunistic"
    port: Port = 25
    dkim: bool = True
    tls: TlsLevel = "opportunistic"
    mta_sts: bool = True
    ipv6: bool = True
    sources: Addresses = ()  # addresses to send from; none: the system chooses
    pools: Pools = field(default_factory=dict)  # pool name -> addresses
    chunking: bool = True
    connect_timeout_s: Seconds = 30.0
    greeting_timeout_s: Seconds = 300.0  # RFC 5321 §4.5.3.2.1
    ehlo_timeout_s: Seconds = 300.0
    mail_timeout_s: Seconds = 300.0
    rcpt_timeout_s: Seconds = 300.0
    data_timeout_s: Seconds = 120.0  # the reply to DATA
    block_timeout_s: Seconds = 180.0  # each piece of the body
    final_timeout_s: Seconds = 600.0  # the reply to the final dot
    quit_timeout_s: Seconds = 5.0
    idle_s: SecondsOrZero = 20.0  # an unused connection is kept this long

    def contradictions(self) -> Iterator[ConfigError]:
        if self.relay_login and not self.relay_password:
            yield ConfigError("delivery.relay_password", Value.NONE, "must be set with delivery.relay_login")
        if self.relay_password and not self.relay_login:
            yield ConfigError("delivery.relay_login", Value.NONE, "must be set with delivery.relay_password")
        if self.relay_login and not self.relay:
            yield ConfigError("delivery.relay", Value.NONE, "must name the host that delivery.relay_login is for")


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceConfig(Section):
    NAME: ClassVar[str] = "bounces"
    dsn: bool = True  # for relayed mail whose reverse-path is not ours
    max_return_octets: Octets = 65_536  # of the original that a DSN returns
    verp: bool = True  # the reverse-path of our domains' mail names the recipient, so that late reports find him


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundConfig(Section):
    NAME: ClassVar[str] = "inbound"
    dmarc_reject: Annotated[str, one_of("refuse", "mark")] = "refuse"  # when a From domain asks for "reject"
    check_timeout_s: Seconds = 10.0  # all DNS of one message
    trusted_sealers: HostNames = ()  # whose ARC chain lets pass what DMARC would have refused
    spamd: Target = ""  # "host:port" of SpamAssassin's spamd; "" none
    spamd_timeout_s: Seconds = 15.0
    spamd_max_octets: Octets = 512_000  # longer messages are not scanned
    spamd_at_once: Count = 5
    spamd_fail_closed: bool = False  # 451 while spamd gives no answer
    stored_keep_s: Seconds = 3 * 86_400.0
    block_lists: HostNames = ()  # DNS lists of addresses that are refused, as "zen.example.org"
    greylist_s: SecondsOrZero = 0.0  # a stranger's first try is put off so long; 0: not at all
    postmaster: MailAddress = ""  # gets mail for postmaster@ and abuse@ that no route takes; "" refuses it


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsConfig(Section):
    NAME: ClassVar[str] = "lists"
    from_rewrite: Annotated[str, one_of("dmarc", "never", "always")] = "dmarc"  # when copies have the list in From


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig(Section):
    NAME: ClassVar[str] = "tracking"
    unsubscribe_on_get: bool = True  # following the link is enough; else its page asks once more
    geoip_file: Path | None = None  # a MaxMind database of cities or countries; none: places are "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig(Section):
    NAME: ClassVar[str] = "webhooks"
    retry_waits_s: Ladder = (600.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0)
    scale: Annotated[float, between(0.000_01, 1000)] = 1.0  # all of retry_waits_s times this
    connect_timeout_s: Seconds = 10.0
    timeout_s: Seconds = 30.0  # of the whole exchange
    connections: Count = 100
    connections_per_webhook: Count = 4
    keep_s: Seconds = 7 * 86_400.0  # what was posted, and every attempt

    @property
    def waits_s(self) -> tuple[float, ...]:
        return tuple(wait_s * self.scale for wait_s in self.retry_waits_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    server: ServerConfig = ServerConfig()
    smtp: SmtpConfig = SmtpConfig()
    http: HttpConfig = HttpConfig()
    api: ApiConfig = ApiConfig()
    dns: DnsConfig = DnsConfig()
    store: StoreConfig = StoreConfig()
    queue: QueueConfig = QueueConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    bounces: BounceConfig = BounceConfig()
    inbound: InboundConfig = InboundConfig()
    lists: ListsConfig = ListsConfig()
    tracking: TrackingConfig = TrackingConfig()
    webhooks: WebhookConfig = WebhookConfig()
    shaping_file: Path | None = None  # none: the file that comes with mtad
    bounces_file: Path | None = None
