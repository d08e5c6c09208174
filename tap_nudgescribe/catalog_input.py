"""Read the catalog that a run is given, or say why it cannot be used."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, cast

from singer_sdk.singerlib import Catalog

from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.input_files import json_kind, read_json_object
from tap_nudgescribe.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_nudgescribe.stream import NudgescribeStream

ADVICE = "Write it anew with --discover and select streams in it."

METHODS = ("INCREMENTAL", "FULL_TABLE")


def read_catalog(
    path: str, streams: Mapping[str, type[NudgescribeStream]] | None = None
) -> dict[str, Any]:
    """Return the catalog in a file.

    Args:
        path: The file.
        streams: The tap's streams, which a catalog of it is checked against. A target does not
            know them.

    Raises:
        SettingsError: for a file that is not a JSON object or not a catalog.
    """
    return checked_catalog(read_json_object(path, "The catalog"), streams)


def checked_catalog(
    catalog: Mapping[str, Any], streams: Mapping[str, type[NudgescribeStream]] | None
) -> dict[str, Any]:
    """Return a catalog of which every entry can be used.

    What an entry does not say of its keys, replication key and metadata is as discovery says it.

    Raises:
        SettingsError: when it has no streams, or one of them cannot be used.
    """
    entries = catalog.get("streams")
    if not isinstance(entries, list):
        found = json_kind(entries) if "streams" in catalog else "missing"
        _refuse(f"needs a list of streams, which is {found}")
    if not entries:
        _refuse("has no streams")
    result = [_checked_entry(entry, streams) for entry in entries]
    names = [entry["tap_stream_id"] for entry in result]
    twice = {name for name in names if names.count(name) > 1}
    if twice and streams is not None:
        _refuse(f"has the stream {printable(min(twice))} twice")
    checked = {"streams": result}
    try:
        Catalog.from_dict(checked)
    except (AttributeError, KeyError, TypeError, ValueError):
        _refuse("has a schema or metadata that is not as Singer has it")
    return checked


def selects_a_stream(catalog: Catalog) -> bool:
    """Say whether anything in a catalog is selected."""
    return any(entry.metadata.resolve_selection().get((), True) for entry in catalog.streams)


def _checked_entry(
    entry: object, streams: Mapping[str, type[NudgescribeStream]] | None
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        _refuse(f"has a stream that is {json_kind(entry)}, not an object")
    name = entry.get("tap_stream_id")
    if not isinstance(name, str) or not name:
        _refuse("has a stream without tap_stream_id")
    shown = printable(name[:60])
    if streams is not None and name not in streams:
        near = get_close_matches(name, streams, n=1)
        hint = f"did you mean {near[0]}?" if near else f"this tap has {', '.join(streams)}"
        _refuse(f"has the stream {shown}, which this tap does not have; {hint}")
    if streams is not None and entry.get("stream", name) not in (None, name):
        _refuse(f"calls the stream {shown} otherwise in stream; leave that out")
    properties = _properties(shown, entry.get("schema"))
    _check_metadata(shown, entry.get("metadata", []))
    for setting in ("replication_key", "replication_method"):
        value = entry.get(setting)
        if value is not None and not isinstance(value, str):
            _refuse(f"has a {setting} of {shown} that is {json_kind(value)}, not a text")
    return _with_keys(entry, streams[name] if streams else None, properties)


def _with_keys(
    entry: dict[str, Any], stream: type[NudgescribeStream] | None, properties: dict[str, Any]
) -> dict[str, Any]:
    """Return an entry whose keys are known and are among its properties."""
    shown = printable(entry["tap_stream_id"][:60])
    keys = entry.get("key_properties")
    if keys is not None and not _is_texts(keys):
        _refuse(f"has key_properties of {shown} that are not a list of texts")
    if stream is None:
        return entry
    result = entry | _completed(entry, stream)
    for key in result.get("key_properties") or ():
        # The stream's own keys are added where a catalog leaves them out.
        if key not in properties and key not in stream.keys:
            _refuse(f"has no property {printable(key)} in {shown}, which is one of its keys")
    return result


def _completed(entry: Mapping[str, Any], stream: type[NudgescribeStream]) -> dict[str, Any]:
    """Return what an entry does not say itself: without it, the stream would have no keys."""
    root: dict[str, Any] = next(
        (item["metadata"] for item in entry.get("metadata", ()) if not item["breadcrumb"]), {}
    )
    method = entry.get("replication_method") or root.get("forced-replication-method")
    if method not in {None, *METHODS}:
        name = printable(entry["tap_stream_id"])
        _refuse(f"has a replication_method of {name} that is none of {', '.join(METHODS)}")
    key = entry.get("replication_key") or root.get("replication-key")
    if key not in {None, stream.bookmarked}:
        _refuse(
            f"has a replication_key of {printable(entry['tap_stream_id'])} that is not "
            f"{stream.bookmarked or 'left out: it is read in full each time'}"
        )
    completed: dict[str, Any] = {"stream": entry["tap_stream_id"]}
    if not (entry.get("key_properties") or root.get("table-key-properties")):
        completed["key_properties"] = list(stream.keys)
    if key is None and method != "FULL_TABLE":
        completed["replication_key"] = stream.bookmarked
    return completed


def _properties(stream: str, schema: object) -> dict[str, Any]:
    if not isinstance(schema, dict):
        found = "missing" if schema is None else json_kind(schema)
        _refuse(f"needs a schema of {stream} that is an object; it is {found}")
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        _refuse(f"has a schema of {stream} without properties")
    for name, kind in properties.items():
        if not isinstance(kind, dict):
            _refuse(
                f"has a property {printable(name[:60])} in {stream} that is {json_kind(kind)}, "
                "not an object"
            )
        if not isinstance(kind.get("type", ""), str) and not _is_texts(kind["type"]):
            _refuse(f"has a property {printable(name[:60])} in {stream} whose type is not a text")
    return properties


def _check_metadata(stream: str, metadata: object) -> None:
    """Check the list of what is selected."""
    if not isinstance(metadata, list):
        _refuse(f"has metadata of {stream} that is {json_kind(metadata)}, not a list")
    for item in metadata:
        breadcrumb = item.get("breadcrumb") if isinstance(item, dict) else None
        if not _is_texts(breadcrumb) or not isinstance(item.get("metadata"), dict):
            _refuse(f"has metadata of {stream} without breadcrumb and metadata")
        for name in ("selected", "selected-by-default"):
            value = item["metadata"].get(name)
            if value is not None and not isinstance(value, bool):
                _refuse(f"has metadata of {stream} whose {name} is not true or false")
        if not breadcrumb:
            keys = cast("dict[str, Any]", item["metadata"]).get("table-key-properties")
            if keys is not None and not _is_texts(keys):
                _refuse(f"has table-key-properties of {stream} that are not a list of texts")


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _refuse(found: str) -> NoReturn:
    problem = f"The catalog {found}"
    raise SettingsError(problem, advice=ADVICE)
