"""CSV lines: a text -> its lines, for the reader of the csv module.

Room: api. Pure.
"""

from collections.abc import Iterator


def lines_of(text: str) -> Iterator[str]:
    """With their ends, one at a time: a list of them would be larger than the text."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
