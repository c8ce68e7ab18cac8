"""A receiver with a shell that says yes to everything: what every test of the doors' rules starts from."""

from dataclasses import dataclass, field

from mtad.mail.address import Address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Reply
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.receiver import Receiver
from mtad.smtp.session import Auth, Listener, Message, Quit, Session, Settings, StartTls


@dataclass
class OpenPolicy:
    """Takes all but what a test put into `refusals`, by recipient."""

    refusals: dict[str, Reply] = field(default_factory=dict)
    data_reply: Reply | None = None

    def mail(self, session: Session, reverse_path: Address | None, size: int) -> Reply | None:
        return None

    def rcpt(self, session: Session, address: Address) -> Reply | None:
        return self.refusals.get(str(address))

    def data(self, session: Session) -> Reply | None:
        return self.data_reply


class Client:
    """Feeds a receiver and does what its events ask, at once. `taken`: the messages; `said`: all reply lines."""

    def __init__(
        self,
        *,
        policy: OpenPolicy | None = None,
        budget: Budget | None = None,
        starttls: bool = False,
        bare_newlines: bool = False,
        tls: str = "",
        **settings: int | bool,
    ) -> None:
        self.policy = policy or OpenPolicy()
        self.budget = budget or Budget(10_000_000)
        self.counters = Counters()
        session = Session(Listener.MX, "192.0.2.1", bare_newlines=bare_newlines, tls=tls)
        made = Settings(hostname="mx.test", default_domain="ours.test", **settings)  # type: ignore[arg-type]
        self.receiver = Receiver(made, self.policy, session, self.budget, self.counters, starttls=starttls)
        self.taken: list[Submission] = []
        self.out = b""
        self.writes = 0
        self.closed = False

    @property
    def said(self) -> list[str]:
        return self.out.decode("ascii").splitlines()

    def send(self, data: bytes | str) -> list[str]:
        """The reply lines to these octets."""
        before = len(self.said)
        self.receiver.feed(data.encode() if isinstance(data, str) else data)
        while True:
            self.receiver.run()
            event = self.receiver.event
            if isinstance(event, Message):
                self.taken.append(event.submission)
                self.budget.release(event.reserved)
                self.receiver.answer(b"250 2.0.0 Queued\r\n")
                continue
            replies = self.receiver.take()
            self.out += replies
            self.writes += bool(replies)
            if isinstance(event, Quit):
                self.closed = True
            if event is not None or self.receiver.starved:
                return self.said[before:]

    def lines(self, *commands: str) -> list[str]:
        return self.send("".join(f"{command}\r\n" for command in commands))

    def ready(self, *recipients: str) -> "Client":
        """After EHLO, MAIL and RCPT; the next is DATA or BDAT."""
        self.lines("EHLO client.test", "MAIL FROM:<ann@sender.test>")
        self.lines(*[f"RCPT TO:<{one}>" for one in recipients or ("bob@ours.test",)])
        return self

    @property
    def asks(self) -> Auth | StartTls | None:
        event = self.receiver.event
        return event if isinstance(event, Auth | StartTls) else None
