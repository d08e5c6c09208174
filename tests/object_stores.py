"""Local object stores that hold an account's message files: S3, Google Cloud, Azure, a folder."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pyarrow as pa
import pytest
from azure.storage.blob import BlobServiceClient
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.server import create_server
from google.cloud import storage
from moto.server import ThreadedMotoServer

from tests.message_server import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

FOLDER = f"production/messages/{ACCOUNT_ID}/ca-1"

OBJECTS = {
    f"{FOLDER}/page-2.csv": b"id\nb\n",
    f"{FOLDER}/page-10.csv.zst": pa.compress(b"id\nc\nd\n", codec="zstd", asbytes=True),
    f"{FOLDER}/page-1.csv.gz": gzip.compress(b"id\na\n"),
    f"{FOLDER}/run-1/page-1.csv": b"id\nold\n",
    f"{FOLDER}/_SUCCESS": b"",
    f"{FOLDER}0/page-1.csv": b"id\nanother campaign\n",
}


@contextmanager
def s3() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a local S3 with the objects; yield its root and the environment to reach it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    try:
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="eu-central-1",
        )
        bucket = f"exports-{uuid4()}"  # the server forgets nothing within a process
        where = {"LocationConstraint": "eu-central-1"}
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        for key, data in OBJECTS.items():
            client.put_object(Bucket=bucket, Key=f"below/{key}", Body=data)
        yield f"s3://{bucket}/below", environment
    finally:
        server.stop()


def _on_condition(request: Any, response: Any, storage: Any) -> None:
    """Refuse an upload whose ``ifGenerationMatch`` does not hold, which the emulator ignores."""
    if wanted := request.query.get("ifGenerationMatch"):
        name = request.data["meta"]["name"]
        try:
            found = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
        except NotFound:
            found = "0"
        if wanted != [found]:
            response.status = HTTPStatus.PRECONDITION_FAILED
            return
    _upload(request, response, storage)


_upload = objects._multipart_upload  # noqa: SLF001 (there is no other way in)


@contextmanager
def gcs() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a local Google Cloud Storage with the objects."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="exports")
    server.start()
    port = server._api._httpd.server_port  # noqa: SLF001 (it does not say otherwise)
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "GOOGLE_CLOUD_PROJECT": "test",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(objects, "_multipart_upload", _on_condition)
            with pytest.MonkeyPatch.context() as reached:
                for name, value in environment.items():
                    reached.setenv(name, value)
                bucket = storage.Client().bucket("exports")
                for key, data in OBJECTS.items():
                    bucket.blob(key).upload_from_string(data)
            yield "gs://exports", environment
    finally:
        server.stop()


AZURITE = Path(__file__).parent.parent / ".azurite/node_modules/.bin/azurite-blob"
AZURITE_OPTIONS = (
    "--blobPort",
    "0",
    "--silent",
    "--inMemoryPersistence",
    "--disableTelemetry",
    "--skipApiVersionCheck",
)


@contextmanager
def azure() -> Iterator[tuple[str, dict[str, str]]]:
    """Run a local Azure Blob Storage with the objects, where Node.js was there to install it."""
    if not AZURITE.exists():
        pytest.skip("Azurite is not installed: make .azurite/ready, which needs npm")
    accounts = os.environ | {"AZURITE_ACCOUNTS": "account:a2V5"}
    with subprocess.Popen(  # noqa: S603
        [AZURITE, *AZURITE_OPTIONS], stdout=subprocess.PIPE, text=True, env=accounts
    ) as server:
        try:
            assert server.stdout
            found = (re.search(r"listens on (http://127\.0\.0\.1:\d+)", s) for s in server.stdout)
            endpoint = next(match[1] for match in found if match)
            connection = f"AccountName=account;AccountKey=a2V5;BlobEndpoint={endpoint}/account"
            client = BlobServiceClient.from_connection_string(connection)
            with client, client.create_container("exports") as container:
                for key, data in OBJECTS.items():
                    container.upload_blob(key, data)
            yield "az://exports", {"AZURE_STORAGE_CONNECTION_STRING": connection}
        finally:
            server.terminate()


@contextmanager
def local(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Write the objects into a folder."""
    for key, data in OBJECTS.items():
        path = folder / "exports" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    yield f"file://{folder}/exports", {}


STORES: dict[str, Callable[[], AbstractContextManager[tuple[str, dict[str, str]]]]] = {
    "s3": s3,
    "gs": gcs,
    "az": azure,
}
"""By the scheme of their URLs."""
