"""Config: the file in conf/ -> frozen dataclasses, one per room. Parsed once; unknown keys are refused.

May be imported by every room; each is handed its own section only. Sections and keys are named as in the file:
`[smtp] max_recipients` is `Config.smtp.max_recipients`. Units are in the names: `_s` seconds, `_octets` octets.
"""

from dataclasses import dataclass, field
from pathlib import Path


class ConfigError(Exception):
    """key: "smtp.max_recipients". The text says what is wrong and what would be right."""

    def __init__(self, key: str, value: object, right: str, file: str = "") -> None:
        self.key, self.value, self.right, self.file = key, value, right, file
        place = f"{file}: {key}" if file else key
        super().__init__(f"{place} = {value!r}: {right}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    hostname: str = ""  # our name in greetings, EHLO and Received; "" takes the machine's own
    data_dir: Path = Path("/var/lib/mtad")
    log_level: str = "info"
    default_domain: str = ""  # for mail of trusted networks whose MAIL FROM is none of ours
    grace_s: float = 20.0  # SIGTERM: how long open transactions may take


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    mx: tuple[str, ...] = ("[::]:25",)
    submission: tuple[str, ...] = ("[::]:587",)  # STARTTLS
    submissions: tuple[str, ...] = ("[::]:465",)  # TLS from the first octet (RFC 8314)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    auth_without_tls: bool = False
    trusted_networks: tuple[str, ...] = ()  # may submit without AUTH on the submission listeners
    proxy_networks: tuple[str, ...] = ()  # their connections begin with a PROXY header
    bare_newline_networks: tuple[str, ...] = ()  # a bare LF or CR from here is made CRLF instead of refused
    max_message_octets: int = 26_214_400
    max_recipients: int = 1000
    max_connections: int = 2000
    max_connections_per_address: int = 100
    max_commands: int = 10_000  # in one session
    max_errors: int = 20  # in one session
    max_hops: int = 50  # Received fields: more is a loop (RFC 5321 §6.3)
    idle_timeout_s: float = 300.0  # RFC 5321 §4.5.3.2.7
    data_timeout_s: float = 600.0  # from DATA to the final dot
    auth_failures_per_address: int = 10  # in auth_window_s, then 421
    auth_window_s: float = 600.0
    auth_delay_s: float = 1.0  # before the reply to a wrong password; doubles up to 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    listen: tuple[str, ...] = ("127.0.0.1:8025",)
    allow_private_targets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    nameservers: tuple[str, ...] = ()  # "127.0.0.1:5353"; none: the system's
    timeout_s: float = 5.0
    cache_entries: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    inline_octets: int = 65_536  # bodies up to this size are rows, larger ones go to spool files
    min_free_octets: int = 268_435_456  # less free disk: 452 4.3.1
    cache_octets: int = 16_777_216
    busy_timeout_s: float = 10.0
    events_keep_s: float = 30 * 86_400.0
    messages_keep_s: float = 30 * 86_400.0
    captured_keep_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    retry_waits_s: tuple[float, ...] = (60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)  # the last one repeats
    retry_jitter: float = 0.1
    give_up_after_s: float = 8 * 3600.0
    max_schedule_s: float = 3 * 86_400.0
    connections: int = 500  # outgoing, all sites together
    window_per_site: int = 500  # recipients of one site held in memory
    window: int = 10_000  # all sites together
    memory_octets: int = 134_217_728  # message bytes held in memory: incoming and outgoing together
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryConfig:
    relay: str = ""  # "host:port" or "[address]:port": everything goes there instead of to the MX
    relay_login: str = ""
    relay_password: str = ""
    relay_tls: str = "opportunistic"
    port: int = 25
    dkim: bool = True
    tls: str = "opportunistic"  # none, opportunistic, required, verified
    mta_sts: bool = True
    ipv6: bool = True
    sources: tuple[str, ...] = ()  # addresses to send from; none: the system chooses
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)  # pool name -> addresses
    chunking: bool = True
    connect_timeout_s: float = 30.0
    greeting_timeout_s: float = 300.0  # RFC 5321 §4.5.3.2.1
    ehlo_timeout_s: float = 300.0
    mail_timeout_s: float = 300.0
    rcpt_timeout_s: float = 300.0
    data_timeout_s: float = 120.0  # the reply to DATA
    block_timeout_s: float = 180.0  # each piece of the body
    final_timeout_s: float = 600.0  # the reply to the final dot
    quit_timeout_s: float = 5.0
    idle_s: float = 20.0  # an unused connection is kept this long


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceConfig:
    dsn: bool = True  # for relayed mail whose reverse-path is not ours
    max_return_octets: int = 65_536  # of the original that a DSN returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    server: ServerConfig = ServerConfig()
    smtp: SmtpConfig = SmtpConfig()
    http: HttpConfig = HttpConfig()
    dns: DnsConfig = DnsConfig()
    store: StoreConfig = StoreConfig()
    queue: QueueConfig = QueueConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    bounces: BounceConfig = BounceConfig()
    shaping_file: Path | None = None  # none: the file that comes with mtad
    bounces_file: Path | None = None
