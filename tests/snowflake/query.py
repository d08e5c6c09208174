"""Run statements on a local server: ``python query.py PORT STATEMENT...``; prints the last's rows.

The output is a JSON object: ``columns`` holds names and types, ``rows`` the rows as texts.
"""

from __future__ import annotations

import json
import sys

import snowflake.connector
from snowflake.connector.constants import FIELD_ID_TO_NAME

with (
    snowflake.connector.connect(
        user="test",
        password="test",
        account="test",
        database="SNOW",
        schema="PUBLIC",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        protocol="http",
        session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    ) as connection,
    connection.cursor() as cursor,
):
    for statement in sys.argv[2:]:
        cursor.execute(statement)
    columns = {column.name: FIELD_ID_TO_NAME[column.type_code] for column in cursor.description}
    rows = [[None if value is None else str(value) for value in row] for row in cursor.fetchall()]
    print(json.dumps({"columns": columns, "rows": rows}))  # noqa: T201
