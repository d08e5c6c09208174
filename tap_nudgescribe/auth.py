"""Authenticate requests: one session for the whole process, renewed before and when it ends."""

from __future__ import annotations

import base64
import json
import logging
import math
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests.auth

from tap_nudgescribe.errors import (
    AccessError,
    ApiError,
    BadRequestError,
    MissingFieldsError,
    ReportedFailureError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest

logger = logging.getLogger(__name__)

ASSUMED_LIFE_SECONDS = 14 * 24 * 3600
"""Life of an access token that does not say so itself (documented default: 14 days)."""

RENEWAL_MARGIN_SECONDS = 60
"""How long before its end a token is renewed."""

SHORTEST_LOCAL_LIFE_SECONDS = 600
"""A shorter life, where only the clock of this machine is known, is taken for a wrong clock."""

LONGEST_TOKEN = 64 * 1024
"""Characters of a token whose claims are read."""

FRESH_SECONDS = 600
"""How long a session counts as young."""

VAIN_RENEWALS = 3
"""After so many renewals that did not help, refusals are no reason to renew a young session."""


def _local_time() -> float:
    return time.time()


def _elapsed() -> float:
    return time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Session:
    """The tokens of one session. Its repr shows neither."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    server_time: float | None = None
    """When the tokens came by the server's clock, in seconds since the epoch."""
    local_time: float = field(default_factory=_local_time)
    """When they came by the clock of this machine, which may be wrong."""
    began: float = field(default_factory=_elapsed)
    """When they came by a clock that only goes forward."""

    @cached_property
    def life(self) -> float:
        """How many seconds the access token lives, counted from when it came.

        Its ``exp`` is a moment of the server's clock, so it is compared with the token's own
        ``iat``, or with the Date of the response that brought it. The clock of this machine is
        used only where it gives a life that is not short: a token whose end it puts into the past
        would be renewed with each request. Where the life is not known, the API says when it is
        over, by refusing the token.
        """
        claims = _claims(self.access_token)
        ends, issued = _moment(claims.get("exp")), _moment(claims.get("iat"))
        if ends is None:
            return ASSUMED_LIFE_SECONDS
        for began, least in (
            (issued, 0),
            (self.server_time, 0),
            (self.local_time, SHORTEST_LOCAL_LIFE_SECONDS),
        ):
            if began is not None and least < ends - began:
                return ends - began
        return ASSUMED_LIFE_SECONDS

    @property
    def age(self) -> float:
        """Seconds since the tokens came."""
        return time.monotonic() - self.began

    @property
    def due(self) -> bool:
        """Whether the access token has ended or soon will."""
        return self.age >= self.life - min(RENEWAL_MARGIN_SECONDS, self.life / 10)

    @property
    def fresh(self) -> bool:
        """Whether the session has just begun and not ended."""
        return self.age < FRESH_SECONDS and not self.due


class NudgescribeAuthenticator(requests.auth.AuthBase):
    """Adds the bearer of one shared session to every request.

    The first request logs in; all threads wait for that one log-in. The session is renewed
    before its life ends and when the API refuses it: by a refresh, or else by a log-in.

    Args:
        log_in: Logs in; raises :class:`~tap_nudgescribe.errors.LoginError` when refused.
        refresh: Turns a refresh token into a new session; raises an ``ApiError`` when refused.
        headers: Further headers for every request, such as those of a gateway.
    """

    def __init__(
        self,
        *,
        log_in: Callable[[], Session],
        refresh: Callable[[str], Session],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Remember how to get a session; nothing is sent yet."""
        self._log_in = log_in
        self._refresh = refresh
        self._headers = dict(headers or {})
        self._session: Session | None = None
        self._vain = 0
        self._failures = 0
        self._failure: ApiError | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Say whether there is a session, and nothing of it."""
        return f"<{type(self).__name__} {'logged in' if self._session else 'not logged in'}>"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Add the headers to a request, after a log-in or a renewal where one is due."""
        r.headers.update(self._headers)
        r.headers["Authorization"] = f"Bearer {self.session().access_token}"
        return r

    def session(self) -> Session:
        """Return a session that has not ended, logging in or renewing where needed.

        Raises:
            ApiError: when that fails; for all threads that wait for the same log-in.
        """
        failures = self._failures
        with self._lock:
            session = self._session
            if session is not None and not session.due:
                return session
            if self._failure is not None and self._failures > failures:
                # It failed while this thread waited: it need not fail once more for this one.
                raise self._failure
            try:
                made = self._log_in() if session is None else self._renewed(session)
            except ApiError as error:
                self._failures += 1
                self._failure = error
                raise
            self._session = made
            return made

    def account_id(self) -> str | None:
        """Return the account that the session is for (documented as a claim of its token)."""
        claim = _claims(self.session().access_token).get("account_id")
        return None if claim is None else str(claim)

    def renew(self, refused: str, times: int) -> bool:
        """Replace the session after the API has refused its access token.

        The first time a request is refused the session is refreshed, the second time there is a
        new log-in, the third time the refusal must have another cause. When that has happened
        :data:`VAIN_RENEWALS` times, a young session is not renewed any more.

        Args:
            refused: The access token.
            times: How often this request has been refused.

        Returns:
            Whether another try makes sense.
        """
        with self._lock:
            session = self._session
            if times > 2:  # noqa: PLR2004 (a refresh and a log-in)
                self._vain += 1
                return False
            if session is None or session.access_token != refused:
                return True
            if session.fresh and self._vain >= VAIN_RENEWALS:
                return False
            self._session = self._renewed(session) if times == 1 else self._log_in()
            return True

    def _renewed(self, session: Session) -> Session:
        if session.refresh_token:
            try:
                return self._refresh(session.refresh_token)
            except (AccessError, BadRequestError, MissingFieldsError, ReportedFailureError):
                logger.info("The session could not be refreshed; logging in again")
        return self._log_in()


def _moment(claim: object) -> float | None:
    """Return a claim as seconds since the epoch; None for what is no number."""
    if isinstance(claim, bool) or not isinstance(claim, int | float | str):
        return None
    try:
        seconds = float(claim)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, none if they cannot be read. Nothing is verified."""
    if len(token) > LONGEST_TOKEN:
        return {}
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
