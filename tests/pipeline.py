"""Run Meltano as its user does, in a project with this one's plugins and a state of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.sandbox import Sandbox
    from tests.warehouses import Warehouse

ROOT = Path(__file__).parent.parent
MELTANO = ROOT / ".meltano-tool/bin/meltano"


@dataclass(frozen=True)
class Project:
    """A folder with ``meltano.yml``, and with state, catalogs and logs that no other run sees.

    Attributes:
        folder: Of this project alone.
        settings: Those of its plugins, as environment variables.
    """

    folder: Path
    settings: Mapping[str, str]

    def meltano(
        self, *arguments: str, check: bool = True, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and return what it said.

        Args:
            arguments: What a user would type after ``meltano``.
            check: Whether it has to succeed.
            changed: Environment variables besides the settings.
        """
        process = self.start(*arguments, **changed)
        out, err = process.communicate()
        told = [line for line in (out + err).splitlines() if " METRIC " not in line]
        assert not check or process.returncode == 0, "\n".join(told)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *arguments: str, **changed: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a shell does."""
        name, *rest = arguments
        # Plugins are shared with the other projects, and never installed by these.
        whole = [name, "--no-install", *rest] if name in {"run", "invoke"} else arguments
        return subprocess.Popen(  # noqa: S603
            [MELTANO, *whole],
            env=self.environment | changed,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def root(self) -> Path:
        """Where ``meltano.yml`` is; made on first use."""
        root = self.folder / "project"
        if not root.exists():
            (root / ".meltano").mkdir(parents=True)
            for name in ("extractors", "loaders", "utilities"):
                (root / ".meltano" / name).symlink_to(ROOT / ".meltano" / name)
            shutil.copy(ROOT / "meltano.yml", root)
            (root / "examples").symlink_to(ROOT / "examples")
        return root

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        return {
            **os.environ,
            **self.settings,
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "1",
            "MELTANO_PROJECT_ROOT": str(self.root),
            "XDG_RUNTIME_DIR": str(self.folder),
            "XDG_STATE_HOME": str(self.folder),
        }


def variables(plugin: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Return a plugin's settings as Meltano finds them in the environment."""
    prefix = plugin.replace("-", "_").upper()
    return {
        f"{prefix}_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in config.items()
    }


def command(warehouse: Warehouse) -> Sequence[str]:
    """Return the command that extracts an account, as a user would type it after ``meltano``."""
    return ["run", "tap-nudgescribe", warehouse.loader]


def extract(sandbox: Sandbox, warehouse: Warehouse, folder: Path, **tap_settings: object) -> None:
    """Run this pipeline once; Meltano keeps its state in the folder.

    Args:
        sandbox: The account.
        warehouse: Where to load.
        folder: Of this pipeline alone.
        tap_settings: Besides those of the account.
    """
    settings = variables("tap-nudgescribe", sandbox.config | tap_settings)
    Project(folder, {**settings, **warehouse.settings}).meltano(*command(warehouse))
