"""Answers other than success, by the newer pages of the reference and by the older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sandbox.account import StatusCodes

_STATUS = {
    "bad_request": 400,
    "missing_field": 401,
    "refused": 403,
    "not_found": 404,
    "timed_out": 408,
    "conflict": 409,
    "too_large": 413,
    "unprocessable": 422,
    "rate_limited": 429,
    "server_error": 500,
    "quota": 503,
}
_OLDER = {"missing_field": 400, "refused": 401}


class Refusal(Exception):  # noqa: N818 - what the server says, not what went wrong in it
    """A refusal, by its meaning; its message and problems quote what was sent, as servers do.

    Attributes:
        meaning: A key of the table above.
        problems: What is wrong with an upload's rows.
    """

    def __init__(
        self, meaning: str, message: str, problems: list[dict[str, object]] | None = None
    ) -> None:
        super().__init__(message)
        self.meaning = meaning
        self.message = message
        self.problems = problems

    def status(self, codes: StatusCodes) -> int:
        """Return the status that says so."""
        newer = _STATUS[self.meaning]
        return newer if codes == "newer" else _OLDER.get(self.meaning, newer)

    def body(self) -> dict[str, object]:
        """Return the answer's body."""
        return {"message": self.message} | (
            {} if self.problems is None else {"errors": self.problems}
        )
