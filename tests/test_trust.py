"""The page of trust: one line a situation, each with a test that exists."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.trust import PAGE, ROOT, named_tests, situations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.pytester import Pytester


def test_each_situation_says_what_goes_wrong_what_happens_what_never_happens_and_names_a_test() -> (
    None
):
    found = situations(PAGE.read_text("utf-8"))
    assert len(found) >= 100
    assert all(len(cells) == 4 and all(cells) for cells in found)
    assert len({cells[0] for cells in found}) == len(found), "a situation stands there twice"


def test_each_test_that_the_page_names_exists() -> None:
    named = named_tests(PAGE.read_text("utf-8"))
    defined = {
        f"{path}::{name}"
        for path in {test.partition("::")[0] for test in named}
        for name in functions(ast.parse((ROOT / path).read_text("utf-8")))
    }
    assert named <= defined, named - defined


def functions(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{name}" for name in functions(node))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", pytest.ExitCode.OK),
        ("__import__('pytest').skip('no browser here')", pytest.ExitCode.TESTS_FAILED),
    ],
    ids=["ran", "skipped"],
)
def test_a_run_fails_if_a_test_that_the_page_names_was_skipped(
    pytester: Pytester, body: str, code: pytest.ExitCode
) -> None:
    pytester.makeconftest(
        f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.trust import TrustCheck

        def pytest_configure(config):
            config.pluginmanager.register(TrustCheck(["tests/test_one.py::test_it"]))
        """
    )
    tests = pytester.mkdir("tests")
    Path(tests / "test_one.py").write_text(f"def test_it():\n    {body}\n", "utf-8")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests")
    assert result.ret == code
    missing = "docs/trust.md names tests/test_one.py::test_it, which did not pass"
    assert (missing in result.stdout.str()) == (code != pytest.ExitCode.OK)
