"""Read what the API says of an upload: figures that agree, contradictions, and row problems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from tap_nudgescribe.envelopes import NAME
from tap_nudgescribe.errors import RowProblem, UploadRefusedError
from tap_nudgescribe.reported_failures import find_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATION = "upload_customers"

DEPTH = 3
"""How deep an envelope may hold what is looked for."""

MOST_DIGITS = 20
"""A text with as many is not a figure."""

PROBLEMS = ("errors", "failed", "rejected", "failures", "problems", "invalid")
"""Keys whose list or figure says that something was not taken (``errors`` is assumed)."""

BAD_STATUSES = frozenset({"rejected", "partial", "partially_accepted", "incomplete"})
"""Words for an upload of which something was not taken, beside those for any failure."""

Outcome = Literal["done", "queued", "doubtful", "refused"]


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What the API says of an upload with a status of success; None where it does not say.

    Attributes:
        job_id: Set when the rows are queued and not yet there.
        accepted: How many rows it takes.
        created: How many customers are new.
        updated: How many customers were there.
        unchanged: How many customers were there with the same values.
        failed: Whether it reports a failure in spite of the status, or figures that nobody can
            read.
        problems: What it names as reasons.
    """

    job_id: str | None
    accepted: int | None
    created: int | None
    updated: int | None
    unchanged: int | None = None
    failed: bool = False
    problems: tuple[RowProblem, ...] = ()

    def outcome(self, count: int) -> Outcome:
        """Return what became of so many rows.

        ``done`` and ``queued`` only if nothing contradicts it. ``refused`` when a failure is
        reported and all figures say that nothing was taken. ``doubtful`` is everything else.
        """
        parts = [part for part in (self.created, self.updated, self.unchanged) if part is not None]
        landed = sum(parts) if parts else None
        figures = [figure for figure in (self.accepted, landed) if figure is not None]
        if self.failed:
            return "refused" if figures and not any(figures) else "doubtful"
        if self.job_id is not None:
            return "doubtful" if self.accepted not in {None, count} else "queued"
        whole = self.created is not None and self.updated is not None
        wrong = landed is not None and (landed > count or (whole and landed < count))
        if wrong or self.accepted not in {None, count}:
            return "doubtful"
        return "done" if count in figures else "queued"


def read_upload(answer: object) -> Upload:
    """Read the answer to an upload, in whatever envelope it comes."""
    objects = list(_objects(answer))
    # An id of a form that is none, such as an object, still says that the rows are queued.
    job_ids = [each["job_id"] for each in objects if each.get("job_id", "") not in (None, "")]
    figures = {name: _figures(objects, name) for name in ("accepted", "created", "updated")}
    figures["unchanged"] = _figures(objects, "unchanged")
    # A figure that is told twice, differently, or that is no figure, cannot be relied on.
    unclear = any(len(found) > 1 or None in found for found in figures.values())
    known = {name: next(iter(found), None) for name, found in figures.items() if not unclear}
    return Upload(
        job_id=str(job_ids[0]) if job_ids else None,
        accepted=known.get("accepted"),
        created=known.get("created"),
        updated=known.get("updated"),
        unchanged=known.get("unchanged"),
        failed=unclear or find_failure(answer) is not None or any(map(_names_failures, objects)),
        problems=tuple(_problems(objects)),
    )


def upload_refused(answer: object, *, status: int) -> UploadRefusedError:
    """Read the rows' problems out of a refusal, as far as it names any."""
    return UploadRefusedError(
        list(_problems(list(_objects(answer)))), operation=OPERATION, status=status
    )


def _objects(answer: object, depth: int = DEPTH) -> Iterator[dict[str, Any]]:
    """Yield an object and those inside it; what is in a list is about single rows."""
    if isinstance(answer, dict):
        yield answer
        if depth:
            for value in answer.values():
                yield from _objects(value, depth - 1)


def _figures(objects: list[dict[str, Any]], name: str) -> set[int | None]:
    """Return the different figures of a name; None among them for what is no figure."""
    return {whole_number(each[name]) for each in objects if name in each and each[name] is not None}


def whole_number(value: object) -> int | None:
    """Return a number from 0, which may be written as text or with ``.0``; None for any other."""
    if isinstance(value, str):
        digits = value.isascii() and value.strip().isdigit() and len(value) < MOST_DIGITS
        return int(value) if digits else None
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    known = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if known else None  # type: ignore[return-value]


def _names_failures(answer: dict[str, Any]) -> bool:
    """Say whether an object has rows that were not taken, or a figure of them."""
    status = str(answer.get("status")).lower()
    return status in BAD_STATUSES or any(_is_something(answer.get(key)) for key in PROBLEMS)


def _is_something(value: object) -> bool:
    """Say whether a value is more than nothing: a figure above 0, a text, a list with items."""
    return bool(value) and whole_number(value) != 0 and str(value).lower() not in {"false", "none"}


def _problems(objects: list[dict[str, Any]]) -> Iterator[RowProblem]:
    lists = [each[key] for each in objects for key in PROBLEMS if isinstance(each.get(key), list)]
    for problem in lists[0] if lists else ():
        if isinstance(problem, dict):
            yield RowProblem(
                row=whole_number(problem.get("row")),
                field=_text_or_none(problem.get("field")),
                code=_code_or_none(problem.get("code")),
                message=_text_or_none(problem.get("message")),
            )


def _code_or_none(value: object) -> str | None:
    """Return a code, which logs and summaries tell; None for a text that is no name."""
    return value if isinstance(value, str) and NAME.fullmatch(value) else None


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
