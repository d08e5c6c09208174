"""Read what a customer group holds, in the form in which rows are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import NudgescribeError
from target_nudgescribe.csv_lines import csv_lines
from target_nudgescribe.fingerprints import key_prints, row_prints
from target_nudgescribe.mapping import MappedField, StreamMap
from target_nudgescribe.rows import from_dicts, texts_of
from target_nudgescribe.validation import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from target_nudgescribe.workspace import Workspace


class ReadBackError(NudgescribeError):
    """What a group holds cannot be compared with what was sent."""


@dataclass(frozen=True)
class HeldPage:
    """One page of a group's customers.

    Attributes:
        keys: Print of each customer's key.
        prints: Print of each customer's comparable fields.
        customer_ids: The API's id of each customer.
    """

    keys: NDArray[np.uint64]
    prints: NDArray[np.uint64]
    customer_ids: list[str]


def comparable_prints(cells: pa.Table, names: Sequence[str]) -> NDArray[np.uint64]:
    """Return prints of some fields by which what was sent and what is held can be compared.

    CSV has no difference between null and a blank that every reader sees, so they count as one.
    """
    columns = [texts_of(cells, name) for name in names]
    blanks = [pc.equal(column, pa.scalar("")) for column in columns]
    nothing = pa.scalar(None, pa.string())
    filled = [pc.if_else(b, nothing, c) for b, c in zip(blanks, columns, strict=True)]
    return row_prints(csv_lines(filled), names)


def held(
    workspace: Workspace, group_id: str, key: Sequence[str], names: Sequence[str]
) -> Iterator[HeldPage]:
    """Yield all pages of a group; a customer may come twice.

    Args:
        workspace: The workspace.
        group_id: The group.
        key: Fields that are the customers' key.
        names: Fields whose values are printed, in this order.

    Raises:
        ReadBackError: when a field of the key is encrypted, so that nobody can tell who is who.
        ApiError: when reading fails.
    """
    secret = [name for name in key if workspace.fields[name].encrypted]
    if secret:
        problem = f"The API returns {', '.join(secret)} encrypted, which is the customers' key"
        advice = "Use another identifier, or give the rows a column customer_id for deletes."
        raise ReadBackError(problem, advice=advice)
    wanted = list(dict.fromkeys([*key, *names]))
    mapped = StreamMap(
        tuple(
            MappedField(replace(workspace.fields[name], required=False), name) for name in wanted
        ),
        tuple(key),
        None,
        (),
    )
    for customers in customer_pages(workspace.client, workspace.workspace_id, group_id):
        profiles = [customer.get("profile") or {} for customer in customers]
        cells = check(from_dicts(wanted, profiles, 1), mapped).cells
        yield HeldPage(
            key_prints([texts_of(cells, name) for name in key]),
            comparable_prints(cells, names),
            [str(customer["customer_id"]) for customer in customers],
        )
