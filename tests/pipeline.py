"""Run the tap into a warehouse as Meltano does, against a local account."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox import Sandbox
    from tests.warehouses import Warehouse

ROOT = Path(__file__).parent.parent
MELTANO = ROOT / ".meltano-tool/bin/meltano"


def command(warehouse: Warehouse) -> Sequence[str]:
    """Return the command that a user would type after ``meltano``."""
    return ["run", "tap-nudgescribe", warehouse.loader]


def extract(sandbox: Sandbox, warehouse: Warehouse, folder: Path, **tap_settings: object) -> None:
    """Run the pipeline once; Meltano keeps its state in the folder.

    Args:
        sandbox: The account.
        warehouse: Where to load.
        folder: Of this pipeline alone.
        tap_settings: Besides those of the account.

    Raises:
        subprocess.CalledProcessError: when the run fails.
    """
    settings = {
        f"TAP_NUDGESCRIBE_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in (sandbox.config | tap_settings).items()
    }
    environment = {
        **os.environ,
        **settings,
        **warehouse.settings,
        "MELTANO_DATABASE_URI": f"sqlite:///{folder}/meltano.db",
        "MELTANO_CLI_DISABLE_VERSION_CHECK": "1",
        "MELTANO_CLI_LOG_LEVEL": "warning",
        "MELTANO_PROJECT_ROOT": str(ROOT),
        "XDG_RUNTIME_DIR": str(folder),
    }
    # Runs of one Meltano project share its catalog files, so they follow one another.
    with (MELTANO.parent.parent / "ready").open() as project:
        fcntl.flock(project, fcntl.LOCK_EX)
        subprocess.run([MELTANO, *command(warehouse)], env=environment, check=True)  # noqa: S603
