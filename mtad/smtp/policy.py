"""Policy: who may send what to whom. The receiver asks at MAIL, RCPT and DATA; None means yes.

Room: smtp. Pure. May import: mail. Source: RFC 5321 §3.6 and §7.9 (relaying), RFC 6409 §4 (submission).
"""

from collections.abc import Callable
from typing import Protocol

from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.smtp.session import Listener, Session


class Policy(Protocol):
    """The daemon's judgement. Each answers at once, without waiting; None: go on."""

    def mail(self, session: Session, reverse_path: Address | None, size: int) -> Reply | None:
        """size: octets as declared by SIZE=, 0 when not told."""

    def rcpt(self, session: Session, address: Address) -> Reply | None: ...

    def data(self, session: Session) -> Reply | None:
        """Asked before content is read: is there room (disk, queue) for one more message?"""


AUTH_NEEDED = Reply(530, "7.0", "Authentication required: use AUTH with your login and password")
TLS_NEEDED = Reply(530, "7.0", "Authentication required: STARTTLS first, then AUTH")


class DoorPolicy:
    """Whoever has logged in, or is trusted on a submission listener, sends anywhere; strangers only to us, by MX.

    is_ours: is this domain (lower case, A-labels) one we send for? recipient: what a stranger is told about an
    address, None to take it. accepting: None, or why no message can be taken now (disk full, store down).
    """

    def __init__(
        self,
        *,
        default_domain: str,
        is_ours: Callable[[str], bool],
        recipient: Callable[[Address], Reply | None],
        accepting: Callable[[], Reply | None],
        auth_without_tls: bool = False,
    ) -> None:
        self._default_domain, self._is_ours = default_domain, is_ours
        self._recipient, self._accepting = recipient, accepting
        self._auth_without_tls = auth_without_tls

    def mail(self, session: Session, reverse_path: Address | None, size: int) -> Reply | None:
        if session.login:
            return None
        if session.trusted:
            ours = reverse_path is not None and self._is_ours(reverse_path.domain)
            session.domain = reverse_path.domain if reverse_path and ours else self._default_domain
            return None
        if session.listener is Listener.MX:
            return None
        return AUTH_NEEDED if session.tls or self._auth_without_tls else TLS_NEEDED

    def rcpt(self, session: Session, address: Address) -> Reply | None:
        return None if session.login or session.trusted else self._recipient(address)

    def data(self, session: Session) -> Reply | None:
        return self._accepting()
