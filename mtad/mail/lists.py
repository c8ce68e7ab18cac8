"""Lists: mailing lists and their members.

Room: mail. Pure. Who is whom is decided by `key` (Address.key); `address` is as it was written.
"""

from dataclasses import dataclass
from enum import StrEnum

from mtad.mail.address import domain_of, key_of


class AccessLevel(StrEnum):
    """Who may write to a list: our own users always; besides them subscribed members, or anybody."""

    READONLY = "readonly"
    MEMBERS = "members"
    EVERYONE = "everyone"


class ReplyPreference(StrEnum):
    """Where answers to its mail go."""

    LIST = "list"
    SENDER = "sender"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailingList:
    """number: stays when the address changes, and is no other list's later; 0: not stored yet. members_count: also
    those who left; subscribed_count: without them.
    """

    number: int = 0
    address: str
    name: str = ""
    description: str = ""
    access_level: AccessLevel = AccessLevel.READONLY
    reply_preference: ReplyPreference = ReplyPreference.LIST
    created_at: float = 0.0
    members_count: int = 0
    subscribed_count: int = 0

    @property
    def key(self) -> str:
        return key_of(self.address)

    @property
    def domain(self) -> str:
        """Lower case, A-labels."""
        return domain_of(self.address)


@dataclass(frozen=True, slots=True)
class Member:
    """subscribed False: has left, and gets no mail. variables_json: the text of a JSON object."""

    address: str
    name: str = ""
    subscribed: bool = True
    variables_json: str = "{}"

    @property
    def key(self) -> str:
        return key_of(self.address)


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """What is said of a member to add or change; None: not said, so it stays, or is as in Member."""

    address: str
    name: str | None = None
    subscribed: bool | None = None
    variables_json: str | None = None

    @property
    def key(self) -> str:
        return key_of(self.address)


def list_label(number: int) -> str:
    """Under which label of the counters the events of a list's copies are counted (beside "t:" and "c:")."""
    return f"l:{number}"
