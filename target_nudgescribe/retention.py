"""Remove rejects and run summaries that are older than the settings allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_nudgescribe.storage import Storage

DAY_SECONDS = 86_400

FOLDERS = {"rejects": "rejects_keep_days", "runs": "runs_keep_days"}
"""Folders below ``state_uri``, and the setting that says how long their files are kept."""


def remove_expired(storage: Storage, config: Mapping[str, Any], *, now: float) -> dict[str, int]:
    """Remove expired files and return how many were removed, by folder.

    Args:
        storage: The files at ``state_uri``.
        config: The target's settings.
        now: The time, in seconds since the epoch.

    Raises:
        StorageError: when files cannot be listed or removed. Running again goes on from there.
    """
    removed = {}
    for folder, setting in FOLDERS.items():
        days = config.get(setting)
        if days is None:
            continue
        place = storage.below(folder)
        expired = [f.name for f in place.files() if now - f.modified > days * DAY_SECONDS]
        for name in expired:
            place.remove(name)
        removed[folder] = len(expired)
    return removed
