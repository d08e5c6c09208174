"""Render and check whole rows: every error of every row, before anything is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from target_nudgescribe.canonical import MAX_DEPTH
from target_nudgescribe.rendering import Rendered, render
from target_nudgescribe.rows import bytes_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from target_nudgescribe.mapping import MappedField, StreamMap
    from target_nudgescribe.rows import Rows

MESSAGES = {
    "not_a_number": "The field takes numbers, and this is none",
    "number_too_long": "The number has more digits than can be sent",
    "not_an_amount": "The field takes amounts, and this is none, or an ambiguous one",
    "not_a_date": "The field takes dates, and this is none in ISO 8601 or the field's format",
    "not_a_char": "The field takes a single character",
    "not_an_option": "The value is none of the field's options",
    "nul_character": "The text holds the character U+0000",
    "not_unicode": "The text is no valid Unicode",
    "not_finite": "The value is NaN or infinite",
    "no_text": "The value is of a type that cannot be sent as text",
    "too_deep": f"The value has more than {MAX_DEPTH} objects or lists within one another",
    "required": "The field must have a value",
    "null_refused": "null_policy says that null must not be sent for this field",
    "no_identifier": "No field that identifies the customer has a value",
    "not_an_identifier": "A boolean, an object or a list does not identify a customer",
    "not_deleted": "The customer was not deleted: the API refuses, or there are too many deletes",
    "claimed_by_another_stream": "The customer was not deleted: another stream of the group "
    "contains the customer",
    "other_identifier": "The customer was not deleted: another stream of the group finds customers "
    "by another field, so that nobody can say whether it contains this one",
    "group_in_use": "The customer was not deleted: another run is writing the ledger of another "
    "stream of the group",
    "key_spelled_otherwise": "The customer was not deleted: the account has the key with other "
    "capitals or white space only, which may be another customer",
    "unreadable_delete_marker": "_sdc_deleted_at must be a date or a time (ISO 8601, 1971 to "
    "2099), null, blank or false: it is not known whether the customer is deleted",
    "no_group": "The row names no customer group",
    "unknown_group": "The workspace has no customer group of this name or id, or several",
    "not_a_group": "A boolean, an object or a list does not name a customer group",
}
"""What each stable code of our own checks means."""


ASCII = 127

INVISIBLE = dict.fromkeys((0x00AD, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
"""Characters without any width that ``str.strip`` leaves."""


class Fault(NamedTuple):
    """One reason why one row is not sent."""

    row: int
    """Place of the row among those checked."""
    code: str
    field: str | None
    column: str | None


@dataclass(frozen=True)
class Checked:
    """Rows in the form in which they would be sent.

    Attributes:
        cells: Rendered texts by profile field; null where there is nothing to send.
        missing: For each field that some row leaves alone, which rows do.
        faults: Everything that is wrong, in the order of the rows.
        valid: Which rows are right.
        rounded: How many amounts were rounded, by field.
        ambiguous: How many dates are of a century that two digits do not tell.
    """

    cells: pa.Table
    missing: Mapping[str, NDArray[np.bool_]]
    faults: list[Fault]
    valid: NDArray[np.bool_]
    rounded: Counter[str]
    ambiguous: int


def check(rows: Rows, stream: StreamMap) -> Checked:
    """Render rows and find what is wrong with them."""
    count = len(rows)
    cells: dict[str, pa.Array[Any]] = {}
    missing: dict[str, NDArray[np.bool_]] = {}
    faults: list[Fault] = []
    rounded: Counter[str] = Counter()
    keyless = np.ones(count, bool)
    ambiguous = 0
    for mapped in stream.fields:
        field = mapped.field
        rendered, lacking = _rendered(rows, mapped)
        if rendered.rounded:
            rounded[field.name] += rendered.rounded
        ambiguous += rendered.ambiguous
        found = {**rendered.faults, **rows.faults.get(mapped.column or "", {})}
        faults += [Fault(i, code, field.name, mapped.column) for i, code in found.items()]
        empty = _empty(rendered.values, found)
        if lacking is not None:
            empty &= ~lacking
        if field.name in stream.key:
            keyless &= blank(rendered.values)
            places = rows.nameless.get(mapped.column or "", ())
            faults += [
                Fault(int(i), "not_an_identifier", field.name, mapped.column) for i in places
            ]
        if empty.any():
            code = "null_refused" if mapped.null_policy == "fail" else "required"
            if mapped.null_policy == "keep":
                lacking = empty if lacking is None else lacking | empty
            elif mapped.null_policy == "fail" or field.required:
                faults += [
                    Fault(int(i), code, field.name, mapped.column) for i in np.flatnonzero(empty)
                ]
        if lacking is not None and lacking.any():
            missing[field.name] = lacking
        cells[field.name] = rendered.values
    faults += [Fault(int(i), "no_identifier", None, None) for i in np.flatnonzero(keyless)]
    faults.sort(key=lambda fault: fault.row)
    valid = np.ones(count, bool)
    valid[[fault.row for fault in faults]] = False
    return Checked(pa.table(cells), missing, faults, valid, rounded, ambiguous)


def _rendered(rows: Rows, mapped: MappedField) -> tuple[Rendered, NDArray[np.bool_] | None]:
    if mapped.column is None:
        one = render(mapped.field, pa.array([mapped.constant], pa.string()))
        values = pa.repeat(one.values[0], len(rows))
        return Rendered(
            values, dict.fromkeys(range(len(rows)), one.faults[0]) if one.faults else {}
        ), None
    texts = texts_of(rows.table, mapped.column)
    lacking = rows.missing.get(mapped.column)
    return render(mapped.field, texts), None if lacking is None else np.array(lacking)


def blank(values: pa.StringArray) -> NDArray[np.bool_]:
    """Return which values are null, an empty text, or blanks alone."""
    content, places = bytes_of(values)
    lengths = np.diff(places)
    empty: NDArray[np.bool_] = (lengths == 0) | np.asarray(values.is_null())
    if not len(content):
        return empty
    signs = np.frombuffer(content, np.uint8)
    first = signs[np.minimum(places[:-1], len(signs) - 1)]
    # Every blank begins with such a byte, and few other texts do.
    for row in np.flatnonzero(~empty & ((first <= ord(" ")) | (first > ASCII))).tolist():
        empty[row] = not str(values[row]).translate(INVISIBLE).strip()
    return empty


def _empty(values: pa.StringArray, faults: Mapping[int, str]) -> NDArray[np.bool_]:
    if not values.null_count:
        return np.zeros(len(values), bool)
    empty = np.array(values.is_null())
    empty[list(faults)] = False
    return empty
