"""Erase customers from everything that the target keeps: ledgers and rejects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tap_nudgescribe.errors import NudgescribeError
from tap_nudgescribe.private_files import remove_leftovers
from target_nudgescribe.ledger import LISTING, Ledger, LedgerOwner
from target_nudgescribe.lock import lock
from target_nudgescribe.rejects import PRINT, without_customers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from target_nudgescribe.fingerprints import Hashing
    from target_nudgescribe.storage import Storage

BEYOND_REACH = (
    "Not reached: the account itself (delete the customers there first, with mode: delete), the "
    "source, BATCH files, logs, backups, and older versions of objects in a bucket that keeps them."
)


class ForgetError(NudgescribeError):
    """Customers could not be erased everywhere."""

    advice = "Run the same command again once that is solved: what is erased stays erased."


@dataclass
class Erased:
    """What was erased; figures only.

    Attributes:
        keys: How many different identifiers were given.
        ledgers: How many ledgers were searched.
        entries: How many entries of ledgers were removed.
        files: How many files of rejects were searched.
        rejects: How many rows of rejects were removed.
        unreadable: Files of rejects that could not be read, by path.
    """

    keys: int
    ledgers: int = 0
    entries: int = 0
    files: int = 0
    rejects: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the figures in a sentence."""
        return (
            f"{self.keys} identifiers: {self.entries} entries removed from {self.ledgers} ledgers, "
            f"{self.rejects} rows removed from {self.files} files of rejects."
        )


def read_keys(lines: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the identifiers of a file: one a line, blank lines left out, each once.

    A line is the text of the identifier as the account shows it. Where several fields identify a
    customer together, it is a JSON array of their texts, in the order of the setting
    ``identifier``.
    """
    return list(dict.fromkeys(_key(line.rstrip("\r\n")) for line in lines if line.strip()))


def _key(line: str) -> tuple[str, ...]:
    if line.startswith("["):
        try:
            parts = json.loads(line)
        except ValueError:
            return (line,)
        if len(parts) > 1 and all(isinstance(part, str) for part in parts):
            return tuple(parts)
    return (line,)


def forget(
    storage: Storage, keys: Iterable[tuple[str, ...]], hashing: Hashing, *, run_id: str
) -> Erased:
    """Remove customers from all ledgers and rejects.

    Each file is replaced as a whole. A run that dies midway is made good by running it again.

    Args:
        storage: The files at ``state_uri``.
        keys: Identifiers, see :func:`read_keys`.
        hashing: Makes the hashes, with the key that the ledgers were written with.
        run_id: Names this run, for the locks.

    Raises:
        LockedError: when another run is writing a ledger.
        ForgetError: when a file of rejects cannot be read; all others are done then.
        StorageError: when a file cannot be read or written.
    """
    wanted = list(keys)
    hashes = _hashes(wanted, hashing)
    erased = Erased(len(wanted))
    for place in _ledgers(storage.below("ledgers")):
        place.require_own(levels=0)
        held = lock(place, run_id)
        try:
            ledger = Ledger(place, LedgerOwner(hash_check=hashing.check_value), hold=held.renew)
            erased.entries += ledger.forget(hashes)
            erased.ledgers += 1
        finally:
            held.release()
    texts = {"|".join(parts) for parts in wanted}
    texts |= {f"{PRINT}{one.tobytes().hex()}" for one in hashes}
    _forget_rejects(storage.below("rejects"), texts, erased)
    if erased.unreadable:
        problem = f"{len(erased.unreadable)} files of rejects cannot be read: " + ", ".join(
            erased.unreadable
        )
        problem = f"{erased} {problem}"
        raise ForgetError(problem)
    return erased


def _hashes(keys: Iterable[tuple[str, ...]], hashing: Hashing) -> NDArray[np.uint64]:
    """Return the hash of each key as ledgers have it: ``uint64, (n, 2)``."""
    made = [hashing.keys([pa.array([part], pa.string()) for part in parts]) for parts in keys]
    return np.concatenate(made) if made else np.empty((0, 2), np.uint64)


def _ledgers(storage: Storage) -> list[Storage]:
    """Return the folder of each ledger."""
    found = {
        str(PurePosixPath(file.name).parent)
        for file in storage.files()
        if PurePosixPath(file.name).name == LISTING
    }
    return [storage.at(path) for path in sorted(found)]


def _forget_rejects(storage: Storage, texts: set[str], erased: Erased) -> None:
    for folder in storage.folders():
        if folder.local is not None:
            remove_leftovers(folder.local, seconds=0)
    for file in list(storage.files()):
        form = file.name.rpartition(".")[2]
        content = storage.read(file.name)
        if content is None:
            continue
        erased.files += 1
        try:
            kept, removed = without_customers(content, form, texts)
        except ValueError:
            erased.unreadable.append(file.name)
            continue
        if removed:
            storage.write(file.name, kept)
            erased.rejects += removed
