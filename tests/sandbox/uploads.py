"""Uploads of customers: read, checked row by row, applied at once or later."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from tests.sandbox.account import Account, Customer, Field, Group, Job, Value
from tests.sandbox.dialects import ANSWERS, ROW_NUMBERS
from tests.sandbox.formats import is_amount, is_date, is_number
from tests.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = dict[str, Value]
Problem = dict[str, object]


def read_csv(content: bytes) -> list[Row]:
    """Read a data file; an empty value is null.

    Raises:
        Refusal: when it is no UTF-8 CSV with a header and as many values in each row.
    """
    try:
        text = content.decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise Refusal("bad_request", "canary: the file is no UTF-8 CSV", []) from None
    if len(set(header)) < len(header):
        raise Refusal(
            "bad_request", "canary: the header", [_problem(None, None, "duplicate_field")]
        )
    problems = [
        _problem(number, None, "row_length")
        for number, row in enumerate(rows, start=1)
        if len(row) != len(header)
    ]
    if problems:
        raise Refusal("bad_request", "canary: the rows differ in length", problems)
    return [{name: value or None for name, value in zip(header, row, strict=True)} for row in rows]


def upload(
    account: Account, group: Group, rows: Sequence[Row], *, validate_only: bool
) -> dict[str, object]:
    """Check rows and, unless `validate_only`, apply or queue them; answer as the API does.

    Raises:
        Refusal: when one does not fit the workspace's profile fields; nothing is applied.
    """
    fields = {field.field_name: field for field in account.fields_of(group.workspace_id)}
    rows = [_with_plain_keys(account, fields, row) for row in rows]
    unknown = sorted({name for row in rows for name in row} - fields.keys())
    problems = [_problem(None, name, "unknown_field") for name in unknown]
    if not problems:
        known = _by_identifier(group, fields.values())
        problems = [
            problem
            for number, row in enumerate(rows, start=1)
            for problem in (
                *_check_row(number, row, fields, known),
                *_check_texts(number, row, account.refused_text),
            )
        ]
    if problems:
        listed = ROW_NUMBERS[account.row_numbers](problems[: account.problems_listed])
        raise Refusal("bad_request", f"canary: {len(problems)} problems", listed)
    answered = ANSWERS[account.upload_answers]
    answer: dict[str, object] = {"message": "The data are valid", "accepted": len(rows)}
    if validate_only:
        return answer
    typed = [{name: _typed(fields[name], value) for name, value in row.items()} for row in rows]
    if len(rows) > account.queue_above:
        job = Job(account.new_id(), group.customer_group_id, typed, account.queue_wait)
        account.jobs.append(job)
        return answered(answer | {"message": "The data are queued", "job_id": job.job_id})
    created, updated = _apply(account, group, typed)
    return answered(answer | {"message": "Done", "created": created, "updated": updated})


def work(account: Account) -> None:
    """Apply the queued uploads whose time has come; called at every request."""
    for job in account.jobs:
        job.wait -= 1
        if job.wait <= 0 and job.customer_group_id in account.groups:
            _apply(account, account.groups[job.customer_group_id], job.rows)
    account.jobs = [job for job in account.jobs if job.wait > 0]


def _apply(account: Account, group: Group, rows: Iterable[Row]) -> tuple[int, int]:
    fields = account.fields_of(group.workspace_id)
    identifiers = [field.field_name for field in fields if field.unique_identifier]
    known = _by_identifier(group, fields)
    created = updated = 0
    for row in rows:
        customer = _find(row, known)
        if customer is None:
            customer = Customer(account.new_id(), {}, account.now, account.now)
            group.customers[customer.customer_id] = customer
            created += 1
        else:
            updated += 1
        customer.profile |= row
        customer.updated_at = account.now
        known |= {
            (name, str(customer.profile[name])): customer
            for name in identifiers
            if customer.profile.get(name) is not None
        }
    return created, updated


def _check_row(
    number: int,
    row: Row,
    fields: dict[str, Field],
    known: dict[tuple[str, str], Customer],
) -> list[Problem]:
    identified = any(
        fields[name].unique_identifier and value is not None for name, value in row.items()
    )
    if not identified:
        return [_problem(number, None, "missing_identifier")]
    problems = [
        _problem(number, name, code)
        for name, value in row.items()
        if value is not None and (code := _misfit(fields[name], value))
    ]
    new = _find(row, known) is None
    return problems + [
        _problem(number, field.field_name, "required")
        for field in fields.values()
        if field.required and row.get(field.field_name) is None and (new or field.field_name in row)
    ]


def _check_texts(number: int, row: Row, refused: str) -> list[Problem]:
    return [
        _problem(number, name, "refused_text")
        for name, value in row.items()
        if refused and refused in _text(value)
    ]


def _misfit(field: Field, value: Value) -> str | None:
    """Return why a value does not fit its field, or None."""
    text = _text(value)
    match field.field_type:
        case "number":
            return None if is_number(text) else "invalid_number"
        case "char":
            return None if len(text) == 1 else "invalid_char"
        case "Date":
            return None if is_date(text, field.field_format or "") else "invalid_date"
        case "currency":
            return None if is_amount(text, field.field_format or "") else "invalid_currency"
        case "enum":
            return None if text in (field.options or ()) else "not_an_option"
        case _:
            return None


def _typed(field: Field, value: Value) -> Value:
    """Return a value as it is kept: numbers as numbers, everything else as text."""
    if value is None:
        return None
    text = _text(value)
    if field.field_type != "number":
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _with_plain_keys(account: Account, fields: dict[str, Field], row: Row) -> Row:
    """Return a row whose identifiers are written as the account keeps them."""
    if account.key_dialect == "exact":
        return row
    change = {"trimmed": str.strip, "lower": str.lower}[account.key_dialect]
    return {
        name: change(value)
        if isinstance(value, str) and name in fields and fields[name].unique_identifier
        else value
        for name, value in row.items()
    }


def _by_identifier(group: Group, fields: Iterable[Field]) -> dict[tuple[str, str], Customer]:
    names = [field.field_name for field in fields if field.unique_identifier]
    return {
        (name, str(value)): customer
        for customer in group.customers.values()
        for name in names
        if (value := customer.profile.get(name)) is not None
    }


def _find(row: Row, known: dict[tuple[str, str], Customer]) -> Customer | None:
    for name, value in row.items():
        if value is not None and (customer := known.get((name, str(value)))):
            return customer
    return None


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(row: int | None, field: str | None, code: str) -> Problem:
    return {"row": row, "field": field, "code": code, "message": f"canary: {code} in {field}"}
