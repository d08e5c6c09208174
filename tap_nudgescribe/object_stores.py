"""Reach object stores, and folders, by URL with the credentials of this machine."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_nudgescribe.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import Buffer

EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""Which extra of this package brings the client of a kind of storage."""


def open_object(
    url: str, mode: str, options: Mapping[str, Any], *, compression: str = "infer_from_extension"
) -> IO[bytes]:
    """Open an object by way of smart-open, which has another name for ``az``.

    Raises:
        ImportError: for a compression whose library is not installed.
        Exception: each store's client has its own.
    """
    from smart_open import open as smart_open  # noqa: PLC0415 (fast start-up)

    file: IO[bytes] = smart_open(
        f"azure://{url.removeprefix('az://')}" if url.startswith("az://") else url,
        mode,
        compression=compression,
        transport_params=dict(options),
    )
    return file


class Stored(io.RawIOBase):
    """An object being read, whose errors are told as its user tells them.

    Args:
        file: As :func:`open_object` has opened it.
        told: Returns the error to be raised instead of one of the store's client.
    """

    def __init__(self, file: IO[bytes], told: Callable[[Exception], Exception]) -> None:
        """Read nothing yet."""
        super().__init__()
        self._file = file
        self._told = told

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Say whether it can be read from any place."""
        return self._file.seekable()

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        try:
            return self._file.seek(offset, whence)
        except Exception as error:  # noqa: BLE001 (each store's client has its own)
            raise self._told(error) from None

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, none at the end; all that are left for a negative size."""
        try:
            return self._file.read(size)
        except Exception as error:  # noqa: BLE001 (each store's client has its own)
            raise self._told(error) from None

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the object."""
        self._file.close()
        super().close()


def storage_options(url: str) -> dict[str, Any]:
    """Return what smart-open needs for a URL: one client, with each cloud's own credentials.

    Raises:
        SettingsError: when the client is not installed.
    """
    scheme = urlsplit(url).scheme
    try:
        return CLIENTS.get(scheme, dict)()
    except ImportError:
        extra = EXTRAS.get(scheme, scheme)
        problem = f"{scheme}:// needs a client that is not installed"
        advice = f"Install nudgescribe-meltano[{extra}]."
        raise SettingsError(problem, advice=advice) from None


def _s3_client() -> dict[str, Any]:
    import boto3  # noqa: PLC0415 (an extra)

    return {"client": boto3.client("s3")}


def _gcs_client() -> dict[str, Any]:
    from google.cloud import storage  # noqa: PLC0415 (an extra)

    return {"client": storage.Client()}


def _azure_client() -> dict[str, Any]:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 (an extra)
    from azure.storage.blob import BlobServiceClient  # noqa: PLC0415 (an extra)

    if connection := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return {"client": BlobServiceClient.from_connection_string(connection)}
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    address = f"https://{account}.blob.core.windows.net"
    return {"client": BlobServiceClient(address, credential=DefaultAzureCredential())}


def _list_s3(bucket: str, prefix: str, options: Mapping[str, Any]) -> Iterable[str]:
    pages = options["client"].get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            yield item["Key"]


def _list_gcs(bucket: str, prefix: str, options: Mapping[str, Any]) -> Iterable[str]:
    return (blob.name for blob in options["client"].list_blobs(bucket, prefix=prefix))


def _list_azure(container: str, prefix: str, options: Mapping[str, Any]) -> Iterable[str]:
    folder = options["client"].get_container_client(container)
    yield from folder.list_blob_names(name_starts_with=prefix)


def _list_local(_: str, prefix: str, __: Mapping[str, Any]) -> Iterable[str]:
    return (str(path).removeprefix("/") for path in Path(f"/{prefix}").rglob("*") if path.is_file())


CLIENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "s3": _s3_client,
    "gs": _gcs_client,
    "az": _azure_client,
}

LISTERS: dict[str, Callable[[str, str, Mapping[str, Any]], Iterable[str]]] = {
    "s3": _list_s3,
    "gs": _list_gcs,
    "az": _list_azure,
    "file": _list_local,
}
