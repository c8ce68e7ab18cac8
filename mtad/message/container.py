"""Container: multipart/mailgun-variables, a message and the variables of its recipients sent as one.

Room: message. Pure. Source: RFC 2046 §5.1.1 (parts and boundaries), RFC 2045 §6 (transfer encodings). The parts are an
application/json part and a message/rfc822 part. Work is on octets with CRLF line ends, in time linear in the content;
the message within comes out as it is, and only one that was itself base64 or quoted-printable is decoded.
"""

import binascii
import re
from dataclasses import dataclass, replace

from mtad.mail.options import Variables
from mtad.mail.reply import Reply
from mtad.message.control import Control, Fault, read_control
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.mime import content_type
from mtad.message.values import MAX_RECIPIENT_JSON, BadValue, by_address, joined, parse_object

_MAX_BOUNDARY = 200  # octets; RFC 2046 §5.1.1 has 70
_MAX_PARTS = 10
_MAX_CANDIDATES = 10_000  # lines that begin as a boundary does

_LINE_END = re.compile(rb"[ \t]*+(?:\r\n|\Z)")
_MULTIPART = b"multipart/mailgun-variables"
_JSON = b"application/json"
_MESSAGE = (b"message/rfc822", b"message/global")  # RFC 6532 §3.7: the same with UTF-8 fields
_AS_IS = (b"", b"7bit", b"8bit", b"binary")


class BadContainer(ValueError):
    """It says it is a container and is not one that can be followed. str(): a sentence for the sender."""

    @property
    def reply(self) -> Reply:
        return Reply(554, "6.0", str(self))


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """content: the message within; block: its header. outer: the header of the container.

    recipient_variables: by Address.key, {} when the JSON is one object for everybody: that is shared_variables.
    """

    content: bytes
    block: HeaderBlock
    outer: HeaderBlock
    recipient_variables: dict[str, Variables]
    shared_variables: Variables
    faults: tuple[Fault, ...] = ()

    def control(self, now: float, max_schedule_s: float) -> Control:
        """What the control fields of both headers say, and the JSON. `names` are fields of the message within."""
        control = read_control(self.block, now, max_schedule_s, self.outer)
        said = control.options.recipient_variables or {}
        control.options.recipient_variables = joined(self.recipient_variables, said)
        control.options.shared_variables = self.shared_variables
        return replace(control, faults=self.faults + control.faults)


def unwrap(content: bytes, block: HeaderBlock) -> Unwrapped | None:
    """None: no container. Raises BadContainer. block: scan(content)."""
    if not _is_container(block):
        return None
    variables, message = _parts_of(content, block)
    said = _variables(variables)
    people = _people(said)
    inner = _message(message, len(content))
    inside = scan(inner)
    if inside.end == inside.start:
        raise BadContainer("The message/rfc822 part of the variables container holds no message with a header")
    if _is_container(inside):
        raise BadContainer("There is a variables container within the variables container; send one at a time")
    if people is None:
        return Unwrapped(inside.content, inside, block, {}, said, _doubts(said))
    return Unwrapped(inside.content, inside, block, people, {})


def _is_container(block: HeaderBlock) -> bool:
    raw = block.by_name.get(b"content-type")
    return raw is not None and b"mailgun-variables" in raw[0].lower() and _kind(block) == _MULTIPART


def _kind(block: HeaderBlock) -> bytes:
    """ "application/json" in lower case; text/plain when nothing is said (RFC 2045 §5.2)."""
    return content_type(block.first(b"content-type") or b"text/plain")[0]


def _parts_of(content: bytes, block: HeaderBlock) -> tuple[HeaderBlock, HeaderBlock]:
    """The JSON part and the message part."""
    parts = [scan(part) for part in _split(content, block.body_start, _boundary(block))]
    kinds = [_kind(part) for part in parts]
    variables = [part for part, kind in zip(parts, kinds, strict=True) if kind == _JSON]
    messages = [part for part, kind in zip(parts, kinds, strict=True) if kind in _MESSAGE]
    if len(parts) != 2 or len(variables) != 1 or len(messages) != 1:
        raise BadContainer("A variables container has one application/json part and one message/rfc822 part, no other")
    if variables[0].broken or messages[0].broken:
        raise BadContainer("In a part of the variables container a blank line is missing behind the part's header")
    return variables[0], messages[0]


def _boundary(block: HeaderBlock) -> bytes:
    parameters = content_type(block.first(b"content-type") or b"")[1]
    boundary = parameters.get(b"boundary", b"").rstrip(b" \t")
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        raise BadContainer("The Content-Type of the variables container has no usable boundary parameter")
    return boundary


def _split(content: bytes, start: int, boundary: bytes) -> list[bytes]:
    """The parts between the boundary lines. The CRLF before such a line belongs to it. Raises BadContainer."""
    delimiter = CRLF + b"--" + boundary
    parts: list[bytes] = []
    begin = -1  # of the part that is open; none before the first boundary line
    place = start - len(CRLF)  # the first one may be the first line of the body
    for _ in range(_MAX_CANDIDATES):
        place = content.find(delimiter, max(0, place))
        if place < 0:
            raise BadContainer("The variables container has no closing boundary line, so it may not be whole")
        behind = place + len(delimiter)
        closing = content.startswith(b"--", behind)
        line_end = _LINE_END.match(content, behind + 2 * closing)
        if line_end:
            if begin >= 0:
                parts.append(content[begin:place])
            if closing:
                return parts
            begin = line_end.end()
            if len(parts) > _MAX_PARTS:
                break
        place = behind if line_end is None else line_end.end() - len(CRLF)
    raise BadContainer("The variables container has more parts than a JSON part and a message")


def _variables(part: HeaderBlock) -> Variables:
    text = _decoded(part)
    try:
        return parse_object(text, MAX_RECIPIENT_JSON)
    except BadValue as error:
        raise _bad_json(error) from error


def _people(variables: Variables) -> dict[str, Variables] | None:
    try:
        return by_address(variables)
    except BadValue as error:
        raise _bad_json(error) from error


def _bad_json(error: BadValue) -> BadContainer:
    advice = f"; {error.advice}" if error.advice else ""
    return BadContainer(f"The application/json part of the variables container {error}{advice}")


def _doubts(variables: Variables) -> tuple[Fault, ...]:
    """One slip among the addresses makes the object one for everybody: then the log shall say so."""
    if any("@" in name and isinstance(member, dict) for name, member in variables.items()):
        why = "goes to every recipient as it is: not all its members are objects under an address"
        return (Fault("application/json part", why),)
    return ()


def _message(part: HeaderBlock, limit: int) -> bytes:
    """The octets of the message; what was encoded gets CRLF line ends. limit: octets."""
    octets = _decoded(part)
    if _encoding(part) in _AS_IS:
        return octets
    if b"\0" in octets:
        raise BadContainer("The message in the variables container has a NUL octet")
    octets = octets.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)
    if len(octets) > limit:
        raise BadContainer("The message in the variables container is larger than the container")
    return octets


def _encoding(part: HeaderBlock) -> bytes:
    return (part.first(b"content-transfer-encoding") or b"").lower()


def _decoded(part: HeaderBlock) -> bytes:
    """The body of a part without its transfer encoding. Raises BadContainer."""
    body = part.content[part.body_start :]
    match _encoding(part):
        case b"base64":
            try:
                return binascii.a2b_base64(body)
            except binascii.Error:
                raise BadContainer("A part of the variables container says it is base64 and is not") from None
        case b"quoted-printable":
            return binascii.a2b_qp(body)
        case encoding if encoding in _AS_IS:
            return body
    raise BadContainer(
        "A part of the variables container has an unknown transfer encoding; use 8bit, base64 or quoted-printable"
    )
