"""Listed: the header that a message has on its way from a mailing list to its members.

Room: message. Pure. Source: RFC 2919 (List-Id), RFC 2369 and RFC 8058 (List-Unsubscribe), RFC 5322 §3.6.2. What
differs from member to member is filled in later (message.template); here is what all copies share.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b

from mtad.mail.lists import MailingList, ReplyPreference
from mtad.message import fields
from mtad.message.fields import display, entries, mailbox, phrase
from mtad.message.headers import CRLF, HeaderBlock, value_of

LOOP = b"x-loop"
_ANEW = frozenset({b"list-id", b"precedence"})  # a message has one of each
# What another list, or a newsletter, says of itself is not true of this one.
_ANOTHERS = frozenset(
    {b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-owner", b"list-help", b"list-post"}
    | {b"list-archive"}
)
_ORIGINAL = b"x-original-from"
_PERSONAL = b"%recipient%"  # each copy shows whom it is for
_NO_LABEL = re.compile(r"[^A-Za-z0-9_+=-]+")
_MOST_AUTHORS = 5


@dataclass(frozen=True, slots=True)
class Listing:
    """rewrite: From becomes the list's own. stranger: who wrote it did not log in. mark: for X-Loop, of `loop_mark`.

    alone: none of the recipients beside the list is to be seen.
    """

    mailing_list: MailingList
    mark: str
    rewrite: bool = False
    stranger: bool = False
    alone: bool = False


def loop_mark(key: bytes, address_key: str) -> str:
    """For X-Loop: nobody can tell from it which address it stands for. address_key: Address.key."""
    return blake2b(address_key.encode("utf-8", "replace"), key=key, digest_size=8).hexdigest()


def loop_marks(block: HeaderBlock) -> set[str]:
    """Of all addresses of ours that the message has come by."""
    return {value.decode("ascii", "replace").strip() for value in block.all(LOOP)}


def list_id(mailing_list: MailingList) -> str:
    """ "dev@lists.example.org" -> "dev.lists.example.org" (RFC 2919 §2): it changes only with the address."""
    local, _, domain = mailing_list.key.rpartition("@")
    labels = [label for part in local.split(".") if (label := _NO_LABEL.sub("-", part).strip("-"))]
    return ".".join([*labels, domain])


def list_ids(block: HeaderBlock) -> set[str]:
    """Of the lists that the message came through, in lower case."""
    found = [value.decode("ascii", "replace").rpartition("<") for value in block.all(b"list-id")]
    return {after.partition(">")[0].strip().lower() for _, _, after in found}


def has_been(block: HeaderBlock, mailing_list: MailingList, mark: str) -> bool:
    """The message came from this list: sent there again it would go round for ever."""
    return mark in loop_marks(block) or list_id(mailing_list).lower() in list_ids(block)


def for_members(block: HeaderBlock, listing: Listing) -> bytes:
    """The message as it is for all members."""
    found = listing.mailing_list
    hidden = _ANEW | (_ANOTHERS if listing.stranger else frozenset())
    added = [
        b"X-Loop: %b%b" % (listing.mark.encode(), CRLF),
        fields.folded(b"List-Id", [*_words(found.name), f"<{list_id(found)}>"]),
        b"Precedence: list" + CRLF,
    ]
    if listing.rewrite:
        hidden |= {b"from", b"sender", _ORIGINAL}
        added += _rewritten(block, found)
    if listing.alone and not any(_PERSONAL in value for value in block.all(b"to")):
        hidden |= {b"to"}
        added.append(fields.addresses(b"To", [mailbox(found.name, found.address, True) or found.address]))
    if b"reply-to" not in block:
        added += _reply_to(block, listing)
    content = block.content
    kept = _without(block, hidden)
    return b"".join((content[: block.start], *added, kept, content[block.end :]))


def _words(name: str) -> list[str]:
    shown = phrase(name)
    return shown.split(" ") if shown else []


def _without(block: HeaderBlock, names: Collection[bytes]) -> bytes:
    if any(name in block for name in names):
        return block.without(names)
    return block.content[block.start : block.end]


def _rewritten(block: HeaderBlock, found: MailingList) -> list[bytes]:
    """From names the list, which signs; who wrote it is told in words, and beside it as he wrote it."""
    raws = block.by_name.get(b"from", [])
    shown = " and ".join(_authors(raws[0])[:_MOST_AUTHORS]) if raws else ""
    title = found.name or found.address.rpartition("@")[0]
    made = mailbox(f"{shown} via {title}" if shown else title, found.address, True)
    original = [b"X-Original-From:" + raw[raw.index(b":") + 1 :] for raw in raws]
    return [fields.addresses(b"From", [made or found.address]), *original]


def _authors(raw: bytes) -> list[str]:
    value = value_of(raw).decode("utf-8", "replace")
    return [display(one.phrase).strip() or one.address.rpartition("@")[0] for one in entries(value) if one.address]


def _reply_to(block: HeaderBlock, listing: Listing) -> list[bytes]:
    """Where answers go when the author has not said so."""
    found = listing.mailing_list
    if found.reply_preference is ReplyPreference.LIST:
        made = mailbox(found.name, found.address, True)
        return [fields.addresses(b"Reply-To", [made or found.address])]
    authors = block.by_name.get(b"from", []) if listing.rewrite else []
    return [b"Reply-To:" + raw[raw.index(b":") + 1 :] for raw in authors[:1]]
