"""Upload a batch and find out how it ended for each row: one bad row costs one row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tap_nudgescribe.errors import OutcomeUnknownError, TooLargeError, UploadRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.client import Upload
    from tap_nudgescribe.errors import RowProblem

MOST_REFUSALS = 40
"""Refusals in a row, with nothing taken in between, after which the search for culprits ends."""


class Send(Protocol):
    """Uploads rows, or only has them checked."""

    def __call__(self, rows: NDArray[np.intp], *, validate_only: bool) -> Upload:
        """Send the rows at these places of the batch, in this order."""


@dataclass(frozen=True)
class Refusal:
    """Why the API does not take a row."""

    code: str
    field: str | None
    found_by: str
    """``validation`` or ``upload``."""
    retryable: bool = False
    """Whether it was never tried alone."""


@dataclass
class Verdict:
    """How a batch ended, as places of rows; filled while it is sent, so that an error keeps it.

    Attributes:
        confirmed: The API says that it has them.
        queued: The API says that it will have them, or takes them without any figure.
        unknown: No sound answer: they may be there or not.
        refused: Why the API does not take them, by row.
        attempts: How often each row was sent.
        uploads: How many requests were sent.
    """

    count: int
    confirmed: list[NDArray[np.intp]] = field(default_factory=list)
    queued: list[NDArray[np.intp]] = field(default_factory=list)
    unknown: list[NDArray[np.intp]] = field(default_factory=list)
    refused: dict[int, list[Refusal]] = field(default_factory=dict)
    uploads: int = 0

    def __post_init__(self) -> None:
        """Begin with no attempts."""
        self.attempts = np.zeros(self.count, np.int64)


def upload(send: Send, verdict: Verdict, *, validate_first: bool) -> None:
    """Send all rows of a batch and fill in the verdict.

    Rows that the API names are left out and the others sent again. A batch that is refused
    without naming rows, or for its size, is halved until the culprits stand alone.

    Raises:
        ApiError: when the API cannot be used at all; the verdict then holds what is known.
    """
    _Batch(send, verdict, validate_first=validate_first).deliver(np.arange(verdict.count))


class _Batch:
    def __init__(self, send: Send, verdict: Verdict, *, validate_first: bool) -> None:
        self._send = send
        self._verdict = verdict
        self._validate_first = validate_first
        self._refusals = 0

    def deliver(self, rows: NDArray[np.intp]) -> None:
        """Send rows, fewer at a time as long as they are refused."""
        # Later halves wait at the bottom, so that rows go out in their order.
        waiting = [rows]
        while waiting:
            rows = waiting.pop()
            if not len(rows):
                continue
            try:
                answer = self._try(rows)
            except UploadRefusedError as refusal:
                self._refusals += 1
                waiting += reversed(self._without_culprits(rows, refusal.problems))
            except TooLargeError:
                self._refusals += 1
                waiting += reversed(self._halves(rows, "too_large"))
            except OutcomeUnknownError:
                self._verdict.unknown.append(rows)
            else:
                self._refusals = 0
                self._judge(rows, answer)

    def _try(self, rows: NDArray[np.intp]) -> Upload:
        self._verdict.uploads += 1
        if self._validate_first:
            self._found_by = "validation"
            self._send(rows, validate_only=True)
        self._found_by = "upload"
        self._verdict.attempts[rows] += 1
        return self._send(rows, validate_only=False)

    def _judge(self, rows: NDArray[np.intp], answer: Upload) -> None:
        """Believe an answer only if it has figures that cover all rows."""
        landed = (
            None
            if answer.created is None or answer.updated is None
            else answer.created + answer.updated
        )
        if answer.accepted is not None and answer.accepted < len(rows):
            self._verdict.unknown.append(rows)
        elif answer.job_id is not None or (answer.accepted is None and landed is None):
            self._verdict.queued.append(rows)
        elif landed is not None and landed < len(rows):
            self._verdict.unknown.append(rows)
        else:
            self._verdict.confirmed.append(rows)

    def _without_culprits(
        self, rows: NDArray[np.intp], problems: Sequence[RowProblem]
    ) -> list[NDArray[np.intp]]:
        """Note the refused rows and return what is still to be sent."""
        named = [p for p in problems if p.row is not None and 0 < p.row <= len(rows)]
        if named:
            for problem in named:
                self._refuse(rows[(problem.row or 0) - 1 :][:1], problem.code, problem.field)
            culprits = {problem.row for problem in named}
            return [rows[[place + 1 not in culprits for place in range(len(rows))]]]
        if problems:
            # The header does not fit: no part of the batch can.
            self._refuse(rows, problems[0].code, problems[0].field)
            return []
        return self._halves(rows, "refused")

    def _halves(self, rows: NDArray[np.intp], code: str) -> list[NDArray[np.intp]]:
        """Return both halves of some rows, or nothing when the search for culprits has ended."""
        if len(rows) == 1 or self._refusals > MOST_REFUSALS:
            self._refuse(rows, code, None, retryable=len(rows) > 1)
            return []
        half = len(rows) // 2
        return [rows[:half], rows[half:]]

    def _refuse(
        self,
        rows: NDArray[np.intp],
        code: str | None,
        field: str | None,
        *,
        retryable: bool = False,
    ) -> None:
        refusal = Refusal(code or "refused", field, self._found_by, retryable)
        for row in rows.tolist():
            self._verdict.refused.setdefault(row, []).append(refusal)


def places(parts: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Return the places in some parts as one array."""
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)
