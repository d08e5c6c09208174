"""Show the settings of both plugins: as Meltano definitions, environment variables and tables."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tap_nudgescribe.tap import TapNudgescribe
from target_nudgescribe.target import TargetNudgescribe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_sdk.plugin_base import PluginBase

DISTRIBUTION = "nudgescribe-meltano"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a plugin."""

    name: str
    title: str
    description: str
    schema: dict[str, Any]
    required: bool

    @property
    def default(self) -> object:
        """The default; None without one."""
        return self.schema.get("default")

    @property
    def secret(self) -> bool:
        """Whether no one may see the value."""
        return bool(self.schema.get("secret"))

    @property
    def marks(self) -> list[str]:
        """What a reader must know before anything else."""
        marks = {"required": self.required, "secret": self.secret}
        return [mark for mark, holds in marks.items() if holds]

    @property
    def default_text(self) -> str:
        """The default as an environment variable holds it; empty without one."""
        if self.default is None:
            return ""
        return self.default if isinstance(self.default, str) else json.dumps(self.default)

    @property
    def options(self) -> list[str]:
        """The only values allowed; empty when others are."""
        return [value for value in self.schema.get("enum", []) if value is not None]

    @property
    def kind(self) -> str:
        """What Meltano calls the type."""
        if self.options:
            return "options"
        if self.schema.get("format") == "date-time":
            return "date_iso8601"
        # Meltano 4.4 reads a decimal from a variable, and then cannot write it for the plugin.
        kind: str = next(k for k in self.schema["type"] if k not in {"null", "number"})
        return kind


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a plugin says of itself with ``--about``."""

    name: str
    description: str
    capabilities: Sequence[str]
    python_versions: Sequence[str]
    settings: Sequence[Setting]

    @property
    def namespace(self) -> str:
        """The name as Meltano forms environment variables from it."""
        return self.name.replace("-", "_")


def plugins() -> tuple[Plugin, Plugin]:
    """Return the tap and the target, with the settings that the SDK adds."""
    return _plugin(TapNudgescribe), _plugin(TargetNudgescribe)


def _plugin(plugin: type[PluginBase]) -> Plugin:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        plugin.print_about("json")
    about = json.loads(printed.getvalue())
    return Plugin(
        name=about["name"],
        description=about["description"],
        capabilities=sorted(about["capabilities"]),
        python_versions=about["supported_python_versions"],
        settings=[
            Setting(
                name=name,
                title=schema.get("title") or name.replace("_", " ").capitalize(),
                description=" ".join(schema.get("description", "").split()),
                schema=schema,
                required=name in about["settings"].get("required", []),
            )
            for name, schema in about["settings"]["properties"].items()
        ],
    )


def shared(tap: Plugin, target: Plugin) -> tuple[list[Setting], list[Setting], list[Setting]]:
    """Return the settings that both plugins have alike, those of the tap, those of the target."""
    both = [setting for setting in tap.settings if setting in target.settings]
    return (
        both,
        [setting for setting in tap.settings if setting not in both],
        [setting for setting in target.settings if setting not in both],
    )


def definition(plugin: Plugin) -> str:
    """Return a plugin's definition, for ``meltano add --from-ref`` or Meltano's hub."""
    document = {
        "name": plugin.name,
        "namespace": plugin.namespace,
        "variant": DISTRIBUTION,
        "label": "Nudgescribe",
        "description": plugin.description,
        "pip_url": DISTRIBUTION,
        "executable": plugin.name,
        "supported_python_versions": plugin.python_versions,
        "maintenance_status": "development",
        "quality": "unknown",
        "keywords": ["meltano_sdk"],
        "capabilities": plugin.capabilities,
        "settings_group_validation": [[s.name for s in plugin.settings if s.required]],
        "settings": [
            _meltano_setting(setting) | {"description": setting.description}
            for setting in plugin.settings
        ],
    }
    head = "# Generated from tap_nudgescribe/settings.py by `make docs`; do not edit.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)


def project_entry(plugin: Plugin) -> str:
    """Return a plugin's entry in ``meltano.yml``, installed from this folder; a line a setting."""
    head = [
        f"- name: {plugin.name}",
        f"  namespace: {plugin.namespace}",
        "  pip_url: -e .",
        f"  executable: {plugin.name}",
        f"  capabilities: {_in_a_line(plugin.capabilities)}",
        "  settings:",
    ]
    lines = [f"    - {_in_a_line(_meltano_setting(setting))}" for setting in plugin.settings]
    return "\n".join([*head, *lines, ""])


def _meltano_setting(setting: Setting) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "name": setting.name,
        "label": setting.title,
        "kind": setting.kind,
    }
    if setting.options:
        definition["options"] = [{"label": name, "value": name} for name in setting.options]
    if setting.secret:
        definition["sensitive"] = True
    if setting.default is not None:
        definition["value"] = setting.default
    return definition


def _in_a_line(value: object) -> str:
    return yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    ).strip()


def environment(plugin: Plugin) -> str:
    """Return a plugin's settings as variables: required ones empty, others with their default."""
    lines = [f"# {plugin.name}. Generated by `make docs`; copy to .env and fill in."]
    for setting in plugin.settings:
        marks = f" ({', '.join(setting.marks)})" if setting.marks else ""
        sign = "" if setting.required else "# "
        variable = f"{plugin.namespace}_{setting.name}".upper()
        default = setting.default_text
        value = shlex.quote(default) if default and not setting.secret else ""
        lines += ["", f"# {setting.title}{marks}", f"{sign}{variable}={value}"]
    return "\n".join([*lines, ""])


def table(settings: Iterable[Setting]) -> str:
    """Return a Markdown table of settings."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in settings:
        notes = [*setting.marks]
        if setting.default_text:
            notes.append(f"`{setting.default_text}`")
        meaning = setting.description
        if setting.options:
            meaning += f" One of {', '.join(f'`{option}`' for option in setting.options)}."
        cells = (f"`{setting.name}`", ", ".join(notes), meaning.replace("|", "\\|"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
