"""Every file with generated text, as it should be."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from docs import api, settings

ROOT = Path(__file__).parent.parent


def files() -> dict[str, str]:
    """Return the text that each file should hold, by path from the project's root."""
    tap, target = settings.plugins()
    both, tap_only, target_only = settings.shared(tap, target)
    return {
        "plugins/extractors/tap-nudgescribe.yml": settings.definition(tap),
        "plugins/loaders/target-nudgescribe.yml": settings.definition(target),
        ".env.example": settings.environment(tap) + "\n" + settings.environment(target),
        "meltano.yml": _filled(
            "meltano.yml",
            {plugin.name: settings.project_entry(plugin) for plugin in (tap, target)},
        ),
        "docs/settings.md": _filled(
            "docs/settings.md",
            {
                "settings of both plugins": settings.table(both),
                "settings of tap-nudgescribe": settings.table(tap_only),
                "settings of target-nudgescribe": settings.table(target_only),
            },
        ),
        "docs/api.md": _filled(
            "docs/api.md",
            {
                "operations": api.operations(),
                "bodies": api.bodies(),
                "records": api.records(),
            },
        ),
    }


def _filled(path: str, regions: dict[str, str]) -> str:
    """Return a hand-written file with its generated regions filled.

    A region lies between a comment ``generated: NAME`` and the next comment ``end``, and is
    indented like the first.

    Raises:
        ValueError: when the file does not have a region exactly once.
    """
    text = (ROOT / path).read_text("utf-8")
    for name, content in regions.items():
        before, begin, rest = _split(text, rf"^( *)(?:<!--|#) generated: {re.escape(name)}\b.*\n")
        _, end, after = _split(rest, r"^( *)(?:<!--|#) end\b", first=True)
        indent = re.match(" *", begin)
        prefix = indent.group() if indent else ""
        text = before + begin + textwrap.indent(content, prefix) + end + after
    return text


def _split(text: str, pattern: str, *, first: bool = False) -> tuple[str, str, str]:
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if not found or (len(found) > 1 and not first):
        problem = f"{pattern!r} is there {len(found)} times"
        raise ValueError(problem)
    return text[: found[0].start()], found[0].group(), text[found[0].end() :]
