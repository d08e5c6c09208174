"""A local Nudgescribe API: a real HTTP server on loopback with real state."""

from tests.local_api.account import Account
from tests.local_api.faults import Fault
from tests.local_api.server import Sandbox

__all__ = ["Account", "Fault", "Sandbox"]
