"""Copies: a post to a list -> the message that its members get, and one copy for each.

Room: lists. Pure. May import: mail, message, storage, queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from mtad.mail.address import Address, BadAddress, ListPost, parse_address
from mtad.mail.ids import event_id
from mtad.mail.lists import MailingList, Member
from mtad.mail.options import Options, options_from_json
from mtad.message.headers import scan
from mtad.message.listed import list_id, loop_marks
from mtad.queue.prepare import Copy, Personal, person_of
from mtad.storage.outgoing import Flag, StoredMessage

_NOBODY_KNOWN = b"{}"  # in place of a name and variables: each copy is told with its recipient alone
_KEPT_FLAGS = Flag.EIGHT_BIT | Flag.REQUIRE_TLS | Flag.SKIP_VERIFICATION | Flag.SMTPUTF8
_TOLD = ("message-id", "to", "subject", "method", "login", "attachments")  # of the post, in the events of its copies


@dataclass(frozen=True, slots=True)
class Posted:
    """What all copies of a post share. marks: X-Loop of the lists it came by. content: as for_members made it.
    stranger: who wrote it did not log in, so what is known of the members is none of his business: an image of his
    would tell it to him.
    """

    mailing_list: MailingList
    domain_id: int
    flags: int
    about: bytes
    options: Options
    content: bytes
    place: tuple[int, int] | None
    marks: frozenset[str]
    stranger: bool

    def message(self, *, smtputf8: bool) -> StoredMessage:
        """Without its id, and how many recipients it has."""
        segment, position = self.place or (None, None)
        return StoredMessage(
            id=0,
            domain_id=self.domain_id,
            reverse_path=self.mailing_list.address,
            size=len(self.content),
            recipients=0,
            flags=self.flags | (Flag.SMTPUTF8 if smtputf8 else 0),
            deliver_at=None,
            segment=segment,
            position=position,
            about=self.about,
            options=self.options.to_json(),
            content=self.content,
        )


def posted(
    original: StoredMessage,
    found: MailingList,
    domain_id: int,
    content: bytes,
    place: tuple[int, int] | None,
) -> Posted:
    """original: the message that the list was a recipient of. content: its copies', as they are stored."""
    given = options_from_json(original.options) if original.options else Options()
    options = replace(
        given,
        mailing_list=found.address,
        list_number=found.number,
        recipient_variables=None,
        deliver_at=None,
        test_mode=False,
    )
    block = scan(content)
    before: dict[str, Any] = orjson.loads(original.about)
    about: dict[str, Any] = {name: before[name] for name in _TOLD if name in before}
    about["from"] = block.text(b"from")
    about["mailing-list"] = {"address": found.address, "list-id": list_id(found), "sid": event_id(found.number)}
    flags = original.flags & _KEPT_FLAGS | Flag.COMPOSE | Flag.VERP | Flag.TRACK
    flags |= 0 if content.isascii() else Flag.EIGHT_BIT
    marks = frozenset(loop_marks(block))
    stranger = bool(original.flags & (Flag.ROUTED | Flag.STRANGERS))
    flags |= Flag.STRANGERS if stranger else 0
    return Posted(found, domain_id, flags, orjson.dumps(about), options, content, place, marks, stranger)


def copies_for(
    members: Sequence[Member],
    about: Posted,
    target: Callable[[Address], ListPost | None],
    mark: Callable[[str], str],
) -> list[Copy]:
    """One for each, but none for an address that the message has come by. target: of a member that is a list itself."""
    own, made = about.mailing_list.key, list[Copy]()
    for member in members:
        try:
            address = parse_address(member.address)
        except BadAddress:  # whoever wrote the table let it in
            continue
        inner = target(address)
        if address.key == own or (inner is not None and mark(address.key) in about.marks):
            continue
        known = {} if about.stranger else _variables(member)
        personal = person_of(Personal(member.name, known)) or _NOBODY_KNOWN
        made.append(Copy(inner or address, len(made), None if inner is not None else personal))
    return made


def _variables(member: Member) -> dict[str, object]:
    found = orjson.loads(member.variables_json)
    return found if isinstance(found, dict) else {}
