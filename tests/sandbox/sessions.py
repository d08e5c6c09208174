"""Sessions: what tokens there are and which of them live."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING

from tests.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from tests.sandbox.account import Account

API_KEY = "key-canary-1"
EMAIL = "user@example.com"
PASSWORD = "pass-canary-2"

DAY = 86_400


class Sessions:
    """The sessions of one account's only user.

    Attributes:
        token_seconds: How long an access token lives from now on.
        tells_issue: Whether a token says when it was issued.
        log_ins: How many log-ins there were.
        refreshes: How many refreshes there were.
    """

    def __init__(self, account: Account, token_seconds: float = 14 * DAY) -> None:
        self.token_seconds = token_seconds
        self.tells_issue = True
        self.log_ins = 0
        self.refreshes = 0
        self._account = account
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}

    def log_in(self, api_key: str | None, email: str, password: str) -> dict[str, object]:
        """Begin a session.

        Raises:
            Refusal: for other credentials than this module's.
        """
        if (api_key, email, password) != (API_KEY, EMAIL, PASSWORD):
            raise Refusal("refused", f"canary: no such user as {email}")
        self.log_ins += 1
        return self._begin()

    def refresh(self, token: str) -> dict[str, object]:
        """Begin a session out of a refresh token.

        Raises:
            Refusal: for any other token.
        """
        if self._refresh.get(token, 0) <= time.time():
            raise Refusal("refused", "canary: no such session")
        self.refreshes += 1
        return self._begin()

    def check(self, token: str) -> None:
        """Accept an access token that lives.

        Raises:
            Refusal: for any other token.
        """
        if self._access.get(token, 0) <= time.time():
            raise Refusal("refused", f"canary: {token} is not authenticated")

    def end_all(self) -> None:
        """End every access token on the server's side, whatever it says of itself."""
        self._access.clear()

    def _begin(self) -> dict[str, object]:
        now = time.time()
        access = self._token("access", now + self.token_seconds)
        refresh = self._token("refresh", now + self.token_seconds + DAY)
        self._access[access] = now + self.token_seconds
        self._refresh[refresh] = now + self.token_seconds + DAY
        return {"access_token": access, "refresh_token": refresh}

    def _token(self, use: str, ends: float) -> str:
        claims = {
            "user_id": self._account.user_id,
            "account_id": self._account.account_id,
            "role_code": "ADMIN",
            "use": use,
            "jti": f"canary-{self.log_ins}-{self.refreshes}",
            "exp": ends,
            **({"iat": time.time()} if self.tells_issue else {}),
        }
        unsigned = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
        return f"{unsigned}.{hashlib.sha256(unsigned.encode()).hexdigest()}"


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
