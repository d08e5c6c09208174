"""The local API keeps the contract, and is as strict as it says."""

from __future__ import annotations

import atexit
import random
from typing import TYPE_CHECKING, Any

import schemathesis
from hypothesis import settings
from schemathesis import checks

from tap_nudgescribe.client import NudgescribeClient
from tap_nudgescribe.contract import contract
from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from schemathesis import Case

served = Sandbox()
served.__enter__()
atexit.register(served.__exit__)

schema = schemathesis.openapi.from_dict(contract())
schema.config.update(base_url=f"{served.root}v1")


NOT_PROMISED = [
    checks.missing_required_header,  # a missing bearer is 403 here (documented), not 401
    checks.unsupported_method,  # the reference says nothing of other methods
    checks.positive_data_acceptance,  # a sound body may name what does not exist
]


def bearer(case: Case) -> dict[str, str]:
    """Return the headers that an operation asks for."""
    client = NudgescribeClient.from_config(served.config)
    session = client.authenticator.session()
    match case.operation.definition.raw["operationId"]:
        case "login":
            return {"x-api-key": served.config["api_key"]}
        case "refresh":
            return {"Authorization": f"Bearer {session.refresh_token}"}
        case _:
            return {"Authorization": f"Bearer {session.access_token}"}


def with_ids_that_exist(body: Any) -> Any:
    """Return a body whose ids are the account's, as far as it has any."""
    account, chance = served.account, random.Random(str(body))  # noqa: S311 (no secret)
    group = chance.choice(list(account.groups.values()))
    fields = [field.field_id for field in account.fields_of(group.workspace_id)]
    campaigns = [c.campaign_id for c in account.campaigns.values()]
    known = {
        "workspace_id": group.workspace_id,
        "customer_group_id": group.customer_group_id,
        "field_id": chance.choice(fields) if fields else "none",
        "campaign_id": chance.choice(campaigns),
        "page": 1,
        "run_number": 1,
        "customer_ids": list(group.customers)[:2] or ["none"],
    }
    return {name: known.get(name, value) for name, value in body.items()}


@schema.parametrize()
@settings(max_examples=15, deadline=None)
def test_every_answer_keeps_the_contract_whatever_is_asked(case: Case) -> None:
    case.call_and_validate(headers=bearer(case), excluded_checks=NOT_PROMISED)


@schema.exclude(operation_id=["login", "refresh", "delete_group", "upload_customers"]).parametrize()
@settings(max_examples=15, deadline=None)
def test_every_answer_about_what_exists_keeps_the_contract(case: Case) -> None:
    if isinstance(case.body, dict):
        case.body = with_ids_that_exist(case.body)
    response = case.call(headers=bearer(case))
    # What made a body wrong may just have been replaced.
    case.validate_response(
        response, excluded_checks=[*NOT_PROMISED, checks.negative_data_rejection]
    )
