"""How an API may number the rows that it refuses, and what it may say of an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Problem = dict[str, object]
Answer = dict[str, object]


def _moved(by: int) -> Callable[[Sequence[Problem]], list[Problem]]:
    def dialect(problems: Sequence[Problem]) -> list[Problem]:
        return [p | {"row": p["row"] + by} if isinstance(p["row"], int) else p for p in problems]

    return dialect


def _without(*names: str) -> Callable[[Sequence[Problem]], list[Problem]]:
    def dialect(problems: Sequence[Problem]) -> list[Problem]:
        return [{k: v for k, v in problem.items() if k not in names} for problem in problems]

    return dialect


ROW_NUMBERS: dict[str, Callable[[Sequence[Problem]], list[Problem]]] = {
    "from one": _moved(0),
    "from zero": _moved(-1),
    "with the header": _moved(1),
    "over several uploads": _moved(1000),
    "of the neighbours": _moved(3),
    "as text": lambda problems: [p | {"row": str(p["row"])} for p in problems],
    "twice": lambda problems: [*problems, *problems],
    "only the first": lambda problems: list(problems[:1]),
    "only the last": lambda problems: list(problems[-1:]),
    "none": _without("row"),
    "nothing at all": lambda _: [],
    "always the first": lambda problems: [p | {"row": 1} for p in problems[:1]],
}
"""Dialects of the problems in a refused upload, which are numbered from 1."""


def _wrapped(answer: Answer) -> Answer:
    return {"success": True, "data": {k: v for k, v in answer.items() if k != "message"}}


def _as_text(answer: Answer) -> Answer:
    return {k: str(v) if isinstance(v, int) else v for k, v in answer.items()}


ANSWERS: dict[str, Callable[[Answer], Answer]] = {
    "plain": dict,
    "wrapped": _wrapped,
    "as text": _as_text,
    "deep": lambda answer: {"status": "ok", "result": {"summary": answer, "errors": []}},
    "without figures": lambda answer: {
        k: v for k, v in answer.items() if k in {"message", "job_id"}
    },
    "contradicting": lambda answer: answer | {"success": False},
    "too many": lambda answer: answer | {"accepted": 1_000_000},
    "too few": lambda answer: answer | {"created": 0, "updated": 0},
}
"""What the API makes of its answer to an upload that it has taken."""
