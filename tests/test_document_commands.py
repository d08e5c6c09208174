"""Every command in the documents runs, and prints what the document says that it prints.

A fenced block ``sh`` is run by bash in a folder that belongs to its document, block after block.
A comment in the line before it may change that:

- ``<!-- not run: REASON -->`` for what no test can run by itself;
- ``<!-- exit 3 -->`` for the exit code that the block ends with.

A block ``text`` that follows holds some of the lines that were printed, in this order; ``…`` stands
for the rest of a line, or for any part of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from docs.files import ROOT
from docs.settings import plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.sandbox import Sandbox

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/behaviour.md",
    "docs/recipes.md",
    "docs/reverse-etl.md",
    "docs/architecture.md",
    "docs/api.md",
    "docs/python.md",
    "docs/performance.md",
    "docs/warehouses.md",
    "docs/faults.md",
    "docs/limits.md",
    "docs/threat-model.md",
    "SECURITY.md",
)

NOT_RUN = {"README.md": 5, "CONTRIBUTING.md": 3, "docs/recipes.md": 5, "docs/reverse-etl.md": 1}
"""How many blocks of a document carry a reason not to be run: more need a reason here."""

BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```sh\n(?P<commands>.*?)^```\n"
    r"(?:\n```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """Commands of a document, and what is said of them."""

    commands: str
    mark: str
    printed: str

    @property
    def runs(self) -> bool:
        """Whether a test can run it."""
        return not self.mark.startswith("not run: ")

    @property
    def code(self) -> int:
        """The exit code that it ends with."""
        found = re.fullmatch(r"exit (\d+)", self.mark)
        return int(found[1]) if found else 0


def blocks(document: str) -> Iterator[Block]:
    text = (ROOT / document).read_text("utf-8")
    for found in BLOCK.finditer(text):
        yield Block(found["commands"], found["mark"] or "", found["printed"] or "")


RUN = [document for document in DOCUMENTS if any(block.runs for block in blocks(document))]


@pytest.mark.parametrize("document", RUN)
def test_the_commands_of_a_document_do_what_it_says(
    sandbox: Sandbox, tmp_path: Path, document: str
) -> None:
    environment = os.environ | variables(sandbox)
    for block in blocks(document):
        if not block.runs:
            continue
        done = subprocess.run(  # noqa: S603
            ["/bin/bash", "-euo", "pipefail", "-c", block.commands],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == block.code, f"{block.commands}\n{done.stdout}"
        assert_printed(block.printed, done.stdout)


def variables(sandbox: Sandbox) -> Mapping[str, str]:
    """Return what a reader would have in ``.env``, for the local account."""
    group = next(g for g in sandbox.account.groups.values() if g.name == "Nobody yet")
    target = sandbox.config | {"workspace_id": group.workspace_id, "customer_group": group.name}
    settings = {
        f"{prefix}_NUDGESCRIBE_{name}".upper(): value
        for prefix, config in (("tap", sandbox.config), ("target", target))
        for name, value in config.items()
    }
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in settings.items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return texts | {"PATH": path, "PROJECT": str(ROOT)}


def assert_printed(expected: str, printed: str) -> None:
    lines = [re.escape(line).replace("…", ".*") for line in expected.splitlines() if line.strip()]
    pattern = r"(?:.*\n)*?".join(f"^{line}\n" for line in lines)
    assert re.search(pattern, printed, re.MULTILINE), f"{expected}\nis not in\n{printed}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_not_run_has_a_reason_and_is_counted(document: str) -> None:
    marked = [block for block in blocks(document) if not block.runs]
    assert len(marked) == NOT_RUN.get(document, 0)
    assert all(len(block.mark) > len("not run: a reason") for block in marked)
    assert all(block.runs or not block.printed for block in marked)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_code_in_a_document_escapes_the_tests(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    languages = re.findall(r"^```(\w*)\n(?:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert set(languages) <= {"sh", "text", "yaml", "json", "python"}
    for found in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        json.loads(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_configurations_in_a_document_name_settings_that_exist(document: str) -> None:
    known = {plugin.name: {setting.name for setting in plugin.settings} for plugin in plugins()}
    text = (ROOT / document).read_text("utf-8")
    for found in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        project = yaml.safe_load(found).get("plugins", {})
        for plugin in [*project.get("extractors", ()), *project.get("loaders", ())]:
            parent = plugin.get("inherit_from", plugin["name"])
            if parent in known:
                assert plugin.get("config", {}).keys() <= known[parent]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_the_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), link
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), link


def anchors(file: Path) -> set[str]:
    """Return the anchors of a document's headings, as they are made of their words."""
    text = file.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)"', text))
