"""Keep two runs off the same ledger: the second one fails fast."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.errors import NudgescribeError
from tap_nudgescribe.private_files import private_folder, remove_leftovers
from target_nudgescribe.storage import StorageError, require_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from target_nudgescribe.storage import Storage
    from target_nudgescribe.versions import Version

LIFE_SECONDS = 1800
"""How long a lock in an object store holds without being renewed."""

NAME = "lock.json"


class LockedError(NudgescribeError):
    """Another run has the ledger."""

    advice = (
        "Wait until it has ended. A lock of a run that died ends by itself, in an object store "
        f"within {LIFE_SECONDS // 60} minutes by that machine's clock."
    )


@dataclass
class Lock:
    """The right to write a ledger, from :func:`lock` to :meth:`release`.

    In a local folder it is a lock of the operating system, which ends with the process. In an
    object store it is an object that says until when, and that is written only if it still is as it
    was found: of two runs that start within the same moment, one gets it.
    """

    storage: Storage
    run_id: str
    until: float = 0
    _release: Callable[[], object] | None = field(default=None, repr=False)
    """Gives a local lock back; so does forgetting this object."""

    def renew(self) -> None:
        """Hold an object store's lock for longer, when half of its time is over.

        One that has run out is still there, unless another run has taken it.

        Raises:
            LockedError: when one has.
        """
        if self._release or time.time() < self.until - LIFE_SECONDS / 2:
            return
        found = self.storage.version(NAME)
        if _read(found)[0] != self.run_id:
            raise _locked(self.storage)
        self.until = _hold(self.storage, self.run_id, found)

    def release(self) -> None:
        """Let the next run in."""
        if self._release:
            self._release()
            return
        found = self.storage.version(NAME)
        if _read(found)[0] == self.run_id:
            self.storage.replace(NAME, _told(self.run_id, 0), found)


def lock(storage: Storage, run_id: str) -> Lock:
    """Take the lock of a ledger's folder.

    Raises:
        LockedError: when another run has it.
    """
    folder = storage.local
    if folder is not None:
        descriptor = _lock_file(folder, storage)
        local = Lock(storage, run_id)
        local._release = weakref.finalize(local, os.close, descriptor)  # noqa: SLF001 (its maker)
        return local
    found = storage.version(NAME)
    if _read(found)[1] > time.time():
        raise _locked(storage)
    return Lock(storage, run_id, _hold(storage, run_id, found))


def _hold(storage: Storage, run_id: str, found: Version | None) -> float:
    """Write a lock in place of what was found, and return until when it holds.

    It is read back, because the answer to a write that was done may be lost, and because there may
    be stores that do not know conditions.
    """
    until = time.time() + LIFE_SECONDS
    told = _told(run_id, until)
    refusal: NudgescribeError = _locked(storage)
    try:
        storage.replace(NAME, told, found)
    except StorageError as error:
        refusal = error
    written = storage.version(NAME)
    if written is None or written.content != told:
        raise refusal
    return until


def _lock_file(folder: Path, storage: Storage) -> int:
    """Return a descriptor that holds the lock until it is closed or the process ends."""
    try:
        private_folder(folder)
        # Without O_NONBLOCK the opening of a pipe would wait for ever.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(folder / "lock", flags, 0o600)
        require_plain(descriptor, folder / "lock")
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise StorageError.of(error, f"Cannot write {folder / 'lock'}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _locked(storage) from None
    # Whoever has the lock is the only one who writes here.
    remove_leftovers(folder, seconds=0)
    return descriptor


def raise_file_limit() -> None:
    """Let this process open as many files as its user may: each group's ledger has a lock."""
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _told(run_id: str, until: float) -> bytes:
    return json.dumps({"run_id": run_id, "until": until}).encode()


def _read(found: Version | None) -> tuple[str, float]:
    """Return the run that has a lock, and until when; a time long ago when there is none."""
    told: dict[str, Any] = json.loads(found.content) if found else {"run_id": "", "until": 0}
    return told["run_id"], told["until"]


def _locked(storage: Storage) -> LockedError:
    return LockedError(f"Another run is writing {storage.uri}")
