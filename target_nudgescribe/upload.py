"""Upload a batch and find out how it ended for each row: one bad row costs one row.

A row is rejected for good only when it was refused alone and a row with the same columns was taken
after it. Everything else that is refused is sent again by the next run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tap_nudgescribe.errors import (
    ApiError,
    ContractError,
    OutcomeUnknownError,
    TooLargeError,
    UploadRefusedError,
)
from target_nudgescribe.row_numbers import RowNumbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.errors import RowProblem
    from tap_nudgescribe.upload_results import Outcome, Upload

ELSEWHERE = 64
"""Refusals in a row after which the search goes on with the largest part that is left."""

MOST_REFUSALS = 128
"""Refusals in a row, without a row that is taken or found to be the cause, that end the search."""

MOST_INVALID = 200
"""Rows refused alone that end the search when they are more than the rows taken."""

CONFLICT = 409


class Send(Protocol):
    """Uploads rows, or only has them checked."""

    def __call__(self, rows: NDArray[np.intp], *, validate_only: bool) -> Upload:
        """Send the rows at these places of the batch, in ascending order."""


@dataclass(frozen=True)
class Refusal:
    """Why the API does not take a row."""

    code: str
    field: str | None
    found_by: str
    """``validation`` or ``upload``."""
    retryable: bool = False
    """Whether it is not proved that the row itself is the cause."""


@dataclass
class Verdict:
    """How a batch ended, as places of rows; filled while it is sent, so that an error keeps it.

    Attributes:
        confirmed: The API says that it has them.
        queued: The API says that it will have them, or takes them without any figure.
        unknown: No sound answer: they may be there or not.
        refused: Why the API does not take them, by row.
        uploads: How many requests were sent.
        attempts: How often each row was sent: int64, (count,).
        maybe: Which rows the API may have taken: bool, (count,).
        unanswered: Whether an upload got no sound answer at all.
        stopped: Whether the search for the rows that are refused ended before all were tried.
    """

    count: int
    confirmed: list[NDArray[np.intp]] = field(default_factory=list)
    queued: list[NDArray[np.intp]] = field(default_factory=list)
    unknown: list[NDArray[np.intp]] = field(default_factory=list)
    refused: dict[int, list[Refusal]] = field(default_factory=dict)
    uploads: int = 0
    stopped: bool = False
    unanswered: bool = False

    def __post_init__(self) -> None:
        """Begin with no attempts."""
        self.attempts = np.zeros(self.count, np.int64)
        self.maybe = np.zeros(self.count, bool)

    @property
    def taken(self) -> bool:
        """Whether the API has taken any row."""
        return bool(self.confirmed or self.queued)


def upload(
    send: Send,
    verdict: Verdict,
    *,
    validate_first: bool,
    shapes: NDArray[np.intp] | None = None,
    numbers: RowNumbers | None = None,
) -> None:
    """Send all rows of a batch and fill in the verdict.

    Rows that the API names are tried alone, and the others without them. A batch that is refused
    without naming rows, or for its size, is halved until the causes stand alone. For n rows of
    which k are refused this takes at most ``10 + k * (2 * ceil(log2(n)) + 3)`` uploads, and it
    ends earlier when hardly any row is taken.

    Args:
        send: Sends rows.
        verdict: Filled in.
        validate_first: Whether the API checks rows before they are uploaded.
        shapes: Number of the set of columns of each row; all the same if not given.
        numbers: What is known of the API's row numbers.

    Raises:
        ApiError: when the API cannot be used at all; the verdict then holds what is known.
    """
    shapes = np.zeros(verdict.count, np.intp) if shapes is None else shapes
    search = _Search(send, verdict, validate_first, shapes, numbers or RowNumbers())
    try:
        search.run(np.arange(verdict.count))
        search.prove()
    finally:
        search.close()


@dataclass(frozen=True)
class _Part:
    """Rows that are still to be sent.

    Attributes:
        rows: Their places.
        named: Whether the API has named them: they are sent one by one.
        again: Whether they are what a refusal has left without the rows that it named.
    """

    rows: NDArray[np.intp]
    named: bool = False
    again: bool = False


@dataclass(frozen=True)
class _Alone:
    """A row that was refused alone."""

    upload: int
    """After how many uploads."""
    refusals: list[Refusal]


class _Search:
    """Sends rows, fewer at a time as long as they are refused."""

    def __init__(
        self,
        send: Send,
        verdict: Verdict,
        validate_first: bool,  # noqa: FBT001 (private)
        shapes: NDArray[np.intp],
        numbers: RowNumbers,
    ) -> None:
        self._send = send
        self._verdict = verdict
        self._validate_first = validate_first
        self._shapes = shapes
        self._numbers = numbers
        self._open: list[_Part] = []
        self._alone: dict[int, _Alone] = {}
        self._took: dict[int, tuple[int, int]] = {}
        """For each set of columns after how many uploads a row was taken last, and which."""
        self._rows_taken = 0
        self._stalled = 0

    def run(self, rows: NDArray[np.intp]) -> None:
        """Send rows until each is taken, refused alone, or not to be found out."""
        self._push(_Part(rows))
        while self._open and not self._is_hopeless():
            part = self._next()
            tried = part.rows[:1] if part.named else part.rows
            left = part.rows[1:] if part.named else part.rows[:0]
            try:
                outcome = self._try(tried)
            except (UploadRefusedError, TooLargeError) as error:
                self._push(_Part(left, named=True))
                self._refused(part, tried, error)
            except OutcomeUnknownError:
                self._push(_Part(left, named=True))
                self._verdict.unknown.append(tried)
                self._verdict.unanswered = True
                self._stalled += 1
            else:
                if part.named:
                    self._numbers.disprove()
                self._push(_Part(left))
                self._judge(tried, outcome)

    def prove(self) -> None:
        """Send a row once more that was taken, to see that its like are taken still.

        Where nothing was taken since a row was refused alone, the API may have begun to refuse
        everything. The row has the same values, so that nothing changes.
        """
        for shape in sorted({int(self._shapes[row]) for row in self._alone}):
            if shape not in self._took or not self._unproved(shape):
                continue
            row = np.array([self._took[shape][1]])
            try:
                taken = self._try(row) != "doubtful"
            except (UploadRefusedError, TooLargeError, OutcomeUnknownError):
                taken = False
            if taken:
                self._took[shape] = self._verdict.uploads, int(row[0])

    def close(self) -> None:
        """Note which rows are refused, and which of them for good."""
        for row, alone in self._alone.items():
            proved = not self._is_unproved(row)
            self._verdict.refused[row] = [
                refusal
                if proved and not refusal.retryable
                else Refusal(refusal.code, refusal.field, refusal.found_by, retryable=True)
                for refusal in alone.refusals
            ]
        if self._is_hopeless():
            self._verdict.stopped = bool(self._open)
            for part in self._open:
                refusal = Refusal("refused", None, self._found_by, retryable=True)
                self._verdict.refused.update({row: [refusal] for row in part.rows.tolist()})

    def _try(self, rows: NDArray[np.intp]) -> Outcome:
        """Send rows and return what became of them: ``done``, ``queued`` or ``doubtful``.

        Raises:
            UploadRefusedError: also for a response that says by its figures that nothing was taken.
        """
        verdict = self._verdict
        verdict.uploads += 1
        if self._validate_first:
            self._found_by = "validation"
            checked = self._send(rows, validate_only=True)
            if checked.failed:
                raise UploadRefusedError(checked.problems, operation="upload_customers")
        self._found_by = "upload"
        verdict.attempts[rows] += 1
        before = verdict.maybe[rows]
        verdict.maybe[rows] = True
        try:
            response = self._send(rows, validate_only=False)
        except ApiError as error:
            answered = isinstance(error, ContractError) and not error.refused
            if not answered and not isinstance(error, OutcomeUnknownError):
                verdict.maybe[rows] = before
            raise
        outcome = response.outcome(len(rows))
        if outcome == "refused":
            raise UploadRefusedError(response.problems, operation="upload_customers")
        return outcome

    def _judge(self, rows: NDArray[np.intp], outcome: Outcome) -> None:
        """Note rows that were not refused."""
        verdict = self._verdict
        if outcome == "doubtful":
            verdict.unknown.append(rows)
            self._stalled += 1
            return
        (verdict.queued if outcome == "queued" else verdict.confirmed).append(rows)
        self._stalled = 0
        self._rows_taken += len(rows)
        for shape, first in zip(*np.unique(self._shapes[rows], return_index=True), strict=True):
            self._took[int(shape)] = verdict.uploads, int(rows[first])

    def _refused(
        self, part: _Part, rows: NDArray[np.intp], error: UploadRefusedError | TooLargeError
    ) -> None:
        """Note a row that was refused alone, or take what was refused together apart."""
        problems = error.problems if isinstance(error, UploadRefusedError) else ()
        if len(rows) == 1:
            code = "too_large" if isinstance(error, TooLargeError) else "refused"
            # What conflicts with other work may be taken later.
            conflict = isinstance(error, UploadRefusedError) and error.status == CONFLICT
            self._note_alone(int(rows[0]), problems, code, retryable=conflict)
            return
        self._stalled += 1
        places = self._numbers.suspects(problems, len(rows))
        rest = np.delete(rows, places)
        if part.again or not len(places):
            half = (len(rest) + 1) // 2
            self._push(_Part(rest[half:]))
            self._push(_Part(rest[:half]))
        else:
            self._push(_Part(rest, again=True))
        self._push(_Part(rows[places], named=True))

    def _note_alone(
        self, row: int, problems: Sequence[RowProblem], code: str, *, retryable: bool
    ) -> None:
        named = [(p.code or code, p.field) for p in problems] or [(code, None)]
        refusals = [
            Refusal(told, name, self._found_by, retryable) for told, name in dict.fromkeys(named)
        ]
        self._alone[row] = _Alone(self._verdict.uploads, refusals)
        # With rows like it taken in this batch, it is found to be a cause: that is progress.
        self._stalled = 0 if int(self._shapes[row]) in self._took else self._stalled + 1

    def _push(self, part: _Part) -> None:
        if len(part.rows):
            self._open.append(part)

    def _next(self) -> _Part:
        """Return the next part: neighbours first, and after many refusals the largest."""
        if self._stalled < ELSEWHERE:
            return self._open.pop()
        sizes = [1 if part.named else len(part.rows) for part in self._open]
        return self._open.pop(int(np.argmax(sizes)))

    def _is_hopeless(self) -> bool:
        """Say whether too much is refused for the causes to be looked for one by one."""
        invalid = len(self._alone)
        return self._stalled > MOST_REFUSALS or (
            invalid >= MOST_INVALID and invalid > self._rows_taken
        )

    def _is_unproved(self, row: int) -> bool:
        """Say whether no row with the same columns was taken after a row was refused alone."""
        return self._took.get(int(self._shapes[row]), (0, 0))[0] <= self._alone[row].upload

    def _unproved(self, shape: int) -> list[int]:
        return [row for row in self._alone if self._shapes[row] == shape and self._is_unproved(row)]


def places(parts: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Return the places in some parts as one array."""
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)
