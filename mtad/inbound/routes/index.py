"""Index: of thousands of routes, those few that a text could match at all.

Room: inbound. Pure. A pattern needs a piece of plain text (its needle) to be in what it matches. Needles are cut to a
few lengths, and the text is looked through once for each length.
"""

from collections.abc import Mapping, Sequence

_LENGTHS = (12, 6, 4, 3, 2)


class NeedleIndex:
    """found: routes' positions by a cut of their needle. The cut "" is in every text."""

    def __init__(self, found: Mapping[str, Sequence[int]]) -> None:
        self._positions = {cut: tuple(positions) for cut, positions in found.items()}
        self._lengths = sorted({len(cut) for cut in found if cut})

    def candidates(self, folded: str) -> set[int]:
        """The positions whose needle may be in the text."""
        positions = self._positions
        found = set(positions.get("", ()))
        for length in self._lengths:
            for at in range(len(folded) - length + 1):
                some = positions.get(folded[at : at + length])
                if some is not None:
                    found.update(some)
        return found


def cuts(needle: str) -> list[str]:
    """All pieces of the largest length that fits: each of them is in a text that holds the needle."""
    length = next((length for length in _LENGTHS if length <= len(needle)), 0)
    return [needle[at : at + length] for at in range(len(needle) - length + 1)] if length else [""]
