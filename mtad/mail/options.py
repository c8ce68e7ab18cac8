"""Options: what the sender of a message asked for beside its text: tags, tracking, time, variables.

Room: mail. Pure. The doors fill them in: control headers over SMTP (message.control), parameters over HTTP. Kept
with the message as JSON, and read again at each attempt.
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import orjson

Variables = dict[str, Any]  # JSON values by name


class Clicks(StrEnum):
    """Which links are rewritten."""

    NO = "no"
    YES = "yes"
    HTML_ONLY = "htmlonly"


@dataclass(slots=True, kw_only=True)
class Options:
    """None: not said, so the domain's setting holds.

    tags: first spelling kept, no two alike in any case, at most 3. campaigns: ids. campaign_keys, campaign_names: their
    numbers in the store and their names, once queue.submit has left those that the domain has; events are counted by
    the number, as the id may change. deliver_at: epoch seconds. variables: custom data
    (`v:`, X-Mailgun-Variables), merged. recipient_variables: by Address.key; None: no batch, {} is a batch too.
    shared_variables: for every recipient of a batch who has no value of his own under that name. mailing_list,
    list_number: of a copy for a member of a list; nobody can ask for it.
    """

    tags: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    campaign_keys: tuple[int, ...] = ()
    campaign_names: tuple[str, ...] = ()
    dkim: bool | None = None
    test_mode: bool = False
    deliver_at: float | None = None
    track_opens: bool | None = None
    track_clicks: Clicks | None = None
    pixel_top: bool | None = None
    require_tls: bool | None = None
    skip_verification: bool | None = None
    template: str = ""
    template_version: str = ""
    template_variables: Variables = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)
    recipient_variables: dict[str, Variables] | None = None
    shared_variables: Variables = field(default_factory=dict)
    mailing_list: str = ""
    list_number: int = 0

    @property
    def batch(self) -> bool:
        """Each To recipient gets a message of his own."""
        return self.recipient_variables is not None

    def to_json(self) -> bytes:
        """Only what differs from the default, without what is stored with each recipient; b"" when nothing does."""
        said: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "recipient_variables":
                if value is not None:
                    said[one.name] = {}
            elif value or (value is False and one.name != "test_mode"):
                said[one.name] = value
        return orjson.dumps(said) if said else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What a domain wants of its messages, where a message does not say otherwise.

    footer_html, footer_text: the unsubscribe footer, "" none. web_url: where its links lead, without a slash at the
    end. list_unsubscribe: messages get List-Unsubscribe if they have none.
    """

    opens: bool = False
    clicks: Clicks = Clicks.NO
    pixel_top: bool = False
    footer_html: str = ""
    footer_text: str = ""
    web_url: str = ""
    list_unsubscribe: bool = False

    @property
    def wanted(self) -> bool:
        """Messages that say nothing themselves have to be composed for it."""
        return self.opens or self.clicks is not Clicks.NO or self.list_unsubscribe


def options_from_json(text: bytes) -> Options:
    """The reverse of to_json. Members this version does not know are ignored."""
    said = orjson.loads(text) if text else {}
    known = {one.name for one in fields(Options)}
    options = Options(**{name: value for name, value in said.items() if name in known})
    options.tags, options.campaigns = tuple(options.tags), tuple(options.campaigns)
    options.campaign_keys, options.campaign_names = tuple(options.campaign_keys), tuple(options.campaign_names)
    if options.track_clicks is not None:
        options.track_clicks = Clicks(options.track_clicks)
    return options
