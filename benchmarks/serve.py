"""Serve a message file, and pages of customers, until stdin is closed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.message_server import Content, MessageServer


def main() -> None:
    """Serve; print one line of JSON with the tap's settings first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path)
    parser.add_argument("--times", type=int, default=1, help="repeat the file's rows")
    parser.add_argument("--pages", type=int, default=0, help="of customers")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that a page takes")
    options = parser.parse_args()
    files = []
    if options.file:
        header, _, rows = options.file.read_bytes().partition(b"\n")
        files = [Content(header + b"\n", rows, options.times)]
    with MessageServer(
        files, pages=options.pages, page_rows=100, latency=options.latency
    ) as server:
        print(json.dumps({"config": server.config, "url": f"{server.root}/file/0"}), flush=True)
        sys.stdin.read()


main()
