"""Create files and folders that only their owner can open, whatever the umask."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
    path.chmod(0o600)
    return file
