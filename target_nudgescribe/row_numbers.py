"""Row numbers of the API as a hint: nobody has documented from where it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.errors import RowProblem

FIRST_NUMBERS = (1, 0, 2)
"""Number of the first data row: counted from 1, from 0, or from 1 with the header."""


class RowNumbers:
    """Which rows of a refused upload the API may mean; each is still tried alone.

    One way of counting after the other is tried. One that names an impossible row, or a row that
    passes alone, is never tried again. When none is left, the numbers are not looked at.
    """

    def __init__(self) -> None:
        """Begin with the way that the contract assumes."""
        self._firsts = list(FIRST_NUMBERS)

    def suspects(self, problems: Sequence[RowProblem], count: int) -> NDArray[np.intp]:
        """Return the places of the rows that a refusal may name: intp, (n,), ascending.

        None when it names no rows, impossible ones, or more than half of them: then it is cheaper
        to halve the rows.

        Args:
            problems: What the API names.
            count: The number of rows that were sent.
        """
        numbers = np.array(sorted({p.row for p in problems if p.row is not None}), object)
        while len(numbers) and self._firsts:
            first = self._firsts[0]
            if numbers[0] - first >= 0 and numbers[-1] - first < count:
                places = (numbers - first).astype(np.intp)
                return places if 2 * len(places) <= count else places[:0]
            self.disprove()
        return np.zeros(0, np.intp)

    def disprove(self) -> None:
        """Note that the way of counting that is tried has named a row that is not refused."""
        del self._firsts[:1]
