"""Results: what the operations give back: shapes for people, pages and `--json`.

Room: api. Pure. May import: mail. Ids are texts (queue ids), points in time epoch seconds. Every one can be written as
JSON and read again (api/codec.py).
"""

from dataclasses import dataclass, field
from typing import Any

from mtad.api.webhook_operations import PostView
from mtad.mail.event import Event
from mtad.mail.waiting import Waiting


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One recipient. id: its own; message: its message's. state: "waiting", "sending", "delivered" or "failed".

    unknown_outcomes: attempts after which nobody can say whether the host took the message. due_at: when it is looked
    at next; expire_at: when it is given up. why: None when it is done, or when no daemon runs that could say.
    """

    id: str
    message: str
    domain: str
    site: str
    recipient: str
    state: str
    attempts: int
    unknown_outcomes: int
    due_at: float | None
    expire_at: float | None
    last_reply: str | None
    why: Waiting | None


@dataclass(frozen=True, slots=True)
class QueueList:
    """waiting, sending: of the whole queue. daemon: False, and nobody knows why things wait. items: what was asked."""

    waiting: int
    sending: int
    daemon: bool
    items: tuple[QueueItem, ...]


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message and up to 1,000 of its recipients, the open ones first. about: headers, login, peer and so on."""

    id: str
    accepted_at: float
    domain: str
    reverse_path: str
    size: int
    recipient_count: int
    scheduled_for: float | None
    about: dict[str, Any]
    daemon: bool
    recipients: tuple[QueueItem, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """events: all that is known of it in the order of time, internal facts (interrupted, notified) too. posts: to
    webhooks, with every attempt, in the order they were made.
    """

    message: MessageView
    events: tuple[Event, ...]
    posts: tuple[PostView, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What one of our addresses does at a site; source "": the system chooses."""

    source: str
    connections: int
    connection_limit: int
    rate_per_s: float | None


@dataclass(frozen=True, slots=True)
class SiteItem:
    """why: what shuts the site at present, None when it is open. first_due_at: epoch seconds.

    connections to in_memory are None when no daemon has the site in hand. rate_per_s: recipients, None is no limit.
    """

    key: str
    waiting: int
    sending: int
    first_due_at: float | None
    why: Waiting | None
    connections: int | None
    connection_limit: int | None
    rate_per_s: float | None
    in_memory: int | None
    sources: tuple[SourceItem, ...]


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish. optional: mail goes out without it. kind: "dkim", "spf", "mx" or "web".

    active: False for a key that does not sign. valid: "valid", "invalid", or "unknown" when nobody has looked or DNS
    failed. found: what was there. why: a sentence, "" when all is well.
    """

    name: str
    type: str
    value: str
    purpose: str
    optional: bool = False
    kind: str = ""
    active: bool = True
    valid: str = "unknown"
    found: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """clicks: "no", "yes" or "htmlonly". footer_html, footer_text: as they are used. web_ready: its tracking host
    points at us, so links lead there. spam_action: "disabled", "tag", "block" or "delete".
    """

    opens: bool = False
    clicks: str = "no"
    pixel_top: bool = False
    footer: bool = False
    footer_html: str = ""
    footer_text: str = ""
    web_scheme: str = "http"
    web_prefix: str = "email"
    web_ready: bool = False
    require_tls: bool = False
    skip_verification: bool = False
    spam_action: str = "disabled"
    wildcard: bool = False


@dataclass(frozen=True, slots=True)
class DkimKeyItem:
    """domain: whose key it is, and who it signs for unless others are set to use it. record: to publish."""

    domain: str
    selector: str
    algorithm: str
    active: bool
    created_at: float
    record: DnsRecord


@dataclass(frozen=True, slots=True)
class DomainView:
    """state: "active" when SPF and the keys that sign were found in DNS, "unverified", or "disabled". authority: whose
    keys sign, itself or a domain above it. selectors: of all its own keys. checked_at: when DNS was asked.
    """

    name: str
    created_at: float
    pool: str
    dsn: bool
    paused_why: str | None
    selectors: tuple[str, ...]
    credentials: int
    records: tuple[DnsRecord, ...]
    hourly_limit: int = 0
    number: int = 0
    state: str = "unverified"
    authority: str = ""
    checked_at: float | None = None
    settings: DomainSettings = DomainSettings()


@dataclass(frozen=True, slots=True)
class DomainMade:
    """password: of the login postmaster, "" when there is none; it cannot be shown again."""

    domain: DomainView
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialItem:
    login: str
    domain: str
    created_at: float


@dataclass(frozen=True, slots=True)
class CredentialMade:
    """password: only when it was made here; it cannot be shown again. replaced: the login was there before. weak: why
    the password should be a better one, "" when it need not.
    """

    login: str
    password: str | None = field(repr=False)
    replaced: bool
    weak: str = ""


@dataclass(frozen=True, slots=True)
class CapturedItem:
    """A message that was kept instead of sent. id: its own; message: of which it is a copy."""

    id: str
    message: str
    captured_at: float
    reverse_path: str
    recipients: tuple[str, ...]
    sender: str
    to: str
    subject: str


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    item: CapturedItem
    content: bytes


@dataclass(frozen=True, slots=True)
class CheckReport:
    """accepted = delivered + failed + waiting + sending when the store is whole. faults: one sentence each."""

    accepted: int
    delivered: int
    failed: int
    waiting: int
    sending: int
    faults: tuple[str, ...]
