"""One bad row costs one row, however the API says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.client import Upload
from tap_nudgescribe.errors import (
    OutcomeUnknownError,
    RowProblem,
    TooLargeError,
    UploadRefusedError,
)
from target_nudgescribe.upload import Verdict, places, upload

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Api:
    """Takes rows but the bad ones, and refuses a whole upload for one of those."""

    def __init__(self, bad: set[int], *, named: bool, most: int = 10_000) -> None:
        self.bad = bad
        self.most = most
        self.named = named
        self.taken: list[int] = []
        self.uploads = 0

    def __call__(self, rows: NDArray[Any], *, validate_only: bool) -> Upload:
        told = rows.tolist()
        self.uploads += 1
        if len(told) > self.most:
            problem = "too large"
            raise TooLargeError(problem)
        culprits = [place for place, row in enumerate(told, 1) if row in self.bad]
        if culprits:
            problem = {"field": "f", "code": "odd", "message": None}
            problems = [RowProblem(row=place, **problem) for place in culprits]
            raise UploadRefusedError(problems if self.named else [], operation="upload")
        if not validate_only:
            self.taken += told
        return Upload(job_id=None, accepted=len(told), created=len(told), updated=0)


@given(
    size=st.integers(1, 60).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), max_size=8))
    ),
    named=st.booleans(),
    most=st.integers(1, 60),
    validate_first=st.booleans(),
)
def test_every_good_row_lands_once_and_every_bad_one_is_named(
    size: tuple[int, set[int]], *, named: bool, most: int, validate_first: bool
) -> None:
    count, bad = size
    api, verdict = Api(bad, named=named, most=most), Verdict(count)
    upload(api, verdict, validate_first=validate_first)
    assert sorted(api.taken) == [row for row in range(count) if row not in bad]
    assert api.taken == sorted(api.taken)
    assert set(verdict.refused) == bad
    assert sorted(places(verdict.confirmed).tolist()) == api.taken
    assert not verdict.unknown


def test_an_upload_that_names_its_culprits_is_sent_twice() -> None:
    api = Api({3, 7}, named=True)
    upload(api, verdict := Verdict(10_000), validate_first=False)
    assert api.uploads == 2
    assert verdict.refused[3][0].code == "odd"


def test_the_search_for_culprits_ends_when_nothing_is_ever_taken() -> None:
    api = Api(set(range(10_000)), named=False)
    upload(api, verdict := Verdict(10_000), validate_first=False)
    assert len(verdict.refused) == 10_000
    assert api.uploads < 10_100
    assert any(refusals[0].retryable for refusals in verdict.refused.values())


@pytest.mark.parametrize(
    "answer",
    [
        Upload(job_id=None, accepted=1, created=None, updated=None),
        Upload(job_id=None, accepted=None, created=0, updated=1),
        OutcomeUnknownError("no answer"),
    ],
)
def test_an_answer_that_does_not_cover_all_rows_leaves_them_unknown(answer: Any) -> None:
    def send(_: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    upload(send, verdict := Verdict(2), validate_first=False)
    assert places(verdict.unknown).tolist() == [0, 1]
    assert not verdict.confirmed
