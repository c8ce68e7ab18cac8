"""Index: of thousands of routes, those few that a text could match at all.

Room: inbound. Pure. A pattern needs a piece of plain text (its needle) to be in what it matches. Needles are cut to a
few lengths, at the place where they differ most from each other, and the text is looked through for each length.
"""

from collections import Counter
from collections.abc import Sequence

_LENGTHS = (12, 6, 4, 3, 2)


class NeedleIndex:
    """entries: (a route's position, needle). The needle "" is in every text."""

    def __init__(self, entries: Sequence[tuple[int, str]]) -> None:
        cuts = [(position, _cuts(needle)) for position, needle in entries]
        frequent = Counter(cut for _, some in cuts for cut in some)
        found: dict[str, list[int]] = {}
        self._always: list[int] = []
        for position, some in cuts:
            if some:
                found.setdefault(min(some, key=frequent.__getitem__), []).append(position)
            else:
                self._always.append(position)
        self._positions = {cut: tuple(positions) for cut, positions in found.items()}
        self._lengths = sorted({len(cut) for cut in found})

    def candidates(self, folded: str) -> set[int]:
        """The positions whose needle may be in the text."""
        found = set(self._always)
        positions = self._positions
        for length in self._lengths:
            for at in range(len(folded) - length + 1):
                some = positions.get(folded[at : at + length])
                if some is not None:
                    found.update(some)
        return found


def _cuts(needle: str) -> list[str]:
    """All pieces of the largest length that fits."""
    length = next((length for length in _LENGTHS if length <= len(needle)), 0)
    return [needle[at : at + length] for at in range(len(needle) - length + 1)] if length else []
