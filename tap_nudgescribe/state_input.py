"""Read the state that a run begins with, or say why it cannot be used.

A state that is not understood must not pass for none: everything would be read again, and what
was unfinished would be forgotten.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.input_files import json_kind, read_json_object
from tap_nudgescribe.printable import printable
from tap_nudgescribe.timestamps import format_timestamp, later, moment, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

WRAPPED = 3
"""How many envelopes around a state are opened."""

IGNORED = frozenset({"bookmarks", "currently_syncing"})
"""Keys of a state that Singer knows. Others beside them are of another program."""

CLOCKS_DIFFER = timedelta(hours=1)
"""So far may the clocks of the API's servers be from each other."""

ADVICE = (
    "Use the value of the last STATE message of this tap, or what `meltano state get` writes. "
    "Without --state everything is read from start_date on."
)


def read_state(path: str) -> dict[str, Any]:
    """Return the state in a file: ``{"bookmarks": …}``, without what Meltano puts around it.

    Raises:
        SettingsError: for a file that is not a JSON object or not a state.
    """
    return unwrapped_state(read_json_object(path, "The state"))


def unwrapped_state(state: object) -> dict[str, Any]:
    """Return a state without its envelopes: Meltano's ``singer_state``, and a STATE message.

    ``{}`` is the state before the first run.

    Raises:
        SettingsError: for what is not a state.
    """
    for _ in range(WRAPPED):
        if not isinstance(state, dict):
            _refuse(f"is {json_kind(state)}, not an object")
        if set(state) == {"singer_state"}:
            state = state["singer_state"]
        elif state.get("type") == "STATE" and "value" in state:
            state = state["value"]
        else:
            break
    if not isinstance(state, dict):
        _refuse(f"is {json_kind(state)}, not an object")
    if state and "bookmarks" not in state:
        names = ", ".join(printable(str(name)[:40]) for name in list(state)[:5])
        _refuse(f"has no bookmarks; it has the keys {names}")
    return state


def check_state(state: Mapping[str, Any], bookmarked: Mapping[str, str | None]) -> list[str]:
    """Make sure that a state can be gone on from.

    Args:
        state: As :func:`unwrapped_state` returns it.
        bookmarked: All streams, each with the property that its bookmark holds, if it has one.

    Returns:
        The names in it that are no streams of this tap, beside some that are.

    Raises:
        SettingsError: for a state of another tap, and for anything that is not as this tap
            writes it.
    """
    bookmarks = state.get("bookmarks", {})
    if not isinstance(bookmarks, dict):
        _refuse(f"has bookmarks that are {json_kind(bookmarks)}, not an object")
    foreign = [name for name in bookmarks if name not in bookmarked]
    if foreign and len(foreign) == len(bookmarks):
        names = ", ".join(printable(name[:40]) for name in foreign[:5])
        _refuse(f"is of another tap: this one has no streams {names}")
    for stream, entry in bookmarks.items():
        if not isinstance(entry, dict):
            name = printable(stream[:40])
            _refuse(f"has a bookmark of {name} that is {json_kind(entry)}, not an object")
        if stream in bookmarked:
            _check_stream(stream, entry, bookmarked[stream])
    return [printable(name[:40]) for name in foreign]


def _check_stream(stream: str, entry: Mapping[str, Any], bookmark: str | None) -> None:
    key = entry.get("replication_key")
    if bookmark is not None and key is not None and key != bookmark:
        _refuse(f"has a bookmark of {stream} that is not one of {bookmark}")
    if bookmark is not None and "replication_key_value" in entry:
        _check_moment(f"replication_key_value of {stream}", entry["replication_key_value"])
    if "unfinished" not in entry:
        return
    unfinished = entry["unfinished"]
    if not isinstance(unfinished, dict):
        _refuse(f"has an unfinished of {stream} that is {json_kind(unfinished)}, not an object")
    for part in unfinished.values():
        _check_part(stream, part)


def _check_part(stream: str, part: object) -> None:
    """Check one unfinished part: from when on it is read, and how far it came."""
    what = f"part of unfinished of {stream}"
    if not isinstance(part, dict):
        _refuse(f"has a {what} that is {json_kind(part)}, not an object")
    if "since" not in part:
        _refuse(f"has a {what} without since")
    if part["since"] is not None:
        _check_moment(f"since of a {what}", part["since"])
    for name in ("run_number", "file_number"):
        number = part.get(name, 0)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            _refuse(f"has a {name} of a {what} that is not a whole number")


def _check_moment(what: str, value: object) -> None:
    try:
        parse_timestamp(value if isinstance(value, str) else "")
    except ValueError:
        _refuse(f"has a {what} that is not a date and time")


def refuse_what_is_ahead(
    state: Mapping[str, Any], start_date: str | None, server_time: Callable[[], datetime]
) -> None:
    """Make sure that no bookmark and no start_date is later than the server's time.

    Everything until then would be left out, and the run would end as if all were well.

    Args:
        state: As :func:`check_state` accepts it.
        start_date: The setting.
        server_time: Logs in and returns the API's time: this machine's need not be right. It is
            called only if there is something to compare.

    Raises:
        SettingsError: naming what is ahead.
        ApiError: when the API does not answer.
    """
    moments = {what: value for what, text in _moments(state) if (value := moment(text))}
    start = moment(start_date)
    if start is None and not moments:
        return
    latest_possible = later(server_time(), CLOCKS_DIFFER)
    until = "everything until then would be left out"
    for what, value in moments.items():
        if value > latest_possible:
            problem = (
                f"The state has a {what} that lies in the future ({format_timestamp(value)}): "
                f"{until}"
            )
            advice = (
                "Set it to when the last run began that ended well, or remove it to read "
                "everything again."
            )
            raise SettingsError(problem, advice=advice)
    if start and start > latest_possible:
        problem = f"start_date lies in the future ({format_timestamp(start)}): {until}"
        raise SettingsError(problem, advice="Set it to an earlier day, or remove it.")


def _moments(state: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield each moment from when on something is read, and what it is."""
    for stream, entry in state.get("bookmarks", {}).items():
        name = printable(stream[:40])
        yield f"replication_key_value of {name}", entry.get("replication_key_value")
        for part in entry.get("unfinished", {}).values():
            yield f"since of a part of unfinished of {name}", part.get("since")


def _refuse(found: str) -> NoReturn:
    problem = f"The state {found}"
    raise SettingsError(problem, advice=ADVICE)
