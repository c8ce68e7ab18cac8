"""Letter: a stored template, read once, and filled in for a message.

Room: message. Pure. The body is html; header fields are texts of one line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtad.message.handlebars.nodes import BadTemplate, Node
from mtad.message.handlebars.reading import read
from mtad.message.handlebars.rendering import render
from mtad.message.htmltext import html_to_text


@dataclass(frozen=True, slots=True)
class Filled:
    """text: "" when none was asked for. headers: by name as the template spells it."""

    html: str
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LetterTemplate:
    """size: characters of the text it was read from."""

    body: Sequence[Node]
    headers: Mapping[str, Sequence[Node]]
    size: int

    def fill(self, variables: Mapping[str, Any], *, text: bool = False) -> Filled:
        """text: make one of the html, for those who read text. Raises BadTemplate."""
        html = render(self.body, variables)
        headers = {name: " ".join(render(value, variables, html=False).split()) for name, value in self.headers.items()}
        return Filled(html, html_to_text(html) if text else "", headers)


def read_letter(content: str, headers: Mapping[str, str]) -> LetterTemplate:
    """Raises BadTemplate."""
    found = {}
    for name, value in headers.items():
        try:
            found[name] = read(value)
        except BadTemplate as error:
            raise BadTemplate(f"header {name[:60]}: {error}") from None
    return LetterTemplate(read(content), found, len(content) + sum(map(len, headers.values())))
