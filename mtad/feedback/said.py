"""Said: the reply of a host, found in what a report quotes of it.

Room: feedback. Pure. Source: RFC 5321 §4.2 (replies), RFC 3463 (enhanced status codes), RFC 3464 §2.3.4 and §2.3.6.
"""

import re

from mtad.mail.reply import Phase, Reply

MAX_DIAGNOSTIC = 1000  # characters

_CODES = (
    "421 422 431 432 441 442 450 451 452 453 454 455 471 500 501 502 503 504 510 511 512 513 521 522 523 525 530 531"
    " 534 535 538 541 550 551 552 553 554 555 556 571 573"
)
# "550 5.1.1 …", "550-5.1.1 …", "550: …", "smtp;550 …"; neither part of a number nor of a word
_REPLY = re.compile(rf"(?<![\w./=@:-])({'|'.join(_CODES.split())})(?=[ :-]\s{{0,3}}\S)[ :-]{{1,3}}")
_ENHANCED = re.compile(r"(?<![\w./-])([45])\.([0-7]\.\d{1,3})(?!\.?\d)")
_STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?!\d)")
_SPACE = re.compile(r"\s+")
_ENDS = re.compile(
    r"\n[ \t]{0,99}\n|\n[ \t]{0,20}(?:[-=*_>]{3}|<<<|\.\.\.|giving up on)", re.IGNORECASE
)  # of quoted words
_STEPS = (  # how mailers name the command that was refused; the first that is found
    (Phase.FINAL, re.compile(r"end of (?:data|message)|after i sent the message|after data was sent|>>> \.\s")),
    (Phase.RCPT, re.compile(r"(?:in reply to|after(?: pipelined)?|in response to|>>>) ?rcpt\b|not like recipient")),
    (Phase.MAIL, re.compile(r"(?:in reply to|after(?: pipelined)?|in response to|>>>) ?mail\b|not like sender")),
    (Phase.DATA, re.compile(r"(?:in reply to|after(?: pipelined)?|in response to|>>>) ?data\b")),
)
# Without a host's reply these are the words of the reporting MTA about the way: no rule for replies fits them.
_OWN_WORDS = {"4.1": Phase.CONNECT, "4.2": Phase.CONNECT, "4.3": Phase.DNS, "4.7": Phase.LOCAL}


def one_line(text: str) -> str:
    """Single blanks, at most MAX_DIAGNOSTIC characters."""
    return _SPACE.sub(" ", text[: 4 * MAX_DIAGNOSTIC]).strip()[:MAX_DIAGNOSTIC]


def status_in(text: str) -> str:
    """ "5.1.1 (bad mailbox)" -> "5.1.1"; "" for no status. Leading zeros go ("5.01.01", as some write it)."""
    found = _STATUS.search(text[:200])
    return f"{found[1]}.{int(found[2])}.{int(found[3])}" if found else ""


def spoken(text: str) -> Reply | None:
    """The first reply with a code in `text`, its words to the end of the paragraph; None for none."""
    found = _REPLY.search(text)
    if not found:
        return None
    code = int(found[1])
    words = one_line(_ENDS.split(text[found.end() :], maxsplit=1)[0].removeprefix("#"))
    reply = Reply.from_text(code, words)
    again = re.compile(rf"(?:(?<=\s)|^){code}[ -](?:{re.escape(reply.enhanced)} )?" if reply.detail else rf"\b{code}-")
    return Reply(code, reply.detail, again.sub("", reply.text))


def enhanced(text: str) -> Reply | None:
    """The first enhanced status code in `text`, which is kept as the words; None for none."""
    found = _ENHANCED.search(text)
    if not found:
        return None
    return Reply(int(found[1]) * 100 + 50, found[2], one_line(text).removeprefix(found[0]).lstrip())


def reply_of(status: str, diagnostic: str) -> Reply:
    """What the fields Status ("5.1.1" or "") and Diagnostic-Code (without its type) of a failure come to.

    The code a host gave is kept, also where Status is of another class. Status adds the detail the host left out.
    """
    said = spoken(diagnostic)
    words = enhanced(diagnostic)
    if said is None:
        kind = status[:1] if status[:1] in ("4", "5") else str(words.code // 100) if words else "5"
        said = Reply(int(kind) * 100 + 50, "", one_line(diagnostic))
    if said.detail and said.detail != "0.0":
        return said
    if not status or status.endswith(".0.0"):
        words = enhanced(said.text)
        inside = words.detail if words and words.code // 100 == said.code // 100 else ""
        return Reply(said.code, inside or said.detail or status[2:], said.text)
    return Reply(said.code, status[2:], said.text)


def phase_of(reply: Reply, *texts: str) -> Phase:
    """The step at which it was said, as the first of `texts` that tells knows; else FINAL, the most careful guess.

    At RCPT, unlike at FINAL, a 550 in unknown words speaks of the recipient and is final.
    """
    for text in texts:
        lower = text.lower()
        for phase, pattern in _STEPS:
            if pattern.search(lower):
                return phase
    if spoken(texts[0] if texts else "") is None:
        if reply.detail == "4.4" and reply.code < 500:
            return Phase.DNS
        return _OWN_WORDS.get(reply.detail, Phase.FINAL)
    return Phase.FINAL
