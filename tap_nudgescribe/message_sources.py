"""Where message files are: in the API, or in the storage that it exports to."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, cast
from urllib.parse import unquote, urlsplit

from tap_nudgescribe.bookmarks import SETTLED_AFTER
from tap_nudgescribe.decompression import decompressed
from tap_nudgescribe.downloads import Download, download
from tap_nudgescribe.errors import (
    BadRequestError,
    ContractError,
    NetworkError,
    NotFoundError,
    SettingsError,
    StorageError,
)
from tap_nudgescribe.object_stores import LISTERS, Stored, open_object, storage_options
from tap_nudgescribe.timestamps import latest, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import requests

    from tap_nudgescribe.client import NudgescribeClient

logger = logging.getLogger("tap-nudgescribe")

OPERATION = "fetch_message_file"

FOLDER = "production/messages"
"""Where exports are (documented)."""


@dataclass(frozen=True)
class Run:
    """One published run of a campaign."""

    campaign_id: str
    number: int
    current: bool
    published: object = None
    """When it was published, as the API says it."""

    @property
    def published_at(self) -> datetime | None:
        """When it was published; a time without a zone is of UTC (assumed)."""
        return moment(self.published)

    @property
    def published_by(self) -> datetime | None:
        """The latest moment at which it may have been published."""
        return latest(self.published)

    @property
    def wire_number(self) -> int | None:
        """The number to ask for; None for the current run, whose files have no subfolder."""
        return None if self.current else self.number


class MessageSource(Protocol):
    """Where message files can be had."""

    @property
    def asks_by_number(self) -> bool:
        """Whether the API is asked for a file by its number, and may ignore it."""

    def count(self, run: Run) -> int:
        """Return how many files a run has by now."""

    def open(self, run: Run, number: int) -> BinaryIO:
        """Open a file, counted from 1, to be read from its first byte, decompressed.

        Raises:
            ApiError: when it cannot be opened.
        """


@dataclass(frozen=True)
class ApiSource:
    """Message files by way of the API.

    The current run's files come by presigned URL, or as raw CSV where the account gives none;
    historical runs have no URLs, and JSON stops at 1000 rows (documented), so raw CSV it is.
    """

    client: NudgescribeClient
    asks_by_number: ClassVar[bool] = True

    def count(self, run: Run) -> int:
        """Ask the API."""
        return self.client.count_message_files(run.campaign_id, run.wire_number)

    def open(self, run: Run, number: int) -> BinaryIO:
        """Open a file's presigned URL, or its raw CSV."""
        client = self.client
        if run.current:
            path = ""

            def by_url(offset: int, etag: str | None) -> requests.Response:
                nonlocal path
                url = client.message_file_url(run.campaign_id, number)
                path = unquote(urlsplit(url).path)
                return client.open_storage(url, offset=offset, etag=etag)

            try:
                return _whole(download(client, by_url, ranged=True), path)
            except (BadRequestError, NotFoundError, ContractError):
                pass  # no URL to be had

        def whole(offset: int, etag: str | None) -> requests.Response:  # noqa: ARG001 (unused)
            return client.open_message_file(run.campaign_id, number, run.wire_number)

        return _whole(download(client, whole, ranged=False), "")


@dataclass(frozen=True)
class StorageSource:
    """Message files read from their storage itself, with the credentials of this machine.

    Below ``<root>/production/messages/<account>/<campaign>/`` (documented) the current run's
    files lie directly, those of another run in a folder of its own (documented), whose name ends
    with the number of the run (assumed). Files are counted in the order of the numbers in their
    names (assumed).

    A file that comes to be listed after others that it sorts before would change their numbers.
    So as long as further files may come, none is counted unless their own numbers leave no gap
    and there are as many as the API says.

    Args:
        root: ``s3://bucket``, ``gs://bucket``, ``az://container`` or ``file:///folder``.
        client: The API, for the folder of the account, its clock and its number of files.
        account_id: Called once, for the folder of the account.
        options: Passed to smart-open as ``transport_params``, and its client used for listing.
    """

    root: str
    client: NudgescribeClient
    account_id: Callable[[], str]
    options: Mapping[str, Any]
    asks_by_number: ClassVar[bool] = False
    _listed: dict[Run, list[str]] = field(default_factory=dict)

    def count(self, run: Run) -> int:
        """List the files of a run; none as long as it is open which is which.

        Raises:
            StorageError: when files are missing that cannot still be on their way.
        """
        exported = self.client.count_message_files(run.campaign_id, run.wire_number)
        files = self._files(run)
        missing = len(files) < exported
        problem = f"The storage lists {len(files)} of {exported} files of run {run.number}"
        if missing and not self._may_grow(run):
            advice = "Look whether they are there; the run stays unfinished until they are listed."
            raise StorageError(problem, operation=OPERATION, advice=advice)
        if self._may_grow(run) and (missing or not _without_gap(files)):
            logger.info("%s of campaign %s, or not the first ones yet", problem, run.campaign_id)
            files = []
        self._listed[run] = files
        return len(files)

    def _may_grow(self, run: Run) -> bool:
        """Say whether further files may come of a run."""
        published = run.published_by
        return published is not None and (
            self.client.transport.server_time - published <= SETTLED_AFTER
        )

    def open(self, run: Run, number: int) -> BinaryIO:
        """Open a file that was counted."""
        url = self._listed[run][number - 1]
        parts = urlsplit(self.root)
        if parts.scheme == "file":
            _check_within(Path(url.removeprefix("file://")), Path(parts.path))
        try:
            file = open_object(url, "rb", self.options, compression="disable")
            return decompressed(cast("BinaryIO", Stored(file, _storage_error)), url)
        except ImportError:
            problem = f"The compression of a message file, {url[-4:]}, needs a library"
            raise SettingsError(problem, advice="Install nudgescribe-meltano[zst].") from None
        except Exception as error:  # noqa: BLE001 (each storage client has its own)
            raise _storage_error(error) from None

    def _files(self, run: Run) -> list[str]:
        account = _part(self._account_id, "the account")
        folder = f"{FOLDER}/{account}/{_part(run.campaign_id, 'a campaign')}/"
        try:
            keys = [key.removeprefix(folder) for key in self._list(folder)]
        except (SettingsError, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 (each storage client has its own)
            raise _storage_error(error) from None
        files = [key for key in keys if _run_of(key) == run.wire_number and ".csv" in key]
        return [self._url(folder + key) for key in sorted(files, key=_natural)]

    @cached_property
    def _account_id(self) -> str:
        return self.account_id()

    def _url(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{key}"

    def _list(self, folder: str) -> Iterable[str]:
        """Return the keys below a folder, relative to the root."""
        root = urlsplit(self.root)
        prefix = root.path.strip("/")
        within = f"{prefix}/{folder}" if prefix else folder
        names = LISTERS[root.scheme](root.netloc, within, self.options)
        if root.scheme == "file":
            names = _without_links_out(names, Path(root.path))
        return (name.removeprefix(f"{prefix}/" if prefix else "") for name in names)


def _whole(file: Download, path: str) -> BinaryIO:
    """Return the decompressed content of a file whose end can be verified.

    Raises:
        NetworkError: when nothing shows where it ends.
    """
    raw = cast("BinaryIO", file)
    content = decompressed(raw, path)
    if content is raw and not file.end_is_known:
        file.close()
        problem = "The response with a message file does not say where it ends"
        advice = "It needs a Content-Length, chunks or a compression; look at proxies on the way."
        raise NetworkError(problem, operation=OPERATION, advice=advice)
    return content


def storage_source(
    root: str, client: NudgescribeClient, account_id: Callable[[], str]
) -> StorageSource:
    """Return the storage that the setting ``message_storage_root`` names.

    Raises:
        SettingsError: when it is no URL of a known kind, or its client is not installed.
    """
    scheme = urlsplit(root).scheme
    if scheme not in LISTERS:
        problem = f"The setting message_storage_root is no URL of {', '.join(LISTERS)}"
        raise SettingsError(problem)
    return StorageSource(root, client, account_id, storage_options(root))


def _without_links_out(names: Iterable[str], root: Path) -> Iterator[str]:
    """Yield the names of files below a folder, relative to ``/``.

    Raises:
        StorageError: when one of them is a link that leads out of the folder.
    """
    for name in names:
        _check_within(Path("/", name), root)
        yield name


def _check_within(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        problem = "A message file is a link that leads out of message_storage_root"
        advice = "Remove the link, or put the file itself there."
        raise StorageError(problem, operation=OPERATION, advice=advice)


def _run_of(key: str) -> int | None:
    """Return the number of the run that a key within a campaign's folder belongs to.

    None stands for the current run; -1 for no run that is known.
    """
    folder, slash, _ = key.rpartition("/")
    if not slash:
        return None
    number = re.search(r"(\d+)$", folder)
    return int(number[1]) if number and "/" not in folder else -1


def _without_gap(files: Sequence[str]) -> bool:
    """Say whether the last numbers in the names of files count them, from 0 or from 1."""
    found = [re.findall(r"\d+", file.rpartition("/")[2].partition(".")[0]) for file in files]
    numbers = [int(parts[-1]) if parts else -1 for parts in found]
    return numbers in ([*range(len(files))], [*range(1, len(files) + 1)])


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them: ``page-9`` before ``page-10``."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def _part(name: str, what: str) -> str:
    """Return the name of one folder, which is given by the API.

    Raises:
        ContractError: when it would lead to another place.
    """
    if not name or name.strip(".") == "" or set(name) & set("/\\\0"):
        problem = f"The id of {what} cannot be the name of a folder"
        raise ContractError(problem, operation=OPERATION)
    return name


def _storage_error(error: Exception) -> StorageError:
    # The text of these exceptions can hold a signed URL.
    problem = f"The storage cannot be read ({type(error).__name__})"
    return StorageError(problem, operation=OPERATION)
