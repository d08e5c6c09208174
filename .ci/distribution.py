"""``make dist``: build the archives of a release in ``dist/``, and make sure of them.

They are built twice, the second wheel out of the first source archive, and must not differ by a
byte. Then they are looked into, and the wheel is installed in an empty environment and run against
the local API.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.sandbox import Sandbox  # noqa: E402 (found by the line above)

PLUGINS = ("tap-nudgescribe", "target-nudgescribe")

IN_THE_WHEEL = {
    "tap_nudgescribe/py.typed",
    "tap_nudgescribe/contract.yaml",
    "target_nudgescribe/py.typed",
    "{info}/licenses/LICENSE",
    "{info}/entry_points.txt",
}

NOT_IN_THE_SOURCE = re.compile(
    r"(^|/)(\.git|\.venv|\.data|\.peers|\.meltano[^/]*|\.env|__pycache__|dist|output)(/|$)"
)


def main() -> None:
    """Build, compare, look, install, run; the first thing that is wrong ends it."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        once, again = _built(ROOT, dist), _built(ROOT, Path(folder) / "again", "--target", "sdist")
        source = next(path for path in once if path.name.endswith(".tar.gz"))
        wheel = next(path for path in once if path.suffix == ".whl")
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        unpacked = Path(folder) / source.name.removesuffix(".tar.gz")
        again += _built(unpacked, Path(folder) / "again", "--target", "wheel")
        for path in again:
            _expect(path.read_bytes() == (dist / path.name).read_bytes(), f"{path.name} differs")
        print("Built twice, byte for byte the same")
        _look_into_source(source)
        _look_into_wheel(wheel)
        _run_installed(wheel, Path(folder))
    for path in once:
        print(f"dist/{path.name}: {path.stat().st_size:,} bytes")


def _built(tree: Path, into: Path, *options: str) -> list[Path]:
    when = subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True)
    before = set(into.glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(into), *options]
    variables = os.environ | {"SOURCE_DATE_EPOCH": when.strip()}
    subprocess.run(command, cwd=tree, env=variables, check=True, capture_output=True)
    return sorted(set(into.glob("*")) - before)


def _look_into_source(path: Path) -> None:
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    _expect({"LICENSE", "README.md", "pyproject.toml", "tests/conftest.py"} <= {*names}, "lacking")
    wrong = [name for name in names if NOT_IN_THE_SOURCE.search(name)]
    _expect(not wrong, f"{path.name} holds {wrong}")


def _look_into_wheel(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith("/METADATA")).rpartition("/")[0]
        told = archive.read(f"{info}/METADATA")
    folders = {name.partition("/")[0] for name in names}
    _expect(folders == {"tap_nudgescribe", "target_nudgescribe", info}, f"{folders}")
    missing = {name.format(info=info) for name in IN_THE_WHEEL} - names
    _expect(not missing, f"{path.name} lacks {missing}")
    metadata = Metadata.from_email(told, validate=True)
    _expect(metadata.license_expression == "Apache-2.0", "the licence")
    _expect(metadata.description_content_type == "text/markdown", "the kind of description")
    _expect(bool(metadata.summary and metadata.description), "the description")


def _run_installed(wheel: Path, folder: Path) -> None:
    """Install the wheel where there is nothing else, and run both plugins."""
    uv = str(Path(sys.executable).with_name("uv"))
    place = folder / "environment"
    python = str(place / "bin/python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wheel], check=True)
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    with Sandbox() as sandbox:
        workspace = next(iter(sandbox.account.groups.values())).workspace_id
        config = folder / "config.json"
        config.write_text(json.dumps(sandbox.config | {"workspace_id": workspace}))
        for plugin in PLUGINS:
            commands = [["--version"], ["--about", "--format=json"]]
            commands += [["--config", str(config), "--check"]]
            if plugin.startswith("tap"):
                commands += [["--discover"], ["--config", str(config)]]
            for options in commands:
                done = subprocess.run(
                    [place / "bin" / plugin, *options],
                    cwd=folder,
                    env=variables,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                _expect(done.returncode == 0, f"{plugin} {' '.join(options)}\n{done.stderr}")
                print("Runs, installed alone:", plugin, *(o for o in options if "/" not in o))


def _expect(holds: bool, problem: str) -> None:  # noqa: FBT001 (it reads as a sentence)
    if not holds:
        sys.exit(f"make dist: {problem}")


main()
