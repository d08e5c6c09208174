# ruff: noqa: INP001 (no package: Python finds it by its name)
"""Lead Snowflake's connector to a local server: it is told an account, and no host.

Python imports this at its start when its folder is in ``PYTHONPATH``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from typing import Any

CONNECTION = "snowflake.connector.connection"


class Leading(importlib.abc.MetaPathFinder):
    """Changes the connection's defaults once its module is there."""

    def find_spec(self, name: str, path: Any, _: Any = None) -> Any:
        """Find the module as Python does, and let its execution be followed by the change."""
        if name != CONNECTION:
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def then_lead(module: Any) -> None:
            execute(module)
            connect = module.SnowflakeConnection.__init__

            def connect_here(connection: Any, *args: Any, **settings: Any) -> None:
                connect(connection, *args, **(settings | where()))

            module.SnowflakeConnection.__init__ = connect_here

        spec.loader.exec_module = then_lead
        return spec


def where() -> dict[str, Any]:
    """Return where the server is. Without the timeouts the connector never ends its retries."""
    return {
        "host": "127.0.0.1",
        "port": int(os.environ["LOCAL_SNOWFLAKE_PORT"]),
        "protocol": "http",
        "login_timeout": 20,
        "network_timeout": 20,
        "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    }


sys.meta_path.insert(0, Leading())
