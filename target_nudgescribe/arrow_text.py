"""The canonical texts of Arrow columns, and which types have none.

A value has the text that the same value has in a JSON record (see
:mod:`target_nudgescribe.canonical`): a whole float is an integer, a date is ISO 8601, a time has no
fraction or one of six digits (nine if it needs them), a moment of a time zone has its offset.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_nudgescribe.canonical import ValueFaultError, number_text, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

Faults = dict[int, str]
"""Row index to the stable code of what is wrong there."""

_NO_TEXT = object()
"""A value of an unsupported type in a row."""

_EXACT_INTEGERS = 2.0**53
"""Below it every whole float is exactly one integer."""

_types: Any = pa.types  # its stubs narrow to types that have no attributes
_compute: Any = pc


def faults_at(wrong: pa.BooleanArray, code: str) -> Faults:
    """Return the same fault for each row where a mask is true; null is false."""
    return dict.fromkeys(np.flatnonzero(np.asarray(wrong.fill_null(False))).tolist(), code)  # noqa: FBT003 (a value)


def unsupported(kind: Any, *, nested: bool = False) -> str | None:  # noqa: ANN401, C901, PLR0911
    """Return why values of an Arrow type have no text; None if they have.

    Args:
        kind: The type.
        nested: Whether it is part of an object or a list.
    """
    if _types.is_dictionary(kind):
        return unsupported(kind.value_type, nested=nested)
    if isinstance(kind, pa.BaseExtensionType):
        known = kind.extension_name in {"arrow.uuid", "arrow.json", "arrow.bool8"}
        return None if known else f"has the Arrow type {kind}, which is not known"
    if _types.is_map(kind):
        if not _is_text(kind.key_type):
            return f"has the Arrow type {kind}, whose keys are not texts"
        return unsupported(kind.item_type, nested=True)
    if _types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        if len({field.name for field in fields}) < len(fields):
            return f"has the Arrow type {kind}, with two fields of one name"
        return next(filter(None, (unsupported(f.type, nested=True) for f in fields)), None)
    if _is_list(kind):
        return unsupported(kind.value_type, nested=True)
    if nested and getattr(kind, "unit", None) == "ns":
        return f"holds values of the Arrow type {kind}, which is too fine within objects and lists"
    if _types.is_timestamp(kind) or not (_is_plain(kind) or _types.is_null(kind)):
        try:
            if not _types.is_timestamp(kind):
                raise pa.ArrowInvalid
            pa.array([0], pa.int64()).cast(kind).cast(pa.string())
        except (pa.ArrowException, ValueError):
            return f"has the Arrow type {kind}, which has no text"
    return None


def _is_plain(kind: Any) -> bool:  # noqa: ANN401 (any Arrow type)
    return any(
        (
            _is_text(kind),
            _types.is_boolean(kind),
            _types.is_integer(kind),
            _types.is_floating(kind),
            _types.is_decimal(kind),
            _types.is_date(kind),
            _types.is_time(kind),
        )
    )


def _is_text(kind: Any) -> bool:  # noqa: ANN401
    return bool(
        _types.is_string(kind) or _types.is_large_string(kind) or _types.is_string_view(kind)
    )


def _is_list(kind: Any) -> bool:  # noqa: ANN401
    return bool(
        _types.is_list(kind)
        or _types.is_large_list(kind)
        or _types.is_fixed_size_list(kind)
        or _types.is_list_view(kind)
        or _types.is_large_list_view(kind)
    )


def is_scalar_type(kind: Any) -> bool:  # noqa: ANN401
    """Say whether values of a type can name something: those that are not ``true`` or nested."""
    return not (_types.is_boolean(kind) or _types.is_nested(kind))


def array_texts(array: Any) -> tuple[pa.StringArray, Faults]:  # noqa: ANN401, PLR0911 (a table)
    """Return the texts of an array, and which values have none.

    Args:
        array: Of any type; all values of an unsupported one are faults.
    """
    array = _unwrapped(array)
    kind = array.type
    if unsupported(kind):
        return pa.nulls(len(array), pa.string()), faults_at(array.is_valid(), "no_text")
    if _types.is_nested(kind):
        return _one_by_one(array.to_pylist(), _converter(kind))
    if isinstance(kind, pa.UuidType):
        return _one_by_one(array.storage.to_pylist(), lambda value: str(UUID(bytes=value)))
    if _types.is_floating(kind):
        return _floats(array)
    if _types.is_decimal(kind):
        return _decimals(array), {}
    if _types.is_time(kind) or _types.is_timestamp(kind):
        return _moments(array), {}
    texts: pa.StringArray = array.cast(pa.string())
    return texts, {}


def row_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows as decoded JSON records would be: what JSON does not have is text.

    Args:
        batch: With columns of different names.
    """
    columns: dict[str, list[Any]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        array = _unwrapped(column)
        kind = array.type
        if _types.is_floating(kind):
            # A float's shortest text is exact, and its own digits may be many.
            columns[name] = [
                None if text is None else Decimal(text)
                for text in array.cast(pa.string()).to_pylist()
            ]
        elif _types.is_nested(kind) and not unsupported(kind):
            convert = _converter(kind)
            columns[name] = [None if v is None else convert(v) for v in array.to_pylist()]
        elif unsupported(kind):
            columns[name] = [
                None if valid is False else _NO_TEXT for valid in array.is_valid().to_pylist()
            ]
        elif _is_json(kind):
            columns[name] = array.to_pylist()
        else:
            columns[name] = array_texts(array)[0].to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_json(kind: Any) -> bool:  # noqa: ANN401 (any Arrow type)
    return bool(
        _is_text(kind)
        or _types.is_boolean(kind)
        or _types.is_integer(kind)
        or _types.is_decimal(kind)
        or _types.is_null(kind)
    )


def _unwrapped(array: Any) -> Any:  # noqa: ANN401 (any Arrow type)
    """Return an array without what only stores it differently."""
    if _types.is_dictionary(array.type):
        return _unwrapped(array.dictionary_decode())
    if isinstance(array.type, pa.BaseExtensionType):
        name = array.type.extension_name
        if name == "arrow.bool8":
            return array.storage.cast(pa.bool_())
        if name == "arrow.json":
            return array.storage
    return array


def _floats(array: Any) -> tuple[pa.StringArray, Faults]:  # noqa: ANN401
    wrong = _compute.and_kleene(array.is_valid(), _compute.invert(_compute.is_finite(array)))
    faults = faults_at(wrong, "not_finite")
    if faults:
        array = _compute.if_else(wrong, pa.scalar(None, array.type), array)
    if not _types.is_float16(array.type):
        whole = _compute.equal(_compute.floor(array), array)
        small = _compute.less(_compute.abs(array), pa.scalar(_EXACT_INTEGERS, array.type))
        if _compute.all(_compute.and_(whole, small)).as_py() is not False:
            return array.cast(pa.int64()).cast(pa.string()), faults
    return _plain_numbers(array.cast(pa.string()), "e", "-0"), faults


def _decimals(array: Any) -> pa.StringArray:  # noqa: ANN401
    texts = array.cast(pa.string())
    plain = texts
    if array.type.scale > 0:
        plain = _compute.utf8_rtrim(_compute.utf8_rtrim(texts, "0"), ".")
    return _plain_numbers(plain, "E", "-0", written=texts)


def _plain_numbers(
    texts: pa.StringArray, sign: str, other: str, *, written: pa.StringArray | None = None
) -> pa.StringArray:
    """Rewrite the numbers that have an exponent, or are written as another text.

    Args:
        texts: Numbers; those with an exponent may have lost zeros at their ends.
        sign: Begins an exponent.
        other: The text that is rewritten, too.
        written: The numbers with all their zeros, if those are not the same.
    """
    written = texts if written is None else written
    odd = _compute.or_(
        _compute.match_substring(written, sign), _compute.equal(texts, pa.scalar(other))
    ).fill_null(False)  # noqa: FBT003 (a value)
    if not _compute.any(odd).as_py():
        return texts
    rewritten = [number_text(text) for text in map(str, written.filter(odd).to_pylist())]
    result: pa.StringArray = _compute.replace_with_mask(texts, odd, pa.array(rewritten))
    return result


def _moments(array: Any) -> pa.StringArray:  # noqa: ANN401 (times or timestamps)
    kind = array.type
    is_time = bool(_types.is_time(kind))
    try:
        array = array.cast(pa.time32("s") if is_time else pa.timestamp("s", kind.tz))
    except pa.ArrowInvalid:
        texts = _with_fraction(array)
    else:
        texts = array.cast(pa.string())
    if not is_time:
        texts = _compute.replace_substring(texts, " ", "T")
        if kind.tz is not None:
            texts = _compute.replace_substring_regex(texts, r"Z$", "+0000")
            texts = _compute.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    return texts


def _with_fraction(array: Any) -> pa.StringArray:  # noqa: ANN401
    """Return times or timestamps as Arrow writes them, with six digits of a second or none."""
    kind = array.type
    if kind.unit == "ms":
        finer = pa.time64("us") if _types.is_time(kind) else pa.timestamp("us", kind.tz)
        array = array.cast(finer)
    texts = array.cast(pa.string())
    if kind.unit == "ns":
        texts = _compute.replace_substring_regex(texts, r"(\.\d{6})000(\D|$)", r"\1\2")
    result: pa.StringArray = _compute.replace_substring_regex(texts, r"\.000000(\D|$)", r"\1")
    return result


def _one_by_one(values: list[Any], convert: Callable[[Any], Any]) -> tuple[pa.StringArray, Faults]:
    texts: list[str | None] = []
    faults: Faults = {}
    for index, value in enumerate(values):
        try:
            texts.append(None if value is None else text_of(convert(value)))
        except ValueFaultError as fault:
            faults[index] = fault.code
            texts.append(None)
    return pa.array(texts, pa.string()), faults


def _converter(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401 (any Arrow type)
    """Return what makes of a value of a nested type, as Python has it, a value of JSON."""
    if _types.is_dictionary(kind):
        return _converter(kind.value_type)
    if _types.is_map(kind):
        item = _optional(kind.item_type)
        return lambda value: {name: item(each) for name, each in value}
    if _types.is_struct(kind):
        fields = {
            kind.field(number).name: _optional(kind.field(number).type)
            for number in range(kind.num_fields)
        }
        return lambda value: {name: convert(value[name]) for name, convert in fields.items()}
    if _is_list(kind):
        element = _optional(kind.value_type)
        return lambda value: [element(each) for each in value]
    if _types.is_float32(kind):
        return lambda value: Decimal(str(np.float32(value)))
    return lambda value: value


def _optional(kind: Any) -> Callable[[Any], Any]:  # noqa: ANN401
    convert = _converter(kind)
    return lambda value: None if value is None else convert(value)
