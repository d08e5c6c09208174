"""Read the JSON files that a user names: configuration, state, catalog."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, NoReturn

from tap_nudgescribe.errors import SettingsError, reason
from tap_nudgescribe.printable import printable

MAX_FILE_BYTES = 256 * 2**20
"""Bytes of a file. Larger ones are not read."""


def read_json_object(path: str, what: str) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Args:
        path: The file; ``-`` is standard input.
        what: Names the file in errors: ``the state``.

    Raises:
        SettingsError: for a file that cannot be read, or that is not one JSON object. The error
            names the file and the place; it does not quote the content.
    """
    file = f"{what} ({printable(path)})"
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        problem = f"{file} cannot be read ({reason(error)})"
        raise SettingsError(problem, advice="Name a file that this user can read.") from None
    if len(content) > MAX_FILE_BYTES:
        problem = f"{file} has more than {MAX_FILE_BYTES // 2**20} MiB"
        raise SettingsError(problem, advice="Name the right file.")
    return parse_json_object(content, file)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    with Path(path).open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def parse_json_object(content: bytes, file: str) -> dict[str, Any]:
    """Return the JSON object of a text in UTF-8, with or without a byte order mark.

    Raises:
        SettingsError: for anything else, also for a key that comes twice, for NaN, and for a
            number that no float can hold.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"{file} is not UTF-8 (byte {error.start})"
        raise SettingsError(problem, advice="Save it as UTF-8.") from None
    if not text.strip():
        problem = f"{file} is empty"
        raise SettingsError(problem, advice="It must hold one JSON object.")
    value = _parsed(text, file)
    if not isinstance(value, dict):
        problem = f"{file} is {json_kind(value)}, not a JSON object"
        raise SettingsError(problem, advice=CORRECT)
    return value


def _parsed(text: str, file: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except _JsonProblem as error:
        problem = f"{file} {error}"
    except json.JSONDecodeError as error:
        problem = f"{file} {_where(error, text)}"
    except RecursionError:
        problem = f"{file} is nested too deeply"
    except ValueError:  # an integer of more digits than Python reads
        problem = f"{file} has a number that is too large"
    raise SettingsError(problem, advice=CORRECT)


CORRECT = "Correct the file: it must hold one JSON object."


class _JsonProblem(Exception):  # noqa: N818 (never leaves this module)
    """What is wrong with JSON that the parser accepts."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        problem = f"has the key {printable(twice[:60])!r} twice in one object"
        raise _JsonProblem(problem)
    return found


def _refuse_constant(name: str) -> NoReturn:
    problem = f"has the value {name}, which is not JSON"
    raise _JsonProblem(problem)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        problem = "has a number that is too large"
        raise _JsonProblem(problem)
    return value


def _where(error: json.JSONDecodeError, text: str) -> str:
    place = f"line {error.lineno}, column {error.colno}"
    if error.msg == "Extra data":
        return f"has more behind its JSON value ({place}); several lines are not one JSON object"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"is not complete JSON: it ends too early or a quote is open ({place})"
    return f"is not JSON ({place})"


def json_kind(value: object) -> str:
    """Return what JSON calls the type of a value, with its article."""
    kinds: dict[type, str] = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), "another value")
