"""The report of a run: what it tells, that it is whole and safe, and that a browser shows it."""

from __future__ import annotations

import gzip
import html.parser
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from docs.files import ROOT
from tap_nudgescribe import report
from tap_nudgescribe.private_files import unfinished
from tap_nudgescribe.report import MEANINGS
from tests.sandbox import Fault
from tests.target.sending import row, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run
    from tests.sandbox import Sandbox

VOID = {"meta"}


class Page(html.parser.HTMLParser):
    """A page as a strict reader sees it: every element closed, and what each table says."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.mode = stat.S_IMODE(path.stat().st_mode)
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data
        if self._open and self._open[-1] in {"th", "td"}:
            self.rows[-1][-1] += data

    def row(self, *first: str) -> list[str]:
        """Return the row that begins with some cells."""
        return next(cells for cells in self.rows if cells[: len(first)] == list(first))


def test_a_page_tells_of_every_stream_what_came_of_it(
    tap: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "run.html"
    run = tap("--report", str(path))
    assert run.code == 0, run.stderr
    page = Page(path)
    assert page.mode == 0o600
    for stream, count in run.counts.items():
        assert page.row(stream)[1:4] == [f"{count:,}", f"{count:,}", "0"]
        assert re.fullmatch(r"[1-9][\d.]* [kM]?B", page.row(stream)[4])
    bookmark = run.state["bookmarks"]["customers"]["replication_key_value"]
    assert page.row("customers", "bookmark after")[2] == bookmark
    assert int(page.row("published_messages", "files read")[2])
    assert "complete" in page.text
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "run.html"}


def test_a_page_counts_batch_files(tap: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    storage = {"root": (tmp_path / "batches").as_uri()}
    encoding = {"format": "jsonl", "compression": "gzip"}
    config = {"encoding": encoding, "storage": storage, "batch_size": 1000}
    run = tap("--report", str(path), batch_config=config)
    assert run.code == 0, run.stderr
    files = list((tmp_path / "batches").glob("*published_messages*"))
    page = Page(path)
    assert page.row("published_messages", "batch files written")[2] == str(len(files))
    content = b"".join(gzip.decompress(file.read_bytes()) for file in files)
    assert page.row("published_messages")[1] == f"{len(content.splitlines()):,}"
    assert page.row("published_messages")[4] == f"{len(content) / 1e6:.3g} MB"


def test_a_page_needs_nothing_but_itself(tap: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    tap("--report", str(path))
    page = Page(path)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "a", "base"}
    named = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in named if name in {"src", "href"} or name.startswith("on")}
    assert not re.search(r"url\(|@import|https?:", page.source)


def test_a_failed_run_has_a_page_that_says_what_failed(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.inject(Fault("list_customers", "server_error", 1))
    path = tmp_path / "run.html"
    before = {"bookmarks": {"customers": {"replication_key_value": "2020-01-01T00:00:00Z"}}}
    run = tap("--report", str(path), state=before, max_tries=1)
    assert run.code == 1
    page = Page(path)
    assert page.row("customers")[3] == "1"
    assert page.row("customers", "bookmark before")[2] == "2020-01-01T00:00:00Z"
    assert page.row("customers", "unfinished parts")[2] == "1"
    assert MEANINGS[1] in page.text
    assert "The API has failed (500)" in page.text


def test_a_run_that_does_not_begin_has_a_page_too(tap: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    assert tap("--report", str(path), password="canary-wrong").code == 1
    page = Page(path)
    assert "The log-in is refused" in page.text
    assert "canary" not in page.source
    assert tap("--report", str(path), api_url="ftp://nowhere").code == 1
    assert "api_url" in Page(path).text


def test_a_path_that_cannot_be_written_is_refused_before_anything_else(
    tap: Callable[..., Run], sandbox: Sandbox, tmp_path: Path
) -> None:
    for path in (tmp_path / "missing" / "run.html", tmp_path, tmp_path / ("x" * 300)):
        run = tap("--report", str(path))
        assert run.code == 1
        assert "--report" in run.stderr
        assert not run.messages
    assert sandbox.requests == []


def target(
    sandbox: Sandbox, folder: Path, *args: str, messages: list[Any], **config: Any
) -> subprocess.CompletedProcess[bytes]:
    path = folder / "config.json"
    group = next(g for g in sandbox.account.groups.values() if g.name == "Nobody yet")
    settings = sandbox.config | {
        "workspace_id": group.workspace_id,
        "customer_group": group.name,
        "column_map": {"Customer Ref": "ref", "First Name": "first_name"},
        "state_uri": str(folder / "state"),
    }
    path.write_text(json.dumps(settings | config))
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "target_nudgescribe", "--config", str(path), *args],
        input=b"".join(json.dumps(message).encode() + b"\n" for message in messages),
        capture_output=True,
        timeout=120,
        check=False,
    )


EVIL = "<script>alert('&\\\"')</script></title>"


def test_the_target_tells_every_outcome_and_nothing_of_an_account_is_taken_for_html(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "run.html"
    name = EVIL + '"\u0000\x1b'
    messages = [
        schema(name, **{"ref": {}, "first_name": {}, "birthday": {}, EVIL: {}}),
        row(1, name, birthday="canary"),
        row(2, name, birthday="1990-01-02"),
        row(2, name, birthday="1990-01-03"),
        row(3, name),
        state(),
    ]
    done = target(
        sandbox,
        tmp_path,
        *("--report", str(path)),
        messages=messages,
        customer_group=EVIL,
        create_missing_groups=True,
        create_missing_fields=True,
    )
    assert done.returncode == 3, done.stderr
    page = Page(path)
    shown = EVIL + '"' + r"\x00\x1b"
    assert page.row(shown)[1:5] == ["4", "2", "1", "1"]
    assert page.row("stream", "rows")[2:5] == ["sent", "merged", "invalid"]
    assert "4 = 2 sent + 1 merged + 1 invalid" in page.text
    assert page.row("not_a_date") == ["not_a_date", shown, "1"]
    assert f"field {EVIL} (string), group {EVIL}" in page.text
    assert "script" not in {tag for tag, _ in page.elements}
    assert "canary" not in page.source
    assert MEANINGS[3] in page.text


def test_a_dry_run_and_a_refused_stream_have_a_page(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    messages = [schema(), row(1)]
    done = target(sandbox, tmp_path, "--dry-run", "--report", str(path), messages=messages)
    assert done.returncode == 0, done.stderr
    page = Page(path)
    assert "dry run, nothing sent" in page.text
    assert page.row("people")[:3] == ["people", "1", "1"]
    done = target(sandbox, tmp_path, "--report", str(path), messages=messages, identifier="Nothing")
    assert done.returncode == 4
    assert MEANINGS[4] in Page(path).text


def test_an_interrupted_run_has_a_page_and_an_older_one_stands_until_it_is_whole(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(_: Any) -> None:
        reached.set()
        go_on.wait(60)

    sandbox.inject(Fault("list_customers", "change", then=hold))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(sandbox.config))
    path = tmp_path / "run.html"
    path.write_text("an older page")
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tap_nudgescribe", "--config", config, "--report", path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert reached.wait(60)
        assert path.read_text() == "an older page"
        process.send_signal(signal.SIGTERM)
        go_on.set()
        assert process.wait(60) == 143
    page = Page(path)
    assert "interrupted" in page.text
    assert page.row("workspaces", "not read")


def test_the_document_explains_the_exit_codes_that_a_page_knows() -> None:
    text = (ROOT / "docs/behaviour.md").read_text("utf-8")
    (table,) = re.findall(r"\| code \| of \|.*?\n\n", text, re.DOTALL)
    codes = " ".join(re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE))
    told = {int(code) for code in re.findall(r"\d+", codes)}
    assert told == MEANINGS.keys()


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.mark.skipif(BROWSER is None, reason="this machine has no Chromium")
def test_a_browser_shows_the_page(tap: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    tap("--report", str(path))
    picture = tmp_path / "run.png"
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
        *(f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1100,1400"),
    ]
    shown = subprocess.run(  # noqa: S603
        [*command, "--dump-dom", f"--screenshot={picture}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in shown.stderr
    assert "<title>tap-nudgescribe: complete</title>" in shown.stdout
    assert shown.stdout.count("<rect") == 16
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_a_page_is_written_through_no_link_and_takes_over_no_mode(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    path = tmp_path / "run.html"
    for planted in (path, unfinished(tmp_path / "run.html")):
        planted.symlink_to(target)
        report.ReportFile(str(path), "tap-nudgescribe", "1").write(0, report.RunReport())
        assert target.read_text() == "precious"
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not planted.is_symlink()
    path.chmod(0o666)
    report.ReportFile(str(path), "tap-nudgescribe", "1").write(0, report.RunReport())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_page_whose_file_was_exchanged_meanwhile_is_not_put_in_place(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    file = report.ReportFile(str(path), "tap-nudgescribe", "1")
    (part,) = tmp_path.iterdir()
    part.unlink()
    part.write_text("planted")
    file.write(0, report.RunReport())
    assert list(tmp_path.iterdir()) == []


def test_names_on_a_page_cannot_steer_it(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    stream = report.StreamReport(name="a\u202eb\x1b", rows=1, outcomes={})
    file = report.ReportFile(str(path), "tap-nudgescribe", "1")
    file.write(0, report.RunReport(streams=[stream]))
    text = path.read_text()
    assert "\u202e" not in text
    assert r"a\u202eb\x1b" in text
