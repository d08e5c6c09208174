"""The SDK's own suite for taps. Its streams are built at collection, so its server starts here."""

from __future__ import annotations

import atexit

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_nudgescribe.tap import TapNudgescribe
from tests.sandbox import Sandbox

sandbox = Sandbox()
sandbox.__enter__()
atexit.register(sandbox.__exit__)

pytestmark = [
    # Some columns are null in every record that the suite looks at.
    pytest.mark.filterwarnings("ignore:Fields in transformed catalog:UserWarning"),
]

TestTap = get_tap_test_class(
    TapNudgescribe, config=sandbox.config, suite_config=SuiteConfig(max_records_limit=200)
)
