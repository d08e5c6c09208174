"""``--check --openapi``: the contract beside the vendor's own document, without a request."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_nudgescribe.contract import contract
from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.openapi import compare_file
from tests.sandbox import dialect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run
    from tests.sandbox import Sandbox

Document = dict[str, Any]


@pytest.fixture
def document() -> Document:
    """The contract, free to be changed."""
    return json.loads(json.dumps(contract()))  # type: ignore[no-any-return]


def compare(
    folder: Path, document: object, names: dict[str, str] | None = None, *, as_yaml: bool = False
) -> int:
    file = folder / "openapi"
    file.write_text(yaml.safe_dump(document) if as_yaml else json.dumps(document))
    return compare_file(str(file), names or {})


@pytest.mark.parametrize("as_yaml", [True, False])
def test_the_contract_is_equal_to_itself(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, as_yaml: bool
) -> None:
    assert compare(tmp_path, document, as_yaml=as_yaml) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert all(line.endswith("  equal") for line in lines), lines


def test_it_needs_no_credentials_and_sends_nothing(
    tap: Callable[..., Run], sandbox: Sandbox, document: Document, tmp_path: Path
) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    run = tap("--check", "--openapi", str(file), api_key=None, email=None, password=None)
    assert run.code == 0, run.stderr
    assert "list_campaigns" in run.stdout
    assert sandbox.requests == []


def renamed(schema: Document, names: dict[str, str]) -> None:
    schema["properties"] = {
        names.get(key, key): value for key, value in schema["properties"].items()
    }
    schema["required"] = [names.get(key, key) for key in schema.get("required", ())]


def test_other_names_lead_to_a_value_that_corrects_them(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schemas = document["components"]["schemas"]
    for component, names in (
        ("Workspace", dialect.NAMES["list_campaigns"]),
        ("Campaign", dialect.NAMES["campaigns"]),
        ("CustomerGroup", dialect.NAMES["list_groups"]),
        ("ProfileField", dialect.NAMES["list_fields"]),
        ("Customer", dialect.NAMES["list_customers"]),
        ("Run", dialect.NAMES["list_runs"]),
        ("RunMessage", dialect.NAMES["list_run_messages"]),
    ):
        renamed(schemas[component], names)
    fetch = document["paths"]["/messages/fetch"]["post"]["requestBody"]["content"]
    renamed(fetch["application/json"]["schema"], {"page": "page_number"})
    assert compare(tmp_path, document) == 1
    printed = capsys.readouterr().out
    assert "campaign: id for campaign_id" in printed
    names = json.loads(printed.splitlines()[-1])
    assert names["campaign.campaign_id"] == names["workspace.workspace_id"] == "id"
    assert names["fetch_message_file.page"] == "page_number"
    assert compare(tmp_path, document, names) == 0
    assert "wire_names" not in capsys.readouterr().out


def test_envelopes_alternatives_and_a_base_path_make_no_difference(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            answer = operation["responses"]["200"]
            for media in answer.get("content", {}).values():
                inner = {"allOf": [{"oneOf": [media["schema"]]}]}
                media["schema"] = {"type": "object", "properties": {"data": inner}}
    document["paths"] = {f"/v1{path}/": methods for path, methods in document["paths"].items()}
    assert compare(tmp_path, document) == 0, capsys.readouterr().out


def at(document: Document, *way: str) -> Any:
    for step in way:
        document = document[step]
    return document


BODY = ("requestBody", "content", "application/json", "schema")


def _without_operation(document: Document) -> None:
    del document["paths"]["/cg"]["post"]


def _without_key(document: Document) -> None:
    del at(document, "components", "schemas", "Run", "properties")["run_number"]


def _other_type(document: Document) -> None:
    at(document, "components", "schemas", "Run", "properties")["run_number"] = {"type": "object"}


def _other_value(document: Document) -> None:
    body = at(document, "paths", "/messages/fetch", "post", *BODY)
    body["properties"]["format"]["enum"] = ["csv", "json"]


def _further_key(document: Document) -> None:
    body = at(document, "paths", "/cg", "post", *BODY)
    body["properties"]["tenant"] = {"type": "string"}
    body["required"].append("tenant")


def _other_request_type(document: Document) -> None:
    body = at(document, "paths", "/customer", "post", *BODY)
    body["properties"]["page"] = {"type": "object"}


def _no_body(document: Document) -> None:
    del document["paths"]["/cg"]["post"]["requestBody"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_without_operation, "does not have this operation"),
        (_without_key, "run: no run_number"),
        (_other_type, "run: run_number is object"),
        (_other_value, "request: format does not take url"),
        (_further_key, "request: requires tenant, which is not sent"),
        (_other_request_type, "request: page is object"),
        (_no_body, "request: the document does not describe its keys"),
    ],
)
def test_what_breaks_an_operation_is_told(
    document: Document,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Document], None],
    text: str,
) -> None:
    change(document)
    assert compare(tmp_path, document) == 1
    assert text in capsys.readouterr().out


def test_what_costs_nothing_is_told_and_compatible(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = document["components"]["schemas"]["CustomerGroup"]
    group["properties"]["color"] = {"type": "string"}
    del group["properties"]["description"]
    group["properties"]["customer_group_id"] = {"type": "integer"}
    assert compare(tmp_path, document) == 0
    printed = capsys.readouterr().out
    assert "customer_group: no description" in printed
    assert "customer_group: unknown color" in printed


CYCLE: Document = {
    "openapi": "3.0.0",
    "paths": {
        "/cg": {
            "post": {
                "requestBody": {"$ref": "#/components/x"},
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/a"}}}}
                },
            }
        }
    },
    "components": {
        "x": {"$ref": "#/components/x"},
        "a": {"type": "array", "items": {"$ref": "#/components/b"}},
        "b": {"allOf": [{"$ref": "#/components/b"}, {"$ref": "#/components/b"}], "oneOf": []}
        | {"properties": {"data": {"$ref": "#/components/b"}}},
    },
}


def test_cycles_end(tmp_path: Path) -> None:
    assert compare(tmp_path, CYCLE) == 1
    many = copy.deepcopy(CYCLE)
    for number in range(60):  # each names the next one twice
        following = {"$ref": f"#/components/n{number + 1}"}
        many["components"][f"n{number}"] = {"allOf": [following, following]}
    many["components"]["n60"] = {"type": "string"}
    many["components"]["a"] = {"$ref": "#/components/n0"}
    assert compare(tmp_path, many) == 1
    itself = {"$ref": "#/components/a"}
    many["components"]["a"] = {"anyOf": [itself] * 50, "oneOf": [itself] * 50}
    assert compare(tmp_path, many) == 1


def test_a_long_chain_of_references_is_refused(tmp_path: Path) -> None:
    chain = copy.deepcopy(CYCLE)
    for number in range(5000):
        chain["components"][f"n{number}"] = {"$ref": f"#/components/n{number + 1}"}
    chain["components"]["n5000"] = {"type": "string"}
    chain["components"]["a"] = {"$ref": "#/components/n0"}
    with pytest.raises(SettingsError, match="nested too deeply"):
        compare(tmp_path, chain)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not an OpenAPI 3 document"),
        (b"[]", "not an OpenAPI 3 document"),
        (b"{}", "not an OpenAPI 3 document"),
        (b'{"swagger": "2.0", "paths": {}}', "not an OpenAPI 3 document"),
        (b'{"openapi": "3.0.0", "paths": []}', "not an OpenAPI 3 document"),
        (b'{"openapi": "3.0.0", "paths": {', "neither JSON nor YAML"),
        (b"a: [", "neither JSON nor YAML"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "neither JSON nor YAML"),
        (
            b'{"openapi": "3.0.0", "paths": {"/cg": {"post": {"$ref": "other.yaml#/x"}}}}',
            "another file, or to nothing",
        ),
        (
            b'{"openapi": "3.0.0", "paths": {"/cg": {"post": {"requestBody": {"$ref": "#/x"}}}}}',
            "another file, or to nothing",
        ),
    ],
)
def test_a_file_that_is_no_such_document_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "openapi"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=problem):
        compare_file(str(file), {})


def test_names_that_cannot_be_used_are_refused(document: Document, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="wire_names"):
        compare(tmp_path, document, {"campain_id": "id"})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        compare_file(str(tmp_path / "missing"), {})
