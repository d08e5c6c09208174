"""The tap: its settings, its streams, its command line, and how a run ends."""

from __future__ import annotations

import logging
from copy import deepcopy
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click
from singer_sdk import Tap, metrics
from singer_sdk import typing as th
from singer_sdk.exceptions import MapExpressionError, StreamMapConfigError
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from tap_nudgescribe.bookmarks import had_reruns
from tap_nudgescribe.catalog_input import checked_catalog, selects_a_stream
from tap_nudgescribe.checked_settings import CheckedSettings, ConfigFiles
from tap_nudgescribe.column_warnings import warn_of_columns, warn_of_width
from tap_nudgescribe.command import REPORT_OPTION, ended, leave, reported
from tap_nudgescribe.discretion import tell_types_only
from tap_nudgescribe.errors import ApiError, NudgescribeError, SettingsError
from tap_nudgescribe.input_files import read_json_object
from tap_nudgescribe.interruption import Interrupted, Interruption
from tap_nudgescribe.settings import BATCH_COMPRESSIONS, BATCH_DESCRIPTION, TAP_SETTINGS
from tap_nudgescribe.settings_checks import batch_problems, date_problems, storage_problems
from tap_nudgescribe.state_input import check_state, refuse_what_is_ahead, unwrapped_state
from tap_nudgescribe.stream_map_checks import stream_map_problems
from tap_nudgescribe.writer import BlockWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from singer_sdk import Stream
    from singer_sdk.singerlib import Catalog

    from tap_nudgescribe.account import Account
    from tap_nudgescribe.failures import Failures
    from tap_nudgescribe.report import RunReport
    from tap_nudgescribe.stream import NudgescribeStream
    from tap_nudgescribe.transport import Exchange

PACKAGE = "nudgescribe-meltano"

CORRECT_MAPS = "Correct the setting stream_maps."

logger = logging.getLogger("tap-nudgescribe")


class TapNudgescribe(CheckedSettings, Tap):
    """Singer tap for the Nudgescribe customer-messaging platform."""

    name = "tap-nudgescribe"
    package_name = PACKAGE
    message_writer_class = BlockWriter
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(*TAP_SETTINGS).to_dict()
    _earlier_catalog: ClassVar[Catalog | None] = None
    """What an earlier discovery found: names that have columns keep them."""
    _state_before: Mapping[str, Any] | None = None
    """What the run began with; None before it has."""

    def __init__(
        self,
        *,
        catalog: Any = None,  # noqa: ANN401 (as the SDK takes it)
        state: Any = None,  # noqa: ANN401 (as the SDK takes it)
        **options: Any,  # noqa: ANN401 (those of the SDK)
    ) -> None:
        """Read settings, catalog and state; nothing is sent for that if there is a catalog.

        Raises:
            SettingsError: for any of them that cannot be used.
        """
        if isinstance(catalog, dict):
            catalog = checked_catalog(catalog, _stream_types())
        if state is not None:
            state = _checked_state(state)
        super().__init__(catalog=catalog, state=state, **options)

    @classmethod
    @override
    def settings_problems(cls, config: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with settings that each have the right type."""
        from tap_nudgescribe.client import NudgescribeClient  # noqa: PLC0415 (fast start-up)

        yield from date_problems(config)
        root = config.get("message_storage_root")
        yield from storage_problems("message_storage_root", root, folders=False)
        yield from batch_problems(config.get("batch_config"))
        yield from stream_map_problems(config, _stream_types())
        if config.get("api_key"):
            NudgescribeClient.from_config(config)  # refuses what cannot work

    @override
    def _reset_state_progress_markers(self) -> None:
        """Leave the state alone: this tap has no such markers."""

    @override
    def setup_mapper(self) -> None:
        """Reconcile the catalog with the streams, then apply stream_maps to its schemas.

        Raises:
            SettingsError: when they do not fit a stream.
        """
        self._reconcile_catalog()
        try:
            super().setup_mapper()
        except StreamMapConfigError as error:
            # Its text has names of streams and properties; only these two have no expression.
            text = str(error).rstrip(".")
            quoted = text if text.startswith(("Invalid key", "Removing key")) else "It is not valid"
            problem = f"stream_maps: {quoted}"
            raise SettingsError(problem, advice=CORRECT_MAPS) from None
        except (MapExpressionError, NotImplementedError, TypeError, AttributeError) as error:
            problem = f"stream_maps cannot be used ({type(error).__name__})"
            raise SettingsError(problem, advice=CORRECT_MAPS) from None

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Say of batch files what they can be."""
        super().append_builtin_config(config_jsonschema)
        batch_config = deepcopy(config_jsonschema["properties"]["batch_config"])
        batch_config["description"] = BATCH_DESCRIPTION
        encoding = batch_config["properties"]["encoding"]["properties"]
        encoding["compression"]["enum"] = BATCH_COMPRESSIONS
        config_jsonschema["properties"]["batch_config"] = batch_config

    @cached_property
    def failures(self) -> Failures:
        """The parts of this run that failed."""
        from tap_nudgescribe.failures import Failures  # noqa: PLC0415 (fast start-up)

        return Failures(probe=partial(self.account.client.list_campaigns, partial=True))

    @cached_property
    def account(self) -> Account:
        """The account that the settings name.

        Raises:
            SettingsError: for an unusable setting.
        """
        from tap_nudgescribe.account import Account  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.client import NudgescribeClient  # noqa: PLC0415 (fast start-up)

        client = NudgescribeClient.from_config(
            self.config, observe=self._observe, sleep=self.interruption.sleep
        )
        return Account(client, [str(name) for name in self.config.get("workspace_ids") or ()])

    @override
    def discover_streams(self) -> list[Stream]:
        """Return all streams; with credentials, profile fields and message columns are typed."""
        from tap_nudgescribe import streams  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.messages import PublishedMessages  # noqa: PLC0415 (fast start-up)

        found: list[Stream] = [
            streams.Workspaces(self),
            streams.CustomerGroups(self),
            streams.ProfileFields(self),
            streams.Customers(self, self._profile_columns()),
            streams.Campaigns(self),
            streams.CampaignRuns(self),
            streams.RunMessages(self),
            PublishedMessages(
                self, self._message_headers(), self._known_properties(PublishedMessages.name)
            ),
        ]
        if self.input_catalog is None:
            for stream in found:
                warn_of_columns(stream.name, stream.schema["properties"], self._earlier_catalog)
        return found

    def _reconcile_catalog(self) -> None:
        if self.input_catalog is None:
            return
        from singer_sdk.singerlib import Schema  # noqa: PLC0415 (fast start-up)

        from tap_nudgescribe import streams  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.message_columns import (  # noqa: PLC0415 (fast start-up)
            with_named_columns,
        )
        from tap_nudgescribe.messages import PublishedMessages  # noqa: PLC0415 (fast start-up)

        for entry in self.input_catalog.values():
            if entry.tap_stream_id == "published_messages":
                schema = PublishedMessages.reconciled(entry.schema.to_dict())
                own = PublishedMessages.complete_properties()
                entry.schema = Schema.from_dict(with_named_columns(schema, self.config, own=own))
            elif kind := streams.STREAMS.get(entry.tap_stream_id):
                entry.schema = Schema.from_dict(kind.reconciled(entry.schema.to_dict()))

    @property
    def _can_log_in(self) -> bool:
        return all(self.config.get(name) for name in ("api_key", "email", "password"))

    def _profile_columns(self) -> Any:  # noqa: ANN401
        from tap_nudgescribe.client import profile_field  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.profile_columns import ProfileColumns  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.streams import Customers  # noqa: PLC0415 (fast start-up)

        fields = []
        if self._can_log_in:
            for workspace in self.account.workspaces():
                workspace_id = workspace["workspace_id"]
                try:
                    rows = self.account.fields(workspace_id)
                except ApiError as error:
                    # Reading the workspace's customers will fail and be reported.
                    logger.warning("Workspace %s has no typed columns: %s", workspace_id, error)
                    continue
                fields += [profile_field(workspace_id, row) for row in rows]
        own = Customers.complete_properties()
        known = self._known_properties("customers")
        return ProfileColumns(
            fields,
            reserved=own,
            known={name: schema for name, schema in known.items() if name not in own},
        )

    def _message_headers(self) -> list[str]:
        from tap_nudgescribe.messages import sample_headers  # noqa: PLC0415 (fast start-up)

        named = list(self.config.get("message_columns") or ())
        known = self.input_catalog and self.input_catalog.get_stream("published_messages")
        if known or not self._can_log_in:
            return named
        return [*sample_headers(self.account, self.config), *named]

    def _known_properties(self, stream: str) -> dict[str, dict[str, Any]]:
        """Return the properties that a stream has in the catalog, or in an earlier one."""
        catalog = self.input_catalog or self._earlier_catalog
        entry = catalog and catalog.get_stream(stream)
        return entry.schema.to_dict().get("properties", {}) if entry else {}

    def _observe(self, exchange: Exchange) -> None:
        """Turn a request into the SDK's request metric, and pass a safe point."""
        self.interruption.check()
        if exchange.status is not None and exchange.status < 500:  # noqa: PLR2004 (server errors)
            self.failures.answered()
        tags = {
            str(metrics.Tag.ENDPOINT.value): exchange.operation,
            str(metrics.Tag.HTTP_STATUS_CODE.value): exchange.status,
        }
        metric = metrics.Metric.HTTP_REQUEST_DURATION
        metrics.log(self.metrics_logger, metrics.Point("timer", metric, exchange.seconds, tags))

    # How a run ends

    @cached_property
    def interruption(self) -> Interruption:
        """Whether a signal has asked to stop."""
        return Interruption()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; the run ends at the next safe point."""
        self.interruption.note(signum)

    def run(self) -> int:
        """Sync all streams and return the exit code: 0, or 1 when parts failed.

        Raises:
            SettingsError: for settings that contradict each other, and a bookmark that is ahead.
        """
        if not self._selects_a_stream:
            problem = "The catalog selects no stream, so nothing would be read"
            advice = 'Select one: "selected": true in its metadata with an empty breadcrumb.'
            raise SettingsError(problem, advice=advice)
        self._refuse_mapped_batches()
        self._warn_of_wide_streams()
        refuse_what_is_ahead(
            self.state, self.config.get("start_date"), self.account.client.server_time
        )
        self._state_before = deepcopy(self.state)
        self.account.had_reruns = had_reruns(self.state.get("bookmarks", {}))
        if isinstance(self.message_writer, BlockWriter):
            self.message_writer.safe_point = self.interruption.check
        try:
            self.sync_all()
            if isinstance(self.message_writer, BlockWriter):
                self.message_writer.flush()  # a state that did not change is not written again
        except (Interrupted, NudgescribeError):
            self._write_last_state()
            raise
        replaced = getattr(self.message_writer, "replaced", 0)
        if replaced:
            logger.warning("%d characters U+0000 were replaced by U+FFFD", replaced)
        self._report_repairs()
        if self.failures:
            self.failures.report()
            return 1
        return 0

    def _report_repairs(self) -> None:
        """Log, by operation, what the API sent that no column and no JSON text may hold."""
        from tap_nudgescribe.profile import (  # noqa: PLC0415 (fast start-up)
            DECIMAL_DIGITS,
            DECIMAL_PLACES,
        )

        for operation, repairs in sorted(self.account.client.transport.repairs.items()):
            if repairs.characters:
                logger.warning(
                    "%d characters in responses of %s were not valid Unicode and were replaced by "
                    "U+FFFD",
                    repairs.characters,
                    operation,
                )
            if repairs.numbers:
                logger.warning(
                    "%d numbers in responses of %s have more digits than a column holds (%d, of "
                    "them %d places), or are NaN or Infinity; they are text where they stood",
                    repairs.numbers,
                    operation,
                    DECIMAL_DIGITS,
                    DECIMAL_PLACES,
                )

    @property
    def _selects_a_stream(self) -> bool:
        return self.input_catalog is None or selects_a_stream(self.input_catalog)

    def report(self) -> RunReport:
        """Return what there is to tell of the run: of every selected stream, if it began."""
        from tap_nudgescribe.report import RunReport  # noqa: PLC0415 (fast start-up)
        from tap_nudgescribe.tallies import stream_report  # noqa: PLC0415 (fast start-up)

        if self._state_before is None:
            return RunReport()
        streams = [
            stream_report(stream, self.failures, self._state_before, self.state)
            for stream in cast("dict[str, NudgescribeStream]", self.streams).values()
            if stream.selected
        ]
        return RunReport(streams=streams)

    def _refuse_mapped_batches(self) -> None:
        """Refuse stream maps with BATCH messages, where they would have no effect."""
        if not self.config.get("batch_config"):
            return
        for stream in self.streams.values():
            if stream.selected and cast("NudgescribeStream", stream).needs_each_record():
                problem = (
                    f"batch_config cannot be used with stream maps or flattening: {stream.name}"
                )
                advice = "Leave one of them out, or deselect the stream."
                raise SettingsError(problem, advice=advice)

    def _warn_of_wide_streams(self) -> None:
        """Warn of selected streams that have too many selected columns for some warehouses."""
        if self.input_catalog is None:
            return  # discovery has warned
        for stream in cast("dict[str, NudgescribeStream]", self.streams).values():
            if stream.selected:
                warn_of_width(stream.name, len(stream.selected_properties))

    def _write_last_state(self) -> None:
        """Write the state as it is: it never claims what has not been written before it."""
        self.interruption.settle()
        if isinstance(self.message_writer, BlockWriter):
            if self.message_writer.cut:
                return
            self.message_writer.safe_point = lambda: None
        self.state_writer.write_state(self.state)

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        state: Any = None,
        catalog: Any = None,
        check: bool = False,
        shapes: str | None = None,
        openapi: str | None = None,
        report: str | None = None,
    ) -> None:
        """Run the tap, or ``--about``, or ``--check``, and exit with the right code."""
        if about:
            cls.print_about(about_format)
            return
        _refuse_stray_options(check=check, shapes=shapes, openapi=openapi)
        tell_types_only(logger)
        tap: TapNudgescribe | None = None

        def build() -> TapNudgescribe:
            nonlocal tap
            tap = cls(
                config=config.config,
                parse_env_config=config.parse_env,
                # What is to be checked need not be fit to be discovered.
                setup_mapper=not check,
                validate_config=openapi is None,
                state=read_json_object(state, "The state") if state else None,
                catalog=read_json_object(catalog, "The catalog") if catalog else None,
            )
            return tap

        def run() -> int:
            return _check(build(), shapes, openapi) if check else build().run()

        leave(reported(run, cls, report, logger, lambda: tap.report() if tap else None))

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        """Discover; errors end like those of a run.

        The catalog of ``--catalog`` is an earlier one, whose names keep their columns.
        """

        def discover() -> None:
            if path := ctx.params.get("catalog"):
                from singer_sdk.singerlib import Catalog  # noqa: PLC0415 (fast start-up)

                earlier = checked_catalog(read_json_object(path, "The catalog"), _stream_types())
                cls._earlier_catalog = Catalog.from_dict(earlier)
            try:
                super(TapNudgescribe, cls).cb_discover(ctx, param, value)
            finally:
                cls._earlier_catalog = None

        if value:
            tell_types_only(logger)
            ctx.exit(ended(discover, logger))

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Test; errors end like those of a run, and a part that fails is one."""

        def test() -> int:
            config = ctx.params.get("config") or ConfigFiles(())
            tap = cls(config=config.config, parse_env_config=config.parse_env)
            if value == CliTestOptionValue.Schema.value:
                tap.write_schemas()
            else:
                tap.run_connection_test()
            if tap.failures:
                logger.error("The test failed: %d parts cannot be read", len(tap.failures))
            return 1 if tap.failures else 0

        if value != CliTestOptionValue.Disabled.value:
            tell_types_only(logger)
            ctx.exit(ended(test, logger))

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """Add ``--check`` with its options, and ``--report``, to the SDK's command."""
        command = super().get_singer_command()
        for param in command.params:
            if param.name in {"state", "catalog"}:
                # Read by this package, so that an error in a file is one sentence.
                param.type = click.STRING
                cast("click.Option", param).metavar = "FILE"
                param.is_eager = True  # --discover looks at the catalog
        command.params.append(REPORT_OPTION)
        command.params += [
            click.Option(
                ["--check"],
                is_flag=True,
                help="Log in, try every read once, and compare the answers with the contract.",
            ),
            click.Option(
                ["--shapes"],
                metavar="FILE",
                help="With --check: write names, types and counts of all answers to FILE as JSON, "
                "never a value.",
            ),
            click.Option(
                ["--openapi"],
                metavar="FILE",
                help="With --check: compare the contract with an OpenAPI document (JSON or YAML). "
                "Calls nothing and needs no credentials.",
            ),
        ]
        return command


@cache
def _stream_types() -> dict[str, type[NudgescribeStream]]:
    """Return the classes of all streams by name."""
    from tap_nudgescribe import streams  # noqa: PLC0415 (fast start-up)
    from tap_nudgescribe.messages import PublishedMessages  # noqa: PLC0415 (fast start-up)

    types: tuple[type[NudgescribeStream], ...] = (
        streams.Workspaces,
        streams.CustomerGroups,
        streams.ProfileFields,
        streams.Customers,
        streams.Campaigns,
        streams.CampaignRuns,
        streams.RunMessages,
        PublishedMessages,
    )
    return {vars(kind)["name"]: kind for kind in types}


def _checked_state(state: object) -> dict[str, Any]:
    """Return a state that this tap has written, without its envelope.

    Raises:
        SettingsError: for any other.
    """
    found = unwrapped_state(state)
    types = _stream_types()
    foreign = check_state(found, {name: kind.bookmarked for name, kind in types.items()})
    if foreign:
        logger.warning("The state has bookmarks of unknown streams: %s", ", ".join(foreign))
    return found


def _refuse_stray_options(*, check: bool, shapes: str | None, openapi: str | None) -> None:
    """Refuse options of ``--check`` where they would have no effect."""
    if (shapes or openapi) and not check:
        problem = "--shapes and --openapi need --check"
        raise click.UsageError(problem)
    if shapes and openapi:
        problem = "--shapes cannot be used with --openapi, which calls nothing"
        raise click.UsageError(problem)


def _check(tap: TapNudgescribe, shapes: str | None, openapi: str | None) -> int:
    from tap_nudgescribe.check import check  # noqa: PLC0415 (fast start-up)

    if openapi:
        from tap_nudgescribe.openapi import compare_file  # noqa: PLC0415 (fast start-up)

        return compare_file(openapi, tap.config.get("wire_names") or {})

    return check(tap.account, shapes)
