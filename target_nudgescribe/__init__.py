"""Singer target for Nudgescribe."""
