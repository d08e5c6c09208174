"""The page of trust names a test for every situation: find the names, see that each test ran."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parent.parent

PAGE = ROOT / "docs/trust.md"

TEST = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?test_\w+)`")
"""A test on the page: its file, then its class, if it has one, and its function."""


def situations(page: str) -> list[list[str]]:
    """Return the cells of each situation on the page: four, the last one names tests."""
    lines = [line for line in page.splitlines() if line.startswith("| ") and TEST.search(line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def named_tests(page: str) -> set[str]:
    """Return the node ids, without parameters, of all tests that the page names."""
    return {f"{path}::{name}" for path, name in TEST.findall(page)}


class TrustCheck:
    """A pytest plugin: a run of all tests fails if a test that the page names did not pass in it.

    A skipped test proves nothing, so it counts as one that did not run.
    """

    def __init__(self, named: Iterable[str]) -> None:
        self._missing = set(named)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._missing.discard(report.nodeid.partition("[")[0])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in sorted(self._missing):
            terminalreporter.write_line(f"docs/trust.md names {test}, which did not pass")


def runs_all_tests(config: pytest.Config) -> bool:
    """Return whether this run selects every test: no path, expression or marker was given."""
    option = config.option
    narrowed = option.keyword or option.markexpr or option.lf or option.deselect
    return config.args == config.getini("testpaths") and not narrowed and not option.collectonly
