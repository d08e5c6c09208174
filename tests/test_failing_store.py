"""Object stores that fail in between, or list late: nothing is lost, and errors say where."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig, StorageTarget

from campaign.bucket import Bucket, StoreFault
from campaign.exports import NAMES, Exports
from tap_nudgescribe import errors
from tap_nudgescribe.batch_files import BatchFiles, arrow_schema
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.message_sources import Run, storage_source
from target_nudgescribe.ledger import SENT, Ledger, new_entries
from target_nudgescribe.lock import LIFE_SECONDS, LockedError, lock
from target_nudgescribe.storage import Storage, StorageError
from tests.sandbox import truth
from tests.sandbox.day import live_a_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests import conftest
    from tests.sandbox import Sandbox

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # of the store's client
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STREAM = "published_messages"


@pytest.fixture(scope="module")
def running() -> Iterator[Bucket]:
    with Bucket(random.Random(1)) as one:  # noqa: S311 (no secret)
        yield one


@pytest.fixture
def bucket(running: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("smart_open.s3.time", SimpleNamespace(sleep=lambda _: None))
    yield running
    running.heal()
    for key in running.keys(""):
        running.delete(key)


def loaded(*runs: conftest.Run) -> dict[Any, Any]:
    """Return what a loader makes of several runs: the id of each message by its key."""
    return {
        tuple(record[name] for name in truth.KEYS[STREAM]): record["message_id"]
        for run in runs
        for record in run.records(STREAM)
    }


def test_a_file_that_is_listed_late_is_read_then_and_changes_no_number(
    sandbox: Sandbox, tap: Callable[..., conftest.Run], bucket: Bucket
) -> None:
    exports = Exports(sandbox.account, bucket, NAMES[-1])
    exports.export()
    published = live_a_day(sandbox.account)["campaigns_published"][0]
    late = next(key for key in sorted(exports.export()) if published in key)
    assert late.endswith("part-00000.csv")
    bucket.hidden, bucket.listings = {late}, 1000
    first = tap(message_storage_root=bucket.root)
    assert first.code == 0
    bucket.heal()
    second = tap(message_storage_root=bucket.root, state=first.state)
    assert loaded(first, second) == {
        tuple(row[name] for name in truth.KEYS[STREAM]): row["Message ID"]
        for row in truth.rows(sandbox.account, STREAM)
    }


def opened(sandbox: Sandbox, bucket: Bucket) -> tuple[Any, Run]:
    """Return the bucket as a source of files, and a run that was published long ago."""
    Exports(sandbox.account, bucket, NAMES[0]).export()
    client = NudgescribeClient.from_config(sandbox.config)
    source = storage_source(bucket.root, client, lambda: sandbox.account.account_id)
    campaign, run = sandbox.account.runs[0]
    return source, Run(
        campaign.campaign_id, run.run_number, run is campaign.current_run, run.published_at
    )


def test_files_that_are_still_missing_after_a_day_are_an_error(
    sandbox: Sandbox, bucket: Bucket
) -> None:
    source, run = opened(sandbox, bucket)
    bucket.hidden, bucket.listings = {*bucket.keys("")}, 1
    with pytest.raises(errors.StorageError, match="lists 0 of 1 files of run 1"):
        source.count(run)
    assert source.count(run) == 1


def test_a_message_file_that_breaks_off_is_an_error_of_the_storage(
    sandbox: Sandbox, bucket: Bucket
) -> None:
    source, run = opened(sandbox, bucket)
    assert source.count(run) == 1
    bucket.faults = [StoreFault("store cuts its answer", "GET", times=1000, after=0)]
    with source.open(run, 1) as file, pytest.raises(errors.StorageError, match="cannot be read"):
        file.read()


def test_a_part_of_a_batch_file_that_is_not_taken_is_an_error_of_the_storage(
    bucket: Bucket,
) -> None:
    config = BatchConfig(
        BaseBatchFileEncoding(format="jsonl", compression="none"), StorageTarget(bucket.root)
    )
    files = BatchFiles(config, stem="s", schema=arrow_schema({}), file_bytes=2**30)
    bucket.faults = [StoreFault("store refuses access", "PUT", times=1, after=0)]
    with pytest.raises(errors.StorageError, match="A batch file cannot be written"):
        files.write(b" " * (51 * 2**20), 1)
    files.abandon()
    assert bucket.keys("") == []


def test_the_target_s_own_file_that_breaks_off_is_an_error_of_the_storage(bucket: Bucket) -> None:
    storage = Storage(f"{bucket.root}/state")
    storage.write("ledger.json", b"{}" * 1000)
    bucket.faults = [StoreFault("store cuts its answer", "GET", times=1000, after=0)]
    with pytest.raises(StorageError, match=r"Cannot read ledger\.json"):
        storage.read("ledger.json")


def test_a_lock_whose_answer_is_lost_is_held(bucket: Bucket) -> None:
    storage = Storage(f"{bucket.root}/state")
    bucket.faults = [StoreFault("store loses its answer", "PUT", times=1, after=0)]
    held = lock(storage, "one")
    with pytest.raises(LockedError):
        lock(storage, "two")
    held.release()
    lock(storage, "two").release()


def test_a_lock_that_has_run_out_is_still_there_unless_another_run_has_taken_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(f"{bucket.root}/state")
    clock = [time.time()]
    monkeypatch.setattr("target_nudgescribe.lock.time", SimpleNamespace(time=lambda: clock[0]))
    held = lock(storage, "one")
    clock[0] += LIFE_SECONDS + 1
    held.renew()
    with pytest.raises(LockedError):
        lock(storage, "two")
    clock[0] += LIFE_SECONDS + 1
    other = lock(storage, "two")
    ledger = Ledger(storage, hold=held.renew)
    keys = np.array([[1, 1]], np.uint64)
    with pytest.raises(LockedError):
        ledger.record(new_entries(keys, keys, SENT))
    held.release()
    with pytest.raises(LockedError):
        lock(storage, "three")
    other.release()


def test_a_store_that_fails_is_not_taken_for_another_run(bucket: Bucket) -> None:
    storage = Storage(f"{bucket.root}/state")
    bucket.faults = [StoreFault("store fails", "PUT", times=1, after=0)]
    with pytest.raises(StorageError, match=r"Cannot write lock\.json"):
        lock(storage, "one")
