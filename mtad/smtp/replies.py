"""Replies: what the doors say, ready for the wire.

Room: smtp. Pure. May import: mail. Source: RFC 5321 §4.2, RFC 3463 and RFC 2034 (enhanced status codes). Each says
what the client should do next.
"""

from mtad.mail.reply import Reply


def wire(reply: Reply) -> bytes:
    """One reply line, safe whatever its text holds."""
    text = str(reply).encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    return text[:510] + b"\r\n"


def made(code: int, detail: str, text: str) -> bytes:
    return wire(Reply(code, detail, text))


OK_MAIL = made(250, "1.0", "Sender ok")
OK_RCPT = made(250, "1.5", "Recipient ok")
OK = made(250, "0.0", "Ok")
OK_CHUNK = made(250, "0.0", "Chunk received")
GO_ON = b"354 Send the message; end with <CRLF>.<CRLF>\r\n"
BYE = made(221, "0.0", "Bye")
TLS_READY = made(220, "0.0", "Ready to start TLS")
HELO_FIRST = made(503, "5.1", "Send EHLO first")
MAIL_FIRST = made(503, "5.1", "Send MAIL FROM first")
RCPT_FIRST = made(503, "5.1", "Send RCPT TO first")
NO_RECIPIENT = made(554, "5.1", "No recipient was accepted, so there is nothing to send")
MAIL_OPEN = made(503, "5.1", "A transaction is open; send RSET or finish it first")
BDAT_BEGUN = made(503, "5.1", "BDAT has begun; go on with BDAT or send RSET")
TOO_MANY_RECIPIENTS = made(452, "5.3", "Too many recipients; send the message again for the rest")
BARE_NEWLINE = made(554, "6.11", "The message has a CR or LF alone; end every line with CRLF and send it again")
NUL = made(550, "6.0", "The message has a NUL octet; encode it as quoted-printable or base64")
BARE_COMMAND = made(500, "5.2", "A CR or LF came alone; end every line with CRLF. Closing")
LINE_TOO_LONG = made(500, "5.2", "The line is too long; shorten it")
UNKNOWN = made(500, "5.1", "Command not known; send EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, VRFY, AUTH or QUIT")
NOT_SMTP = made(421, "7.0", "This is an SMTP server; connect with a mail program")
TOO_MANY_ERRORS = made(421, "7.0", "Too many errors; mend them and connect again")
TOO_MANY_COMMANDS = made(421, "7.0", "Too many commands in one session; connect again")
MEMORY_FULL = made(452, "3.1", "Too many messages at once; try again later")
BAD_BDAT = made(501, "5.4", "Write BDAT and the number of octets, then LAST on the final chunk. Closing")
AFTER_STARTTLS = made(554, "5.1", "Nothing may follow STARTTLS before our reply. Closing")
NO_ARGUMENT = made(501, "5.4", "This command takes no argument")
TOO_BIG_TEXT = "The message is larger than the {} octets taken here; make it smaller"
AUTH_DONE = made(235, "7.0", "Authentication succeeded")
AUTH_AGAIN = made(503, "5.1", "You are logged in already")
AUTH_NOT_NOW = made(503, "5.1", "AUTH must come after EHLO and before MAIL FROM")
AUTH_CLEAR = made(538, "7.11", "Encryption required: STARTTLS first, then AUTH")
AUTH_SYNTAX = made(501, "5.4", "Write AUTH, PLAIN or LOGIN, and at most one initial response")
AUTH_MECHANISM = made(504, "5.4", "Mechanism not known; use PLAIN or LOGIN")
AUTH_WRONG = made(535, "7.8", "Login or password is wrong; check both")
AUTH_FAILED = made(454, "7.0", "Passwords cannot be checked now; try again later")
AUTH_SHUT_OUT = made(421, "7.0", "Too many wrong passwords from your address; try again later")
TLS_AGAIN = made(503, "5.1", "TLS is in use already")
TLS_NONE = made(502, "5.1", "STARTTLS is not available here")
HELO_SYNTAX = made(501, "5.4", "Write EHLO and your host name")
VRFY = made(252, "0.0", "Addresses are not told here; send the message and see")
EXPN = made(502, "5.1", "EXPN is not available here")
HELP = made(214, "0.0", "Commands: EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS AUTH QUIT")
IDLE = made(421, "4.2", "Nothing came for too long. Closing")
SLOW_CONTENT = made(421, "4.2", "The message took too long. Closing")
STOPPING = made(421, "3.2", "The server is stopping; connect again in a moment")
STORE_FAILED = made(451, "3.0", "The message could not be stored; send it again later")
BAD_PROXY = made(421, "7.0", "A PROXY header is needed here and this is none. Closing")
