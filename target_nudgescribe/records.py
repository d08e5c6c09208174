"""Apply records that are no customers: groups, profile fields, publications and reruns."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tap_nudgescribe.account import campaigns_of
from tap_nudgescribe.client import profile_field, rules_text
from tap_nudgescribe.customer_pages import customer_pages
from tap_nudgescribe.errors import (
    ApiError,
    BadRequestError,
    ContractError,
    MissingFieldsError,
    NotFoundError,
    OutcomeUnknownError,
    QuotaError,
)
from target_nudgescribe import ledger as books
from target_nudgescribe.delete_marker import UNREADABLE, read_marker
from target_nudgescribe.fingerprints import Hashing
from target_nudgescribe.record_checks import (
    DEFINING,
    RefusedError,
    checked,
    require_format,
    written_name,
)
from target_nudgescribe.record_checks import MESSAGES as CHECK_MESSAGES
from target_nudgescribe.rejects import PRINT, Reject, written_row
from target_nudgescribe.validation import MESSAGES as ROW_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from numpy.typing import NDArray

    from tap_nudgescribe.client import NudgescribeClient
    from tap_nudgescribe.interruption import Interruption
    from tap_nudgescribe.profile import ProfileField
    from target_nudgescribe.ledger import Ledger
    from target_nudgescribe.outcomes import StreamOutcomes
    from target_nudgescribe.rejects import RejectsFile
    from target_nudgescribe.workspace import Workspace

logger = logging.getLogger("target-nudgescribe")

Record = dict[str, Any]

Made = TypeVar("Made")

RUN_READY = frozenset({"ready for review", "ready to publish", "published"})
"""Statuses of a run that is no longer being made (documented, in any spelling of capitals)."""

MESSAGES = {
    "no_id": "The record does not say what it is about",
    "unknown_group": "The workspace has no such customer group, or several of this name",
    "unknown_field": "The workspace has no such profile field",
    "field_type_differs": "The field exists with another type or format, which cannot be changed",
    "field_delete_not_allowed": "Fields are deleted, with their data, only by allow_field_delete",
    "unknown_campaign": "The account has no such campaign",
    "refused": "The API refuses this change",
    UNREADABLE: ROW_MESSAGES[UNREADABLE].replace("the customer", "this"),
    "too_many_deletes": "The group has more customers than max_delete_rows or max_delete_percent "
    "allow to delete",
    "names_differ": "The id and the name of what is to be deleted belong to different things",
    "delete_not_possible": "A publication or a rerun cannot be deleted, and a deleted record does "
    "not ask for one",
    "quota": "The account's publishing quota is used up",
    "begun_before": "An earlier run began this and its outcome is not known: look at the account",
    **CHECK_MESSAGES,
}


@dataclass(frozen=True)
class Scene:
    """What applying a record needs."""

    workspace: Workspace
    config: Mapping[str, Any]
    interruption: Interruption
    settle: Callable[..., None]
    """Takes in the customers that came before a change; with ``upload``, sends them, too."""
    ledger: Ledger | None = None

    @property
    def books(self) -> Ledger:
        """What earlier runs have done, for the kinds that must not do it twice."""
        assert self.ledger is not None  # noqa: S101 (given to LEDGERED)
        return self.ledger

    @property
    def client(self) -> NudgescribeClient:
        """The API."""
        return self.workspace.client

    def is_delete(self, record: Record) -> bool:
        """Say whether a record names something to delete.

        Raises:
            RefusedError: when its delete marker cannot be read.
        """
        markers = read_marker(record, all_deleted=self.config["mode"] == "delete")
        if markers.unreadable[0]:
            raise RefusedError(code=UNREADABLE)
        return bool(markers.deleted[0])


class RecordStream:
    """Applies the records of one stream and accounts for each."""

    def __init__(  # noqa: PLR0913 (what applying needs)
        self,
        name: str,
        kind: str,
        scene: Scene,
        *,
        outcomes: StreamOutcomes,
        rejects: RejectsFile,
        run_id: str,
    ) -> None:
        """Apply nothing yet."""
        self._name = name
        self._kind = kind
        self._apply = KINDS[kind]
        self._scene = scene
        self._outcomes = outcomes
        self._rejects = rejects
        self._run_id = run_id

    def __call__(self, record: Record, number: int) -> None:
        """Apply a record, the nth of its stream."""
        try:
            outcome = self._applied(checked(self._kind, record))
        except RefusedError as refusal:
            self._reject(record, number, refusal)
            outcome = "rejected"
        except (BadRequestError, NotFoundError, MissingFieldsError):
            self._reject(record, number, RefusedError(code="refused"))
            outcome = "rejected"
        except QuotaError:
            self._reject(record, number, RefusedError(code="quota", retryable=True))
            outcome = "rejected"
        except OutcomeUnknownError as error:
            logger.error("%s, record %d: %s", self._name, number, error)  # noqa: TRY400
            outcome = "unknown"
        self._outcomes.count(outcome, 1)

    def _applied(self, record: Record) -> str:
        """Apply a record that is checked, in its order among the customers of the same input."""
        scene, workspace = self._scene, self._scene.workspace
        if self._kind not in DEFINING:
            return self._apply(scene, record)
        if scene.is_delete(record):
            scene.settle(upload=True)
        elif self._exists(record):
            # Rows before a change mean what was there; a new group or field can only help.
            scene.settle(upload=False)
        try:
            outcome = self._apply(scene, record)
        finally:
            workspace.groups_changed()
        if self._kind == "profile_fields" and outcome not in {"unchanged", "already_gone"}:
            workspace.fields_changed()
        return outcome

    def _exists(self, record: Record) -> bool:
        workspace = self._scene.workspace
        if self._kind == "customer_groups":
            named = record.get("customer_group_id") or record.get("name")
            return bool(named and workspace.group_ids(named))
        name, field_id = record.get("field_name"), record.get("field_id")
        return any(f.name == name or f.field_id == field_id for f in workspace.fields.values())

    def _reject(self, record: Record, number: int, refusal: RefusedError) -> None:
        how = self._scene.config["rejects_rows"]
        self._outcomes.reasons[refusal.code] += 1
        self._rejects.add(
            [
                Reject(
                    run_id=self._run_id,
                    stream=self._name,
                    row_number=number,
                    key=written_name(record) if how == "full" else PRINT,
                    code=refusal.code,
                    field=None,
                    column=None,
                    message=MESSAGES[refusal.code],
                    found_by="upload",
                    retryable=refusal.retryable,
                    attempts=1,
                    batch=0,
                    row=written_row(record, how),
                )
            ]
        )


def apply_group(scene: Scene, record: Record) -> str:
    """Create, change or delete a customer group; return the outcome."""
    workspace = scene.workspace
    is_delete = scene.is_delete(record)
    named = record.get("customer_group_id") or record.get("name")
    if not named:
        raise RefusedError(code="no_id")
    found = workspace.group_ids(str(named))
    if len(found) > 1:
        raise RefusedError(code="unknown_group")
    if is_delete:
        return _deleted_group(scene, record, found)
    name, description = record.get("name"), record.get("description")
    if not found:
        if record.get("customer_group_id") or not name:
            raise RefusedError(code="unknown_group")
        workspace.create_group(name, description)
        return "planned" if workspace.dry_run else "sent"
    group = workspace.groups[found[0]]
    wanted = {"name": name, "description": description}
    changes = {k: v for k, v in wanted.items() if v is not None and v != group.get(k)}
    if not changes:
        return "unchanged"
    if workspace.dry_run:
        return "planned"
    scene.client.update_group(workspace.workspace_id, found[0], **changes)
    group.update(changes)
    return "sent"


def _deleted_group(scene: Scene, record: Record, found: list[str]) -> str:
    """Delete a group with its customers, and make sure that it is gone.

    An id must be a group's id, not its name, and a name beside it must be that group's.
    """
    workspace = scene.workspace
    group_id, name = record.get("customer_group_id"), record.get("name")
    if group_id and found and found[0] != str(group_id):
        raise RefusedError(code="unknown_group")
    if not found:
        return "already_gone"
    if group_id and name and workspace.groups[found[0]].get("name") != name:
        raise RefusedError(code="names_differ")
    if _has_too_many(scene, found[0]):
        raise RefusedError(code="too_many_deletes", retryable=True)
    if workspace.dry_run:
        return "planned"
    with suppress(OutcomeUnknownError):  # the list of groups says whether it was done
        scene.client.delete_group(workspace.workspace_id, found[0])
    del workspace.groups
    _require_gone(found[0], workspace.groups, "delete_group")
    return "deleted"


def _has_too_many(scene: Scene, group_id: str) -> bool:
    """Return whether a group has more customers than may be deleted; read no more than needed."""
    rows, percent = scene.config.get("max_delete_rows"), scene.config.get("max_delete_percent")
    if rows is None and percent is None:
        return False
    ids: set[str] = set()
    for page in customer_pages(scene.client, scene.workspace.workspace_id, group_id):
        ids |= {str(customer["customer_id"]) for customer in page}
        if ids and percent is not None and float(percent) < 100:  # noqa: PLR2004 (all of them)
            return True
        if rows is not None and len(ids) > rows:
            return True
    return False


def _require_gone(deleted: str, there: Container[str], operation: str) -> None:
    if deleted in there:
        problem = "What was to be deleted is still there, whatever the API has answered"
        raise OutcomeUnknownError(problem, operation=operation)


_FIELD_CHANGES = ("display_name", "required", "options", "validation_rules")
_FIELD_FLAGS = ("unique_identifier", "encrypted")


def apply_field(scene: Scene, record: Record) -> str:
    """Create, change or (if that is allowed) delete a profile field; return the outcome."""
    workspace = scene.workspace
    name, field_id = record.get("field_name"), record.get("field_id")
    field_id = field_id and str(field_id)
    is_delete = scene.is_delete(record)
    if not (name or field_id):
        raise RefusedError(code="no_id")
    found = [f for f in workspace.fields.values() if f.name == name or f.field_id == field_id]
    field = found[0] if found else None
    if is_delete:
        if any((name and f.name != name) or (field_id and f.field_id != field_id) for f in found):
            raise RefusedError(code="names_differ")
        return _deleted_field(scene, field)
    wanted = {key: record[key] for key in _FIELD_CHANGES if record.get(key) is not None}
    if field is None:
        return _created_field(scene, record, wanted)
    kind = record.get("field_type"), record.get("field_format")
    if any(
        told is not None and told != is_now
        for told, is_now in zip(kind, (field.field_type, field.field_format), strict=True)
    ):
        raise RefusedError(code="field_type_differs")
    if any(record.get(flag) not in {None, getattr(field, flag)} for flag in _FIELD_FLAGS):
        raise RefusedError(code="field_flag_differs")
    if name is not None and name != field.name:
        raise RefusedError(code="field_name_differs")
    changes = {
        key: value
        for key, value in wanted.items()
        if _comparable(key, value) != getattr(field, key)
    }
    if not changes:
        return "unchanged"
    if workspace.dry_run:
        return "planned"
    scene.client.update_field(workspace.workspace_id, field.field_id, **changes)
    del workspace.fields
    return "sent"


def _comparable(key: str, value: Any) -> object:  # noqa: ANN401 (JSON)
    """Return a value as a field's definition holds it."""
    if key == "validation_rules":
        return rules_text(value)
    return tuple(value) if key == "options" else value


def _deleted_field(scene: Scene, field: ProfileField | None) -> str:
    if not scene.config.get("allow_field_delete"):
        raise RefusedError(code="field_delete_not_allowed")
    if field is None:
        return "already_gone"
    if scene.workspace.dry_run:
        return "planned"
    with suppress(OutcomeUnknownError):  # the list of fields says whether it was done
        scene.client.delete_field(scene.workspace.workspace_id, field.field_id)
    del scene.workspace.fields
    _require_gone(
        field.field_id,
        [other.field_id for other in scene.workspace.fields.values()],
        "delete_field",
    )
    return "deleted"


def _created_field(scene: Scene, record: Record, wanted: Record) -> str:
    workspace = scene.workspace
    name, kind = record.get("field_name"), record.get("field_type")
    if not name or not kind:
        raise RefusedError(code="unknown_field")
    require_format(record)
    if workspace.dry_run:
        workspace.plan_field(record)
        return "planned"
    row = scene.client.create_field(
        workspace.workspace_id,
        name,
        kind,
        field_format=record.get("field_format"),
        unique_identifier=record.get("unique_identifier"),
        encrypted=record.get("encrypted"),
        **wanted,
    )
    field = profile_field(workspace.workspace_id, row)
    workspace.fields[field.name] = field
    return "sent"


def apply_publication(scene: Scene, record: Record) -> str:
    """Publish a campaign that is not published yet, once a record; return the outcome.

    A record that has published a run, or found it published, does not publish the next one, which
    a rerun may have made since: nobody asked for that.
    """
    _refuse_delete(scene, record)
    campaign_id = str(record.get("campaign_id") or "")
    campaign = _campaign(scene, campaign_id)
    key = _hash(scene, record)
    known = scene.books.find(key)[0]
    if known["status"] == books.SENT:
        return "unchanged"
    number = _run_number(campaign)
    begun = int(known["row"]) if known["status"] == books.UNCERTAIN else number
    if _is_published(campaign, begun):
        scene.books.record(books.new_entries(key, key, books.SENT))
        return "unchanged"
    if scene.workspace.dry_run:
        return "planned"

    def publish() -> None:
        with suppress(OutcomeUnknownError):  # the campaign says whether it was done
            scene.client.publish_messages(campaign_id)

    def done(_: None) -> bool:
        return _comes(scene, lambda: _is_published(_campaign(scene, campaign_id), number))

    _once(scene, key, publish, done, run=number)
    return "sent"


def apply_rerun(scene: Scene, record: Record) -> str:
    """Start a run against a group, once a record, and wait until it is made; return the outcome."""
    _refuse_delete(scene, record)
    campaign_id = str(record.get("campaign_id") or "")
    _campaign(scene, campaign_id)
    named = record.get("customer_group_id") or record.get("customer_group")
    groups = scene.workspace.group_ids(str(named)) if named else []
    if len(groups) != 1:
        raise RefusedError(code="unknown_group")
    if scene.workspace.dry_run:
        return "planned"
    key = _hash(scene, record)
    known = scene.books.find(key)["status"][0]
    if known == books.SENT:
        return "unchanged"
    if known == books.UNCERTAIN:
        raise RefusedError(code="begun_before", retryable=True)
    before = max((run["run_number"] for run in scene.client.list_runs(campaign_id)), default=0)

    def start() -> int | None:
        return scene.client.initiate_rerun(campaign_id, groups[0])

    def done(number: int | None) -> bool:
        # An answer that does not say which run it is may have started none.
        return number is not None or _comes(scene, lambda: bool(_runs(scene, campaign_id, before)))

    number = _once(scene, key, start, done)
    first = before if number is None else number - 1
    if not _comes(scene, lambda: _is_made(_runs(scene, campaign_id, first))):
        problem = "The run is started, but it is not ready for review or for publishing yet"
        raise OutcomeUnknownError(problem, operation="initiate_rerun")
    return "sent"


def _refuse_delete(scene: Scene, record: Record) -> None:
    if scene.is_delete(record):
        raise RefusedError(code="delete_not_possible")


def _campaign(scene: Scene, campaign_id: str) -> Record:
    if not campaign_id:
        raise RefusedError(code="no_id")
    campaigns = campaigns_of(scene.client.list_campaigns(partial=True))
    for campaign in campaigns:
        if campaign["campaign_id"] == campaign_id:
            return dict(campaign)
    campaigns.whole()  # one without a usable identifier may be the one
    raise RefusedError(code="unknown_campaign")


def _is_published(campaign: Record, number: int) -> bool:
    """Say whether a run is published: only then can there be another one after it."""
    published = str(campaign.get("status") or "").lower() == "published"
    return published or _run_number(campaign) > number


def _run_number(campaign: Record) -> int:
    number = campaign.get("run_number")
    return number if isinstance(number, int) else 0


def _once(
    scene: Scene,
    key: NDArray[np.uint64],
    change: Callable[[], Made],
    done: Callable[[Made], bool],
    *,
    run: int = 0,
) -> Made:
    """Make a change that must not be made twice, remember it before and after, and return it.

    What the API refuses soundly has not been done, and the next run may try it. After any other
    error, and when the process dies, it is not known.

    Args:
        scene: Where.
        key: Print of the record.
        change: Makes the change.
        done: Says whether it is there.
        run: Number of the run that the change is made to.

    Raises:
        OutcomeUnknownError: when it is not there.
    """
    row = np.array([[run, 0]], np.uint64)
    scene.books.record(books.new_entries(key, row, books.UNCERTAIN))
    try:
        made = change()
    except OutcomeUnknownError:
        raise
    except ApiError as error:
        if not isinstance(error, ContractError) or error.refused:
            scene.books.record(books.new_entries(key, row, 0))
        raise
    if not done(made):
        problem = "The account does not show what was asked for, whatever the API has answered"
        raise OutcomeUnknownError(problem)
    scene.books.record(books.new_entries(key, row, books.SENT))
    return made


def _hash(scene: Scene, record: Record) -> NDArray[np.uint64]:
    told: Iterable[tuple[str, Any]] = sorted(
        (name, value) for name, value in record.items() if not name.startswith("_sdc_")
    )
    return Hashing(scene.config.get("hash_key")).record(json.dumps(list(told), default=str))


def _runs(scene: Scene, campaign_id: str, after: int) -> list[Record]:
    """Return the runs of a campaign behind the one of a number."""
    return [run for run in scene.client.list_runs(campaign_id) if run["run_number"] > after]


def _is_made(runs: list[Record]) -> bool:
    """Say whether the first of some runs, which come newest first, is no longer being made."""
    return bool(runs) and str(runs[-1].get("status") or "").lower() in RUN_READY


def _comes(scene: Scene, there: Callable[[], bool]) -> bool:
    """Wait until something is there, as long as confirm_timeout_seconds; say whether it is."""
    deadline = scene.interruption.now() + scene.config["confirm_timeout_seconds"]
    for attempt in count(1):
        if there():
            return True
        if scene.interruption.now() >= deadline:
            break
        scene.client.transport.pause(min(attempt, 6))
    return False


KINDS: dict[str, Callable[[Scene, Record], str]] = {
    "customer_groups": apply_group,
    "profile_fields": apply_field,
    "campaign_publications": apply_publication,
    "campaign_reruns": apply_rerun,
}
"""Kinds of streams beside customers, and what is done with a record of each."""

LEDGERED = frozenset({"campaign_publications", "campaign_reruns"})
"""Kinds whose records must not be applied twice."""
