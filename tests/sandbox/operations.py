"""What each operation of the contract does to the account, and answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from starlette.responses import Response

from tests.sandbox import runs, wire
from tests.sandbox.account import (
    PUBLISHED,
    READY_TO_PUBLISH,
    Account,
    Campaign,
    Field,
    Group,
    Run,
)
from tests.sandbox.formats import DATE_FORMATS, is_currency_code
from tests.sandbox.refusals import Refusal
from tests.sandbox.uploads import read_csv, upload

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.sandbox.checks import Body
    from tests.sandbox.storage import Storage

JSON_ROWS = 1000
"""Where the JSON form of a message file stops (documented)."""

Answer = wire.Row | list[wire.Row] | Response


@dataclass(frozen=True)
class Service:
    """What operations work on.

    Attributes:
        root: URL of the server, for presigned URLs.
    """

    account: Account
    storage: Storage
    root: str


def list_campaigns(service: Service, body: Body) -> Answer:
    account = service.account
    since, until = (body.get(name) for name in ("published_from", "published_to"))

    def shown(campaign: Campaign) -> bool:
        if since is None and until is None:
            return True
        if campaign.published_at is None:
            return False
        day = campaign.published_at.date()
        return (since is None or day >= date.fromisoformat(since)) and (
            until is None or day <= date.fromisoformat(until)
        )

    return [
        wire.workspace(workspace, [campaign for campaign in campaigns if shown(campaign)])
        for workspace in account.workspaces.values()
        if (campaigns := account.campaigns_of(workspace.workspace_id))
    ]


def publish_messages(service: Service, body: Body) -> Answer:
    account, campaign = service.account, _campaign(service, body)
    if campaign.status.lower() not in {READY_TO_PUBLISH.lower(), PUBLISHED.lower()}:
        raise Refusal("bad_request", "canary: the campaign is not ready to publish")
    if account.publish_quota < 1:
        raise Refusal("quota", "canary: the quota is exceeded")
    account.publish_quota -= 1
    if campaign.status != PUBLISHED:
        runs.publish(campaign, account.now)
    return {
        "message": "Messages created successfully",
        "key": f"production/messages/{account.account_id}/{campaign.campaign_id}/*",
    }


def count_message_files(service: Service, body: Body) -> Answer:
    """Count the exported files; an export that is under way has one more at the next call."""
    run = _run_with_files(service, body)
    if run is None:
        return {"pages": 0}
    pages = run.revealed
    run.revealed = min(pages + 1, len(run.files))
    return {"pages": pages}


def fetch_message_file(service: Service, body: Body) -> Answer:
    run = _run_with_files(service, body)
    if run is None or body["page"] > run.revealed:
        raise Refusal("not_found", "canary: no such file")
    file = run.files[body["page"] - 1]
    match body["format"]:
        case "csv":
            return Response(file.content(), media_type="text/csv")
        case "json":
            return [dict(row) for row in file.rows(JSON_ROWS)]
    if "run_number" in body:
        raise Refusal("bad_request", "canary: historical runs have no URL")
    return {"url": service.root + service.storage.presign(file)}


def list_runs(service: Service, body: Body) -> Answer:
    campaign = _rerun_campaign(service, body)
    return [wire.run(campaign, run) for run in reversed(campaign.runs)]


def list_run_messages(service: Service, body: Body) -> Answer:
    campaign = _rerun_campaign(service, body)
    if "run_number" in body:
        run = _run(campaign, body["run_number"])
        return [wire.message(campaign, run, message) for message in run.messages]
    run = campaign.current_run
    return [wire.message(campaign, run, each) for each in run.messages if not each.archived]


def initiate_rerun(service: Service, body: Body) -> Answer:
    account, campaign = service.account, _rerun_campaign(service, body)
    group = _found(account.groups.get(body["customer_group_id"]))
    if group.workspace_id != campaign.workspace_id:
        raise Refusal("not_found", "canary: the group is another workspace's")
    current = campaign.current_run
    active = [message for message in current.messages if not message.archived]
    if campaign.status != PUBLISHED:
        raise Refusal("bad_request", "canary: the campaign is not published")
    if any(message.approval_stage != PUBLISHED for message in active):
        raise Refusal("bad_request", "canary: there are unpublished messages")
    if current.targeted_for_archive:
        raise Refusal("bad_request", "canary: the current run is targeted for archive")
    run = runs.start(account, campaign, group, account.now, runs.Plan())
    return {"message": "The run is started", "run_number": run.run_number}


def count_customer_pages(service: Service, body: Body) -> Answer:
    return {"pages": _pages(service.account, _group(service, body))}


def list_customers(service: Service, body: Body) -> Answer:
    account, group = service.account, _group(service, body)
    page = body["page"]
    if page > max(_pages(account, group), 1):
        raise Refusal("not_found", "canary: no such page")
    encrypted = wire.encrypted_names(account, group.workspace_id)
    start = (page - 1) * account.page_size
    customers = list(group.customers.values())[start : start + account.page_size]
    return [wire.customer(group, customer, encrypted) for customer in customers]


def upload_customers(service: Service, body: Body) -> Answer:
    group = _group(service, body)
    rows = read_csv(body["file"]) if "file" in body else body["customers"]
    return upload(service.account, group, rows, validate_only=body.get("validate_only", False))


def delete_customers(service: Service, body: Body) -> Answer:
    group = _group(service, body)
    found = [each for each in dict.fromkeys(body["customer_ids"]) if each in group.customers]
    for customer_id in found:
        del group.customers[customer_id]
    return {"message": "Done", "deleted": len(found)}


def create_group(service: Service, body: Body) -> Answer:
    account = service.account
    workspace_id = _workspace(service, body)
    group = Group(
        account.new_id(),
        workspace_id,
        body["name"],
        body.get("description"),
        account.now,
        account.now,
    )
    account.groups[group.customer_group_id] = group
    return wire.group(group)


def list_groups(service: Service, body: Body) -> Answer:
    groups = service.account.groups_of(_workspace(service, body))
    return [_counted(service.account, wire.group(group)) for group in groups]


def _counted(account: Account, group: wire.Row) -> wire.Row:
    """Return a group with what the account says of its number of customers."""
    match account.count_dialect:
        case "absent":
            del group["customer_count"]
        case "zero":
            group["customer_count"] = 0
    return group


def update_group(service: Service, body: Body) -> Answer:
    group = _group(service, body)
    group.name = body.get("name", group.name)
    group.description = body.get("description", group.description)
    group.updated_at = service.account.now
    return wire.group(group)


def delete_group(service: Service, body: Body) -> Answer:
    del service.account.groups[_group(service, body).customer_group_id]
    return {"message": "Done"}


def create_field(service: Service, body: Body) -> Answer:
    account = service.account
    workspace_id = _workspace(service, body)
    if any(each.field_name == body["field_name"] for each in account.fields_of(workspace_id)):
        raise Refusal("bad_request", "canary: there is such a field")
    if not _format_fits(body["field_type"], body.get("field_format")):
        raise Refusal("bad_request", "canary: the field_format does not fit the field_type")
    if ("options" in body) != (body["field_type"] == "enum"):
        raise Refusal("bad_request", "canary: options belong to the type enum, and there only")
    definition = {name: value for name, value in body.items() if name != "workspace_id"}
    field = Field(account.new_id(), workspace_id, **definition)
    account.fields[field.field_id] = field
    return wire.field(field)


def list_fields(service: Service, body: Body) -> Answer:
    return [wire.field(field) for field in service.account.fields_of(_workspace(service, body))]


def update_field(service: Service, body: Body) -> Answer:
    field = _field(service, body)
    if "options" in body and field.field_type != "enum":
        raise Refusal("bad_request", "canary: only the type enum has options")
    field.display_name = body.get("display_name", field.display_name)
    field.required = body.get("required", field.required)
    field.options = body.get("options", field.options)
    field.validation_rules = body.get("validation_rules", field.validation_rules)
    return wire.field(field)


def delete_field(service: Service, body: Body) -> Answer:
    account, field = service.account, _field(service, body)
    del account.fields[field.field_id]
    for group in account.groups_of(field.workspace_id):
        for customer in group.customers.values():
            customer.profile.pop(field.field_name, None)
    return {"message": "Done"}


OPERATIONS: dict[str, Callable[[Service, Body], Answer]] = {
    operation.__name__: operation
    for operation in (
        list_campaigns,
        publish_messages,
        count_message_files,
        fetch_message_file,
        list_runs,
        list_run_messages,
        initiate_rerun,
        count_customer_pages,
        list_customers,
        upload_customers,
        delete_customers,
        create_group,
        list_groups,
        update_group,
        delete_group,
        create_field,
        list_fields,
        update_field,
        delete_field,
    )
}
"""Every operation behind the bearer, by its ``operationId``."""


def _found(value: Any) -> Any:
    if value is None:
        raise Refusal("not_found", "canary: not found")
    return value


def _workspace(service: Service, body: Body) -> str:
    workspace_id: str = body["workspace_id"]
    if workspace_id not in service.account.workspaces:
        older = service.account.status_codes == "older"
        raise Refusal("refused" if older else "not_found", "canary: no such workspace")
    return workspace_id


def _group(service: Service, body: Body) -> Group:
    group: Group = _found(service.account.groups.get(body["customer_group_id"]))
    if group.workspace_id != _workspace(service, body):
        raise Refusal("not_found", "canary: the group is another workspace's")
    return group


def _field(service: Service, body: Body) -> Field:
    field: Field = _found(service.account.fields.get(body["field_id"]))
    if field.workspace_id != _workspace(service, body):
        raise Refusal("not_found", "canary: the field is another workspace's")
    return field


def _campaign(service: Service, body: Body) -> Campaign:
    campaign: Campaign = _found(service.account.campaigns.get(body["campaign_id"]))
    return campaign


def _rerun_campaign(service: Service, body: Body) -> Campaign:
    if not service.account.rerun_enabled:
        raise Refusal("not_found", "canary: no such operation")
    return _campaign(service, body)


def _run(campaign: Campaign, number: int) -> Run:
    run: Run = _found(next((run for run in campaign.runs if run.run_number == number), None))
    return run


def _run_with_files(service: Service, body: Body) -> Run | None:
    """Return the run whose files are meant; the current one has none in a folder of its own."""
    campaign = _campaign(service, body)
    if "run_number" in body:
        run = _run(campaign, body["run_number"])
        return None if run is campaign.current_run or run.published_at is None else run
    return campaign.current_run if campaign.current_run.published_at else None


def _pages(account: Account, group: Group) -> int:
    return -(-len(group.customers) // account.page_size)


def _format_fits(field_type: str, field_format: str | None) -> bool:
    match field_type:
        case "Date":
            return field_format in DATE_FORMATS
        case "currency":
            return field_format is not None and is_currency_code(field_format)
        case _:
            return field_format is None
