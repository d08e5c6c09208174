"""Answers with the names that another API would have: three things are plain ``id``."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse, Response

NAMES: dict[str, dict[str, str]] = {
    "login": {"access_token": "token"},
    "list_campaigns": {"workspace_id": "id", "workspace_name": "name"},
    "campaigns": {
        "campaign_id": "id",
        "name": "title",
        "status": "state",
        "created_at": "created",
        "updated_at": "modified_at",
        "published_at": "publishedAt",
        "customer_group_id": "group_id",
    },
    "list_groups": {"customer_group_id": "id", "customer_count": "size", "updated_at": "modified"},
    "list_fields": {"field_id": "id", "field_name": "key", "field_type": "type"},
    "list_customers": {"customer_id": "id", "profile": "attributes"},
    "list_runs": {"run_number": "no", "message_summary": "summary"},
    "list_run_messages": {"message_id": "id", "content": "text", "run_number": "number"},
    "count_customer_pages": {"pages": "page_count"},
    "count_message_files": {"pages": "file_count"},
    "fetch_message_file": {"url": "href"},
}
"""Names by our key, by operation, and for the campaigns inside a workspace."""


def spoken(operation: str, response: Response) -> Response:
    """Return an answer with these names; what is not JSON stays as it is."""
    if response.status_code != 200 or response.media_type != "application/json":
        return response
    answer = json.loads(bytes(response.body))
    return JSONResponse(_renamed(answer, NAMES.get(operation, {})))


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return {
        names.get(key, key): _renamed(item, NAMES["campaigns"]) if key == "campaigns" else item
        for key, item in value.items()
    }
