"""Misbehaviour on order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Fault:
    """What an operation does wrong, and how often.

    Attributes:
        operation: An ``operationId``, ``storage``, or ``*``.
        kind: rate_limited, server_error, reset, truncated, expired_token, refused, not_found,
            invalid_json, envelope, renamed_key, unexpected_shape or missing_field.
        times: How many requests it spoils.
        after: How many requests pass before the first.
        option: Depends on the kind: Retry-After, status, envelope, or ``old=new``.
        match: Only requests whose body holds this text.
    """

    operation: str
    kind: str
    times: int = 1
    after: int = 0
    option: str = ""
    match: str = ""

    def takes(self, operation: str, body: str) -> bool:
        """Say whether this request is spoiled, and count it."""
        if self.operation not in {operation, "*"} or self.match not in body or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True
