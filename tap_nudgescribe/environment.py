"""Read settings from environment variables."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from singer_sdk.configuration._dict_config import parse_environment_config

from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.input_files import parse_json_object
from tap_nudgescribe.settings_checks import allowed, found_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}

OF_THE_SDK = frozenset({"LOGLEVEL"})

_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")


def environment_config(
    schema: dict[str, Any], prefix: str, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the settings that environment variables hold, ``.env`` included as the SDK reads it.

    An empty variable counts as not set. Lists and objects are JSON; a list of texts may also be
    written ``a,b``.

    Args:
        schema: JSON schema of the settings.
        prefix: What the names of the variables begin with.
        environment: The variables; those of this process if not given.

    Raises:
        SettingsError: naming each variable that does not hold what its setting needs, and each
            that is nearly the name of a setting.
    """
    if environment is None:
        parse_environment_config({}, prefix)  # reads .env into the environment
        environment = os.environ
    result: dict[str, Any] = {}
    problems = list(_misspelled(schema, prefix, environment))
    for name, kind in schema["properties"].items():
        variable = prefix + name.upper().replace("-", "_")
        text = environment.get(variable, "").strip()
        if not text:
            continue
        try:
            result[name] = _value(text, kind)
        except ValueError:
            found = found_value(text, kind, secret=bool(kind.get("secret")))
            problems.append(f"{variable} is {found}. Allowed: {_allowed(kind)}.")
    if problems:
        raise SettingsError(" ".join(problems).rstrip("."))
    return result


def _value(text: str, kind: dict[str, Any]) -> object:
    """Return what the text of a variable stands for.

    Raises:
        ValueError: when it is not what the setting needs.
    """
    kinds = kind.get("type", "string")
    if "integer" in kinds:
        if not _WHOLE.fullmatch(text):
            raise ValueError
        return int(text)
    if "boolean" in kinds:
        if text.lower() not in BOOLEANS:
            raise ValueError
        return BOOLEANS[text.lower()]
    if "array" in kinds and not text.startswith("["):
        return [part.strip() for part in text.split(",")]
    if "array" in kinds or "object" in kinds:
        # Read as a member, so that a list and an object are read alike.
        try:
            return parse_json_object(b'{"value": %b}' % text.encode(), "")["value"]
        except SettingsError as error:
            raise ValueError from error
    return text


def _allowed(kind: dict[str, Any]) -> str:
    if "object" in kind.get("type", ()):
        return f"JSON, {allowed(kind)}"
    if "boolean" in kind.get("type", ()):
        return ", ".join(BOOLEANS)
    return allowed(kind)


def _misspelled(
    schema: dict[str, Any], prefix: str, environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield a problem for each variable whose name is nearly that of a setting."""
    known = [name.upper() for name in schema["properties"]]
    for variable in environment:
        name = variable.removeprefix(prefix)
        if name == variable or name in known or name in OF_THE_SDK or name.startswith("_"):
            continue
        if near := get_close_matches(name, known, n=1, cutoff=0.8):
            yield f"There is no setting for {variable}. Did you mean {prefix}{near[0]}?"
