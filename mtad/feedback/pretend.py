"""Pretend: the reports that the magic recipients of `mtad dev` send some time after they took a message.

Room: feedback. Pure. Source: RFC 3464, RFC 5965. They come in by the same way as real ones.
"""

from mtad.feedback.reports import Action, RecipientReport, Report, dsn
from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.message.headers import CRLF, scan
from mtad.message.trace import date

_LATE = Reply(550, "1.1", "No such user after all, as this address always answers later")


def late_bounce(content: bytes, reverse_path: Address, recipient: Address, hostname: str, now: float) -> bytes:
    """A DSN for a message that was taken before. content: the message as delivered."""
    told = RecipientReport(recipient, Action.FAILED, _LATE, now, hostname, "")
    return dsn(
        Report(
            hostname=hostname,
            report_id=f"late-{int(now)}",
            to=reverse_path,
            recipients=(told,),
            original=content,
            arrival_at=now,
            now=now,
            ret="HDRS",
        )
    )


def complaint(content: bytes, reverse_path: Address, recipient: Address, hostname: str, now: float) -> bytes:
    """A feedback report as mailbox providers send it."""
    block = scan(content)
    boundary = f"complaint-{int(now)}"
    lines = [
        f"From: complaints@{hostname}",
        f"To: {reverse_path}",
        "Subject: Feedback report",
        f"Date: {date(now).decode()}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=feedback-report; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "This is what a mailbox provider sends when somebody presses its spam button.",
        f"--{boundary}",
        "Content-Type: message/feedback-report",
        "",
        "Feedback-Type: abuse",
        "User-Agent: mtad-dev/1",
        "Version: 1",
        f"Original-Mail-From: <{reverse_path}>",
        f"Original-Rcpt-To: <{recipient}>",
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers",
        "",
    ]
    head = "\r\n".join(lines).encode("utf-8", "replace") + CRLF
    return head + content[block.start : block.end] + CRLF + f"--{boundary}--\r\n".encode()
