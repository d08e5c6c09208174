"""``python -m tap_nudgescribe``."""

from tap_nudgescribe.tap import TapNudgescribe

TapNudgescribe.cli()
