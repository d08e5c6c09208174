"""What is generated agrees with its source, and the definitions with what Meltano's hub demands."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from singer_sdk.configuration._dict_config import parse_environment_config  # in no public place

from docs.files import ROOT, files
from tap_nudgescribe import errors
from tap_nudgescribe.contract import contract
from tap_nudgescribe.tap import TapNudgescribe
from target_nudgescribe.target import TargetNudgescribe

if TYPE_CHECKING:
    from tests.sandbox import Sandbox

PLUGINS = {
    "plugins/extractors/tap-nudgescribe.yml": TapNudgescribe,
    "plugins/loaders/target-nudgescribe.yml": TargetNudgescribe,
}
KINDS = {"string", "integer", "decimal", "boolean", "date_iso8601", "options", "array", "object"}
KEYS_OF_A_PLUGIN: dict[str, type] = {
    "name": str,
    "namespace": str,
    "variant": str,
    "label": str,
    "description": str,
    "pip_url": str,
    "executable": str,
    "supported_python_versions": list,
    "maintenance_status": str,
    "quality": str,
    "keywords": list,
    "capabilities": list,
    "settings_group_validation": list,
    "settings": list,
}
KEYS_OF_A_SETTING = {"name", "label", "kind", "options", "sensitive", "value", "description"}
CAPABILITIES = {
    "extractors": {
        *("properties", "catalog", "discover", "state", "about", "stream-maps", "test"),
        *("schema-flattening", "activate-version", "batch", "log-based", "structured-logging"),
    },
    "loaders": {
        *("about", "stream-maps", "activate-version", "batch", "soft-delete", "hard-delete"),
        *("datatype-failsafe", "schema-flattening", "target-schema", "validate-records"),
        "structured-logging",
    },
}


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return files()


@pytest.mark.parametrize(
    "path", [*PLUGINS, ".env.example", "meltano.yml", "docs/settings.md", "docs/api.md"]
)
def test_a_generated_file_is_as_its_source_says(generated: dict[str, str], path: str) -> None:
    assert (ROOT / path).read_text("utf-8") == generated[path], "run `make docs`"


def schema_of(plugin: Any) -> dict[str, Any]:
    schema: dict[str, Any] = copy.deepcopy(plugin.config_jsonschema)
    plugin.append_builtin_config(schema)
    return schema


@pytest.mark.parametrize("path", PLUGINS)
def test_a_definition_is_what_the_hub_demands(path: str) -> None:
    """Hold it against the hub's schemas of extractors and loaders, as far as they go."""
    definition = yaml.safe_load((ROOT / path).read_text("utf-8"))
    assert {key: type(value) for key, value in definition.items()} == KEYS_OF_A_PLUGIN
    assert definition["name"] == definition["executable"] == Path(path).stem
    assert definition["quality"] in {"gold", "silver", "bronze", "unknown"}
    assert definition["maintenance_status"] in {"active", "beta", "development", "inactive"}
    assert set(definition["capabilities"]) <= CAPABILITIES[path.split("/")[1]]
    assert all(re.fullmatch(r"3\.\d+", v) for v in definition["supported_python_versions"])
    settings = {setting["name"]: setting for setting in definition["settings"]}
    assert len(settings) == len(definition["settings"])
    for setting in settings.values():
        assert setting.keys() <= KEYS_OF_A_SETTING
        assert setting["kind"] in KINDS
        assert all(isinstance(setting[key], str) for key in ("name", "label", "description"))
        assert ("options" in setting) == (setting["kind"] == "options")
        for option in setting.get("options", ()):
            assert option.keys() == {"label", "value"}
            assert all(isinstance(text, str) for text in option.values())
    (required,) = definition["settings_group_validation"]
    assert set(required) <= settings.keys()


@pytest.mark.parametrize("path", PLUGINS)
def test_a_definition_says_what_the_plugin_accepts(path: str) -> None:
    definition = yaml.safe_load((ROOT / path).read_text("utf-8"))
    schema = schema_of(PLUGINS[path])
    (required,) = definition["settings_group_validation"]
    assert sorted(required) == sorted(schema["required"])
    for setting in definition["settings"]:
        declared = schema["properties"].pop(setting["name"])
        assert setting.get("sensitive", False) == declared.get("secret", False)
        assert setting.get("value") == declared.get("default")
        if setting["kind"] in {"array", "object", "integer", "boolean"}:
            assert setting["kind"] in declared["type"]
        assert (setting["kind"] == "date_iso8601") == (declared.get("format") == "date-time")
    assert not schema["properties"]


def test_meltano_yml_declares_the_same_settings_as_the_definitions() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]
    for path in PLUGINS:
        definition = yaml.safe_load((ROOT / path).read_text("utf-8"))
        kind = path.split("/")[1]
        entry = next(e for e in project[kind] if e["name"] == definition["name"])
        for setting in definition["settings"]:
            del setting["description"]
        assert entry["settings"] == definition["settings"]
        assert entry["capabilities"] == definition["capabilities"]


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=lambda plugin: plugin.name)
def test_the_example_environment_uncommented_gives_the_defaults(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    dotenv = tmp_path / ".env"
    dotenv.write_text(re.sub(r"^# (\w+=.+)", r"\1", text, flags=re.MULTILINE))
    schema = schema_of(plugin)
    monkeypatch.setattr(os, "environ", {})
    prefix = plugin.name.replace("-", "_").upper() + "_"
    assert parse_environment_config(schema, prefix, dotenv) == {
        name: declared.get("default", "")
        for name, declared in schema["properties"].items()
        if "default" in declared or name in schema["required"]
    }
    assert all(f"{prefix}{name.upper()}=" in text for name in schema["properties"])


def test_api_md_explains_every_status_and_names_only_real_errors() -> None:
    hand_written = (ROOT / "docs/api.md").read_text("utf-8").split("## Requests and answers")[0]
    statuses = {
        status
        for methods in contract()["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    explained = re.findall(r"^\| ([^|]+) \|", hand_written, re.MULTILINE)
    assert statuses <= set(re.findall(r"\d{3}", " ".join(explained)))
    named = set(re.findall(r"`(\w+Error)`", hand_written))
    assert named
    assert all(hasattr(errors, name) for name in named)


def test_the_page_on_architecture_names_every_module() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    for package in ("tap_nudgescribe", "target_nudgescribe"):
        names = {path.name for path in (ROOT / package).glob("[!_]*.py")}
        assert not {name for name in names if f"`{name}`" not in text}, package


def test_workflows_run_what_there_is_on_every_python_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    targets = re.findall(r"^([\w.]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    workflows = [yaml.safe_load(f.read_text()) for f in (ROOT / ".github/workflows").iterdir()]
    jobs = [job for workflow in workflows for job in workflow["jobs"].values()]
    (matrix,) = (job["strategy"]["matrix"] for job in jobs if "strategy" in job)
    assert matrix["python-version"] == promised
    commands = [step["run"] for job in jobs for step in job.get("steps", ()) if "run" in step]
    made = {c.split()[1] for c in commands if c.startswith("make ")}
    assert made == {"lint", "test", "dist"}
    assert made <= {*targets}


def test_the_python_of_python_md_runs(sandbox: Sandbox) -> None:
    text = (ROOT / "docs/python.md").read_text("utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    variables = {
        f"TAP_NUDGESCRIBE_{name.upper()}": value
        for name, value in sandbox.config.items()
        if isinstance(value, str)
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, env=os.environ | variables, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"[1-9]\d* campaigns", done.stdout)
    assert re.search(r"[1-9]\d* customers", done.stdout)
