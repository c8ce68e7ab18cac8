"""Listed: mail from the world for mailing lists: which of its recipients are lists that take it, and which refuse it.

Room: inbound. May import: mail, message, lists. Our own users write to lists by the queue (queue.submit): of their mail
only what routes want as well comes here, and the list has it already.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mtad.inbound import dmarc
from mtad.inbound.dmarc import DmarcResult
from mtad.inbound.results import Findings
from mtad.inbound.signature import Result
from mtad.inbound.spf import SpfResult
from mtad.lists.access import Proof
from mtad.lists.known import Lists
from mtad.mail.address import ListPost
from mtad.mail.envelope import Submission
from mtad.mail.reply import Reply
from mtad.message.headers import HeaderBlock

_QUOTED = re.compile(r'"[^"]*"')
_VOUCHED = re.compile(r"(?:dkim=pass|spf=pass) (?:.* )?(?:header\.d|smtp\.[a-z]+)=(\S+)")


@dataclass(slots=True)
class Listed:
    """By place in Submission.recipients. posts: to be made. refused: why they are not. had: a user's mail, which the
    list has.
    """

    posts: dict[int, ListPost] = field(default_factory=dict)
    refused: dict[int, Reply] = field(default_factory=dict)
    had: set[int] = field(default_factory=set)

    @property
    def taken(self) -> bool:
        return bool(self.posts or self.had)

    def has(self, place: int) -> bool:
        return place in self.posts or place in self.refused or place in self.had


async def judge(
    lists: Lists | None, submission: Submission, places: Sequence[int], block: HeaderBlock, findings: Findings
) -> Listed:
    """block: of the message, as it came or with our fields."""
    made = Listed()
    for place in places:
        address = submission.recipients[place]
        target = lists.target(address) if lists is not None else None
        if lists is None or target is None:
            continue
        if submission.domain:
            made.had.add(place)
            continue
        why = await lists.judge(address, submission, block, proof_of(findings, block))
        if why is None:
            made.posts[place] = target
        else:
            made.refused[place] = why
    return made


def proof_of(findings: Findings, block: HeaderBlock) -> Proof:
    """Whether the domain in From stands behind the message: by DMARC, or as DMARC would find it had it a record."""
    match findings.dmarc.result:
        case DmarcResult.PASS:
            return Proof.PASSED
        case DmarcResult.FAIL:
            return Proof.FAILED
        case DmarcResult.TEMPERROR:
            return Proof.UNKNOWN
    author = block.from_domain
    signed = [one.domain for one in findings.dkim if one.result is Result.PASS]
    sent = [findings.spf.domain] if findings.spf.result is SpfResult.PASS else []
    if author and any(dmarc.aligned(author, domain, False) for domain in (*signed, *sent)):
        return Proof.PASSED
    return Proof.FAILED if findings.spf.result is SpfResult.FAIL else Proof.NONE


def borrows(block: HeaderBlock, authors: Sequence[str], signer: str) -> bool:
    """A stranger has written a domain into From that is `signer`'s own, and our checks, which stand in the block, have
    found nothing for it: a copy that `signer` signs would be taken for its own mail. authors: the domains in From.
    """
    if b"x-mailgun-incoming" not in block:  # a user's; of a stranger's none but we have written it
        return False
    own = [author for author in authors if dmarc.aligned(author, signer, False)]
    proven = list(_proven(block.first(b"authentication-results") or b""))
    return not all(any(dmarc.aligned(author, domain, False) for domain in proven) for author in own)


def _proven(results: bytes) -> Iterator[str]:
    """The domains that passed SPF or DKIM. results: as results.results_value has written them."""
    for part in _QUOTED.sub("", results.decode("ascii", "replace")).split(";"):
        found = _VOUCHED.match(part.strip())
        if found is not None:
            yield found[1].rpartition("@")[2]
