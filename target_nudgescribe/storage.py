"""Keep small files at a URI: a local folder, or an object store through smart-open."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

from tap_nudgescribe.errors import NudgescribeError, SettingsError, reason
from tap_nudgescribe.object_stores import Stored, open_object, storage_options
from tap_nudgescribe.private_files import foreign, private_file, private_folder, unfinished
from target_nudgescribe.object_listing import LISTERS, REMOVERS, StoredFile
from target_nudgescribe.versions import READERS, REPLACERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_nudgescribe.versions import Version


class StorageError(NudgescribeError):
    """A file of the target's own state cannot be read or written."""

    advice = "Check the setting state_uri, and whether this machine may read and write there."

    @classmethod
    def of(cls, error: Exception, problem: str) -> StorageError:
        """Return what is said of another error; with too many open files the advice is another."""
        full = getattr(error, "errno", None) in {errno.EMFILE, errno.ENFILE}
        return cls(f"{problem} ({reason(error)})", advice=TOO_MANY_FILES if full else "")


TOO_MANY_FILES = (
    "Each customer group of a run takes one open file: raise the limit (ulimit -n), or send fewer "
    "groups at once."
)


class Storage:
    """Files below one URI. A write is seen whole or not at all.

    Args:
        uri: ``s3://…``, ``gs://…``, ``az://…``, or a local folder.
        above: Files further up, whose client is used.
    """

    def __init__(self, uri: str, above: Storage | None = None) -> None:
        """Touch nothing yet."""
        self.uri = (uri if above else plain_path(uri)).rstrip("/")
        self._above = above

    @property
    def above(self) -> Storage:
        """The folder that holds this one."""
        return Storage(self.uri.rpartition("/")[0], self._above)

    @property
    def local(self) -> Path | None:
        """The folder, if it is a local one."""
        return None if "://" in self.uri else Path(self.uri).expanduser()

    def below(self, *names: str) -> Storage:
        """Return the files further down; names may hold any character."""
        return Storage("/".join((self.uri, *map(safe_name, names))), self)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.uri.rpartition("/")[2]

    def folders(self) -> list[Storage]:
        """Return the folders right below this one; none if there is no such folder.

        Raises:
            StorageError: when they cannot be listed.
        """
        try:
            names = sorted(self._folder_names())
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise self._failed(error, "Cannot list folders") from None
        return [Storage(f"{self.uri}/{name}", self) for name in names]

    def _folder_names(self) -> set[str]:
        if self.local is not None:
            return {path.name for path in self.local.iterdir() if path.is_dir()}
        return {file.name.partition("/")[0] for file in self.files() if "/" in file.name}

    def at(self, path: str) -> Storage:
        """Return the files below a path that :meth:`files` has listed."""
        return Storage(f"{self.uri}/{path}", self)

    def require_own(self, *, levels: int) -> None:
        """Make sure that nobody else can have written a local folder or the files in it.

        Args:
            levels: How many folders above it are looked at as well.

        Raises:
            StorageError: naming what others own or may write, or what cannot be read.
        """
        folder = self.local
        if folder is None:
            return
        above = [folder, *folder.parents][: levels + 1]
        try:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            found = [(path, foreign(path)) for path in [*reversed(above), *files]]
        except OSError as error:
            raise self._failed(error, "Cannot read the folder") from None
        for path, why in found:
            if why:
                problem = f"{path} {why}, so what it says is not believed"
                advice = (
                    "Look at who wrote it. Give it to the user that runs this command, with mode "
                    "0700 for folders and 0600 for files, or set another state_uri."
                )
                raise StorageError(problem, advice=advice)

    def files(self) -> Iterator[StoredFile]:
        """Yield all files, those of folders further down included; links are not followed.

        Raises:
            StorageError: when they cannot be listed.
        """
        folder = self.local
        try:
            if folder is not None:
                yield from _local_files(folder)
                return
            scheme, bucket, prefix = self._place("")
            yield from LISTERS[scheme](self.options["client"], bucket, prefix)
        except NudgescribeError:
            raise
        except Exception as error:  # noqa: BLE001 (each store has its own)
            raise self._failed(error, "Cannot list the files") from None

    def remove(self, name: str) -> None:
        """Remove a file, and the local folders that are empty then. One that is gone is no error.

        Raises:
            StorageError: when it cannot be removed.
        """
        folder = self.local
        try:
            if folder is not None:
                path = folder / name
                path.unlink(missing_ok=True)
                _remove_empty(path.parent, folder)
                return
            scheme, bucket, key = self._place(name)
            REMOVERS[scheme](self.options["client"], bucket, key)
        except Exception as error:  # noqa: BLE001 (each store has its own)
            if not _is_absence(error):
                raise self._failed(error, f"Cannot remove {name}") from None

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file for reading; None if there is none.

        Raises:
            StorageError: when that cannot be known.
        """
        folder = self.local
        try:
            if folder is not None:
                return _open_plain(folder / name)
            file = open_object(f"{self.uri}/{name}", "rb", self.options)
        except FileNotFoundError:
            return None
        except NudgescribeError:
            raise
        except Exception as error:  # noqa: BLE001 (each store has its own)
            if _is_absence(error):
                return None
            raise self._failed(error, f"Cannot read {name}") from None
        told = partial(self._failed, problem=f"Cannot read {name}")
        return cast("IO[bytes]", Stored(file, told))

    def exists(self, name: str) -> bool:
        """Return whether there is a file of a name, without reading it.

        Raises:
            StorageError: when that cannot be known.
        """
        file = self.open(name)
        if file is None:
            return False
        file.close()
        return True

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none.

        Raises:
            StorageError: when that cannot be known.
        """
        file = self.open(name)
        if file is None:
            return None
        with file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, durably.

        Raises:
            StorageError: when it was not written.
        """
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to be written bit by bit; it is there, durably, when the block has ended.

        Raises:
            StorageError: when it was not written.
        """
        folder = self.local
        try:
            if folder is None:
                place = f"{self.uri}/{name}"
                with open_object(place, "wb", self.options) as file:
                    yield file
                return
            path = folder / name
            private_folder(path.parent)
            temporary = unfinished(path)
            with private_file(temporary) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except NudgescribeError:
            raise
        except Exception as error:  # noqa: BLE001 (each store has its own)
            raise self._failed(error, f"Cannot write {name}") from None

    def version(self, name: str) -> Version | None:
        """Return an object of a store as it is now; None if there is none.

        Raises:
            StorageError: when that cannot be known.
        """
        scheme, bucket, key = self._place(name)
        try:
            return READERS[scheme](self.options["client"], bucket, key)
        except Exception as error:  # noqa: BLE001 (each store has its own)
            if _is_absence(error):
                return None
            raise self._failed(error, f"Cannot read {name}") from None

    def replace(self, name: str, content: bytes, found: Version | None) -> None:
        """Write an object of a store if it still is as it was found; leave it alone if not.

        Raises:
            StorageError: when it could not be written for another reason.
        """
        scheme, bucket, key = self._place(name)
        try:
            REPLACERS[scheme](self.options["client"], bucket, key, content, found)
        except Exception as error:  # noqa: BLE001 (each store has its own)
            if not _is_conflict(error):
                raise self._failed(error, f"Cannot write {name}") from None

    def _place(self, name: str) -> tuple[str, str, str]:
        """Return the scheme, the bucket and the key of an object."""
        scheme, _, path = f"{self.uri}/{name}".partition("://")
        bucket, _, key = path.partition("/")
        return scheme, bucket, key

    @cached_property
    def options(self) -> dict[str, Any]:
        """What smart-open needs: one client for all files below one URI."""
        return self._above.options if self._above else storage_options(self.uri)

    def _failed(self, error: Exception, problem: str) -> StorageError:
        return StorageError.of(error, f"{problem} at {self.uri}")


def _local_files(folder: Path) -> Iterator[StoredFile]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            yield StoredFile(path.relative_to(folder).as_posix(), path.lstat().st_mtime)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those above it, up to one that is not empty or the top."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def plain_path(uri: str) -> str:
    """Return the path of a ``file:`` URL, and any other URI as it is.

    Escapes such as ``%20`` are decoded, unless a path is there that is written with them.

    Raises:
        SettingsError: for a URL that names another machine.
    """
    if uri[:5].lower() != "file:":
        return uri
    path = uri[5:]
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        if host.lower() not in {"", "localhost"} or not slash:
            problem = f"A file URL names the machine {host!r}, and only local files can be used"
            advice = "Write file:///folder, with three slashes, or the path alone."
            raise SettingsError(problem, advice=advice)
        path = slash + path
    return path if Path(path).exists() else unquote(path)


def _open_plain(path: Path) -> IO[bytes]:
    """Open a file for reading; a pipe or a device, which might never end, is refused at once."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    require_plain(descriptor, path)
    return os.fdopen(descriptor, "rb")


def require_plain(descriptor: int, path: Path) -> None:
    """Make sure that an open file is a plain one; close it if not.

    Raises:
        StorageError: when it is a folder, a pipe or a device.
    """
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        problem = f"{path} is not a plain file"
        advice = "Remove what has this name, or choose another folder with state_uri."
        raise StorageError(problem, advice=advice)


MAX_NAME_BYTES = 220
"""Bytes of a name's part of a path: file systems take 255, and names get a beginning and an end."""


def safe_name(name: str) -> str:
    """Return a name as one part of a path, whatever it holds; a long one ends with its hash."""
    safe = quote(name, safe=" ", errors="surrogatepass").replace(".", "%2E") or "%00"
    if len(safe) <= MAX_NAME_BYTES:
        return safe
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    # No other name has this sign: whatever stands behind it is quoted.
    return f"{safe[: MAX_NAME_BYTES - len(digest) - 2]}%-{digest}"


def _is_absence(error: Exception) -> bool:
    """Say whether an object store's error means that there is no such object."""
    return _kind(error) in {"NoSuchKey", "404", "NotFound", "ResourceNotFoundError"}


def _is_conflict(error: Exception) -> bool:
    """Say whether it means that the object is not as it was found."""
    return _kind(error) in {
        *("PreconditionFailed", "ConditionalRequestConflict"),
        *("ResourceExistsError", "ResourceModifiedError"),
    }


def _kind(error: Exception) -> str:
    """Return S3's code of an error, and the type's name of any other."""
    response = getattr(error, "response", None) or getattr(
        getattr(error, "backend_error", None), "response", None
    )
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code or type(error).__name__
