"""The target: its command line, what a run shares, and how it ends."""

from __future__ import annotations

import gc
import io
import json
import sys
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

import click
import pyarrow as pa
from singer_sdk import Target
from singer_sdk import typing as th
from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib.exceptions import InvalidInputLine
from typing_extensions import override

from tap_nudgescribe.catalog_input import read_catalog
from tap_nudgescribe.checked_settings import CheckedSettings
from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.command import REPORT_OPTION, leave, reported
from tap_nudgescribe.discretion import tell_types_only
from tap_nudgescribe.interruption import Interrupted, Interruption
from tap_nudgescribe.printable import printable
from tap_nudgescribe.private_files import remove_leftovers
from tap_nudgescribe.report import RunReport
from tap_nudgescribe.settings import TARGET_SETTINGS
from tap_nudgescribe.settings_checks import storage_problems
from tap_nudgescribe.writer import write_block
from target_nudgescribe import stream_maps
from target_nudgescribe.batches import GroupWork
from target_nudgescribe.canonical import InputError, loads
from target_nudgescribe.check import check
from target_nudgescribe.customers import CustomerStream
from target_nudgescribe.drift import missing_customers
from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.forget import BEYOND_REACH, forget, read_keys
from target_nudgescribe.json_records import plain_schema
from target_nudgescribe.ledger import Ledger, LedgerOwner, is_kept
from target_nudgescribe.lock import Lock, lock, raise_file_limit
from target_nudgescribe.outcomes import RunOutcomes
from target_nudgescribe.record_checks import DEFINING, written_name
from target_nudgescribe.records import KINDS, LEDGERED, RecordStream, Scene
from target_nudgescribe.rejects import PRINT, Reject, RejectsFile, read_rows, written_row
from target_nudgescribe.retention import remove_expired
from target_nudgescribe.route import Route
from target_nudgescribe.siblings import Siblings
from target_nudgescribe.singer import BulkReader
from target_nudgescribe.sinks import CustomersSink, IgnoredSink, RecordsSink, records_of_files
from target_nudgescribe.storage import Storage, StorageError
from target_nudgescribe.stream_names import StreamNames
from target_nudgescribe.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

    from singer_sdk import Sink
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

    from target_nudgescribe.mapping import StreamMap

GARBAGE = 50_000
"""Objects more than there were before Python looks for garbage."""

LEDGER_DEPTH = 3
"""Folders between ``state_uri`` and a ledger's own: ledgers, workspace, group."""

FAILED, REJECTED, UNKNOWN = 1, 3, 5
"""Exit codes for rows that the next run must send again, for more rejected rows than allowed, and
for rows of unknown outcome."""


@dataclass(frozen=True)
class Errand:
    """What a run is for, besides sending what comes.

    Attributes:
        dry_run: Send nothing, write nothing, tell what would be done.
        replay: File of rejects to send again instead of reading messages.
        seed: Fill the ledger from what the account holds; rows are not read.
    """

    dry_run: bool = False
    replay: str | None = None
    seed: bool = False

    @property
    def told(self) -> str:
        """What it is, in words."""
        if self.dry_run:
            return "dry run, nothing sent"
        return "ledger seeded" if self.seed else "rejects sent again"


class TargetNudgescribe(CheckedSettings, Target):
    """Singer target for the Nudgescribe customer-messaging platform."""

    name = "target-nudgescribe"
    package_name = "nudgescribe-meltano"
    message_reader_class = BulkReader
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(*TARGET_SETTINGS).to_dict()
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        capability
        for capability in (*Target.capabilities, PluginCapabilities.BATCH)
        if capability is not TargetCapabilities.VALIDATE_RECORDS
    ]

    def __init__(
        self,
        *,
        errand: Errand | None = None,
        interruption: Interruption | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Read the settings.

        Args:
            errand: What the run is for.
            interruption: Whether a signal has asked to stop, and how the run waits.
            kwargs: Those of the SDK.
        """
        self.interruption = interruption or Interruption()
        super().__init__(**kwargs)
        self.errand = errand or Errand()
        self.run_id = uuid.uuid4().hex[:16]
        self.outcomes = RunOutcomes(self.run_id)
        self._streams: dict[str, CustomerStream] = {}
        self._works: dict[tuple[str, str], GroupWork] = {}
        self._works_of: defaultdict[str, dict[str, GroupWork]] = defaultdict(dict)
        self._locks: list[Lock] = []
        self.names = StreamNames(lambda: self.mapper, self.outcomes)
        self._failed_maps: set[str] = set()
        self._ending = False
        self._draining = False
        self._taking_in = False

    @override
    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Leave out the SDK's settings that would do nothing here."""
        super().append_builtin_config(config_jsonschema)
        for name in ("add_record_metadata", "load_method"):
            config_jsonschema["properties"].pop(name, None)

    @classmethod
    @override
    def settings_problems(cls, config: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with settings that each have the right type."""
        yield from storage_problems("state_uri", config["state_uri"], folders=True)
        NudgescribeClient.from_config(config)  # refuses what cannot work

    # What a run shares

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace that rows go to."""
        client = NudgescribeClient.from_config(self.config, sleep=self.interruption.sleep)
        return Workspace(client, self.config["workspace_id"], dry_run=self.errand.dry_run)

    @cached_property
    def storage(self) -> Storage:
        """Where the target keeps what it must remember."""
        return Storage(self.config["state_uri"])

    @property  # type: ignore[misc]
    @override
    def max_parallelism(self) -> int:
        """One: rows of one customer must arrive in their order."""
        return 1

    @override
    def get_sink_class(self, stream_name: str) -> type[Sink]:
        """Choose by what the stream holds."""
        if self.names.is_removed(stream_name):
            return IgnoredSink
        return CustomersSink if self.kind(stream_name) == "customers" else RecordsSink

    def customer_stream(self, name: str, mapped: StreamMap) -> CustomerStream:
        """Return the way of a stream's rows; a new one after its SCHEMA has changed."""
        route = Route(
            name,
            mapped,
            self.workspace,
            self.config,
            outcomes=self.outcomes.stream(name),
            rejects=self._rejects(name),
            run_id=self.run_id,
            interruption=self.interruption,
            replaying=bool(self.errand.replay),
        )
        stream = CustomerStream(
            route,
            open_group=lambda group_id: self._work(name, group_id),
            is_known=lambda group_id: is_kept(self._ledger_place(name, group_id)),
            take_in_all=self._take_in_all,
        )
        if name in self._streams:
            stream.follow(self._streams[name])
        self._streams[name] = stream
        if self.errand.seed:
            stream.seed()
        return stream

    def record_kind(self, name: str) -> RecordStream:
        """Return what applies the records of a stream that are no customers."""
        kind = self.kind(name)
        ledger = self._work(name, kind).ledger if kind in LEDGERED else None
        scene = Scene(self.workspace, self.config, self.interruption, self._settle, ledger)
        outcomes = self.outcomes.stream(name)
        rejects = self._rejects(name)
        return RecordStream(
            name, kind, scene, outcomes=outcomes, rejects=rejects, run_id=self.run_id
        )

    @property
    def defines_workspace(self) -> bool:
        """Whether records of this run may create groups or fields."""
        return any(self.kind(name) in DEFINING for name in self._sinks_active)

    def _customer_sinks(self) -> list[CustomersSink]:
        sinks = [*self._sinks_to_clear, *self._sinks_active.values()]
        return [sink for sink in sinks if isinstance(sink, CustomersSink)]

    def ensure_compared(self) -> None:
        """Compare streams of customers with the workspace, before the first row of any is sent.

        Where records of this run create groups or fields, a stream may need what is not there yet:
        it is compared when its own rows are needed.

        Raises:
            PreflightError: when one cannot be sent.
        """
        if not self.defines_workspace:
            for sink in self._customer_sinks():
                sink.ensure_compared()

    def _take_in_all(self) -> None:
        """Take in all customers that have come; taking in may ask for it again."""
        if not self._taking_in:
            self._taking_in = True
            try:
                self._settle(upload=False)
            finally:
                self._taking_in = False

    def _settle(self, *, upload: bool) -> None:
        """Take in all customers that came before a change of groups or fields."""
        for sink in self._customer_sinks():
            sink.settle(upload=upload)

    def warn(self, text: str) -> None:
        """Tell the operator something, now and in the summary; names only."""
        self.logger.warning(text)
        self.outcomes.warnings.append(text)

    def kind(self, stream: str) -> str:
        """Return what the records of a stream are: ``customers``, or one of ``KINDS``."""
        chosen: dict[str, str] = self.config.get("stream_kind") or {}
        named = [chosen[name] for name in (stream, *self.names.sources(stream)) if name in chosen]
        return named[0] if named else stream if stream in KINDS else "customers"

    def _rejects(self, stream: str) -> RejectsFile:
        if stream not in self._rejects_files:
            storage = None if self.errand.dry_run else self.storage.below("rejects", self.run_id)
            self._rejects_files[stream] = RejectsFile(
                storage, stream, self.config["rejects_format"]
            )
        return self._rejects_files[stream]

    @cached_property
    def _rejects_files(self) -> dict[str, RejectsFile]:
        return {}

    def _work(self, stream: str, group_id: str) -> GroupWork:
        """Return what waits for a group, with its ledger, which is locked until the run ends."""
        key = (stream, group_id)
        if key not in self._works:
            place = self._ledger_place(stream, group_id)
            siblings = Siblings(
                place.above,
                place.name,
                lambda: self._works_of[group_id],
                self._read_ledger,
                run_id=self.run_id,
                writable=not self.errand.dry_run,
            )
            work = GroupWork(group_id, self._open_ledger(place), siblings)
            self._works[key] = work
            self._works_of[group_id][siblings.own] = work
            if self.kind(stream) == "customers" and not self.errand.seed:
                self._compare_with_group(stream, work)
            if work.ledger.lost:
                self.warn(
                    f"{stream}: files of the ledger for group {group_id} are gone; everything is "
                    "sent again and nobody is deleted"
                )
        return self._works[key]

    def _compare_with_group(self, stream: str, work: GroupWork) -> None:
        missing = missing_customers(self.workspace, work)
        if missing:
            self.warn(
                f"{stream}: {missing} customers that were sent to group {work.group_id} are not "
                "there any more. Rows that have not changed are not sent again; --seed-ledger or "
                "verify: full finds them"
            )

    @cached_property
    def _ledger_owner(self) -> LedgerOwner:
        url = urlsplit(self.config["api_url"])
        return LedgerOwner(
            hash_check=Hashing(self.config.get("hash_key")).check_value,
            api=f"{url.hostname}{f':{url.port}' if url.port else ''}{url.path.rstrip('/')}",
            account=self.workspace.client.account_id() or "",
        )

    def _open_ledger(self, place: Storage) -> Ledger:
        if self.errand.dry_run:
            return self._read_ledger(place)
        place.require_own(levels=LEDGER_DEPTH)
        held = lock(place, self.run_id)
        self._locks.append(held)
        return Ledger(place, self._ledger_owner, hold=held.renew)

    def _read_ledger(self, place: Storage) -> Ledger:
        place.require_own(levels=LEDGER_DEPTH)
        return Ledger(place, self._ledger_owner, writable=False)

    def _ledger_place(self, stream: str, group_id: str) -> Storage:
        """Return the folder of a ledger; one that an alias has named stays where it is."""
        group = self.storage.below("ledgers", self.config["workspace_id"], group_id)
        place, aliased = group.below(self.names.identity(stream)), group.below(stream)
        if place.uri != aliased.uri and not is_kept(place) and is_kept(aliased):
            return aliased
        return place

    # Messages

    def drain_if_old(self) -> None:
        """Send what waits, and the state, when the SDK's time between two states is over.

        Sending takes rows in, which asks again: that does not begin anew.
        """
        if self._draining:
            return
        self._draining = True
        try:
            self._handle_max_record_age()
        finally:
            self._draining = False

    @override
    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        """Send what came under an older schema before a newer one holds.

        Raises:
            SettingsError: when stream_maps cannot be applied to the stream.
        """
        stream = str(message_dict.get("stream"))
        message_dict = {**message_dict, "schema": plain_schema(message_dict["schema"])}
        if stream in self.mapper.stream_maps:
            known = self.mapper.stream_maps[stream][0]
            told = message_dict.get("schema"), message_dict.get("key_properties")
            if told != (known.raw_schema, known.raw_key_properties):
                self.drain_all()
        self.names.note_schema(stream, message_dict.get("bookmark_properties"))
        try:
            super()._process_schema_message(message_dict)
        except Exception as error:
            raise stream_maps.settings_error(stream, error) from error
        stream_maps.guard(self.mapper.stream_maps[stream], self._reject_unmapped)
        reader = self.message_reader
        assert isinstance(reader, BulkReader)  # noqa: S101 (message_reader_class)
        reader.plain.pop(stream, None)
        sink = self._plain_sink(stream)
        if sink:
            reader.plain[stream] = sink.records

    def _reject_unmapped(self, stream: str, record: dict[str, Any], problem: str) -> None:
        """Account for a record for which an expression of stream_maps fails."""
        outcomes = self.outcomes.stream(stream)
        outcomes.read += 1
        outcomes.count("invalid", 1)
        outcomes.reasons[stream_maps.CODE] += 1
        sink = self._sinks_active.get(stream)
        if isinstance(sink, CustomersSink):
            sink.customers.keyless += 1
        if problem not in self._failed_maps:
            self._failed_maps.add(problem)
            self.warn(f"{stream}: stream_maps: {problem} for a record, which is a reject")
        reject = Reject(
            run_id=self.run_id,
            stream=stream,
            row_number=outcomes.read,
            key=written_name(record) if self.config["rejects_rows"] == "full" else PRINT,
            code=stream_maps.CODE,
            field=None,
            column=None,
            message=stream_maps.MESSAGE,
            found_by="check",
            retryable=False,
            attempts=0,
            batch=0,
            row=written_row(record, self.config["rejects_rows"]),
        )
        self._rejects(stream).add([reject])

    def _plain_sink(self, stream: str) -> CustomersSink | None:
        """Return the sink of a stream whose records pass unchanged, which allows bulk reading."""
        maps = self.mapper.stream_maps[stream]
        plain = len(maps) == 1 and type(maps[0]) is SameRecordTransform
        if not plain or self.config.get("flattening_enabled"):
            return None
        sink = self.get_sink(maps[0].stream_alias)
        return sink if isinstance(sink, CustomersSink) else None

    @override
    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Note after how many rows it came: behind the last one it says that the table is whole."""
        self._assert_line_requires(message_dict, requires={"stream", "version"})
        self.drain_all()
        self.names.note_version(message_dict["stream"])

    @override
    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        """Hand a record to stream maps, and note that it came, even if they leave it out."""
        self.names.note_records(message_dict["stream"])
        super()._process_record_message(message_dict)

    @override
    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        """Read BATCH files in bulk, or record by record where a stream map wants to see them."""
        stream = message_dict["stream"]
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)
        self.names.note_records(stream)
        told = message_dict["encoding"]
        encoding = {"format": told["format"], "compression": told.get("compression")}
        if self._plain_sink(stream):
            super()._process_batch_message(message_dict | {"encoding": encoding})
            return
        for record in records_of_files(stream, encoding, message_dict["manifest"]):
            self._process_record_message({"type": "RECORD", "stream": stream, "record": record})

    # How a run ends

    @override
    def process_endofpipe(self) -> None:
        """Send what waits, then mirror, then write the state."""
        self._ending = True
        for sink in self._customer_sinks():
            sink.ensure_compared()
        super().process_endofpipe()
        self._finish()
        self._unlock()

    def _unlock(self) -> None:
        """Let the next run in."""
        with ExitStack() as every:
            while self._locks:
                every.callback(self._locks.pop().release)

    def _finish(self) -> None:
        """Do what is done once, after the last row and before the last state."""
        if not self._ending:
            return
        self._ending = False
        if self.config["mode"] == "mirror" and not self.errand.replay and not self.errand.seed:
            # It is kept as the bytes in which it came.
            state = loads(cast("bytes", self._latest_state)) if self._latest_state else None
            for name, stream in self._streams.items():
                stream.mirror(
                    trusted=self.names.is_whole(name) or self.config["mirror_trusts_end_of_input"],
                    incremental=self.names.is_incremental(name, state),
                    missing=self.names.missing(name),
                )
        for work in self._works.values():
            work.ledger.compact()

    @override
    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        """Keep the tap's state as the bytes in which it came."""
        self._assert_line_requires(message_dict, requires={"value"})
        if message_dict["value"] is None:
            problem = "A STATE message lacks its value"
            raise InputError(problem)
        if message_dict["value"] != b"null":
            self._latest_state = message_dict["value"]

    @override
    def _write_state_message(self, state: bytes) -> None:  # type: ignore[override]
        """Pass the tap's state on, byte for byte, if everything before it is safe."""
        self._finish()
        self._check_outcomes()
        if not self._may_advance:
            self.logger.warning("The state is held back: the next run reads the same rows again")
            return
        write_block(state + b"\n")
        self.interruption.check()

    @property
    def _may_advance(self) -> bool:
        if self.errand.dry_run or self.errand.seed:
            return False
        code = self._code()
        return code == 0 or (code == REJECTED and self.config["state_on_failure"] == "advance")

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; the run ends at the next safe point.

        One is where the reader waits, perhaps for a line that never comes.
        """
        self.interruption.note(signum)
        if frame is not None and frame.f_code is BulkReader.read.__code__:
            self.interruption.check()

    def run(self, file_input: IO[Any] | None) -> int:
        """Read messages until they end and return the exit code."""
        ending = "failed"
        # Rows are short-lived tuples: a look at each of them finds nothing to collect.
        gc.set_threshold(GARBAGE)
        raise_file_limit()
        # Arrow's own gives memory back at once and takes it anew, for which threads wait.
        pa.set_memory_pool(pa.system_memory_pool())
        try:
            if self.errand.replay:
                file_input = io.BytesIO(b"".join(_replayed(self.errand.replay)))
            self.listen(file_input)
            self._check_outcomes()
            code = self._code()
            endings = {0: "done", FAILED: "failed", REJECTED: "rejected", UNKNOWN: "unknown"}
            ending = endings[code]
            if code == 0 and not self.errand.dry_run:
                self._remove_expired()
        except Interrupted:
            ending = "interrupted"
            self.interruption.settle()
            raise
        except (MissingKeyPropertiesError, RecordsWithoutSchemaException) as error:
            problem = str(error).rstrip(".")
            raise InputError(problem) from None
        except InvalidInputLine:
            # Its text is the line.
            problem = "A message of the input lacks what its type needs"
            raise InputError(problem) from None
        finally:
            self._close(ending)
        return code

    def _check_outcomes(self) -> None:
        """Make sure that no row was forgotten anywhere.

        Raises:
            AssertionError: which is a defect of this package.
        """
        reader = self.message_reader
        if isinstance(reader, BulkReader) and any(
            records.waiting for records in reader.plain.values()
        ):
            problem = "records were read and not looked at"
            raise AssertionError(problem)
        self.outcomes.check()

    def _code(self) -> int:
        outcomes = self.outcomes
        if outcomes.total("unknown") or outcomes.counted("mirror_unknown"):
            return UNKNOWN
        if outcomes.total("failed"):
            # No threshold allows for them: an incremental tap would never send them again.
            return FAILED
        within = outcomes.within(self.config) and not outcomes.counted("mirror_rejected")
        return 0 if within else REJECTED

    def _remove_expired(self) -> None:
        """Remove rejects and summaries that need not be kept. The run is successful anyway."""
        try:
            removed = remove_expired(self.storage, self.config, now=time.time())
        except StorageError as error:
            self.warn(f"Expired files below state_uri were not all removed. {error}")
            return
        for folder, files in removed.items():
            self.logger.info("%s: %d expired files removed", folder, files)

    def _close(self, ending: str) -> None:
        """Tell how the run ended, and let the next one in."""
        if self.workspace_known:
            self.outcomes.created = self.workspace.created
        told = self.outcomes.as_json(ending)
        if sys.stderr.isatty():
            click.echo(printable(self.outcomes.as_table(), keep="\n"), err=True)
        self.logger.info("Summary: %s", told)
        kept = not self.errand.dry_run and bool(self._works)
        try:
            # The open files of locks may be all that this process may have.
            self._unlock()
        finally:
            if kept:
                self._remove_leftovers()
                self.storage.below("runs").write(f"{self.run_id}.json", told.encode())

    def _remove_leftovers(self) -> None:
        """Remove what runs that were killed have left unfinished; ledgers' folders are clean."""
        folder = self.storage.local
        if folder is not None:
            for place in (folder / "runs", *folder.glob("rejects/*")):
                remove_leftovers(place)

    def report(self) -> RunReport:
        """Return what there is to tell of the run."""
        facts = {}
        if self.errand != Errand():
            facts["kind"] = self.errand.told
        if self.outcomes.created:
            facts["created"] = ", ".join(self.outcomes.created)
        streams = [outcomes.report(name) for name, outcomes in self.outcomes.streams.items()]
        return RunReport(run_id=self.run_id, streams=streams, facts=facts)

    def forget(self, lines: Iterable[bytes]) -> int:
        """Erase customers from ledgers and rejects, and print what was done, in figures.

        Raises:
            InputError: for a file that is not UTF-8, or has no identifiers.
            NudgescribeError: see :func:`target_nudgescribe.forget.forget`.
        """
        try:
            keys = read_keys(line.decode("utf-8-sig") for line in lines)
        except UnicodeDecodeError:
            keys = []
        if not keys:
            problem = "The file of --forget must be UTF-8 text with one identifier a line"
            raise InputError(problem)
        hashing = Hashing(self.config.get("hash_key"))
        click.echo(forget(self.storage, keys, hashing, run_id=self.run_id))
        click.echo(BEYOND_REACH)
        return 0

    @property
    def workspace_known(self) -> bool:
        """Whether the run has looked at its workspace."""
        return "workspace" in self.__dict__

    # The command line

    @classmethod
    @override
    def invoke(
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        file_input: Any = None,
        catalog: Any = None,
        forget_keys: Any = None,
        only_check: bool = False,
        report: str | None = None,
        **errand: Any,
    ) -> None:
        """Run the target, or ``--about`` or ``--check``, and exit with the right code."""
        if about:
            cls.print_about(about_format)
            return
        tell_types_only(cls.logger)

        target: TargetNudgescribe | None = None

        def run() -> int:
            nonlocal target
            # A check creates nothing.
            chosen = Errand(dry_run=True) if only_check else Errand(**errand)
            target = cls(config=config.config, parse_env_config=config.parse_env, errand=chosen)
            if forget_keys:
                return target.forget(forget_keys)
            if only_check:
                found = read_catalog(catalog) if catalog else {}
                return check(target.workspace, target.config, found)
            return target.run(file_input)

        leave(reported(run, cls, report, cls.logger, lambda: target.report() if target else None))

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """Add this target's own options to the SDK's command."""
        command = super().get_singer_command()
        command.params = [param for param in command.params if param.name != "file_input"]
        command.params += [
            REPORT_OPTION,
            click.Option(
                ["--input", "file_input"],
                type=click.File("rb"),
                help="A file to read messages from instead of standard input.",
            ),
            click.Option(
                ["--check", "only_check"],
                is_flag=True,
                help="Log in, look at the workspace, compare it with --catalog, and end.",
            ),
            click.Option(
                ["--catalog"],
                metavar="FILE",
                help="A tap's catalog whose streams --check compares with the workspace.",
            ),
            click.Option(
                ["--dry-run"], is_flag=True, help="Send and write nothing; tell what would be done."
            ),
            click.Option(
                ["--replay"],
                metavar="FILE",
                help="Send the rows of a file of rejects again; read no messages.",
            ),
            click.Option(
                ["--seed-ledger", "seed"],
                is_flag=True,
                help="Fill the ledger from what the account holds; of the input read SCHEMA only.",
            ),
            click.Option(
                ["--forget", "forget_keys"],
                type=click.File("rb"),
                metavar="FILE",
                help=(
                    "Remove customers from all ledgers and rejects below state_uri, print counts, "
                    "and end. FILE has one identifier a line. Sends nothing."
                ),
            ),
        ]
        return command


def _replayed(uri: str) -> Iterator[bytes]:
    """Yield the messages that a file of rejects amounts to: a SCHEMA a stream, and its rows."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for stream, row in read_rows(uri):
        rows.setdefault(stream, []).append(row)
    for stream, records in rows.items():
        columns = dict.fromkeys(name for record in records for name in record)
        properties = {name: {"type": ["string", "null"]} for name in columns}
        schema = {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}}
        yield json.dumps(schema | {"key_properties": []}).encode() + b"\n"
        for record in records:
            message = {"type": "RECORD", "stream": stream, "record": record}
            yield json.dumps(message).encode() + b"\n"
