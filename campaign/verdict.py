"""What a trial has shown: what went wrong around it, and what it did wrong itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.sandbox import sessions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from campaign.processes import Ended
    from campaign.sending import Sent

PROBLEMS = ("lost", "doubled", "wrong deletes", "foreign", "leaked", "wrong end", "not healed")
"""What must not be: rows lost, there twice, deleted wrongly, or of somebody else; secrets or
values told; an exit code or a state that README does not promise; no success without faults."""

NEVER_TRUE = (
    "A defect in this package",
    "Traceback",
    "Another run is writing",
    "is damaged",
    "are gone",
)
"""What no run may say: in a trial one run comes after the other, and nobody spoils a file."""

LINES_SHOWN = 12

SECRETS = (sessions.API_KEY, sessions.PASSWORD, "canary", "X-Signature", "eyJ")
"""What nobody may read outside the account: secrets, text of answers, tokens, signed URLs."""


@dataclass
class Verdict:
    """What one trial has shown.

    Attributes:
        runs: How many times a plugin was run.
        injected: What went wrong around it, by kind.
        codes: How the runs ended, by exit code.
        problems: What the plugin did wrong, by kind, with explanations.
    """

    name: str
    runs: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, told: str) -> None:
        """Note a problem."""
        assert kind in PROBLEMS
        self.problems.append((kind, told))

    def ended(self, ended: Ended, secrets: Iterable[str]) -> None:
        """Note how a run ended, and look at what it said."""
        self.runs += 1
        self.codes[ended.code] += 1
        if ended.hung:
            self.add("wrong end", "a run hung")
        for line in NEVER_TRUE:
            if line in ended.stderr:
                tail = "\n".join(ended.stderr.splitlines()[-LINES_SHOWN:])
                self.add("wrong end", f"exit {ended.code}\n{tail}")
                break
        self.told(ended.stderr, secrets, "stderr")

    def ended_in(self, ended: Ended, allowed: Iterable[int], kinds: Iterable[str]) -> None:
        """Note an exit code that README does not promise for what went wrong."""
        if ended.code not in allowed:
            tail = "\n".join(ended.stderr.splitlines()[-LINES_SHOWN:])
            self.add("wrong end", f"exit {ended.code} of {[*kinds]}\n{tail}")

    def passed_on(self, sent: Sent) -> bool:
        """Say whether states came out of the target, and note those that nobody sent."""
        messages = [json.loads(line) for line in sent.lines if line.endswith(b"\n")]
        known = [message["value"] for message in messages if message["type"] == "STATE"]
        if any(state not in known for state in sent.states):
            self.add("wrong end", "a state that nobody sent")
        return bool(sent.states)

    def told(self, text: str, secrets: Iterable[str], where: str) -> None:
        """Note a secret or a value in a text that must hold none."""
        for secret in secrets:
            if secret in text:
                self.add("leaked", f"{secret!r} in {where}: {_around(text, secret)}")


def values_of(profiles: Iterable[dict[str, Any]], names: Iterable[str]) -> set[str]:
    """Return the values of some fields that are long enough to be recognised."""
    wanted = list(names)
    found = {str(profile.get(name) or "") for profile in profiles for name in wanted}
    return {value for value in found if len(value) >= 8}


def same(left: Any, right: Any) -> bool:  # noqa: ANN401 (JSON)
    """Say whether two values are the same JSON."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _around(text: str, secret: str) -> str:
    place = text.index(secret)
    return re.sub(r"\s+", " ", text[max(place - 120, 0) : place + 60])
