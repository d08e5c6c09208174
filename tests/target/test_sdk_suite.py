"""The SDK's own suite for targets, on a workspace that may be given new fields."""

from __future__ import annotations

import atexit
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import get_target_test_class

from target_nudgescribe.preflight import PreflightError
from target_nudgescribe.target import TargetNudgescribe
from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

sandbox = Sandbox()
sandbox.__enter__()
atexit.register(sandbox.__exit__)
folder = tempfile.TemporaryDirectory()
atexit.register(folder.cleanup)

workspace_id = next(iter(sandbox.account.workspaces))


@pytest.fixture(autouse=True)
def _no_fields() -> None:
    """Begin each test without profile fields, so that its stream brings its own."""
    sandbox.account.fields.clear()


SETTINGS = sandbox.config | {
    "workspace_id": workspace_id,
    "customer_group": "Suite",
    "create_missing_groups": True,
    "create_missing_fields": True,
    "state_uri": folder.name,
    "confirm_timeout_seconds": 1,
}

KEYLESS = {
    "test_target_no_primary_keys": "customers without a key cannot be updated",
    "test_target_schema_no_properties": "customers without a key cannot be updated",
    "test_target_pk_updates": "its key_properties are inside the schema, so it has none",
}
"""Tests of the suite whose streams a preflight refuses, and why: they expect that refusal here."""


class TestTarget(get_target_test_class(TargetNudgescribe, config=SETTINGS)):  # type: ignore[misc]
    """All tests of the suite; those of streams without a key end in the preflight."""


def refused(test: Callable[..., Any]) -> Callable[..., None]:
    def run(_: Any, config: Any, resource: Any, runner: Any) -> None:
        with pytest.raises(PreflightError, match="unique identifier"):
            test(config, resource, runner)

    return run


for _name in KEYLESS:
    setattr(TestTarget, _name, refused(getattr(TestTarget, _name)))
