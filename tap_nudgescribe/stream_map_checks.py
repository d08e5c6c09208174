"""Check the setting stream_maps before anything is sent, and say which part of it fails later."""

from __future__ import annotations

import ast
import fnmatch
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tap_nudgescribe.errors import ApiError
from tap_nudgescribe.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SPECIAL = ("__alias__", "__else__", "__filter__", "__key_properties__", "__source__")
"""What the SDK understands beside the names of properties."""

NULLS = (None, "__NULL__")


class StreamMapError(ApiError):
    """An expression of stream_maps fails for a record. Its stream fails, the others go on."""

    advice = (
        "Correct the expression in the setting stream_maps: it must work for every record, also "
        "for null."
    )

    def __init__(self, error: Exception) -> None:
        """Say of which property, by what the SDK was at when it failed; no value is quoted."""
        kind = type(error.__cause__ or error).__name__
        where = f" for {printable(name)}" if (name := _failing(error)) else ""
        super().__init__(f"stream_maps{where}: the expression fails for a record ({kind})")


def stream_map_problems(config: Mapping[str, Any], streams: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with stream_maps, whose expressions are not quoted.

    Args:
        config: Settings, each of the right type.
        streams: Names of the tap's streams.
    """
    for name, mapped in (config.get("stream_maps") or {}).items():
        if name == "__else__":
            continue
        where = f"stream_maps.{printable(name[:60])}"
        source = mapped.get("__source__", name) if isinstance(mapped, dict) else name
        if not any(fnmatch.fnmatch(stream, source) for stream in streams):
            near = get_close_matches(source, streams, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Streams: {', '.join(streams)}."
            yield f"{where} is for a stream that this tap does not have. {hint}"
        if isinstance(mapped, dict):
            yield from _property_problems(where, mapped)
    if config.get("flattening_enabled") and config.get("flattening_max_depth") is None:
        yield "flattening_enabled needs flattening_max_depth. Set it, for example to 1."


def _property_problems(where: str, mapped: Mapping[str, Any]) -> Iterator[str]:
    for name, expression in mapped.items():
        place = f"{where}.{printable(name[:60])}"
        if name.startswith("__") and name.endswith("__") and name not in SPECIAL:
            yield f"{place} is not known. Allowed: {', '.join(SPECIAL)}."
        elif name == "__else__" or name in {"__alias__", "__source__", "__key_properties__"}:
            continue
        elif expression not in NULLS and not _is_expression(expression):
            yield f"{place} is not a Python expression. Correct it."


def _is_expression(text: str) -> bool:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.Expr)


def _failing(error: Exception) -> str | None:
    """Return the property whose expression was evaluated; None if that cannot be known."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "transform_fn" and "prop_key" in frame.f_locals:
            return str(frame.f_locals["prop_key"])
        if frame.f_code.co_name == "_inner" and "filter_rule" in frame.f_locals:
            return "__filter__"
        trace = trace.tb_next
    return None
