"""What every step on the way of one stream's rows needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from target_nudgescribe.fingerprints import Hashing, definitions_print
from target_nudgescribe.rejects import PRINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from tap_nudgescribe.interruption import Interruption
    from target_nudgescribe.mapping import StreamMap
    from target_nudgescribe.outcomes import StreamOutcomes
    from target_nudgescribe.rejects import RejectsFile
    from target_nudgescribe.workspace import Workspace


@dataclass(frozen=True)
class Route:
    """From a stream to the account.

    Attributes:
        name: The stream.
        mapped: Where its columns go.
        workspace: Where it goes.
        config: The target's settings.
        outcomes: Counts how each row ended.
        rejects: Keeps the rows that were not taken.
        run_id: Names this run.
        interruption: Asked where nothing is under way; it may end the run.
        replaying: Whether rows go out again that were rejected as they are.
    """

    name: str
    mapped: StreamMap
    workspace: Workspace
    config: Mapping[str, Any]
    outcomes: StreamOutcomes
    rejects: RejectsFile
    run_id: str
    interruption: Interruption
    replaying: bool = False

    @cached_property
    def definitions(self) -> int:
        """A print of the field definitions: what was refused under others is tried again."""
        return definitions_print(one.field for one in self.mapped.fields)

    @cached_property
    def hashing(self) -> Hashing:
        """Hashes keys and rows of this workspace's customers."""
        return Hashing(self.config.get("hash_key"), self.workspace.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The profile fields that the stream's columns go into."""
        return tuple(one.field.name for one in self.mapped.fields)

    def told_key(self, cells: pa.Table, keys: NDArray[np.uint64], row: int) -> str:
        """Return what a reject says of its customer: the key, or a print of it."""
        if self.config["rejects_rows"] == "full":
            return "|".join(str(cells.column(name)[row].as_py() or "") for name in self.mapped.key)
        return f"{PRINT}{keys[row].tobytes().hex()}"
