"""The ledger: what it says after any run, whenever that run ended."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_nudgescribe import ledger as books
from target_nudgescribe.ledger import REJECTED, SENT, UNCERTAIN, Ledger, new_entries
from target_nudgescribe.lock import LockedError, lock
from target_nudgescribe.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


def prints(*numbers: int) -> Any:
    return np.array([[number, number + 1] for number in numbers], np.uint64).reshape(-1, 2)


def spread(*numbers: int) -> Any:
    """Return prints that are far from each other, as real ones are."""
    return prints(*(number << 59 for number in numbers))


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 20), max_size=6), st.integers(0, 5), st.sampled_from([1, 2, 3])
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(STEPS, st.sets(st.integers(0, 12)))
def test_the_last_entry_of_a_key_holds_however_often_it_is_read_and_compacted(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, reopened: set[int]
) -> None:
    storage = Storage(str(tmp_path_factory.mktemp("ledger")))
    ledger, truth = Ledger(storage), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "AT_ONCE", 2)
        for number, (keys, row, status) in enumerate(steps):
            if keys:
                ledger.record(new_entries(spread(*keys), prints(*[row] * len(keys)), status))
                truth.update(dict.fromkeys(keys, (row, status)))
            if number in reopened:
                ledger.compact()
            if number + 1 in reopened:
                ledger = Ledger(storage)
    found = Ledger(storage).find(spread(*range(21)))
    told = {key: (int(e["row"]), int(e["status"])) for key, e in enumerate(found) if e["status"]}
    assert told == truth


def test_an_intent_without_an_outcome_makes_a_key_uncertain(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    ledger.record(new_entries(prints(1, 2), prints(7, 7), SENT))
    ledger.intend(prints(2, 3))
    assert Ledger(Storage(str(tmp_path))).find(prints(1, 2, 3))["status"].tolist() == [
        SENT,
        UNCERTAIN,
        0,
    ]
    ledger.record(new_entries(prints(2, 3), prints(8, 8), SENT))
    assert Ledger(Storage(str(tmp_path))).find(prints(1, 2, 3))["row"].tolist() == [7, 8, 8]


def test_codes_of_rejects_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    codes = np.array([ledger.code("too_long"), ledger.code("odd")], np.uint8)
    ledger.record(new_entries(prints(1, 2), prints(1, 2), REJECTED, codes=codes))
    ledger.compact()
    again = Ledger(Storage(str(tmp_path)))
    assert [again.codes[code] for code in again.find(prints(1, 2))["code"]] == ["too_long", "odd"]


def test_a_lost_base_means_that_nothing_is_known(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    ledger.record(new_entries(prints(1), prints(1), SENT))
    ledger.compact()
    next(tmp_path.glob("base-*")).unlink()
    again = Ledger(Storage(str(tmp_path)))
    assert again.lost
    assert again.find(prints(1))["status"].tolist() == [0]
    again.record(new_entries(prints(2), prints(2), SENT))
    again.compact()
    assert Ledger(Storage(str(tmp_path))).find(prints(1, 2))["status"].tolist() == [0, SENT]


def test_unseen_keys_are_those_that_were_sent_and_not_met(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    ledger.record(new_entries(prints(1, 2), prints(1, 1), SENT))
    ledger.record(new_entries(prints(3), prints(1), REJECTED))
    again = Ledger(Storage(str(tmp_path)))
    again.find(prints(2))
    assert again.unseen()["key"].tolist() == [1]


def test_a_ledger_of_few_keys_is_small(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        held = [Ledger(Storage(str(tmp_path / str(number)))) for number in range(50)]
        for ledger in held:
            ledger.record(new_entries(spread(*range(20)), spread(*range(20)), SENT))
        assert tracemalloc.get_traced_memory()[0] < 50 * 2**18
    finally:
        tracemalloc.stop()


def test_a_second_run_fails_fast_and_the_lock_ends_with_the_first(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "new"))
    first = lock(storage, "one")
    with pytest.raises(LockedError, match="Another run"):
        lock(storage, "two")
    first.release()
    lock(storage, "two").release()


def test_a_ledger_whose_delta_is_missing_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    for number in range(3):
        ledger.record(new_entries(prints(number), prints(1), SENT))
    next(tmp_path.glob("delta-*-1.parquet")).unlink()
    again = Ledger(Storage(str(tmp_path)))
    assert again.lost
    assert again.find(prints(0, 1, 2))["status"].tolist() == [0, 0, 0]
    again.record(new_entries(prints(5), prints(1), SENT))
    assert Ledger(Storage(str(tmp_path))).find(prints(0, 2, 5))["status"].tolist() == [0, 0, SENT]


def test_a_base_that_is_older_than_its_listing_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    ledger.record(new_entries(prints(1), prints(1), SENT))
    ledger.compact()
    base = next(tmp_path.glob("base-*"))
    older = base.read_bytes()
    for number in (2, 3):
        ledger.record(new_entries(prints(number), prints(1), SENT))
        ledger.compact()
    base.write_bytes(older)
    assert Ledger(Storage(str(tmp_path))).lost


def test_forgotten_keys_leave_no_trace_in_any_file(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)))
    for number in range(1, 5):
        ledger.record(new_entries(spread(number), prints(1), SENT))
        if number == 2:
            ledger.compact()
    assert ledger.forget(spread(2, 3, 9)) == 2
    assert ledger.forget(spread(2, 3, 9)) == 0
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert all(spread(number).astype("<u8")[0, 0].tobytes() in held for number in (1, 4))
    assert not any(spread(number).astype("<u8")[0, 0].tobytes() in held for number in (2, 3))
    statuses = Ledger(Storage(str(tmp_path))).find(spread(1, 2, 3, 4))["status"].tolist()
    assert statuses == [SENT, 0, 0, SENT]
