"""``--check --shapes``: names, types and counts of all answers, never a value; and ``tools``."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from docs.files import ROOT
from tap_nudgescribe.contract import operations
from tap_nudgescribe.outline import Outline
from tests.canaries import plant, search
from tests.sandbox import Fault, dialect
from tools.contract_change import changed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run
    from tests.sandbox import Sandbox


def outline(operation: str, answer: Any) -> dict[str, Any]:
    found = Outline()
    found.add(answer, operations()[operation].answer, lambda _: {})
    return found.as_json()


def test_shapes_are_written_for_the_owner_alone(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    plant(sandbox.account)
    for customer in sandbox.account.customers.values():
        customer.profile |= {"canary": "canary", "name": 1, "a.canary@example.com": True}
    file = tmp_path / "shapes.json"
    file.write_text("old")
    file.chmod(0o644)
    run = tap("--check", "--shapes", str(file))
    assert run.code == 0, run.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    search(sandbox, {"shapes": content})
    found = json.loads(content)["operations"]
    groups = found["list_groups"]["answer"]
    assert groups["types"] == {"array": 1}
    count = groups["items"]["types"]["object"]
    assert groups["items"]["keys"]["customer_group_id"]["types"] == {"string": count}
    profile = found["list_customers"]["answer"]["items"]["keys"]["profile"]
    assert set(profile["keys"]) == {"*"}
    assert profile["other_keys"] > 10
    texts = [
        value
        for customer in sandbox.account.customers.values()
        for value in customer.profile.values()
    ]
    assert not [
        text
        for text in texts
        if isinstance(text, str) and len(text) > 3 and f'"{text}"' in content.decode()
    ]


def test_keys_that_are_values_have_no_name() -> None:
    answer = {
        "data": [
            {
                "customer_id": "canary-1",
                "canary@example.com": {"canary": 1},
                "0170 1234567": None,
                "tags": {"Canary": {"canary": ["canary"]}, "count": 2, "id": 1},
                "profile": {"canary": {"canary": ["canary", {"canary": 1}]}, "id": 2},
            }
        ],
        "Canary": {"canary": []},
        "total": 1,
    }
    written = outline("list_customers", answer)
    assert "canary" not in json.dumps(written).lower()
    row = written["keys"]["data"]["items"]
    assert row["other_keys"] == 2
    assert set(row["keys"]) == {"customer_id", "tags", "profile", "*"}
    assert set(row["keys"]["tags"]["keys"]) == {"*", "count", "id"}
    assert set(row["keys"]["profile"]["keys"]) == {"*"}
    assert set(written["keys"]) == {"data", "total", "*"}


def test_groups_by_name_instead_of_a_list_have_no_name() -> None:
    answer = {"Canary": {"customer_group_id": "canary"}, "canary two": {"customer_group_id": "x"}}
    written = outline("list_groups", answer)
    assert "canary" not in json.dumps(written).lower()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_sent(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    run = tap("--check", "--shapes", str(tmp_path / "missing" / "shapes.json"))
    assert run.code == 1
    assert "--shapes cannot be written (No such file or directory)" in run.stderr
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "options",
    [
        ["--shapes", "x.json"],
        ["--openapi", "x.json"],
        ["--check", "--shapes", "x", "--openapi", "y"],
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    tap: Callable[..., Run], sandbox: Sandbox, options: list[str]
) -> None:
    run = tap(*options)
    assert run.code == 2
    assert "--shapes" in run.stderr
    assert sandbox.requests == []


def patched(shapes: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tools", str(shapes)], capture_output=True, text=True, check=False
    )


def test_the_tool_makes_a_change_of_the_contract_of_it(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "shapes.json"
    tap("--check", "--shapes", str(file))
    done = patched(file)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    sandbox.inject(Fault("*", "dialect", 9999))
    tap("--check", "--shapes", str(file))
    done = patched(file)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("--- tap_nudgescribe/contract.yaml")
    assert {"-        campaign_id:", "+        id:"} <= {*lines}
    file_text = (ROOT / "tap_nudgescribe/contract.yaml").read_text("utf-8")
    after = yaml.safe_load(changed(file_text, json.loads(file.read_text())))
    campaign = after["components"]["schemas"]["Campaign"]
    assert campaign["required"] == ["id"]
    assert set(campaign["properties"]) == {*dialect.NAMES["campaigns"].values(), "run_number"}
    assert campaign["properties"]["title"]["x-evidence"] == "observed"
    pages = after["components"]["responses"]["PageCount"]["content"]["application/json"]
    assert set(pages["schema"]["properties"]) == {"page_count"}


def test_the_tool_adds_keys_and_types_that_were_seen() -> None:
    rows = [{"customer_group_id": "g", "name": 7, "color": "red"}, {"color": None, "name": "n"}]
    shapes = {"operations": {"list_groups": {"answer": outline("list_groups", {"data": rows})}}}
    text = (ROOT / "tap_nudgescribe/contract.yaml").read_text("utf-8")
    group = yaml.safe_load(changed(text, shapes))["components"]["schemas"]["CustomerGroup"]
    assert group["properties"]["name"]["type"] == ["string", "null", "integer"]
    assert group["properties"]["color"] == {
        "type": ["null", "string"],
        "description": "Seen in an account",
        "x-evidence": "observed",
    }
    assert "red" not in json.dumps(shapes)


def test_the_tool_refuses_another_file(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for content in ("", "[]", "{}", "nothing"):
        file.write_text(content)
        done = patched(file)
        assert done.returncode == 1
        assert "is not a file of shapes" in done.stderr
        assert "Traceback" not in done.stderr
