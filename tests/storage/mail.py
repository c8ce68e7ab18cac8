"""Rows of messages, as short as tests need them."""

from mtad.mail.event import EventType
from mtad.storage.outgoing import Accept, Settle, State
from mtad.storage.record import Records

SITE = 77
EMPTY = (None, None, None)  # notify, orcpt, personal
NOW = 1_700_000_000.0


def event_id(recipient, kind):
    """Made about when the recipient was, if that one's id tells of a time."""
    return recipient * 10 + kind if recipient < 1 << 40 else recipient + 40_000 * (kind + 1)


def accept(
    number, recipients=1, *, domain=1, content=b"Subject: x\r\n\r\nText\r\n", due=NOW, state=State.WAITING, site=SITE
):
    rows = [
        (
            number + 1 + n,
            number,
            domain,
            site,
            f"r{n}@b.example",
            int(state),
            int(state),
            due,
            due + 28_800,
            None,
            None,
            None,
        )
        for n in range(recipients)
    ]
    events = [(event_id(row[0], 0), int(EventType.ACCEPTED), domain, number, row[0], None) for row in rows]
    return Accept(
        (number, domain, "a@a.example", len(content), recipients, 0, None, b"{}", None, None),
        content,
        rows,
        Records(events),
    )


def settled(recipient, state=State.DELIVERED, *, spooled=False, due=None, message=None):
    kind = {State.DELIVERED: 2, State.FAILED: 4, State.WAITING: 3}[state]
    message = message if message is not None else recipient - 1
    event = (event_id(recipient, kind), kind, 1, message, recipient, b"{}")
    return Settle(recipient, message, state, event, spooled, SITE, due, 1, 0, "451 later" if due else None)
