"""Show a run on one page of HTML that needs nothing but itself.

Everything that comes from an account goes through an element tree, which escapes it: there is no
other way for a text into the page. The page has no script and may load nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import uuid
import xml.etree.ElementTree as ET
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tap_nudgescribe.errors import SettingsError
from tap_nudgescribe.printable import printable
from tap_nudgescribe.private_files import private_file, remove_leftovers, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MEANINGS = {
    0: "Everything selected was sent.",
    1: "Something failed. What could be sent was sent, and the state has not moved past the rest.",
    3: "More was refused than max_rejected_rows, max_rejected_percent and max_delete_… allow.",
    4: "A stream or its ledger was refused; the message says what of it was sent.",
    5: "The outcome of some rows is unknown. The next run sends them again.",
    130: "Interrupted. The last state is safe to go on from.",
    143: "Interrupted. The last state is safe to go on from.",
}
"""What an exit code says, to the operator."""

ENDINGS = {
    0: ("complete", "✓", "good"),
    3: ("rows refused", "!", "warn"),
    5: ("outcome unknown", "?", "warn"),
    130: ("interrupted", "‖", "warn"),
    143: ("interrupted", "‖", "warn"),
}
"""A word, a sign and a colour for an exit code; all others are failures."""

COLOURS = {
    "sent": ("#1f7a4d", "#4cc38a"),
    "unchanged": ("#7b8794", "#8b98a8"),
    "merged": ("#3f6fb0", "#7aa7e8"),
    "deleted": ("#6f4bb2", "#b095ef"),
    "planned": ("#0b7285", "#5cc5d6"),
    "invalid": ("#b35c00", "#f0a04b"),
    "rejected": ("#b3261e", "#ff8a80"),
    "failed": ("#8a1c4a", "#ff8ab5"),
    "unknown": ("#6b5900", "#e2c541"),
}
"""Of each outcome, on light and on dark ground. Beside a colour there is always its word."""

SHOWN = 50
"""Reasons and messages on a page, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamReport:
    """What became of one stream.

    Attributes:
        name: The stream.
        rows: How many were read.
        outcomes: How many ended in each outcome; they add up to the rows.
        seconds: How long it took.
        bytes: What was written or sent of it.
        failed: Parts that failed; None where there are no parts.
        reasons: How many rows were refused for each code.
        facts: Further figures, by what they are.
    """

    name: str
    rows: int
    outcomes: Mapping[str, int]
    seconds: float = 0
    bytes: int = 0
    failed: int | None = None
    reasons: Mapping[str, int] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a plugin has to tell of a run.

    Attributes:
        run_id: Names it.
        streams: In the order of the run.
        facts: Further figures.
    """

    run_id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex[:16])
    streams: Sequence[StreamReport] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """What is known of any run.

    Attributes:
        plugin: Name and version of the plugin.
        began: When.
        seconds: How long it took.
        exit_code: How it ended.
        messages: Warnings and errors, as they were logged.
    """

    plugin: str
    began: datetime
    seconds: float
    exit_code: int
    messages: Sequence[str] = ()


class ReportFile:
    """The file that a report goes to, and what is to be told in it when a run ends.

    Args:
        path: Where; an existing file is replaced when the new one is whole.
        plugin: Name of the plugin, whose warnings and errors are gathered from now on.
        version: Its version.

    Raises:
        SettingsError: when nothing can be written there.
    """

    def __init__(self, path: str, plugin: str, version: str) -> None:
        """Make sure that the page can be written, before anything is read or sent."""
        self._plugin = plugin
        self._version = version
        self._path = Path(path)
        self._part = unfinished(self._path)
        self._began = datetime.now(UTC)
        self._heard = _Heard()
        for name in (plugin, "tap_nudgescribe", "target_nudgescribe"):
            logging.getLogger(name).addHandler(self._heard)
        try:
            if self._path.is_dir():
                raise IsADirectoryError
            remove_leftovers(self._path.parent)
            self._file = private_file(self._part)
        except (OSError, ValueError) as error:
            problem = f"The report cannot be written ({type(error).__name__})"
            advice = "Name a file in a folder that exists and is writable with --report."
            raise SettingsError(problem, advice=advice) from None

    def write(self, exit_code: int, report: RunReport) -> None:
        """Write the page whole, or leave what was there."""
        frame = Frame(
            plugin=f"{self._plugin} {self._version}",
            began=self._began,
            seconds=(datetime.now(UTC) - self._began).total_seconds(),
            exit_code=exit_code,
            messages=self._heard.texts,
        )
        try:
            with self._file as file:
                file.write(page(frame, report).encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
                written = os.fstat(file.fileno())
                if not os.path.samestat(written, self._part.lstat()):
                    raise FileExistsError
            self._part.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                self._part.unlink()
            # The run is over, and how it ended must not depend on this.
            logger = logging.getLogger(self._plugin)
            logger.error("No report was written (%s)", type(error).__name__)  # noqa: TRY400


class _Heard(logging.Handler):
    """Keeps the first warnings and errors; none of them holds a secret or a customer's value."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < SHOWN:
            self.texts.append(f"{record.levelname.lower()}: {record.getMessage()}")


def page(frame: Frame, report: RunReport) -> str:
    """Return a report as HTML."""
    word, sign, colour = ENDINGS.get(frame.exit_code, ("failed", "✗", "bad"))
    meaning = MEANINGS.get(frame.exit_code, MEANINGS[1])
    main = _e(
        "main",
        _e(
            "header",
            _e("p", frame.plugin, class_="over"),
            _e("h1", "Run ", _e("code", report.run_id)),
            _e("p", _e("span", f"{sign} {word}", class_=f"badge {colour}")),
            _e("p", _e("strong", f"Exit code {frame.exit_code}. "), meaning),
            _figures(frame, report),
        ),
        *_outcomes(report.streams),
        *_reasons(report.streams),
        *_messages(frame.messages),
        *_streams(report.streams),
        _e("footer", "Names and numbers only: no value of a customer is on this page."),
    )
    head = _e(
        "head",
        _e("meta", charset="utf-8"),
        _e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _e("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        _e("meta", name="color-scheme", content="light dark"),
        _e("title", f"{frame.plugin.partition(' ')[0]}: {word}"),
        _e("style", _style()),
    )
    html = _e("html", head, _e("body", main), lang="en")
    return "<!DOCTYPE html>\n" + ET.tostring(html, encoding="unicode", method="html") + "\n"


def _figures(frame: Frame, report: RunReport) -> ET.Element:
    streams = report.streams
    figures = {
        "rows": _number(sum(stream.rows for stream in streams)),
        "streams": _number(len(streams)),
        "began": f"{frame.began:%Y-%m-%d %H:%M:%S} UTC",
        "took": _duration(frame.seconds),
        **report.facts,
    }
    if failed := sum(stream.failed or 0 for stream in streams):
        figures["failed parts"] = _number(failed)
    pairs = [_e("div", _e("dt", name), _e("dd", value)) for name, value in figures.items()]
    return _e("dl", *pairs, class_="figures")


def _outcomes(streams: Sequence[StreamReport]) -> Iterable[ET.Element]:
    """Yield the chart of outcomes: a bar a stream, as long as its rows are many."""
    names = [name for name in COLOURS if any(stream.outcomes.get(name) for stream in streams)]
    if not names:
        return
    most = max(stream.rows for stream in streams)
    bars = []
    for stream in streams:
        told = " + ".join(f"{_number(n)} {name}" for name, n in stream.outcomes.items() if n)
        segments: list[tuple[str, float]] = []
        for name in names:
            share = 100 * stream.outcomes.get(name, 0) / most
            if share:
                segments.append((name, share))
        bars.append((stream.name, segments, f"{_number(stream.rows)} = {told}" if told else "0"))
    legend = [_e("li", _e("i", class_=f"key c-{name}", aria_hidden="true"), name) for name in names]
    yield _e(
        "section",
        _e("h2", "Outcomes"),
        _e("ul", *legend, class_="legend", aria_label="Colours of the outcomes"),
        _bars("What became of the rows of each stream", bars),
    )


def _streams(streams: Sequence[StreamReport]) -> Iterable[ET.Element]:
    if not streams:
        yield _e("section", _e("h2", "Streams"), _e("p", "The run did not come to any stream."))
        return
    outcomes = [name for name in COLOURS if any(stream.outcomes.get(name) for stream in streams)]
    parts = ["failed parts"] if any(stream.failed is not None for stream in streams) else []
    heads = ["stream", "rows", *outcomes, *parts, "size", "took", "rows/s"]
    rows = [
        [
            stream.name,
            _number(stream.rows),
            *(_number(stream.outcomes.get(name, 0)) for name in outcomes),
            *(_number(stream.failed or 0) for _ in parts),
            _size(stream.bytes),
            _duration(stream.seconds),
            _number(round(stream.rows / stream.seconds)) if stream.seconds else "",
        ]
        for stream in streams
    ]
    yield _e(
        "section",
        _e("h2", "Streams"),
        _table("Rows by outcome, size and speed of each stream", heads, rows),
    )
    longest = max(stream.seconds for stream in streams)
    if longest:
        bars = [
            (s.name, [("time", 100 * s.seconds / longest)], _duration(s.seconds)) for s in streams
        ]
        yield _e("section", _e("h2", "Time"), _bars("How long each stream took", bars))
    facts = [[s.name, what, value] for s in streams for what, value in s.facts.items()]
    if facts:
        table = _table("Further figures of each stream", ["stream", "figure", "value"], facts)
        table.set("class", "scroll words")
        yield _e("section", _e("h2", "Details"), table)


def _reasons(streams: Sequence[StreamReport]) -> Iterable[ET.Element]:
    found = [(n, s.name, code) for s in streams for code, n in s.reasons.items()]
    if not found:
        return
    rows = [[code, name, _number(n)] for n, name, code in sorted(found, reverse=True)[:SHOWN]]
    table = _table("Rows by reason, the most frequent first", ["reason", "stream", "rows"], rows)
    table.set("class", "scroll words")
    yield _e(
        "section",
        _e("h2", "Why rows were refused"),
        table,
        _e("p", "A row may have several reasons. The rejects name every row.", class_="note"),
    )


def _messages(messages: Sequence[str]) -> Iterable[ET.Element]:
    if messages:
        items = [_e("li", text) for text in messages]
        yield _e("section", _e("h2", "Warnings and errors"), _e("ol", *items, class_="messages"))


Bar = tuple[str, "list[tuple[str, float]]", str]


def _bars(title: str, bars: Sequence[Bar]) -> ET.Element:
    """Return a chart of bars, each between its name and its figures."""
    shown = []
    for name, segments, told in bars:
        drawn = []
        x = 0.0
        for colour, share in segments:
            drawn.append(
                _e(
                    "rect",
                    _e("title", f"{name}: {told}"),
                    class_=f"f-{colour}",
                    x=f"{x:.3f}%",
                    y="0",
                    width=f"{max(share, 0.2):.3f}%",
                    height="100%",
                )
            )
            x += share
        picture = _e("svg", *drawn, width="100%", height="16", aria_hidden="true")
        shown.append(_e("li", _e("span", name, class_="name"), picture, _e("span", told)))
    return _e("figure", _e("figcaption", title), _e("ul", *shown, class_="bars"))


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> ET.Element:
    head = _e("tr", *(_e("th", text, scope="col") for text in heads))
    body = [
        _e("tr", _e("th", first, scope="row"), *(_e("td", text) for text in rest))
        for first, *rest in rows
    ]
    table = _e("table", _e("caption", caption), _e("thead", head), _e("tbody", *body))
    return _e("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _e(tag: str, *content: str | ET.Element, **attributes: str) -> ET.Element:
    """Return an element; ``class_`` and ``aria_label`` are the attributes class and aria-label."""
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    element = ET.Element(tag, {names[name]: _sound(text) for name, text in attributes.items()})
    for part in content:
        if isinstance(part, ET.Element):
            element.append(part)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + _sound(part)
        else:
            element.text = (element.text or "") + _sound(part)
    return element


def _sound(text: str) -> str:
    """Return a text with unprintable characters escaped: a page must not be steered by a name."""
    return printable(text, keep="\n\t")


def _number(value: int) -> str:
    return f"{value:,}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 (SI prefixes)
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.2f} s"
    return str(timedelta(seconds=round(seconds)))


def _style() -> str:
    light = [f"--{name}:{colours[0]}" for name, colours in COLOURS.items()]
    dark = [f"--{name}:{colours[1]}" for name, colours in COLOURS.items()]
    fills = [f".f-{name}{{fill:var(--{name})}}" for name in COLOURS]
    keys = [f".c-{name}{{background:var(--{name})}}" for name in COLOURS]
    return _STYLE.replace("/*light*/", ";".join(light)).replace("/*dark*/", ";".join(dark)) + (
        "".join(fills + keys)
    )


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The page loads nothing and runs nothing, whatever is in it."""

_STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--paper:#fff;--ink:#1b2430;--soft:#566173;
--line:#dde2ea;--good:#1f7a4d;--warn:#8a5a00;--bad:#b3261e;--time:#3f6fb0;/*light*/}
@media (prefers-color-scheme:dark){:root{--ground:#11151b;--paper:#1a2029;--ink:#e7ebf1;
--soft:#a3aebd;--line:#303947;--good:#4cc38a;--warn:#f0b04b;--bad:#ff8a80;--time:#7aa7e8;/*dark*/}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:68rem;margin:0 auto;padding:2rem 1rem}
header,section{background:var(--paper);border:1px solid var(--line);border-radius:12px;
padding:1.25rem 1.5rem;margin:0 0 1rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}
h2{font-size:1.1rem;margin:0 0 .75rem}
p{margin:.25rem 0}
.over,.note,footer,figcaption,caption{color:var(--soft);font-size:.875rem}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.badge{display:inline-block;padding:.2rem .75rem;border-radius:99px;border:2px solid currentColor;
font-weight:650}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.figures{display:flex;flex-wrap:wrap;gap:.75rem 2.5rem;margin:1rem 0 0}
dt{color:var(--soft);font-size:.8rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
figure{margin:0}
ul{list-style:none;padding:0;margin:0}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:0 0 .75rem;font-size:.9rem}
.key{display:inline-block;width:.8rem;height:.8rem;border-radius:3px;margin-right:.4rem}
.bars li{display:grid;grid-template-columns:minmax(7rem,13rem) 1fr minmax(5rem,17rem);gap:0 1rem;
align-items:center;padding:.4rem 0;border-top:1px solid var(--line)}
.bars li>span:last-child{color:var(--soft);font-size:.875rem}
.bars svg{display:block;border-radius:4px;background:var(--ground)}
.name{font-weight:600;overflow-wrap:anywhere}
.f-time{fill:var(--time)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.5rem}
th,td{padding:.4rem .75rem .4rem 0;text-align:right;border-top:1px solid var(--line);
white-space:nowrap;vertical-align:top}
thead th{border-top:0;color:var(--soft);font-size:.8rem;font-weight:600}
th:first-child,.words th,.words td{text-align:left}
.words td{white-space:normal;overflow-wrap:anywhere}
tbody th{font-weight:600;white-space:normal;overflow-wrap:break-word;min-width:9rem}
.messages{margin:0;padding-left:1.5rem;overflow-wrap:anywhere;white-space:pre-wrap;font-size:.9rem}
.messages li{padding:.2rem 0}
footer{text-align:center}
@media (max-width:40rem){.bars li{grid-template-columns:1fr}}
@media print{body{background:#fff}main{max-width:none;padding:0}
header,section{border:0;border-bottom:1px solid #ccc;border-radius:0;padding:.75rem 0;
break-inside:avoid}
.bars svg,.key,.badge{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
