"""``python -m target_nudgescribe``."""

from target_nudgescribe.target import TargetNudgescribe

TargetNudgescribe.cli()
