"""Replace a small object of a store only if it still is as it was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Version:
    """What an object was when it was read.

    Attributes:
        content: All of it.
        tag: The store's name of this version: an ETag, or Google's generation.
    """

    content: bytes
    tag: Any


def _read_s3(client: Any, bucket: str, key: str) -> Version:  # noqa: ANN401 (none has stubs)
    answer = client.get_object(Bucket=bucket, Key=key)
    return Version(answer["Body"].read(), answer["ETag"])


def _replace_s3(
    client: Any,  # noqa: ANN401
    bucket: str,
    key: str,
    content: bytes,
    found: Version | None,
) -> None:
    condition = {"IfMatch": found.tag} if found else {"IfNoneMatch": "*"}
    client.put_object(Bucket=bucket, Key=key, Body=content, **condition)


def _read_gcs(client: Any, bucket: str, key: str) -> Version | None:  # noqa: ANN401
    blob = client.bucket(bucket).get_blob(key)
    if blob is None:
        return None
    generation = blob.generation  # a download may change it
    return Version(blob.download_as_bytes(if_generation_match=generation), generation)


def _replace_gcs(
    client: Any,  # noqa: ANN401
    bucket: str,
    key: str,
    content: bytes,
    found: Version | None,
) -> None:
    generation = found.tag if found else 0
    client.bucket(bucket).blob(key).upload_from_string(content, if_generation_match=generation)


def _read_azure(client: Any, container: str, name: str) -> Version:  # noqa: ANN401
    answer = client.get_blob_client(container, name).download_blob()
    return Version(answer.readall(), answer.properties.etag)


def _replace_azure(
    client: Any,  # noqa: ANN401
    container: str,
    name: str,
    content: bytes,
    found: Version | None,
) -> None:
    from azure.core import MatchConditions  # noqa: PLC0415 (an extra)

    if found:
        condition = {"etag": found.tag, "match_condition": MatchConditions.IfNotModified}
    else:
        condition = {"match_condition": MatchConditions.IfMissing}
    client.get_blob_client(container, name).upload_blob(content, overwrite=True, **condition)


READERS: dict[str, Callable[[Any, str, str], Version | None]] = {
    "s3": _read_s3,
    "gs": _read_gcs,
    "az": _read_azure,
}
"""By scheme: return an object, or fail in the client's own way; also when there is none."""

REPLACERS: dict[str, Callable[[Any, str, str, bytes, Version | None], None]] = {
    "s3": _replace_s3,
    "gs": _replace_gcs,
    "az": _replace_azure,
}
"""By scheme: write an object if it still is what was found, or fail in the client's own way."""
