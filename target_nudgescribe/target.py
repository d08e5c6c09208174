"""The target: its settings and ``--check``. It does not load rows yet, and says so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Target
from singer_sdk import typing as th
from typing_extensions import override

from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.command import ended
from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.settings import TARGET_SETTINGS

if TYPE_CHECKING:
    from singer_sdk import Sink


class TargetNudgescribe(Target):
    """Singer target for the Nudgescribe customer-messaging platform."""

    name = "target-nudgescribe"
    package_name = "nudgescribe-meltano"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(*TARGET_SETTINGS).to_dict()

    @override
    def get_sink_class(self, stream_name: str) -> type[Sink]:
        """Refuse to load.

        Raises:
            SettingsError: always, in this version.
        """
        problem = "This version of target-nudgescribe cannot load rows; nothing was sent"
        raise SettingsError(problem, advice="Only --check works.")

    def check(self) -> int:
        """Log in, list the workspace's customer groups, and return the exit code."""
        client = NudgescribeClient.from_config(self.config)
        groups = client.list_groups(self.config["workspace_id"])
        click.echo(f"The log-in works; the workspace has {len(groups)} customer groups.", err=True)
        return 0

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        file_input: Any = None,
        check: bool = False,
    ) -> None:
        """Run ``--about`` or ``--check``, or read Singer messages, and exit with the right code."""
        if about:
            cls.print_about(about_format)
            return

        def run() -> int:
            target = cls(config=config.config, parse_env_config=config.parse_env)
            if check:
                return target.check()
            target.listen(file_input)
            return 0

        sys.exit(ended(run, cls.logger))

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """Add ``--check`` to the SDK's command."""
        command = super().get_singer_command()
        command.params.append(
            click.Option(["--check"], is_flag=True, help="Log in and list the customer groups.")
        )
        return command
