"""What can go wrong, as types: each error says what failed, where, and what to do.

No message holds a secret, a customer's value, an answer's body or a presigned URL.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class NudgescribeError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        operation: The API operation (its ``operationId`` in the contract), if there is one.
        advice: What the operator can do.
        exit_code: How a command ends that fails with it.
    """

    advice: str = ""
    exit_code: int = 1

    def __init__(self, problem: str, *, operation: str | None = None, advice: str = "") -> None:
        """Describe the problem in one sentence without any value of a customer."""
        self.problem = problem
        self.operation = operation
        self.advice = advice or self.advice
        where = f"{operation}: " if operation else ""
        super().__init__(" ".join(filter(None, (f"{where}{problem}.", self.advice))))

    def lines(self) -> list[str]:
        """Return the text as the lines of a log that it makes: one, unless it is a list."""
        return [str(self)]


class SettingsError(NudgescribeError):
    """A setting is unusable; found before the first request."""


class InvalidSettingsError(SettingsError):
    """Several settings are unusable.

    Attributes:
        problems: A sentence or two for each: setting, what was found, what is allowed.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        """Say all of them."""
        self.problems = tuple(problems)
        super().__init__(" ".join(problems).rstrip("."))


class MachineError(NudgescribeError):
    """The machine cannot do something: its disk is full, or this user may not write."""

    advice = (
        "Check space, quotas and permissions where this command writes, standard output included; "
        "the state has not moved past what was written."
    )


def reason(error: Exception) -> str:
    """Return why something failed in words that hold no value: the system's, or the type's name."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(error).__name__


class ApiError(NudgescribeError):
    """A request failed. The parts of a run that do not need it can go on."""


class LoginError(ApiError):
    """The credentials were refused: nothing else can work."""

    advice = (
        "Check the settings api_key, email and password, and that the user exists, is active and "
        "does not require a second factor."
    )


class AccessError(ApiError):
    """403 with a session that is certainly alive: this user may not do this."""

    advice = (
        "The log-in works, so check the user's role and workspaces, and whether the account's "
        "gateway asks for api_code or client_ip."
    )


class MissingFieldsError(ApiError):
    """401: the API says that a required body field is missing."""

    advice = "Correct the name of the field with the setting wire_names; --check helps to find it."


class BadRequestError(ApiError):
    """400, or another refusal of the request itself.

    Attributes:
        answer: The decoded answer, which may hold customers' values: never to be logged.
        status: HTTP status.
    """

    advice = "The API does not accept this request; --check compares it with the contract."
    answer: object = None
    status: int = 400


class ConflictError(BadRequestError):
    """409: the request conflicts with what the account holds, or with other work under way."""

    advice = "Look whether other work on the account is under way, then run again."
    status = 409


class UnprocessableError(BadRequestError):
    """422: the API has read the request and does not accept what it holds."""

    advice = "Correct the values that the API names; --check compares names with the contract."
    status = 422


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowProblem:
    """One reason why an upload is refused."""

    row: int | None
    """Data row counted from 1; None for a problem of the header."""
    field: str | None
    code: str | None
    message: str | None = dataclasses.field(repr=False)
    """The API's explanation, which may quote a customer's value: never to be logged."""


class UploadRefusedError(BadRequestError):
    """400, 409 or 422 for an upload: nothing of it was taken.

    Attributes:
        problems: What the API names as reasons; empty when it names none.
    """

    advice = "Correct the rows or the profile fields; nothing of this upload was taken."

    def __init__(
        self, problems: Sequence[RowProblem], *, operation: str, status: int = 400
    ) -> None:
        """Count the problems; none is quoted."""
        self.problems = tuple(problems)
        self.status = status
        count = len(self.problems)
        problem = f"The API refuses the upload with {count} problems ({status})"
        super().__init__(problem, operation=operation)


class NotFoundError(ApiError):
    """404: the campaign, group, run or file is not there, or the account lacks the operation."""

    advice = "It may have been deleted during the run, or the account lacks this operation."


class TooLargeError(ApiError):
    """413: the request has more bytes than the API, or a proxy before it, takes at once."""

    advice = "Lower batch_size_bytes, or ask Nudgescribe what a request may hold."


class QuotaError(ApiError):
    """503 on publishing: the account's quota is used up. Trying again now is of no use."""

    advice = "Wait until the quota is renewed, or ask Nudgescribe for a larger one."


class RateLimitError(ApiError):
    """429 on every try."""

    advice = "Lower max_requests_per_second or max_parallel_requests, or raise max_tries."


class ServerError(ApiError):
    """5xx on every try.

    Attributes:
        wait: Seconds that the server asks to wait, if it does.
    """

    wait: float | None = None

    advice = "The API has a fault of its own; run again later, state has not moved past it."


class ReportedFailureError(ServerError):
    """A response with a status of success reports a failure, and does not say which."""

    advice = (
        "The API could not do it although it answers with status 200; run again later, state has "
        "not moved past it. --check shows which operations work."
    )


class NetworkError(ApiError):
    """No whole answer on any try: connection, TLS, time-out or a cut answer."""

    advice = (
        "Check api_url, network, proxy and ca_bundle; raise request_timeout_seconds if it timed "
        "out."
    )


class NotSentError(NetworkError):
    """No connection could be made on any try: the API has certainly got nothing of the request."""


class OutcomeUnknownError(NetworkError):
    """A request that changes the account got no sound answer: it may have been done or not."""

    advice = "Look at the account before this is done again."
    exit_code = 5


class ContractError(ApiError):
    """An answer does not have the shape that this package knows.

    Attributes:
        refused: Whether its status says that the request was not done.
    """

    refused: bool = False

    advice = "Run --check: it compares the account with the contract and proposes wire_names."


class RangeRefusedError(ContractError):
    """The storage does not go on with a download where it broke off."""


class AnswerLimitError(ContractError):
    """An answer is larger or deeper than this package is ready to hold."""

    advice = (
        "Raise max_answer_mib if the account really has so much in one answer; else look at what "
        "answers at api_url."
    )


class DownloadRefusedError(ApiError):
    """The API names a place to download from that this machine must not be sent to."""

    advice = (
        "Nothing was sent there. Set allow_private_storage if the account's files are in your own "
        "network; else ask Nudgescribe why the API names this place."
    )


class StorageError(ApiError):
    """The storage behind ``message_storage_root`` cannot be read or written."""

    advice = (
        "Check the root, and that this machine's credentials for that cloud may list and read it."
    )


class MessageFileError(ApiError):
    """A message file is not CSV that can be read."""

    advice = (
        "Look at the file in Nudgescribe; the run stays unfinished in the state until it reads."
    )


class NotAMessageFileError(MessageFileError):
    """Something else is served in place of a message file: a page, an error, an archive."""

    advice = (
        "Nothing of it was sent, and the campaign stays unfinished, so that the next run reads it "
        "again. See what answers in place of the file: a sign-in page, a proxy, an export that is "
        "not ready."
    )
