"""Stream maps that fail: for a whole stream it is a wrong setting, for one record its own fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import CustomStreamMap

from tap_nudgescribe.errors import NudgescribeError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from singer_sdk.mapper import StreamMap

CODE = "stream_map_failed"
MESSAGE = "An expression of stream_maps cannot be computed for this record"

_MAPPER = "singer_sdk.mapper"


def guard(maps: Iterable[StreamMap], reject: Callable[[str, dict[str, Any], str], None]) -> None:
    """Let a record for which an expression fails be a reject, and not the end of the run.

    Args:
        maps: Those of one stream; each may be given again.
        reject: Called with the stream's name in the account, the record as it came, and what
            failed, without a value.
    """
    for each in maps:
        if isinstance(each, CustomStreamMap) and not hasattr(each, "guarded"):
            each.guarded = True  # type: ignore[attr-defined]
            each.transform = _guarded(each, reject)  # type: ignore[method-assign, assignment]


def _guarded(
    each: CustomStreamMap, reject: Callable[[str, dict[str, Any], str], None]
) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    transform = each.transform

    def guarded(record: dict[str, Any]) -> dict[str, Any] | None:
        as_read = dict(record)
        try:
            return transform(record)
        except Exception as error:  # noqa: BLE001 (an expression may raise anything)
            reject(each.stream_alias, as_read, _told(error))
            return None

    return guarded


def settings_error(stream: str, error: Exception) -> Exception:
    """Return what is wrong with the setting if the SDK's mapper raised an error, else the error."""
    if isinstance(error, NudgescribeError) or not any(_frames(error)):
        return error
    problem = f"stream_maps cannot be applied to the stream {stream}: {_told(error)}"
    return SettingsError(problem, advice="Correct the expression, or remove it.")


def _told(error: Exception) -> str:
    """Return which expression failed and how, by types: an error's text may hold a value."""
    kind = type(error.__cause__ or error).__name__
    for frame in _frames(error):
        known = frame.f_locals
        names = [name for name in ("expr", "prop_def", "filter_rule") if name in known]
        expression = next((known[name] for name in names if isinstance(known[name], str)), None)
        if expression is not None:
            name = known.get("property_name") or known.get("prop_key")
            of = f" of {name!r}" if isinstance(name, str) else ""
            return f"the expression {expression!r}{of} failed ({kind})"
    # The mapper's own errors name settings alone.
    is_own = isinstance(error, MappingError | NotImplementedError)
    return str(error).rstrip(".") if is_own else f"it failed ({kind})"


def _frames(error: Exception) -> Iterator[FrameType]:
    """Yield the frames of the SDK's mapper in which an error was raised, the innermost first."""
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == _MAPPER:
            found.append(traceback.tb_frame)
        traceback = traceback.tb_next
    yield from reversed(found)
