"""What the tests share: a local account, and the tap run as a user runs it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import postgres
from tests.sandbox import Sandbox
from tests.sandbox.truth import KEYS
from tests.trust import PAGE, TrustCheck, named_tests, runs_all_tests
from tests.warehouses import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.warehouses import Database


pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Make sure that a run of all tests runs those that the page of trust names."""
    if runs_all_tests(config) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(TrustCheck(named_tests(PAGE.read_text("utf-8"))))


# A busy machine is no defect.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _heard() -> None:
    """Let our loggers be heard, whatever a command that ran in this process has set up."""
    logging.disable(logging.NOTSET)
    known = [name for name in logging.root.manager.loggerDict if name.startswith(OURS)]
    for name in (*OURS, *known):
        logger = logging.getLogger(name)
        logger.disabled = False
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        logger.filters.clear()


OURS = ("tap-nudgescribe", "target-nudgescribe")
"""The plugins' loggers, with all below them."""


@dataclass
class Run:
    """What one run of the tap left behind."""

    code: int
    messages: list[dict[str, Any]]
    stderr: str
    stdout: str = ""

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Return a stream's records."""
        return [
            m["record"] for m in self.messages if m["type"] == "RECORD" and m["stream"] == stream
        ]

    def keys(self, stream: str) -> set[tuple[Any, ...]]:
        """Return the keys of a stream's records, of which none may be there twice."""
        found = [tuple(record[name] for name in KEYS[stream]) for record in self.records(stream)]
        assert len(found) == len(set(found)), f"{stream} has a key twice"
        return set(found)

    @property
    def counts(self) -> Counter[str]:
        """Return the number of records by stream."""
        return Counter(m["stream"] for m in self.messages if m["type"] == "RECORD")

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Return the last schema of each stream."""
        return {m["stream"]: m["schema"] for m in self.messages if m["type"] == "SCHEMA"}

    @property
    def state(self) -> dict[str, Any]:
        """Return the last state."""
        states: list[dict[str, Any]] = [m["value"] for m in self.messages if m["type"] == "STATE"]
        return states[-1]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a local API."""
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run one Postgres for all tests."""
    with postgres() as url:
        yield url


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    """Make an empty database of this test alone."""
    name = f"of_{abs(hash(tmp_path))}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
    with connected(postgres_url.removesuffix("postgres") + name) as opened:
        yield opened


@pytest.fixture
def tap(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Run]:
    """Return a function that runs the tap's command line against the local API."""

    def run(*args: str, state: Any = None, catalog: Any = None, **config: Any) -> Run:
        settings = sandbox.config | {"max_tries": 3} | config
        command = [sys.executable, "-m", "tap_nudgescribe", *args]
        for name, value in (
            ("config", {k: v for k, v in settings.items() if v is not None}),
            ("state", state),
            ("catalog", catalog),
        ):
            if value is not None:
                path = tmp_path / f"{name}.json"
                path.write_text(json.dumps(value))
                command += [f"--{name}", str(path)]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603
        whole = "--discover" in args or "--about" in args
        texts = [done.stdout] if whole and done.stdout else done.stdout.splitlines()
        messages = [] if "--check" in args else [json.loads(text) for text in texts]
        return Run(done.returncode, messages, done.stderr.decode(), done.stdout.decode())

    return run


def selecting(catalog: dict[str, Any], *streams: str) -> dict[str, Any]:
    """Return a catalog in which only some streams are selected."""
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in streams
    return catalog
