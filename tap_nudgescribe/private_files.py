"""Create files and folders that only their owner can open, whatever the umask."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import IO


def private_folder(folder: Path) -> None:
    """Make sure of a folder; it and those above it are created with mode 0700 if they are missing.

    One that is there keeps its mode, and may be a link: where it leads is its owner's choice.
    """
    if folder.is_dir():
        return
    private_folder(folder.parent)
    try:
        folder.mkdir(0o700)
        folder.chmod(0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise


def private_file(path: Path) -> IO[bytes]:
    """Create a file of mode 0600 and open it for writing.

    Whatever has the name is removed, not written to: it may be a link to another file.
    """
    path.unlink(missing_ok=True)
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    os.fchmod(file.fileno(), 0o600)
    return file


LEFTOVER = re.compile(r"\..+\.([0-9]{1,10})(\.part)?", re.DOTALL)
"""The name of an unfinished file: hidden, with the number of the process that writes it."""

LEFTOVER_SECONDS = 3600
"""Age from which on an unfinished file is a leftover: its process may be in another container."""


def unfinished(path: Path) -> Path:
    """Return the name that a file has while this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_leftovers(folder: Path, *, seconds: float = LEFTOVER_SECONDS) -> None:
    """Remove the unfinished files of processes of this user that are dead.

    Args:
        folder: Only files directly in it are looked at; it may be missing.
        seconds: Age from which on a file is removed.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = LEFTOVER.fullmatch(entry.name)
            if match and not _is_alive(int(match[1])):
                _remove_old(entry, seconds)


def _remove_old(entry: os.DirEntry[str], seconds: float) -> None:
    with suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if is_ours and time.time() - found.st_mtime >= seconds:
            Path(entry.path).unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def foreign(path: Path) -> str:
    """Return why a file or folder is not this user's alone; empty when it is, or is not there.

    Its owner must be this user or root, and nobody else may write to it. A link is none of ours.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    if os.name == "nt":
        return ""
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if found.st_uid not in {os.geteuid(), 0}:
        return f"belongs to another user (id {found.st_uid})"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"may be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return ""
