"""The kinds of trials."""

from __future__ import annotations

import logging
import tempfile
import traceback
from pathlib import Path

from campaign import activation, extraction, groups, operations
from campaign.verdict import Verdict

KINDS = {
    "tap": extraction.run,
    "target": activation.run,
    "group": groups.run,
    "operations": operations.run,
}


def trial(kind: str, seed: int) -> Verdict:
    """Run one trial in a folder of its own."""
    logging.disable(logging.CRITICAL)  # the server tells of each answer that it was to break off
    with tempfile.TemporaryDirectory() as folder:
        try:
            return KINDS[kind](seed, Path(folder))
        except Exception:  # noqa: BLE001 (the other trials go on)
            verdict = Verdict(f"{kind} {seed}")
            verdict.add("not healed", f"the trial itself failed\n{traceback.format_exc()}")
            return verdict
