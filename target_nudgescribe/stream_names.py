"""Which of the tap's streams the rows of a sink come from, whatever a stream map calls them.

The tap names its own streams in SCHEMA, ACTIVATE_VERSION and STATE; a sink has the name that a
stream map gives (``__alias__``, ``__source__``). A guard needs the first, people read the second.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_sdk.mapper import PluginMapper, StreamMap

    from target_nudgescribe.outcomes import RunOutcomes

INCREMENTAL_KEYS = ("replication_key_value", "lsn", "log_file", "log_pos", "gtid")
"""What a STATE holds of a stream whose tap sends only what has changed since."""

ALIAS, SOURCE, FILTER = "__alias__", "__source__", "__filter__"


class StreamNames:
    """What the tap has said of its streams, by the names of the sinks.

    Args:
        mapper: Returns the SDK's mapper, which knows every stream whose SCHEMA came.
        outcomes: Counts the rows of each sink.
    """

    def __init__(self, mapper: Callable[[], PluginMapper], outcomes: RunOutcomes) -> None:
        """Know no stream yet."""
        self._mapper = mapper
        self._outcomes = outcomes
        self._bookmarked: set[str] = set()
        self._mapped_records: Counter[str] = Counter()
        self._complete: dict[str, int] = {}

    def note_schema(self, source: str, bookmark_properties: object) -> None:
        """Note whether the tap says that a stream is incremental; once said, it holds."""
        if bookmark_properties:
            self._bookmarked.add(source)

    def note_records(self, source: str) -> None:
        """Note that a record or a file of a stream came that a stream map sees."""
        self._mapped_records[source] += 1

    def note_version(self, source: str) -> None:
        """Note that ACTIVATE_VERSION came: behind the last row, the table was complete."""
        self._complete[source] = self._rows(source)

    def sources(self, name: str) -> list[str]:
        """Return the tap's streams whose rows go to a sink."""
        return [
            source
            for source, maps in self._mapper().stream_maps.items()
            if any(each.stream_alias == name for each in _kept(maps))
        ]

    def is_removed(self, name: str) -> bool:
        """Return whether a stream map drops every row that would go to a sink."""
        maps = [each for every in self._mapper().stream_maps.values() for each in every]
        return any(each.stream_alias == name for each in maps) and not self.sources(name)

    def identity(self, name: str) -> str:
        """Return the name under which the target remembers a sink's rows from run to run.

        It is the tap's name for the stream, so that another alias changes nothing. A second
        projection of a stream, and a sink of several streams, have only the sink's name.
        """
        sources = self.sources(name)
        if len(sources) != 1 or self._merges(name):
            return name
        maps = self._mapper().stream_maps[sources[0]]
        return sources[0] if maps[0].stream_alias == name else name

    def is_whole(self, name: str) -> bool:
        """Return whether ACTIVATE_VERSION came behind the last row of every stream of a sink.

        Where a pattern leads streams to it, nobody knows which ones should have come.
        """
        sources = self.sources(name)
        return (
            bool(sources)
            and not any(map(_is_pattern, self._aliased(name)))
            and all(self._complete.get(source) == self._rows(source) for source in sources)
        )

    def missing(self, name: str) -> list[str]:
        """Return the streams that the settings lead to a sink and that did not come."""
        return [
            key
            for key in self._aliased(name)
            if not (_is_pattern(key) or key in self._mapper().stream_maps)
        ]

    def is_incremental(self, name: str, state: Any = None) -> bool:  # noqa: ANN401 (JSON)
        """Return whether a tap's stream is incremental, as SCHEMA or a STATE says."""
        return any(
            source in self._bookmarked or _has_bookmark(state, source)
            for source in self.sources(name)
        )

    def is_filtered(self, name: str) -> bool:
        """Return whether a stream map leaves out some rows of a sink."""
        return any(
            key == name if SOURCE in definition else self._primary(source) == name
            for source in self.sources(name)
            for key, definition in self._definitions(source)
            if definition.get(FILTER)
        )

    def _rows(self, source: str) -> int:
        maps = _kept(self._mapper().stream_maps.get(source, []))
        if any(type(each) is not SameRecordTransform for each in maps):
            # Each record of such a stream is seen, and others may go to the same sink.
            return self._mapped_records[source]
        read = sum(self._outcomes.stream(each.stream_alias).read for each in maps)
        return read + self._mapped_records[source]

    def _merges(self, name: str) -> bool:
        """Return whether the settings may lead several streams to a sink.

        It does not depend on which stream comes first.
        """
        aliased = self._aliased(name)
        return len(aliased) > 1 or any(map(_is_pattern, aliased))

    def _aliased(self, name: str) -> list[str]:
        """Return the streams, or patterns of their names, that the settings lead to a sink."""
        return [
            str(definition.get(SOURCE, key))
            for key, definition in self._mapper().stream_maps_dict.items()
            if isinstance(definition, dict) and definition.get(ALIAS) == name
        ]

    def _primary(self, source: str) -> str:
        return self._mapper().stream_maps[source][0].stream_alias

    def _definitions(self, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, definition in self._mapper().stream_maps_dict.items():
            if isinstance(definition, dict) and fnmatch(source, definition.get(SOURCE, key)):
                yield key, definition


def _is_pattern(key: str) -> bool:
    return any(sign in key for sign in "*?[")


def _kept(maps: list[StreamMap]) -> list[StreamMap]:
    return [each for each in maps if not isinstance(each, RemoveRecordTransform)]


def _has_bookmark(state: Any, source: str) -> bool:  # noqa: ANN401 (JSON)
    """Return whether a STATE holds a bookmark of a stream, or of one of its partitions."""
    bookmarks = state.get("bookmarks") if isinstance(state, dict) else None
    mark = bookmarks.get(source) if isinstance(bookmarks, dict) else None
    if not isinstance(mark, dict):
        return False
    partitions = mark.get("partitions")
    parts = [mark, *(partitions if isinstance(partitions, list) else [])]
    return any(
        part.get(key) not in {None, ""}
        for part in parts
        if isinstance(part, dict)
        for key in INCREMENTAL_KEYS
        if not isinstance(part.get(key), (dict, list))
    )
