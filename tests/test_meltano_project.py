"""README's pipeline, command for command, in a Meltano project made for it."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import yaml

from docs.files import ROOT
from tests.pipeline import MELTANO, variables
from tests.sandbox import Sandbox, truth
from tests.test_document_commands import blocks
from tests.warehouses import WAREHOUSES

if TYPE_CHECKING:
    from pathlib import Path

ALREADY_INSTALLED = """
meltano() {
  case "$1" in
    install) ln -sfn "$PROJECT/.meltano/extractors" .meltano/extractors ;;
    invoke | run | select) "$MELTANO" "$1" --no-install "${@:2}" ;;
    *) "$MELTANO" "$@" ;;
  esac
}
"""
"""What ``meltano install`` would fetch from a registry, ``make`` has put into this project.

Every command would install it anew by itself, for the ``pip_url`` is another: below the feet of the
tests that run beside this one.
"""

INSTALLED = ROOT / ".meltano/extractors/tap-nudgescribe/venv/.meltano_plugin_fingerprint"


def test_a_fresh_project_loads_what_the_account_holds_with_the_commands_of_the_readme(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    extract, send = (b.commands for b in blocks("README.md") if "--from-ref" in b.commands)
    (tmp_path / "nudgescribe-meltano").symlink_to(ROOT)
    project = tmp_path / "nightly"
    installed = INSTALLED.read_text()
    (project / ".meltano").mkdir(parents=True)
    (project / ".meltano" / "loaders").symlink_to(ROOT / ".meltano" / "loaders")
    ours = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    loaders = [entry for entry in ours["plugins"]["loaders"] if entry["name"] == "target-postgres"]
    fresh = {
        "version": 1,
        "default_environment": "dev",
        "send_anonymous_usage_stats": False,
        "environments": [{"name": "dev"}],
        "plugins": {"loaders": loaders},
    }
    (project / "meltano.yml").write_text(yaml.safe_dump(fresh, sort_keys=False))
    with WAREHOUSES["postgres"](tmp_path) as warehouse:
        done = subprocess.run(  # noqa: S603
            ["/bin/bash", "-euo", "pipefail", "-c", ALREADY_INSTALLED + extract + send],
            cwd=project,
            env={
                **os.environ,
                **variables("tap-nudgescribe", sandbox.config),
                **warehouse.settings,
                "MELTANO": str(MELTANO),
                "MELTANO_CLI_DISABLE_VERSION_CHECK": "1",
                "PROJECT": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search("list_customers +works", done.stdout + done.stderr)
        loaded = Counter({s: len(warehouse.rows(s)) for s in truth.KEYS if s != "run_messages"})
    assert INSTALLED.read_text() == installed
    held = {stream: len(truth.rows(sandbox.account, stream)) for stream in loaded}
    assert loaded == held
    assert (project / ".env").stat().st_mode & 0o777 == 0o600
    plugins = yaml.safe_load((project / "meltano.yml").read_text())["plugins"]
    both = {"api_key", "email", "password", "api_code", "stream_map_config"}
    for entry, secrets in (
        (plugins["extractors"][0], both),
        (plugins["loaders"][1], both | {"hash_key"}),
    ):
        assert entry["pip_url"] == "-e ../nudgescribe-meltano"
        found = {setting["name"] for setting in entry["settings"] if setting.get("sensitive")}
        assert found == secrets
