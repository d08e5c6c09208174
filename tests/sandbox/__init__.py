"""A local Nudgescribe API: a real HTTP server on loopback with real state."""

from tests.sandbox.account import Account
from tests.sandbox.faults import Fault
from tests.sandbox.seeding import make_account
from tests.sandbox.server import Sandbox

__all__ = ["Account", "Fault", "Sandbox", "make_account"]
