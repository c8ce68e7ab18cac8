"""The dialogue of one outgoing connection: transactions in, bytes to write and outcomes out. No I/O.

Room: delivery. Pure. Source: RFC 5321 §3.3, §4.1.1 (the transaction), RFC 2920 (PIPELINING), RFC 3030 (BDAT),
RFC 9422 (LIMITS). Used by delivery.client, which owns the transport and the time.

With PIPELINING, MAIL, every RCPT and DATA leave in one segment; with CHUNKING too, a message of up to MERGE octets goes
with them as one BDAT, and a larger one follows the replies to RCPT.
"""

from enum import StrEnum

from mtad.delivery.replies import RawReply, ReplyReader, to_reply
from mtad.delivery.wire import Features, check, mail_command, rcpt_command, rcpt_command_dsn, stuff
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Outcome, Phase, Reply

MERGE = 65_536  # octets: a message up to here is sent before the host has said a word about its recipients

MAX_SAID, MAX_WORDS = 20, 200  # replies of one transaction that are kept, octets of each
LOCAL_CODE = 499  # a code no server sends: these words are ours
_VERBS = {Phase.MAIL: "MAIL FROM", Phase.RCPT: "RCPT TO", Phase.DATA: "DATA", Phase.FINAL: "the end of the message"}

_Verdict = tuple[Reply, Phase, bool]  # what a recipient came to: reply, phase, outcome unknown


class Reuse(StrEnum):
    """What may follow on the connection."""

    CLEAN = "clean"  # the next MAIL
    RSET = "rset"  # RSET, then the next MAIL; start() sees to it
    DEAD = "dead"  # nothing


class Dialogue:
    """start() a transaction, write what it returns, feed() what arrives and write what that returns, until `done`.

    phase: whose reply we wait for. heard: replies to this transaction so far. reuse: holds when done. whole: the shell
    sets it False while it holds back a part of what it was given to write. farewell: what the host said, or what
    happened, when the connection ended.
    """

    def __init__(self, features: Features, hop: Hop) -> None:
        self.features, self.hop = features, hop
        self.reader = ReplyReader()
        self.done, self.whole = True, True
        self.reuse = Reuse.CLEAN
        self.farewell = ""
        self.phase = Phase.MAIL
        self.heard = 0
        self._reset(0)

    def _reset(self, recipients: int) -> None:
        self._verdicts: list[_Verdict | None] = [None] * recipients
        self._open: list[int] = []  # recipients whose RCPT is or will be sent, in that order
        self._next = 0  # position in _open of the next reply to RCPT
        self._accepted = 0
        self._body: list[bytes] = []  # not yet written
        self._body_out = self._chunked = self._merged = self._rset_due = False
        self._releasing = False  # the body is in what the present feed() will return: nobody can have read it
        self._unsent: list[bytes] = []  # commands that wait for the reply to the one before; last one first
        self._said: list[tuple[Phase, int, bytes]] = []

    # ---- the shell's side

    def start(self, tx: Transaction) -> list[bytes]:
        """What to write; empty when `done` is already true: nothing of this transaction may be sent to this host.

        Call only when `done` and not dead. Raises ValueError, and changes nothing, for content, addresses or
        parameters that must not be on the wire.
        """
        features = self.features
        chunked = features.chunking and features.pipelining
        body = check(tx.chunks) if chunked else stuff(tx.chunks)
        size = sum(map(len, tx.chunks))
        rcpts = [rcpt_command(recipient) for recipient in tx.recipients]
        utf8 = tx.smtputf8 or not tx.reverse_path.isascii()
        any_utf8 = utf8 or not all([rcpt.isascii() for rcpt in rcpts])
        mail = mail_command(tx, size, features, any_utf8 and features.smtputf8)
        if features.dsn and (tx.notify or tx.orcpt):
            rcpts = _with_dsn(tx, any_utf8 and features.smtputf8)

        self._reset(len(rcpts))
        self.heard, self.done, self.whole = 0, False, True
        self._sieve(tx, size, utf8, any_utf8)
        if not self._open:
            self.done = True
            return []
        self._chunked = chunked
        self._body = [b"BDAT %d LAST\r\n" % size, *body] if chunked else [*body, b".\r\n"]
        self._merged = chunked and size <= MERGE
        self._rset_due = self.reuse is Reuse.RSET
        self.phase = Phase.MAIL
        commands = [b"RSET\r\n", mail] if self._rset_due else [mail]
        commands += rcpts if len(self._open) == len(rcpts) else [rcpts[i] for i in self._open]
        if not features.pipelining:
            self._unsent = [b"DATA\r\n", *commands[:0:-1]]
            return commands[:1]
        if self._merged:
            self._body_out = True
            commands += self._body
            self._body = []
        elif not chunked:
            commands.append(b"DATA\r\n")
        return commands

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the host sent; give what to write next. Never raises."""
        out: list[bytes] = []
        for raw in self.reader.feed(data):
            if self.done:
                self._unasked(raw)
                return []
            self._reply(raw, out)
        if self.reader.error:
            self._break(f"sent {self.reader.error}")
        elif self.done and self.reader.partial:
            self.reuse = Reuse.DEAD
        if self.done:
            return []  # it answered what it had not been asked yet
        self.whole = self.whole or self._releasing
        self._releasing = False
        return out

    def lost(self, words: str) -> None:
        """The connection is gone. words: how, as "closed the connection"."""
        self._give_up(Reply(LOCAL_CODE, "4.2", f"{self.hop.host} {words} {self._when()}"))

    def expire(self, wait_s: float, blocked: bool = False) -> None:
        """Time is up for the present phase. blocked: the host did not even read what we had to write."""
        if blocked:
            words = f"{self.hop.host} took no more of what we sent for {wait_s:g} s"
        else:
            words = f"{self.hop.host} sent no reply to {_VERBS[self.phase]} within {wait_s:g} s"
        self._give_up(Reply(LOCAL_CODE, "4.2", words))

    def outcomes(self, took_s: float = 0.0) -> list[Outcome]:
        """One per recipient, in the transaction's order. Call when done."""
        hop, said = self.hop, tuple(self._said)
        outcomes: list[Outcome] = []
        before: _Verdict | None = None
        for verdict in self._verdicts:
            assert verdict is not None  # done: each recipient has one
            if verdict is before:  # recipients that share a reply share the outcome
                outcomes.append(outcomes[-1])
                continue
            reply, phase, unknown = before = verdict
            if reply.code < 400:
                outcomes.append(Delivered(reply, hop, took_s, said))
            elif reply.code < 500:
                outcomes.append(Deferred(reply, hop, phase, took_s, unknown, said))
            else:
                outcomes.append(Failed(reply, hop, phase, took_s, said))
        return outcomes

    # ---- before anything is sent

    def _sieve(self, tx: Transaction, size: int, utf8: bool, any_utf8: bool) -> None:
        """Decide what needs no host's answer; what is left is _open."""
        features, limit = self.features, self.features.max_recipients
        self._open = list(range(len(tx.recipients)))
        if features.size and size > features.size:
            words = f"the message has {size} octets, {self.hop.host} takes no more than {features.size}"
            self._decide(self._open, Reply(552, "3.4", words), Phase.LOCAL)
        elif any_utf8 and not features.smtputf8:
            concerned = [i for i in self._open if utf8 or not tx.recipients[i].isascii()]
            words = f"the message needs SMTPUTF8, which {self.hop.host} does not offer"
            self._decide(concerned, Reply(550, "6.7", words), Phase.LOCAL)
        self._open = [i for i in self._open if self._verdicts[i] is None]
        if limit and len(self._open) > limit:
            words = f"{self.hop.host} takes no more than {limit} recipients in one transaction"
            self._decide(self._open[limit:], Reply(452, "5.3", words), Phase.LOCAL)
            self._open = self._open[:limit]

    # ---- replies

    def _reply(self, raw: RawReply, out: list[bytes]) -> None:
        code, text = raw
        if code == 421:  # §3.8: the host ends the connection, whatever we had asked
            self._give_up(to_reply(code, text), said=True)
            return
        self.heard += 1
        if len(self._said) < MAX_SAID and not self._rset_due:
            self._said.append((self.phase, code, text[:MAX_WORDS]))
        if self._rset_due:
            self._rset_due = False
            if code >= 300:
                self._break(f"answered RSET with {to_reply(code, text)}")
            elif self._unsent:
                out.append(self._unsent.pop())
            return
        match self.phase:
            case Phase.MAIL:
                self._mail_reply(code, text, out)
            case Phase.RCPT:
                self._rcpt_reply(code, text, out)
            case Phase.DATA:
                self._data_reply(code, text, out)
            case _:
                self._final_reply(code, text)

    def _mail_reply(self, code: int, text: bytes, out: list[bytes]) -> None:
        if 300 <= code < 400:
            self._break(f"answered MAIL FROM with {code}")
            return
        if code >= 400:
            self._decide(self._open, to_reply(code, text), Phase.MAIL)
            if not self.features.pipelining:
                self._finish(Reuse.RSET)
                return
        # What we sent with MAIL is answered all the same: those replies must be read, and mean nothing.
        self.phase = Phase.RCPT
        if self._unsent:
            out.append(self._unsent.pop())

    def _rcpt_reply(self, code: int, text: bytes, out: list[bytes]) -> None:
        if 300 <= code < 400:
            self._break(f"answered RCPT TO with {code}")
            return
        recipient = self._open[self._next]
        self._next += 1
        if self._verdicts[recipient] is None:
            if code < 300:
                self._accepted += 1
            else:
                self._decide([recipient], self._too_many(to_reply(code, text)), Phase.RCPT)
        if self._next == len(self._open):
            self._after_rcpts(out)
        elif self._unsent:
            out.append(self._unsent.pop())

    def _too_many(self, reply: Reply) -> Reply:
        # §4.5.3.1.10: some hosts say 552 for "too many recipients" and mean 452. A full mailbox is 552 5.2.2.
        if reply.code == 552 and self._accepted and reply.detail in ("", "5.3"):
            return Reply(452, reply.detail, reply.text)
        return reply

    def _after_rcpts(self, out: list[bytes]) -> None:
        if self._merged:
            self.phase = Phase.FINAL
        elif self._chunked or not self.features.pipelining:
            if not self._accepted:
                self._finish(Reuse.RSET)
            elif self._chunked:
                self._send_body(out)
            else:
                self.phase = Phase.DATA
                out.append(self._unsent.pop())
        else:
            self.phase = Phase.DATA

    def _data_reply(self, code: int, text: bytes, out: list[bytes]) -> None:
        if code < 300:
            self._break(f"answered DATA with {code}")
        elif code >= 400:
            self._decide(self._open, to_reply(code, text), Phase.DATA)
            self._finish(Reuse.RSET)
        elif self._accepted:
            self._send_body(out)
        else:
            # RFC 2920 §3.1: it wants a message although it refused every recipient. An empty one it shall have.
            self._body = [b".\r\n"]
            self._send_body(out)
            self._body_out = False

    def _send_body(self, out: list[bytes]) -> None:
        self.phase = Phase.FINAL
        self._body_out, self._releasing, self.whole = True, True, False
        out += self._body
        self._body = []

    def _final_reply(self, code: int, text: bytes) -> None:
        if 300 <= code < 400:
            self._break(f"answered the end of the message with {code}")
        elif code < 300 and not self.whole:
            self._break(f"answered {code} before the end of the message")
        else:
            delivered = code < 300 and self._accepted > 0
            self._decide(self._open, to_reply(code, text), Phase.FINAL)
            # A host that refuses in mid-message still waits for the rest of it.
            self._finish(Reuse.DEAD if not self.whole else Reuse.CLEAN if delivered else Reuse.RSET)

    # ---- ends

    def _decide(self, recipients: list[int], reply: Reply, phase: Phase, unknown: bool = False) -> None:
        verdict = (reply, phase, unknown)
        for i in recipients:
            if self._verdicts[i] is None:
                self._verdicts[i] = verdict

    def _finish(self, reuse: Reuse) -> None:
        self.reuse, self.done = reuse, True
        self._body, self._unsent = [], []

    def _give_up(self, reply: Reply, said: bool = False) -> None:
        """End the connection and what is open on it. said: these are the host's words, so nothing is unknown."""
        self.farewell = self.farewell or str(reply)
        if not self.done:
            unknown = self._body_out and self.whole and not said
            self._decide(self._open, reply, Phase.FINAL if unknown else self.phase, unknown)
        self._finish(Reuse.DEAD)

    def _break(self, words: str) -> None:
        self._give_up(Reply(LOCAL_CODE, "5.0", f"{self.hop.host} {words}"))

    def _unasked(self, raw: RawReply) -> None:
        """A reply to nothing: the last words of a host that closes (§3.8), or a host that has lost count."""
        self.farewell = self.farewell or str(to_reply(*raw))
        self.reuse = Reuse.DEAD

    def _when(self) -> str:
        return "while idle" if self.done else f"while we waited for its reply to {_VERBS[self.phase]}"


def _with_dsn(tx: Transaction, smtputf8: bool) -> list[bytes]:
    none = ("",) * len(tx.recipients)
    asked = zip(tx.recipients, tx.notify or none, tx.orcpt or none, strict=True)
    return [rcpt_command_dsn(recipient, notify, orcpt, smtputf8) for recipient, notify, orcpt in asked]
