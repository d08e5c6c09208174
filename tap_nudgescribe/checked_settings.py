"""The settings of a plugin, read from files and variables and checked before anything is sent."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import JSONSchemaValidator, PluginBase

from tap_nudgescribe.environment import environment_config
from tap_nudgescribe.errors import InvalidSettingsError
from tap_nudgescribe.input_files import read_json_object
from tap_nudgescribe.settings_checks import (
    WITHOUT_EFFECT,
    all_problems,
    schema_problem,
    unknown_settings,
    with_whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import click

ENVIRONMENT = "ENV"
"""What ``--config`` says for environment variables."""


class ConfigFiles:
    """The files that ``--config`` names. They are read when their content is asked for.

    So an error in them ends the command as all others do, with a report of it.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Remember the files."""
        self._paths = [path for path in paths if path != ENVIRONMENT]
        self.parse_env = ENVIRONMENT in paths

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings of all files; a later file replaces those of an earlier one.

        Raises:
            SettingsError: for a file that is not one JSON object.
        """
        merged: dict[str, Any] = {}
        for path in self._paths:
            merged |= read_json_object(path, "The configuration")
        return merged


class CheckedSettings(PluginBase):
    """A plugin whose settings are checked whole, and whose problems are reported all at once."""

    @classmethod
    def cb_config(  # type: ignore[override]
        cls,
        ctx: click.Context,  # noqa: ARG003
        param: click.Option,  # noqa: ARG003
        value: tuple[str, ...],
    ) -> ConfigFiles:
        """Return the files that ``--config`` names, not read yet."""
        return ConfigFiles(value)

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        return environment_config(schema, cls._env_var_prefix)

    @classmethod
    def settings_problems(cls, config: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG003
        """Yield what is wrong with settings that each have the right type."""
        return ()

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the settings and fill in defaults.

        Args:
            raise_errors: Whether a required setting must be there. Discovery works without.

        Raises:
            InvalidSettingsError: for anything that is wrong.
        """
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        # Meltano writes null for what is not set, which would hide the default.
        self._config = {name: value for name, value in self._config.items() if value is not None}
        with_whole_numbers(self._config, schema)
        found = [
            schema_problem(error, schema)
            for error in JSONSchemaValidator(schema).iter_errors(self._config)
            if raise_errors or error.validator != "required"
        ]
        problems = all_problems(unknown_settings(self._config, schema), found)
        problems = problems or all_problems(self.settings_problems(self._config))
        if problems:
            raise InvalidSettingsError(problems)
        for name in sorted((self._config.keys() & WITHOUT_EFFECT) - schema["properties"].keys()):
            self.logger.warning("The setting %s has no effect in this plugin", name)
        return []
