"""Rewrite: what is to change in the text parts of one message: links, pixel, footer, variables.

Room: message. Pure. The footer and the pixel go to the last part of their kind, which is where a reader's eye ends; a
part with an unsubscribe variable of its own spares its kind the footer.
"""

import binascii

from mtad.mail.options import Clicks
from mtad.message.body import Body, Reading, read
from mtad.message.headers import HeaderBlock
from mtad.message.links import href_target, scan_html, scan_text, trackable
from mtad.message.mime import Coding, Kind, TextPart, text_parts
from mtad.message.plan import Plan
from mtad.message.slots import Link, Mixed, Pixel, Slot, Value, VariableLink, lines, pieces
from mtad.message.variables import asks_to_leave

_Edit = tuple[int, int, Slot | None]


def bodies(block: HeaderBlock, plan: Plan) -> list[Body]:
    """The parts that differ from recipient to recipient, or from the original, in order."""
    content = block.content
    readings = []
    for part in text_parts(content, block):
        if _may_change(content, part, plan):
            reading = read(content, part, plan.keys)
            if reading is not None:
                readings.append(reading)
    last = {reading.part.kind: reading for reading in readings}
    leaving = {one.part.kind for one in readings if any(asks_to_leave(name) for _, _, name in one.variables)}
    made = []
    for reading in readings:
        kind = reading.part.kind
        edits = _edits(reading, plan, reading is last[kind], kind in leaving)
        if edits:
            made.append(Body(reading, edits))
    return made


def _may_change(content: bytes, part: TextPart, plan: Plan) -> bool:
    """A quick look that errs towards True."""
    if part.kind is Kind.HTML and (plan.opens or plan.footer_html or plan.clicks is not Clicks.NO):
        return True
    if part.kind is Kind.PLAIN and (plan.footer_text or plan.clicks is Clicks.YES):
        return True
    if part.coding is Coding.BASE64 or (part.charset is not None and not part.charset.direct):
        return True
    start, end = part.body_start, part.end
    if part.coding is Coding.QUOTED_PRINTABLE:
        if content.find(b"%", start, end) < 0 and content.find(b"=25", start, end) < 0:
            return False
        raw = content[start:end]
        if b"= " in raw or b"=\t" in raw:
            return True  # soft breaks that a2b_qp does not know
        content, start, end = binascii.a2b_qp(raw), 0, len(raw)
    return content.find(b"%recipient", start, end) >= 0 or content.find(b"unsubscribe_", start, end) >= 0


def _edits(reading: Reading, plan: Plan, last: bool, leaving: bool) -> list[_Edit]:
    """What is to change in one part. last: of its kind, so the footer and the pixel are its. leaving: no footer."""
    kind, edits = reading.part.kind, list[_Edit]()
    masked = reading.masked()
    if kind is Kind.HTML and (last or plan.clicks is not Clicks.NO):
        edits = _html_edits(reading, masked, plan, last, leaving)
    elif kind is Kind.PLAIN:
        if plan.clicks is Clicks.YES:
            edits = [edit for place in scan_text(masked) if (edit := _link(reading, plan, place, False))]
        if last and plan.footer_text and not leaving:
            end = len(masked.rstrip())
            edits.append((end, end, _footer("\r\n\r\n" + plan.footer_text, plan, reading.part.flowed)))
    return _with_variables(reading, edits)


def _html_edits(reading: Reading, masked: bytes, plan: Plan, last: bool, leaving: bool) -> list[_Edit]:
    footer = plan.footer_html if last and not leaving else ""
    if not (footer or (last and plan.opens) or plan.clicks is not Clicks.NO):
        return []
    found, edits = scan_html(masked), list[_Edit]()
    if plan.clicks is not Clicks.NO:
        edits += [edit for place in found.hrefs if (edit := _link(reading, plan, place, True))]
        edits += [(start, end, None) for start, end in found.cuts]
        edits.sort(key=lambda edit: edit[0])
    end = len(masked.rstrip()) if found.body_end is None else found.body_end
    tail: list[_Edit] = []
    if footer:
        tail.append((end, end, _footer(footer, plan, False)))
    if last and plan.opens:
        top = plan.pixel_top
        place = (found.body_start or 0) if top else end
        (edits if top else tail).append((place, place, Pixel()))
    return sorted([*edits, *tail], key=lambda edit: edit[:2])


def _footer(text: str, plan: Plan, flowed: bool) -> Mixed:
    return Mixed(pieces(lines(text, flowed), plan.keys))


def _link(reading: Reading, plan: Plan, place: tuple[int, int], html: bool) -> _Edit | None:
    """The edit that has the link at `place` rewritten; None: it stays."""
    start, end = place
    quote = ""
    if html and reading.octets[start : start + 1] in (b'"', b"'"):
        quote = reading.octets[start : start + 1].decode()
    inner_start, inner_end = start + len(quote), end - len(quote)
    source = reading.text(inner_start, inner_end)
    if source is None:
        return None
    cut = pieces(source, plan.keys)
    names = [one.name for one in cut if isinstance(one, Value)]
    if not names:
        target = href_target(source) if html else source
        return (start, end, Link(target, html)) if trackable(target, plan.own) else None
    if any(asks_to_leave(name) for name in names):
        return None
    return (start, end, VariableLink(cut, html, quote, plan.own))


def _with_variables(reading: Reading, edits: list[_Edit]) -> list[_Edit]:
    """The edits, and all variables that are not within one of them, in order."""
    merged: list[_Edit] = []
    place, waiting = 0, 0
    for start, end, name in reading.variables:
        while waiting < len(edits) and edits[waiting][0] <= start:
            merged.append(edits[waiting])
            place = max(place, edits[waiting][1])
            waiting += 1
        if start >= place:
            merged.append((start, end, Value(name)))
            place = end
    return [*merged, *edits[waiting:]]
