"""Receiver: one SMTP session as a state machine: octets in; replies and events out. It reads no socket and no clock.

Room: smtp. Pure: collaborators it asks (policy, budget, counters) answer at once. May import: mail.
Source: RFC 5321, RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 2034.

The shell feeds what has arrived, calls run(), writes take() in one piece and, when `event` is set, does what it asks
and answers; nothing further is read from the buffer until then. Only CRLF ends a line and only CRLF.CRLF ends DATA: a
lone LF or CR ends nothing anywhere, so no relay before us can be made to see other message boundaries than we do.
"""

from collections.abc import Callable
from enum import IntEnum

from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused
from mtad.smtp import replies as say
from mtad.smtp.collector import Collector
from mtad.smtp.commands import clean_helo, parse_bdat, parse_mail, parse_rcpt
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.policy import Policy
from mtad.smtp.replies import wire
from mtad.smtp.session import Auth, Event, Message, Quit, Session, Settings, StartTls

_LINE = 511  # RFC 5321 §4.5.3.1.4: 512 with CRLF; counted with the CR
_LINES = {b"MAIL": 1700, b"RCPT": 1100, b"AUTH": 12_287}  # what SIZE, AUTH=, ORCPT= ... add; RFC 4954 §4
_LONGEST = 12_288
_REPLIES_AT_ONCE = 256

_STRANGERS = frozenset([b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"PROXY"])  # no mail client at all


class _Mode(IntEnum):
    COMMAND = 0
    DATA = 1
    BDAT = 2
    SKIP = 3  # a line that is too long, to its end


class Receiver:
    """One session. `event`: what the shell must do next, or None. `starved`: run() ended for want of octets."""

    __slots__ = (
        "_buf",
        "_commands",
        "_content",
        "_counters",
        "_errors",
        "_mail",
        "_mode",
        "_out",
        "_policy",
        "_pos",
        "_refused_rcpt",
        "_settings",
        "event",
        "session",
        "starttls",
        "starved",
        "transactions",
    )

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        session: Session,
        budget: Budget,
        counters: Counters,
        starttls: bool = False,
    ) -> None:
        self._settings, self._policy, self.session = settings, policy, session
        self._counters, self.starttls = counters, starttls
        self._content = Collector(settings, budget, counters)
        self._buf = bytearray()
        self._pos = 0  # where the next line, or the content, begins
        self._out: list[bytes] = []
        self._mode = _Mode.COMMAND
        self._mail: Submission | None = None
        self._refused_rcpt = False
        self._commands = self._errors = self.transactions = 0
        self.event: Event | None = None
        self.starved = True

    # What the shell calls

    def feed(self, data: bytes) -> None:
        """Take octets; run() works on them. After Quit they are dropped."""
        if type(self.event) is not Quit:
            self._buf += data

    def run(self) -> None:
        """Work until octets run out, an event stands, or so many replies wait that they should be written first."""
        self.starved = False
        steps = _STEPS
        while self.event is None and len(self._out) < _REPLIES_AT_ONCE:
            if not steps[self._mode](self):
                self.starved = True
                break
        if self._pos:
            del self._buf[: self._pos]
            self._pos = 0

    def take(self) -> bytes:
        """All replies that wait, as one piece; b"" when there are none."""
        out = self._out
        if not out:
            return b""
        replies = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return replies

    def answer(self, reply: bytes) -> None:
        """The reply to a Message or an Auth that came to nothing. run() goes on with what is buffered."""
        self.event = None
        self._say(reply)

    def answered(self) -> None:
        """An Auth came to nothing and whoever led the dialogue has said so."""
        self.event = None
        self._count_error()

    def authenticated(self, login: str, domain: str, reply: bytes) -> None:
        self.session.login, self.session.domain = login, domain
        self.answer(reply)

    def tls_started(self, version: str) -> None:
        """RFC 3207 §4.2: forget everything that was said in the clear."""
        session = self.session
        session.tls, session.helo, session.extended, session.login, session.domain = version, "", False, "", ""
        self._reset()
        self.event = None

    def unread(self) -> bytes:
        """Take out what was fed and not worked on: the first octets of TLS, when TLS comes before SMTP."""
        octets = bytes(self._buf)
        self._buf.clear()
        return octets

    def line(self) -> bytes | None:
        """During Auth: the next whole line without CRLF, or None. A bad or endless one turns `event` into Quit."""
        end = self._buf.find(b"\n")
        if end < 0:
            if len(self._buf) > _LONGEST:
                self.hang_up(say.LINE_TOO_LONG)
            return None
        line = bytes(self._buf[: end + 1])
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self.hang_up(say.BARE_COMMAND)
            return None
        del self._buf[: end + 1]
        return line[:-2]

    def hang_up(self, reply: bytes) -> None:
        """Say this as the last word."""
        self._out.append(reply)
        self._reset()
        self._buf.clear()
        self._pos = 0
        self._mode = _Mode.COMMAND
        self.event = Quit()

    def close(self) -> None:
        """The connection is gone: give back what was reserved. A Message that stands keeps its own share."""
        self._reset()
        self._buf = bytearray()
        self._pos = 0

    @property
    def buffered(self) -> int:
        """Octets fed and not yet worked on."""
        return len(self._buf)

    @property
    def is_idle(self) -> bool:
        """No transaction is open: closing now costs the client nothing."""
        return self.event is None and self._mail is None and self._mode is _Mode.COMMAND

    @property
    def in_content(self) -> bool:
        """Between DATA and its final dot, or between the first BDAT and the last."""
        return self._mode in (_Mode.DATA, _Mode.BDAT) or self._content.chunked

    # Lines and what they ask

    def _command(self) -> bool:
        buf, pos = self._buf, self._pos
        end = buf.find(b"\n", pos)
        if end < 0:
            return self._unfinished_line()
        line = bytes(buf[pos:end])
        if not line or line.find(b"\r") != len(line) - 1:  # the only CR is the one before this LF
            return self._drop_client("refused-bare-newline", say.BARE_COMMAND)
        self._pos = end + 1
        self._commands += 1
        if self._commands > self._settings.max_commands:
            return self._drop_client("refused-commands", say.TOO_MANY_COMMANDS)
        verb, _, arg = line[:-1].partition(b" ")
        verb = verb.upper()
        if len(line) > _LINE and len(line) > _LINES.get(verb, _LINE):
            reply = self._refuse("refused-line-length", say.LINE_TOO_LONG)
        else:
            reply = _HANDLERS.get(verb, _unknown)(self, arg)
        if reply:
            self._say(reply)
        return True

    def _unfinished_line(self) -> bool:
        if len(self._buf) - self._pos > _LONGEST:
            self._mode = _Mode.SKIP
            return True
        return False

    def _skip_line(self) -> bool:
        """Drop a line that is too long, and say so at its end."""
        buf, pos = self._buf, self._pos
        end = buf.find(b"\n", pos)
        part = buf[pos : end if end >= 0 else len(buf)]
        cr = part.find(b"\r")
        if 0 <= cr < len(part) - 1 or (end >= 0 and cr < 0):
            return self._drop_client("refused-bare-newline", say.BARE_COMMAND)
        if end < 0:
            self._pos = len(buf) - (cr >= 0)  # a CR at the end stays: what follows it counts
            return False
        self._pos, self._mode = end + 1, _Mode.COMMAND
        self._commands += 1
        self._say(self._refuse("refused-line-length", say.LINE_TOO_LONG))
        return True

    def _ehlo(self, arg: bytes) -> bytes:
        helo = clean_helo(arg)
        if not helo:
            return say.HELO_SYNTAX
        self._reset()
        session = self.session
        session.helo, session.extended = helo, True
        return self._settings.ehlo[self.starttls and not session.tls, self._auth_offered]

    def _helo(self, arg: bytes) -> bytes:
        helo = clean_helo(arg)
        if not helo:
            return say.HELO_SYNTAX
        self._reset()
        self.session.helo, self.session.extended = helo, False
        return self._settings.helo

    def _mail_from(self, arg: bytes) -> bytes:
        if not self.session.helo:
            return say.HELO_FIRST
        if self._mail is not None:
            return say.MAIL_OPEN
        try:
            mail, size = parse_mail(arg)
        except Refused as refused:
            return wire(refused.reply)
        if size > self._settings.max_message_octets:
            return self._refuse("refused-size", self._settings.too_big)
        reply = self._policy.mail(self.session, mail.reverse_path, size)
        if reply is not None:
            return self._refuse("refused-mail", wire(reply))
        self._mail, self._refused_rcpt = mail, False
        return say.OK_MAIL

    def _rcpt_to(self, arg: bytes) -> bytes:
        mail = self._mail
        if mail is None:
            return say.MAIL_FIRST
        if self._content.chunked:
            return say.BDAT_BEGUN
        self._refused_rcpt = True
        if len(mail.recipients) >= self._settings.max_recipients:
            return self._refuse("refused-recipients", say.TOO_MANY_RECIPIENTS)
        try:
            address, notify, orcpt = parse_rcpt(arg, mail.smtputf8, self._settings.default_domain)
        except Refused as refused:
            return wire(refused.reply)
        reply = self._policy.rcpt(self.session, address)
        if reply is not None:
            return self._refuse("refused-rcpt", wire(reply))
        if notify:
            mail.notify[len(mail.recipients)] = notify
        if orcpt:
            mail.orcpt[len(mail.recipients)] = orcpt
        mail.recipients.append(address)
        return say.OK_RCPT

    def _data_begins(self, arg: bytes) -> bytes:
        if arg.strip():
            return say.NO_ARGUMENT
        if self._content.chunked:
            return say.BDAT_BEGUN
        refusal = self._no_content_now()
        if refusal:
            return refusal
        self._mode = _Mode.DATA
        self._content.begin_data()
        self._pos -= 2  # content begins after this CRLF, and a dot on its first line is found as on any other
        self.transactions += 1
        return say.GO_ON

    def _bdat(self, arg: bytes) -> bytes:
        chunk = parse_bdat(arg)
        if chunk is None:
            self._drop_client("refused-bdat", say.BAD_BDAT)
            return b""
        refusal = None if self._content.chunked else self._no_content_now()
        if not self._content.chunked:
            self.transactions += 1  # also of a chunk that is only read away: that may take its time as any other
        self._mode = _Mode.BDAT
        self._content.begin_chunk(*chunk, refusal)
        return b""

    def _no_content_now(self) -> bytes | None:
        """Why DATA or the first BDAT cannot be: the order of commands, no room, or the policy."""
        mail = self._mail
        if mail is None:
            return say.MAIL_FIRST
        if not mail.recipients:
            return say.NO_RECIPIENT if self._refused_rcpt else say.RCPT_FIRST
        reply = self._policy.data(self.session)
        if reply is not None:
            return self._refuse("refused-data", wire(reply))
        return None if self._content.has_room() else self._refuse("refused-memory", say.MEMORY_FULL)

    def _rset(self, arg: bytes) -> bytes:
        self._reset()
        return say.OK

    def _quit(self, arg: bytes) -> bytes:
        self.hang_up(say.BYE)
        return b""

    def _starttls(self, arg: bytes) -> bytes:
        if arg.strip():
            return say.NO_ARGUMENT
        if self.session.tls:
            return say.TLS_AGAIN
        if not self.starttls:
            return say.TLS_NONE
        if self._pos < len(self._buf):  # someone may have put it there to be read as if it came by TLS
            self._drop_client("refused-after-starttls", say.AFTER_STARTTLS)
            return b""
        self._reset()
        self.event = StartTls()
        return say.TLS_READY

    def _auth(self, arg: bytes) -> bytes:
        if self.session.login:
            return say.AUTH_AGAIN
        if not self.session.extended or self._mail is not None:
            return say.AUTH_NOT_NOW
        if not self._auth_offered:
            return self._refuse("refused-auth-clear", say.AUTH_CLEAR)
        words = arg.decode("ascii", "replace").split()
        if not 1 <= len(words) <= 2:
            return say.AUTH_SYNTAX
        mechanism = words[0].upper()
        if mechanism not in ("PLAIN", "LOGIN"):
            return say.AUTH_MECHANISM
        self.event = Auth(mechanism, words[1] if len(words) == 2 else None)
        return b""

    @property
    def _auth_offered(self) -> bool:
        return bool(self.session.tls) or self._settings.auth_without_tls

    # Content

    def _data(self) -> bool:
        self._pos, content = self._content.data(self._buf, self._pos)
        if content is None:
            return False
        self._finish(content)
        return True

    def _chunk(self) -> bool:
        self._pos, is_whole = self._content.chunk(self._buf, self._pos)
        if not is_whole:
            return False
        content = self._content.chunks()
        if content is not None:
            self._finish(content)
        else:
            self._mode = _Mode.COMMAND
            self._say(say.OK_CHUNK)
        return True

    def _finish(self, content: bytes) -> None:
        """All of the content is here: a Message, or the reply that says why not."""
        self._mode = _Mode.COMMAND
        mail, session = self._mail, self.session
        content = self._content.examined(content, session.bare_newlines)
        refusal = self._content.refusal
        if refusal is not None or mail is None:
            self._reset()
            self._say(refusal or say.MAIL_FIRST)
            return
        self._mail = None
        mail.content = content
        mail.domain, mail.login, mail.peer, mail.helo = session.domain, session.login, session.peer, session.helo
        mail.protocol, mail.bound = session.protocol(mail.smtputf8), bool(session.login)
        self.event = Message(mail, self._content.handed_over())

    # Small parts

    def _say(self, reply: bytes) -> None:
        self._out.append(reply)
        if reply[0] == 53:  # "5"
            self._count_error()

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self._settings.max_errors:
            self._drop_client("refused-errors", say.TOO_MANY_ERRORS)

    def _refuse(self, counter: str, reply: bytes) -> bytes:
        self._counters.add(counter)
        return reply

    def _drop_client(self, counter: str, reply: bytes) -> bool:
        self.hang_up(self._refuse(counter, reply))
        return False

    def _reset(self) -> None:
        self._mail = None
        self._content.reset()


def _unknown(receiver: Receiver, arg: bytes) -> bytes:
    return say.UNKNOWN


def _stranger(receiver: Receiver, arg: bytes) -> bytes:
    receiver._drop_client("refused-not-smtp", say.NOT_SMTP)
    return b""


_Handler = Callable[[Receiver, bytes], bytes]
_HANDLERS: dict[bytes, _Handler] = {
    b"MAIL": Receiver._mail_from,
    b"RCPT": Receiver._rcpt_to,
    b"DATA": Receiver._data_begins,
    b"BDAT": Receiver._bdat,
    b"RSET": Receiver._rset,
    b"QUIT": Receiver._quit,
    b"EHLO": Receiver._ehlo,
    b"HELO": Receiver._helo,
    b"AUTH": Receiver._auth,
    b"STARTTLS": Receiver._starttls,
    b"NOOP": lambda receiver, arg: say.OK,
    b"VRFY": lambda receiver, arg: say.VRFY,
    b"EXPN": lambda receiver, arg: say.EXPN,
    b"HELP": lambda receiver, arg: say.HELP,
    **dict.fromkeys(_STRANGERS, _stranger),
}
_STEPS: tuple[Callable[[Receiver], bool], ...] = (
    Receiver._command,
    Receiver._data,
    Receiver._chunk,
    Receiver._skip_line,
)
