"""Access: may this message be posted to this list?

Room: lists. Pure. May import: mail, message. Our own users may always, their automatic answers apart; of others it
depends on the list, and on whether they are who they say they are.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from mtad.mail.address import BadAddress, ascii_domain
from mtad.mail.lists import AccessLevel, MailingList
from mtad.mail.reply import Reply
from mtad.message.headers import HeaderBlock
from mtad.message.listed import has_been

_REPLIED = b"auto-replied"
_AUTOMATIC = (b"auto-generated", _REPLIED)


class Proof(Enum):
    """What the checks of a message say of its From. UNKNOWN: DNS did not tell, ask again later."""

    PASSED = "passed"
    NONE = "none"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Post:
    """A message from the world. authors: the keys of all addresses in From. envelope: the key of the reverse-path, ""
    the null one. members: those keys that are subscribed members'.
    """

    authors: tuple[str, ...]
    envelope: str
    proof: Proof
    members: Collection[str] = ()


def at_rcpt(found: MailingList) -> Reply | None:
    """What a stranger hears when he names the list."""
    return _readonly(found) if found.access_level is AccessLevel.READONLY else None


def refusal(found: MailingList, block: HeaderBlock, mark: str, post: Post | None) -> Reply | None:
    """post None: one of our own users wrote it."""
    if has_been(block, found, mark):
        return Reply(554, "4.6", f"This message has come from the list {found.address}: it goes round in a loop")
    said = (block.first(b"auto-submitted") or b"").lower()
    if post is None:
        # What our user's program sends of itself may be news; what it answers to a copy goes to the author alone.
        return _automatic(found) if said.startswith(_REPLIED) else None
    if found.access_level is AccessLevel.READONLY:
        return _readonly(found)
    if not post.envelope or said.startswith(_AUTOMATIC):
        return _automatic(found)
    return _by_members(found, post) if found.access_level is AccessLevel.MEMBERS else None


def of_another_domain(found: MailingList, block: HeaderBlock) -> Reply | None:
    """Why a user of ours whose login, or key, is for another domain alone may not post it: the copies go out in the
    name of the list's domain, and with its signature.
    """
    if found.access_level is AccessLevel.READONLY:
        words = f"The list {found.address} takes mail of {found.domain} alone: use a login or a key of that domain"
        return Reply(550, "7.1", words)
    if any(_are_related(author, found.domain) for author in _author_domains(block)):
        words = f"From is an address at {found.domain}, the domain of the list {found.address}, and your login is not"
        return Reply(550, "7.1", f"{words}: use one of that domain, or write from an address of your own")
    return None


def _author_domains(block: HeaderBlock) -> Iterator[str]:
    for address in block.addresses(b"from"):
        with suppress(BadAddress):
            yield ascii_domain(address.rpartition("@")[2])


def _are_related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def disabled(found: MailingList) -> Reply:
    """Its domain may not send, so nothing becomes of a post."""
    words = f"The list {found.address} sends no mail: its domain was disabled. Ask those who run it"
    return Reply(550, "7.1", words)


def _by_members(found: MailingList, post: Post) -> Reply | None:
    if not post.authors or any(author not in post.members for author in post.authors):
        words = f"Only members may write to {found.address}: subscribe, or write from the address that is subscribed"
        return Reply(550, "7.1", words)
    match post.proof:
        case Proof.UNKNOWN:
            return Reply(451, "7.1", f"Whether a member of {found.address} wrote this cannot be told now; try again")
        case Proof.FAILED:
            words = f"Only members may write to {found.address}, and nothing proves that the one in From did"
            return Reply(550, "7.1", f"{words}: send it by the mail server of that address")
        case Proof.PASSED:
            return None
    # Nobody vouches for From, so the reverse-path must not speak against it.
    if post.envelope in post.members:
        return None
    words = f"Only members may write to {found.address}, and the envelope sender is none: send it from that address too"
    return Reply(550, "7.1", words)


def _automatic(found: MailingList) -> Reply:
    return Reply(550, "7.1", f"The list {found.address} takes no automatic answers and no reports")


def _readonly(found: MailingList) -> Reply:
    return Reply(550, "7.1", f"The list {found.address} takes no mail from outside: log in with AUTH, or use the API")
