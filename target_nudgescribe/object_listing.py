"""List and remove the objects below a prefix of a store, each store in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class StoredFile:
    """A file or object.

    Attributes:
        name: Its path below the place that was listed, with ``/`` between the parts.
        modified: When it was last written, in seconds since the epoch.
    """

    name: str
    modified: float


def _list_s3(client: Any, bucket: str, prefix: str) -> Iterator[StoredFile]:  # noqa: ANN401 (none has stubs)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            name = item["Key"].removeprefix(prefix)
            yield StoredFile(name, item["LastModified"].timestamp())


def _list_gcs(client: Any, bucket: str, prefix: str) -> Iterator[StoredFile]:  # noqa: ANN401
    for blob in client.list_blobs(bucket, prefix=prefix):
        yield StoredFile(blob.name.removeprefix(prefix), blob.updated.timestamp())


def _list_azure(client: Any, container: str, prefix: str) -> Iterator[StoredFile]:  # noqa: ANN401
    folder = client.get_container_client(container)
    for blob in folder.list_blobs(name_starts_with=prefix):
        yield StoredFile(blob.name.removeprefix(prefix), blob.last_modified.timestamp())


def _remove_s3(client: Any, bucket: str, key: str) -> None:  # noqa: ANN401
    client.delete_object(Bucket=bucket, Key=key)


def _remove_gcs(client: Any, bucket: str, key: str) -> None:  # noqa: ANN401
    client.bucket(bucket).blob(key).delete()


def _remove_azure(client: Any, container: str, name: str) -> None:  # noqa: ANN401
    client.get_blob_client(container, name).delete_blob()


LISTERS: dict[str, Callable[[Any, str, str], Iterator[StoredFile]]] = {
    "s3": _list_s3,
    "gs": _list_gcs,
    "az": _list_azure,
}
"""By scheme: yield the objects below a prefix."""

REMOVERS: dict[str, Callable[[Any, str, str], None]] = {
    "s3": _remove_s3,
    "gs": _remove_gcs,
    "az": _remove_azure,
}
"""By scheme: remove an object, or fail in the client's own way; also when there is none."""
