"""Prose: reports of delivery that were written for people alone: qmail, older Exim, Domino, Exchange, and home-made.

Room: feedback. Pure. Source: what such programs write; the causes are those of conf/bounces.toml.
A wrong bounce costs a recipient, a missed one costs another message. So a text counts only when it comes from a
mailer, and it must say itself that delivery failed, or name a code, or a phrase of a rule that holds for recipients.
"""

import re
from dataclasses import dataclass, field

from mtad.feedback.classify import Cause, Classifier, Kind
from mtad.feedback.dsn import MAX_RECIPIENTS, address_of
from mtad.feedback.incoming import Action, RecipientStatus
from mtad.feedback.mime import Part
from mtad.feedback.phrases import COPY_BELOW, DELAYED, FAILED, HEDGED, any_of
from mtad.feedback.said import MAX_DIAGNOSTIC, enhanced, one_line, phase_of, spoken
from mtad.mail.address import Address
from mtad.mail.reply import Phase, Reply

_MAX_INTRO = 4000  # characters that are searched for what the text is about
_MAX_SEARCHED = 12  # paragraphs that the rules are asked about
_MAX_LINES = 12  # lines that belong to one address
_FAILED, _DELAYED, _HEDGED = any_of(FAILED), any_of(DELAYED), any_of(HEDGED)
_COPY_BELOW = re.compile(rf"(?im)^[ \t>|]{{0,8}}(?:{'|'.join(COPY_BELOW)})")
_IS_NOT_TOLD = re.compile(r">(?!>>)|[ \t]{0,40}[=*#_-]{4,}[ \t]{0,40}$")  # quoted from the message, or a ruler
_DAEMONS = frozenset(
    ("mailer-daemon", "mailerdaemon", "mail-daemon", "maildaemon", "mdaemon", "postmaster", "mail.delivery.system")
)
_LOCAL_PART = re.compile(
    r"(?:^|[\s<])([a-z.-]{4,40})(?:@[^\s<>]{1,255})?>?\s*(?:\([^()]{0,200}\))?$"
)  # some have no domain
_ADDRESS_LINE = re.compile(
    r"[ \t*-]{0,16}(?:(?:recipient(?: address)?|e-?mail|user|an|für|destinataire)\s{0,3}:\s{0,3})?"
    r"<?([^\s<>\"(),;:@]{1,64}@[A-Za-z0-9.-]{1,253}[A-Za-z0-9])>?(?P<rest>\s*|\s{0,3}:.*|\.\.\..*| (?:on|am|\(|\[).*)"
)


@dataclass(slots=True)
class _Entry:
    """What the text says behind one address."""

    address: Address | None
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def by_mailer(message: Part, null_path: bool) -> bool:
    """Whether it comes from a mailer. null_path: its reverse-path is "<>"."""
    if null_path or b"x-failed-recipients" in message.block:
        return True
    sender = _LOCAL_PART.search((message.block.first(b"from") or b"")[-400:].decode("latin-1").lower())
    return sender is not None and sender[1] in _DAEMONS


def report_text(text: str) -> tuple[str, str]:
    """(what the program says, the message it sends back behind that or "")."""
    found = _COPY_BELOW.search(text)
    if not found or not text[: found.start()].strip():
        return text, ""
    line_end = text.find("\n", found.start())
    is_header = ": " in found[0]
    below = text[found.start() :] if is_header else text[line_end + 1 :] if line_end >= 0 else ""
    return text[: found.start()].rstrip(), below.lstrip("\n")


def failed_or_delayed(subject: str, text: str) -> Action | None:
    """What the text is about. None: it does not say so. Who still tries has not failed, whatever else is said."""
    intro = " ".join(f"{subject[:500]} {text[:_MAX_INTRO]}".lower().split())
    if _DELAYED.search(intro):
        return Action.DELAYED
    return Action.FAILED if _FAILED.search(intro) else None


def recipients(message: Part, text: str, classifier: Classifier, failed: bool) -> tuple[RecipientStatus, ...]:
    """Whom `text` reports a failure of, in its words. Empty: it reports none.

    failed: the text says itself that delivery failed. Otherwise an enhanced code of 5.x.x, or a phrase of a rule that
    holds for recipients, is needed to make it a report.
    """
    lines = [line for line in text.split("\n") if not _IS_NOT_TOLD.match(line)]
    entries = _entries(lines)
    pieces = [piece for piece in re.split(r"\n\s*\n", "\n".join(lines)) if piece.strip()]
    rules = _Rules(classifier, failed)
    found = [(entry.address, reply, entry.text) for entry in entries if (reply := rules.reply_in([entry.text]))]
    if not found:
        reply = rules.reply_in(pieces)
        if reply is None and failed:
            told = [entry.text for entry in entries if entry.lines] + pieces
            reply = Reply(550, "", next((one_line(piece) for piece in told if not _guesses(piece)), ""))
        addresses = _failed_recipients(message) or [entry.address for entry in entries] or [None]
        found = [(address, reply, text if len(addresses) == 1 else "") for address in addresses if reply]
    return tuple(_status(*one) for one in found[:MAX_RECIPIENTS])


def _status(address: Address | None, reply: Reply, text: str) -> RecipientStatus:
    phase = phase_of(reply, str(reply), text)
    return RecipientStatus(address, address, Action.FAILED, reply.enhanced, str(reply), "", reply, phase)


class _Rules:
    """Finds what pieces of one text say. failed: as for recipients()."""

    def __init__(self, classifier: Classifier, failed: bool) -> None:
        self._classifier, self._failed, self._left = classifier, failed, _MAX_SEARCHED

    def reply_in(self, pieces: list[str]) -> Reply | None:
        """The first reply of a host; else what the rules make of the words; None when they say nothing."""
        for piece in pieces:
            reply = _code_in(piece)
            if reply is not None and (self._failed or self._convinces(reply)):
                return reply
        return self._phrase_in(pieces)

    def _convinces(self, reply: Reply) -> bool:
        """Whether a code shows a failure by itself: "5.7.26" may be a day in July, and 550 a number of miles."""
        if not reply.is_permanent:
            return False
        number = int(reply.detail.partition(".")[2] or 0)
        return (bool(reply.detail) and not 25 < number < 100) or self._known(reply) is not None

    def _phrase_in(self, pieces: list[str]) -> Reply | None:
        """The first piece that a rule knows and that does not only guess; what speaks of the recipient goes first."""
        other: Reply | None = None
        for piece in pieces:
            if _guesses(piece) or self._left <= 0:
                continue
            reply = Reply(550, "", one_line(piece))
            known = self._known(reply)
            if known:
                return reply
            if known is not None:
                other = other or reply
        return other if self._failed else None

    def _known(self, reply: Reply) -> bool | None:
        """None: no rule knows the words. True: they speak of the recipient's mailbox."""
        self._left -= 1
        verdict = self._classifier.verdict(reply, Phase.FINAL)
        if verdict.rule.startswith(("status ", "code ")) or not verdict.rule:
            return None
        return verdict.kind is Kind.HARD or verdict.cause is Cause.MAILBOX_FULL


def _guesses(piece: str) -> bool:
    return _HEDGED.search(piece[:MAX_DIAGNOSTIC].lower()) is not None


def _entries(lines: list[str]) -> list[_Entry]:
    """The addresses that stand on lines of their own, each with the lines behind it."""
    entries: list[_Entry] = []
    for line in lines:
        found = _ADDRESS_LINE.fullmatch(line[:1000])
        address = address_of(found[1]) if found else None
        if found and address and len(entries) < MAX_RECIPIENTS:
            entries.append(_Entry(address, [found["rest"].lstrip(" :.")] if found["rest"].strip(" :.") else []))
        elif entries and (line.strip() or entries[-1].lines) and len(entries[-1].lines) < _MAX_LINES:
            entries[-1].lines.append(line.strip())
    return entries


def _failed_recipients(message: Part) -> list[Address | None]:
    """Exim's field, and Gmail's."""
    named = (address_of(text) for text in message.block.addresses(b"x-failed-recipients")[:MAX_RECIPIENTS])
    return [address for address in named if address]


def _code_in(text: str) -> Reply | None:
    """A reply of a host; else a lone enhanced code with the line it stands on."""
    reply = spoken(text)
    if reply is not None:
        if not reply.detail and (lone := enhanced(reply.text)) and lone.code // 100 == reply.code // 100:
            reply = Reply(reply.code, lone.detail, reply.text)
        return reply
    for line in text.split("\n"):
        reply = enhanced(line[:1000])
        if reply is not None:
            return reply
    return None
