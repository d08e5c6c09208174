"""Check a request's body against the contract."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tap_nudgescribe.contract import contract
from tests.sandbox.refusals import Refusal

Body = dict[str, Any]


def check(operation: str, body: object, media_type: str = "application/json") -> None:
    """Accept a body that keeps to the contract.

    Raises:
        Refusal: for any other, that a required field is missing above all.
    """
    validator = _validators(media_type)[operation]
    problems = sorted(
        validator.iter_errors(body), key=lambda problem: problem.validator != "required"
    )
    if problems:
        missing = problems[0].validator == "required"
        raise Refusal(
            "missing_field" if missing else "bad_request", f"canary: {problems[0].message}"
        )


@cache
def _validators(media_type: str) -> dict[str, Draft202012Validator]:
    components = contract()["components"]
    validators = {}
    for operations in contract()["paths"].values():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            if media_type in content:
                schema = content[media_type]["schema"]
                validators[operation["operationId"]] = Draft202012Validator(
                    {"allOf": [schema], "components": components},
                    format_checker=Draft202012Validator.FORMAT_CHECKER,
                )
    return validators
