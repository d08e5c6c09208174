"""Words that betray a secret or a customer's value, planted in an account and searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from tests.sandbox import Sandbox
    from tests.sandbox.account import Account

WORDS = ("canary", "user@example")
"""In the local API's key and password, in the e-mail address, and in what a test adds."""


def plant(account: Account) -> None:
    """Let every customer have a name and a reference that can be recognised."""
    for number, customer in enumerate(account.customers.values()):
        customer.profile |= {"First Name": "canary-name", "Customer Ref": f"canary-ref-{number}"}


def files_below(folder: Path, but: Container[str] = ()) -> dict[str, bytes]:
    """Return the content of each file below a folder, by path, leaving out parts of some names."""
    return {
        str(path): (folder / path).read_bytes()
        for path in (found.relative_to(folder) for found in folder.rglob("*"))
        if (folder / path).is_file() and not any(part in but for part in path.parts)
    }


def search(sandbox: Sandbox, left: Mapping[str, bytes], words: Iterable[str] = WORDS) -> None:
    """Look for words, and for every token of the local API, in names and contents."""
    sessions = sandbox.sessions
    tokens = (*sessions._access, *sessions._refresh)  # noqa: SLF001 (it does not say otherwise)
    for name, content in left.items():
        text = (name.encode() + b"\n" + content).lower()
        for word in (*words, *tokens):
            at = text.find(word.lower().encode())
            assert at < 0, f"{name}: …{text[max(0, at - 300) : at + 100]!r}"
