"""Check settings before anything is sent, and say what is wrong with them in one sentence each."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_nudgescribe.input_files import json_kind
from tap_nudgescribe.printable import printable
from tap_nudgescribe.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping

Schema = dict[str, Any]

WITHOUT_EFFECT = frozenset(
    {
        *("add_record_metadata", "load_method", "validate_records", "batch_config"),
        *("batch_size_rows", "batch_wait_limit_seconds", "max_parallelism", "hard_delete"),
        *("default_target_schema", "process_activate_version_messages", "record_metadata"),
    }
)
"""Settings that the SDK has for some plugins. Where a plugin does not, they change nothing."""

MAX_QUOTED = 40
"""Characters of a value that an error quotes."""

_NUMBER_LIKE = re.compile(r"[0-9TZe.:+-]*[0-9][0-9TZe.:+ -]*")
_WORD = re.compile(r"[A-Za-z_-]{1,20}")


def unknown_settings(config: Mapping[str, Any], schema: Schema) -> Iterator[str]:
    """Yield a problem for each setting that there is not.

    Names that begin with ``_`` belong to Meltano and are left alone.
    """
    known = list(schema["properties"])
    for name in config:
        if name in schema["properties"] or name.startswith("_") or name in WITHOUT_EFFECT:
            continue
        near = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.6)
        advice = f"Did you mean {near[0]}?" if near else "Remove it; --about lists all settings."
        yield f"There is no setting {printable(name[:MAX_QUOTED])!r}. {advice}"


def schema_problem(error: Any, config_schema: Schema) -> str:  # noqa: ANN401 (jsonschema)
    """Return what is wrong with a value: its setting, what was found, what is allowed.

    Args:
        error: A ``jsonschema.ValidationError``.
        config_schema: JSON schema of all settings.
    """
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in error.validator_value if name not in error.instance]
        name = printable(".".join([*path, *missing[:1]]))
        return f"{name} is required and not set. Set it."
    where = printable(".".join(path)) or "The configuration"
    top = config_schema["properties"].get(path[0], {}) if path else {}
    found = found_value(error.instance, error.schema, secret=bool(top.get("secret")))
    if error.validator == "additionalProperties":
        return f"{where} has a key that it cannot have. Allowed: {allowed(error.schema)}."
    return f"{where} is {found}. Allowed: {allowed(error.schema)}."


def found_value(value: object, schema: object, *, secret: bool) -> str:
    """Return a value for an error: itself where it cannot be a secret, else its JSON type.

    A text is quoted where a number, a date or one of a few words is expected and it looks like
    one: a secret that was put into a wrong setting does not.
    """
    kind = json_kind(value)
    if secret or isinstance(value, dict | list) or value is None or value == "":
        return "an empty text" if value == "" else kind
    if isinstance(value, int | float):
        small = isinstance(value, float) or abs(value) < 10**MAX_QUOTED
        return json.dumps(value) if small else "a number of more than 40 digits"
    return f"the text {value!r}" if _may_be_quoted(str(value), schema) else kind


def _may_be_quoted(text: str, schema: object) -> bool:
    """Say whether a text looks like a number, a date or a word, and one is expected."""
    if not isinstance(schema, dict) or len(text) > MAX_QUOTED:
        return False
    if "enum" in schema:
        return bool(_WORD.fullmatch(text))
    return not _takes_text(schema) and bool(_NUMBER_LIKE.fullmatch(text))


def _takes_text(schema: Schema) -> bool:
    kinds = schema.get("type", "string")
    return "string" in kinds and schema.get("format") != "date-time"


def allowed(schema: object) -> str:
    """Return in words what a JSON schema allows."""
    if not isinstance(schema, dict):
        return "nothing"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(filter(None, map(allowed, schema[several]))))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"] if value is not None)
    kinds = schema.get("type", [])
    names = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_of_type(kind, schema) for kind in names if kind != "null" or names == kind)


def _of_type(kind: str, schema: Schema) -> str:
    match kind:
        case "integer" | "number":
            return ("a whole number" if kind == "integer" else "a number") + _bounds(schema)
        case "string":
            return _text(schema)
        case "array":
            return f"a list of items that are {allowed(schema.get('items', {})) or 'JSON'}"
        case "object":
            return _object(schema)
    return {"boolean": "true or false"}.get(kind, kind)


def _text(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "a date or time such as 2025-01-31 or 2025-01-31T00:00:00Z"
    if {"minimum", "maximum"} <= schema.keys():
        return f"the same number as a text{_bounds(schema)}"
    return "a text that is not empty" if schema.get("minLength") else "a text"


def _object(schema: Schema) -> str:
    values = schema.get("additionalProperties")
    of = f" with values that are {allowed(values)}" if isinstance(values, dict) else ""
    names = ", ".join(schema.get("properties", {})) if values is False else ""
    return f"an object{of}" + (f" with the keys {names}" if names else "")


def _bounds(schema: Schema) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        return f" from {lowest} to {highest}"
    return f" of at least {lowest}" if lowest is not None else ""


def with_whole_numbers(config: MutableMapping[str, Any], schema: Schema) -> None:
    """Turn 6.0 into 6 where a whole number belongs: JSON Schema takes one for the other."""
    for name, kind in schema["properties"].items():
        value = config.get(name)
        if "integer" in kind.get("type", ()) and isinstance(value, float) and value.is_integer():
            config[name] = int(value)


def date_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with start_date and end_date."""
    moments = {}
    for name in ("start_date", "end_date"):
        text = config.get(name)
        if text is None:
            continue
        try:
            moments[name] = parse_timestamp(text)
        except ValueError:
            found = found_value(text, {"type": "string", "format": "date-time"}, secret=False)
            yield (
                f"{name} is {found}, which is not a date or time. Allowed: ISO 8601, such as "
                "2025-01-31 or 2025-01-31T00:00:00Z."
            )
    if len(moments) > 1 and moments["end_date"] <= moments["start_date"]:
        yield (
            f"end_date ({moments['end_date']:%Y-%m-%dT%H:%M:%SZ}) is not after start_date "
            f"({moments['start_date']:%Y-%m-%dT%H:%M:%SZ}): nothing lies between them. Correct "
            "one of them."
        )


def batch_problems(batch_config: object) -> Iterator[str]:
    """Yield what is wrong with batch_config, beside what its schema says."""
    if not isinstance(batch_config, dict) or not batch_config:
        return
    encoding = batch_config.get("encoding") or {}
    storage = batch_config.get("storage") or {}
    if "format" not in encoding:
        yield "batch_config.encoding.format is not set. Allowed: jsonl, parquet."
    if "root" not in storage:
        yield "batch_config.storage.root is not set. Set it to a folder or a URL of a storage."
    yield from storage_problems("batch_config.storage.root", storage.get("root"), folders=True)
    prefix = storage.get("prefix") or ""
    if not prefix.isprintable():
        yield "batch_config.storage.prefix has an unprintable character. Remove it."
    size = batch_config.get("batch_size", 1)
    if size < 1:
        yield f"batch_config.batch_size is {size}. Allowed: a whole number of at least 1."


STORES = ("s3", "gs", "az")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def storage_problems(name: str, value: object, *, folders: bool) -> Iterator[str]:
    """Yield what is wrong with a URL of a storage; the URL is not quoted.

    Args:
        name: The setting.
        value: Its value.
        folders: Whether a local folder may be given by its path, without ``file://``.
    """
    if not isinstance(value, str):
        return
    kinds = "s3://bucket/folder, gs://bucket/folder, az://container/folder, file:///folder"
    kinds += " or the path of a folder" if folders else ""
    scheme, separator, rest = value.partition("://")
    if not value.isprintable():
        yield f"{name} has a line break or another unprintable character. Remove it."
    elif not separator:
        if not folders:
            yield f"{name} is not a URL. Allowed: {kinds}."
    elif scheme == "file":
        if not rest.startswith("/"):
            yield f"{name} is a file:// URL that does not begin with file:///. Write three slashes."
    elif "@" in rest.partition("/")[0] or _has_credentials(value):
        yield (
            f"{name} holds credentials. Remove them from the URL: they would be in logs and "
            "files. The plugin uses those that the cloud's own client finds, such as environment "
            "variables."
        )
    elif scheme not in STORES or not _BUCKET.fullmatch(rest.partition("/")[0]):
        yield f"{name} is not a URL that can be used. Allowed: {kinds}."


def _has_credentials(url: str) -> bool:
    """Say whether a URL has a user, a password, or a query, which is where signatures are.

    A secret with a slash ends the host before the ``@``: a colon that no port follows shows it.
    """
    try:
        parts = urlsplit(url)
        return bool(parts.username or parts.password or parts.query) or (
            parts.port is None and (":" in parts.netloc)
        )
    except ValueError:
        return True


def all_problems(*groups: Iterable[str]) -> list[str]:
    """Return the problems of several checks in their order, each once."""
    return list(dict.fromkeys(problem for group in groups for problem in group))
