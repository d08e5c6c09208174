"""One bad row costs one row, however the API says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_nudgescribe.errors import (
    ContractError,
    NotSentError,
    OutcomeUnknownError,
    RowProblem,
    TooLargeError,
    UploadRefusedError,
)
from tap_nudgescribe.upload_results import Upload, read_upload, upload_refused
from target_nudgescribe.row_numbers import RowNumbers
from target_nudgescribe.upload import MOST_REFUSALS, Verdict, places, upload

if TYPE_CHECKING:
    from numpy.typing import NDArray

Naming = Callable[[list[int], int], list[Any]]

DIALECTS: dict[str, Naming] = {
    "from one": lambda bad, _: [place + 1 for place in bad],
    "from zero": lambda bad, _: bad,
    "header counted": lambda bad, _: [place + 2 for place in bad],
    "text": lambda bad, _: [str(place + 1) for place in bad],
    "text from zero": lambda bad, _: [f" {place}" for place in bad],
    "none": lambda *_: [],
    "only the first": lambda bad, _: [bad[0] + 1],
    "only the first, from zero": lambda bad, _: bad[:1],
    "only the last": lambda bad, _: [bad[-1] + 1],
    "twice": lambda bad, _: [place + 1 for place in bad] * 2,
    "all rows": lambda _, count: list(range(1, count + 1)),
    "the neighbours": lambda bad, _: [place + 4 for place in bad],
    "always the first row": lambda *_: [1],
    "over all uploads": lambda bad, _: [place + 1001 for place in bad],
    "negative": lambda bad, _: [-place - 1 for place in bad],
    "fractions and words": lambda *_: [1.5, "two", None, True],
    "in no order": lambda bad, _: [place + 1 for place in reversed(bad)],
    "no row": lambda *_: [None],
}
"""How an API may number the rows that it refuses, by their places."""


@dataclass
class Api:
    """Takes rows but the bad ones, and refuses a whole upload for one of those."""

    bad: set[int]
    naming: Naming = DIALECTS["from one"]
    most: int = 10_000
    taken: list[int] = field(default_factory=list)
    uploads: int = 0
    rows: int = 0

    def __call__(self, rows: NDArray[Any], *, validate_only: bool) -> Upload:
        sent = rows.tolist()
        self.uploads += 1
        self.rows += len(sent)
        if len(sent) > self.most:
            problem = "too large"
            raise TooLargeError(problem)
        culprits = [place for place, row in enumerate(sent) if row in self.bad]
        if culprits:
            errors = [{"row": n, "code": "odd"} for n in self.naming(culprits, len(sent))]
            raise upload_refused({"errors": errors}, status=400)
        if not validate_only:
            self.taken += sent
        return Upload(job_id=None, accepted=len(sent), created=len(sent), updated=0)


def most_uploads(count: int, bad: int) -> int:
    """The number of uploads that is promised."""
    return 10 + bad * (2 * math.ceil(math.log2(max(count, 2))) + 3)


SIZES = st.integers(1, 300).flatmap(
    lambda count: st.tuples(
        st.just(count), st.sets(st.integers(0, count - 1), max_size=min(count - 1, 12))
    )
)


@given(
    size=SIZES,
    dialects=st.lists(st.sampled_from(sorted(DIALECTS)), min_size=1, max_size=3),
    validate_first=st.booleans(),
)
def test_every_good_row_is_sent_and_only_bad_ones_are_rejected_whatever_the_api_says(
    size: tuple[int, set[int]], dialects: list[str], *, validate_first: bool
) -> None:
    count, bad = size
    numbers = RowNumbers()
    for dialect in dialects:
        api, verdict = Api(bad, DIALECTS[dialect]), Verdict(count)
        upload(api, verdict, validate_first=validate_first, numbers=numbers)
        assert set(api.taken) == {row for row in range(count) if row not in bad}
        assert sorted(places(verdict.confirmed).tolist()) == sorted(set(api.taken))
        assert len(api.taken) <= count - len(bad) + 1, "a single row again, as a proof"
        assert set(verdict.refused) == bad
        assert not any(r.retryable for refusals in verdict.refused.values() for r in refusals)
        assert (verdict.stopped, verdict.unknown) == (False, [])
        assert verdict.uploads <= most_uploads(count, len(bad))


@given(
    size=st.integers(1, 60).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)))
    ),
    dialect=st.sampled_from(sorted(DIALECTS)),
    most=st.integers(1, 60),
    broken_after=st.integers(0, 40),
)
def test_no_innocent_row_is_ever_rejected_for_good(
    size: tuple[int, set[int]], dialect: str, most: int, broken_after: int
) -> None:
    """Not by an API that refuses everything from some upload on either."""
    count, bad = size
    api, verdict = Api(bad, DIALECTS[dialect], most=most), Verdict(count)

    def send(rows: NDArray[Any], *, validate_only: bool) -> Upload:
        if api.uploads >= broken_after:
            api.bad = set(range(count))
        return api(rows, validate_only=validate_only)

    upload(send, verdict, validate_first=False)
    final = {row for row, refusals in verdict.refused.items() if not refusals[0].retryable}
    assert final <= bad
    ended = [*places(verdict.confirmed).tolist(), *verdict.refused]
    assert sorted(ended) == list(range(count))


def test_an_upload_whose_numbers_are_right_takes_one_more_for_each_bad_row() -> None:
    api = Api({3, 7})
    upload(api, verdict := Verdict(10_000), validate_first=False)
    assert api.uploads == 4
    assert verdict.refused[3][0].code == "odd"


def test_a_thousand_bad_rows_of_ten_thousand_take_few_uploads() -> None:
    bad = set(range(0, 10_000, 10))
    for dialect, uploads in (("from one", 1_003), ("from zero", 1_005), ("header counted", 1_010)):
        api = Api(bad, DIALECTS[dialect])
        upload(api, verdict := Verdict(10_000), validate_first=False)
        assert set(verdict.refused) == bad
        assert api.uploads <= uploads
    for dialect in ("none", "only the first", "only the last"):
        api = Api(bad, DIALECTS[dialect])
        upload(api, verdict := Verdict(10_000), validate_first=False)
        assert set(verdict.refused) == bad
        assert not verdict.stopped
        assert api.uploads < 1_000 * 10
        assert api.rows < 10_000 * 30


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("count", [1, 8, 17, 2_000])
def test_where_nothing_passes_nothing_is_final_and_the_search_ends_soon(
    dialect: str, count: int
) -> None:
    api = Api(set(range(count)), DIALECTS[dialect])
    upload(api, verdict := Verdict(count), validate_first=False)
    assert set(verdict.refused) == set(range(count))
    assert all(r.retryable for refusals in verdict.refused.values() for r in refusals)
    assert api.uploads <= MOST_REFUSALS + 2
    assert not verdict.maybe.any()


def test_rows_that_are_too_large_for_everybody_are_not_rejected_for_good() -> None:
    api = Api(set(), most=0)
    upload(api, verdict := Verdict(8), validate_first=False)
    assert {r.code for refusals in verdict.refused.values() for r in refusals} == {"too_large"}
    assert all(refusals[0].retryable for refusals in verdict.refused.values())


def test_good_rows_behind_many_bad_ones_are_sent() -> None:
    api = Api(set(range(1_000)), DIALECTS["none"])
    upload(api, verdict := Verdict(4_000), validate_first=False)
    assert sorted(set(api.taken)) == list(range(1_000, 4_000))
    assert set(verdict.refused) == set(range(1_000))
    assert not any(refusals[0].retryable for refusals in verdict.refused.values())


def test_a_batch_of_mostly_bad_rows_is_left_at_some_point() -> None:
    bad = {row for row in range(10_000) if row % 10}
    api = Api(bad, DIALECTS["none"])
    upload(api, verdict := Verdict(10_000), validate_first=False)
    assert verdict.stopped
    assert api.uploads < 1_000
    final = {row for row, refusals in verdict.refused.items() if not refusals[0].retryable}
    assert final
    assert final <= bad


def test_rows_of_other_columns_prove_nothing() -> None:
    api = Api({4, 5})
    shapes = np.array([0, 0, 0, 0, 1, 1])
    upload(api, verdict := Verdict(6), validate_first=False, shapes=shapes)
    assert set(verdict.refused) == {4, 5}
    assert all(refusals[0].retryable for refusals in verdict.refused.values())
    api = Api({4})
    upload(api, verdict := Verdict(6), validate_first=False, shapes=shapes)
    assert not verdict.refused[4][0].retryable


def test_a_conflict_is_never_final() -> None:
    def send(rows: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        if 1 in rows.tolist():
            raise UploadRefusedError([], operation="upload_customers", status=409)
        return Upload(job_id=None, accepted=len(rows), created=len(rows), updated=0)

    upload(send, verdict := Verdict(4), validate_first=False)
    assert (set(verdict.refused), verdict.refused[1][0].retryable) == ({1}, True)


def test_what_was_certainly_not_received_may_not_be_in_the_account() -> None:
    def send(rows: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        problem = "no connection"
        raise NotSentError(problem)

    with pytest.raises(NotSentError):
        upload(send, verdict := Verdict(4), validate_first=False)
    assert not verdict.maybe.any()
    assert (verdict.unknown, verdict.refused) == ([], {})


NO_FIGURES: dict[str, Any] = {"job_id": None, "accepted": None, "created": None, "updated": None}


@pytest.mark.parametrize(
    "answer",
    [
        {"accepted": 1},
        {"accepted": 3},
        {"created": 0, "updated": 1},
        {"created": 2, "updated": 1},
        {"accepted": 2, "created": 1, "updated": 0},
        {"accepted": 2, "created": 5, "updated": 0},
        {"accepted": 2, "created": -1, "updated": 3},
        {"accepted": 2, "created": "many", "updated": 0},
        {"accepted": 2, "created": 2, "updated": 0, "success": False},
        {"accepted": 2, "created": 2, "updated": 0, "success": "false"},
        {"accepted": 2, "created": 2, "updated": 0, "errors": [{"row": 1}]},
        {"accepted": 2, "created": 2, "updated": 0, "failed": ["r-1"]},
        {"accepted": 2, "created": 2, "updated": 0, "rejected": 1},
        {"accepted": 2, "created": 2, "updated": 0, "rejected": "1"},
        {"accepted": 2, "created": 2, "updated": 0, "error": "canary"},
        {"accepted": 2, "created": 2, "updated": 0, "status": "failed"},
        {"accepted": 2, "data": {"accepted": 1}},
        {"success": False},
        {"success": True, "data": {"accepted": 2, "created": 1, "updated": 0}},
        {"success": True, "data": {"created": 2, "updated": 0, "errors": [{}]}},
        {"job_id": "j", "accepted": 1},
        OutcomeUnknownError("no answer"),
    ],
    ids=repr,
)
def test_an_answer_that_contradicts_itself_or_the_rows_leaves_them_unknown(answer: Any) -> None:
    def send(_: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        if isinstance(answer, Exception):
            raise answer
        return read_upload(answer)

    upload(send, verdict := Verdict(2), validate_first=False)
    assert places(verdict.unknown).tolist() == [0, 1]
    assert not verdict.taken
    assert verdict.maybe.all()


@pytest.mark.parametrize(
    "answer",
    [
        {"accepted": 2},
        {"created": 2, "updated": 0},
        {"created": 1, "updated": "1"},
        {"created": 2},
        {"accepted": 2.0, "created": 0, "updated": 1, "unchanged": 1},
        {"accepted": 2, "created": 1, "updated": 1, "errors": [], "failed": 0, "success": True},
        {"success": True, "data": {"accepted": 2, "created": 1, "updated": 1}},
        {"success": "true", "data": {"result": {"accepted": "2"}}, "error": None},
        {"accepted": 2, "data": {"accepted": 2}, "status": "ok", "rejected": "0"},
    ],
    ids=repr,
)
def test_figures_that_cover_all_rows_are_believed_in_any_envelope(answer: Any) -> None:
    assert read_upload(answer).outcome(2) == "done"


@pytest.mark.parametrize(
    "answer",
    [{}, {"message": "Done"}, {"job_id": "j", "accepted": 2, "created": 0, "updated": 0}],
    ids=repr,
)
def test_what_has_no_figures_or_is_queued_is_read_back(answer: Any) -> None:
    assert read_upload(answer).outcome(2) == "queued"


def test_an_answer_that_says_by_its_figures_that_nothing_was_taken_is_a_refusal() -> None:
    def send(rows: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        if 2 in rows.tolist():
            refused = {"accepted": 0, "rejected": len(rows), "errors": [{"row": 1, "code": "odd"}]}
            return read_upload(refused)
        return read_upload({"accepted": len(rows)})

    upload(send, verdict := Verdict(6), validate_first=False)
    assert {row: refusals[0].code for row, refusals in verdict.refused.items()} == {2: "odd"}
    assert sorted(places(verdict.confirmed).tolist()) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("error", [ContractError("an odd shape"), OutcomeUnknownError("none")])
def test_what_may_have_been_received_is_kept_as_such(error: Exception) -> None:
    def send(_: NDArray[Any], *, validate_only: bool) -> Upload:  # noqa: ARG001 (the protocol)
        raise error

    verdict = Verdict(2)
    if isinstance(error, OutcomeUnknownError):
        upload(send, verdict, validate_first=False)
    else:
        with pytest.raises(ContractError):
            upload(send, verdict, validate_first=False)
    assert verdict.maybe.all()


def test_row_problems_are_read_out_of_any_envelope_and_quote_nothing() -> None:
    problem = {"row": "3", "field": "Tier", "code": "odd", "message": "canary"}
    for answer in (
        {"errors": [problem]},
        {"success": False, "data": {"errors": [problem]}},
        {"error": {"failures": [problem, "canary"]}},
    ):
        (found,) = upload_refused(answer, status=422).problems
        assert (found.row, found.field, found.code) == (3, "Tier", "odd")
        assert "canary" not in repr(found)
    assert (
        RowProblem(row=None, field=None, code=None, message=None)
        in upload_refused(
            {"errors": [{"row": True, "code": "a value, quoted"}]}, status=400
        ).problems
    )
