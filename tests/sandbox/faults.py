"""Misbehaviour on order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.account import Account

Kind = Literal[
    "latency",
    "rate_limited",
    "server_error",
    "refused",
    "missing_field",
    "not_found",
    "bad_request",
    "timed_out",
    "conflict",
    "unprocessable",
    "too_large",
    "unreachable",
    "expired_token",
    "expired_url",
    "reset_before",
    "reset",
    "truncated",
    "invalid_json",
    "unexpected_shape",
    "envelope",
    "renamed_key",
    "dialect",
    "ignored",
    "change",
    "edited",
    "same_page",
    "same_run",
    "drip",
    "empty",
    "huge",
    "reported_failure",
    "error_page",
    "truncated_gzip",
]

READS = (
    "list_campaigns",
    "list_groups",
    "list_fields",
    "count_customer_pages",
    "list_customers",
    "list_runs",
    "list_run_messages",
    "count_message_files",
    "fetch_message_file",
)
"""Every operation that the tap reads by; the first is the one that all others need."""


REPORTED: dict[str, dict[str, object]] = {
    "flag": {"success": False, "error": "canary: failed", "data": []},
    "status": {"status": "error", "message": "canary: failed", "data": None},
    "errors": {"errors": [{"message": "canary: failed"}], "pages": 0},
    "preparing": {"success": False, "message": "canary: preparing", "progress": 0},
}
"""Envelopes that report a failure."""

PAGES: dict[str, tuple[str, bytes]] = {
    "html": ("text/html", b"<!DOCTYPE html>\n<html>\n<body>canary: sign in</body>\n</html>\n"),
    "xml": ("application/xml", b"<Error><Code>canary</Code><Message>no</Message></Error>"),
    "html as csv": ("text/csv", b"\n<html><head><title>canary, sign in</title></head></html>"),
    "json as csv": ("text/csv", b'{"error":"canary: not ready",\n"code":409}'),
    "text": ("text/plain", b"canary: upstream connect error\n"),
}
"""Media types and bytes that are served in place of an answer."""


@dataclass
class Fault:
    """What an operation does wrong, and how often.

    Attributes:
        operation: An ``operationId``, ``storage``, or ``*``.
        kind: ``latency`` (option: seconds), ``rate_limited`` (option: Retry-After, ``date`` for
            an HTTP date), ``server_error`` (option: status), ``refused`` (403), ``missing_field``
            (401), ``not_found`` (404), ``bad_request`` (400 without reasons), ``timed_out`` (408),
            ``conflict`` (409), ``unprocessable`` (422) and ``too_large`` (413), without reasons as
            well; ``unreachable`` answers, and no connection can be made after it until
            :meth:`Sandbox.reopen`; ``expired_token`` and ``expired_url`` end all sessions or the
            URL; ``reset_before`` and ``reset`` break
            the connection before and amid the answer, what was asked being done; ``truncated``
            ends the answer early; ``invalid_json``, ``unexpected_shape``, ``envelope`` (option:
            the key, or ``bare``), ``renamed_key`` (option: ``ours=theirs``), ``dialect`` (answers
            with another API's names: plain ``id``, ``title``, ``page_count``); ``ignored``
            answers a change as if it were done; ``change`` calls `then` first; ``edited`` answers
            what `edit` makes of the decoded answer; ``same_page`` ignores which page is asked for
            (option: which one it answers with instead, 1 if not given), and ``same_run`` which
            run; ``drip`` sends the answer
            in small pieces (option: seconds between them), ``empty`` sends none of it, ``huge``
            adds white space (option: bytes) to it; ``reported_failure`` (option: a key of
            :data:`REPORTED`) and ``error_page`` (option: a key of :data:`PAGES`) answer with
            status 200 and something else, what was asked being done; ``truncated_gzip`` sends
            half of a compressed answer as if it were all.
        times: How many requests it spoils.
        after: How many requests pass before the first.
        match: Only requests whose body or URL holds this text.
        then: Changes the account, for the kind ``change``.
        edit: Returns another answer, for the kind ``edited``.
    """

    operation: str
    kind: Kind
    times: int = 1
    after: int = 0
    option: str = ""
    match: str = ""
    then: Callable[[Account], object] = lambda _: None
    edit: Callable[[Any], object] = lambda answer: answer

    def takes(self, operation: str, content: str) -> bool:
        """Say whether this request is spoiled, and count it."""
        if self.operation not in {operation, "*"} or self.match not in content or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``operation:kind[:times[:option]]``.

        Raises:
            ValueError: for another text.
        """
        operation, kind, *rest = text.split(":", 3)
        if kind not in get_args(Kind):
            problem = f"no such kind of fault: {kind}"
            raise ValueError(problem)
        times = int(rest[0]) if rest else 1
        return cls(operation, kind, times, option=rest[1] if len(rest) > 1 else "")  # type: ignore[arg-type]
