"""Serve Snowflake's protocol from fakesnow, with the statements of target-snowflake that it lacks.

fakesnow knows no user stage (``@~``), and loads no staged file within a MERGE or by a query. So a
named stage stands for the user's, and what such a MERGE reads from a file is put into a table
first. A MERGE also needs a current schema there, and the target's sessions have none. Everything
else passes as it came.

Runs in an environment of its own: ``python server.py FILENO``, of a socket that listens.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route

server: Any = import_module("fakesnow.server")  # the package has a function of this name

if TYPE_CHECKING:
    from starlette.responses import Response

PLACE = "snow.public"
STAGE = f"{PLACE}.user_stage"
STAGED = f"{PLACE}.staged"
SOURCE = f"{PLACE}.source"

ONE_AT_A_TIME = asyncio.Lock()

PUT = re.compile(r"\s*put\s+'?(file://[^']+?)'?\s+'@~/([^']+)'", re.IGNORECASE)
IGNORED = re.compile(r"\s*(remove|drop file format)\s", re.IGNORECASE)
FILE = re.compile(r"from\s+'@~/([^']+)'\s*(\(file_format => [^)]*\))?", re.IGNORECASE)
MERGE = re.compile(r"\s*(merge into \S+ d using )\((.*?)\) s( on .*)", re.IGNORECASE | re.DOTALL)


def rewritten(statement: str) -> tuple[list[str], str]:
    """Return what to execute before a statement, and what instead of it."""
    if put := PUT.match(statement):
        return [], f"put '{put[1]}' @{STAGE}/{put[2]} auto_compress=false"
    if IGNORED.match(statement):
        return [], "select 'done'"
    file = FILE.search(statement)
    if not file:
        return [], statement
    before = [
        f"use schema {PLACE}",
        f"create or replace table {STAGED}_as_read (v variant)",
        f"copy into {STAGED}_as_read from @{STAGE}/{file[1]} file_format = (type = json)",
        f"create or replace table {STAGED} as select seq8() as place, v from {STAGED}_as_read",  # noqa: S608
    ]
    statement = FILE.sub(f"from {STAGED}", statement)
    merge = MERGE.match(statement.replace("SEQ8()", "place").replace("$1:", "v:"))
    if not merge:
        return [], statement  # fakesnow says what it lacks
    before.append(f"create or replace table {SOURCE} as {merge[2]}")
    return before, f"{merge[1]}{SOURCE} s{merge[3]}"


async def query(request: Request) -> Response:
    """Answer a query after rewriting it."""
    body: Any = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    content = json.loads(body)
    before, content["sqlText"] = rewritten(content["sqlText"])
    scope = request.scope | {
        "headers": [pair for pair in request.scope["headers"] if pair[0] != b"content-encoding"]
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}

    if not before:
        return await server.query_request(Request(scope, receive))
    # A target loads its streams side by side, and they share the tables in between.
    async with ONE_AT_A_TIME:
        cursor = server.to_conn(server.to_token(request)).cursor()
        for statement in before:
            await run_in_threadpool(cursor.execute, statement)
        return await server.query_request(Request(scope, receive))


def main() -> None:
    """Serve until the input ends."""
    for number, route in enumerate(server.app.routes):
        if route.endpoint is server.query_request:
            server.app.router.routes[number] = Route(route.path, query, methods=["POST"])
    server.shared_fs.connect("snow", "public").cursor().execute(f"create stage {STAGE}")
    serving = uvicorn.Server(uvicorn.Config(server.app))
    sockets = [socket.socket(fileno=int(sys.argv[1]))]
    threading.Thread(target=serving.run, args=[sockets], daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
