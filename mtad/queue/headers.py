"""Headers: the header of a message as one recipient got it, for those who are told of it afterwards.

Room: queue. May import: message, storage. The stored header names every recipient of a batch; what is told of one of
them must not.
"""

from collections import OrderedDict

from mtad.message.template import Template, compile_header
from mtad.queue.compose import Composer
from mtad.queue.work import Held
from mtad.storage.outgoing import StoredMessage, StoredRecipient

_KEPT = 16  # messages; posts of one message follow each other


class SentHeaders:
    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._kept: OrderedDict[int, tuple[Held, Template]] = OrderedDict()

    def __call__(self, header: bytes, message: StoredMessage, recipient: StoredRecipient) -> bytes:
        """`header` itself when the message is not composed. Raises Unfillable: then there was no copy."""
        known = self._kept.get(message.id)
        if known is None:
            held = Held(message, 0)
            if not self._composer.needs(held):
                return header
            known = self._kept[message.id] = (held, compile_header(header, self._composer.plan(held)))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        held, template = known
        return template.content if template.static else template.fill(self._composer.person(held, recipient))
