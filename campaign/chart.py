"""Draw lines on logarithmic axes as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, HEIGHT, MARGIN, COLUMNS = 240, 180, 46, 3

COLOURS = ("#1b6ca8", "#c4572e", "#5a8f3c")


@dataclass(frozen=True)
class Line:
    """Points, both coordinates above 0, and what they are called."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines that share axes."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class _Axis:
    """From a power of ten to another, on some pixels."""

    low: int
    high: int
    pixels: int

    @classmethod
    def over(cls, values: Sequence[float], pixels: int) -> _Axis:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), pixels)

    def place(self, value: float) -> float:
        return (math.log10(value) - self.low) / (self.high - self.low) * self.pixels


def drawn(panels: Sequence[Panel]) -> str:
    """Return panels side by side as an SVG document."""
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (WIDTH + 2 * MARGIN), rows * (HEIGHT + 2 * MARGIN)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="11">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        left = number % COLUMNS * (WIDTH + 2 * MARGIN) + MARGIN
        top = number // COLUMNS * (HEIGHT + 2 * MARGIN) + MARGIN
        parts += [f'<g transform="translate({left} {top})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    across = _Axis.over([x for x, _ in points], WIDTH)
    up = _Axis.over([y for _, y in points], HEIGHT)
    yield f'<text x="0" y="-12" font-weight="bold">{escape(panel.title)}</text>'
    for power in range(across.low, across.high + 1):
        x = across.place(10**power)
        yield f'<path d="M{x:.1f} 0V{HEIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{_number(power)}</text>'
    for power in range(up.low, up.high + 1):
        y = HEIGHT - up.place(10**power)
        yield f'<path d="M0 {y:.1f}H{WIDTH}" stroke="#ddd"/>'
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{_number(power)}</text>'
    for number, line in enumerate(panel.lines):
        path = " ".join(f"{across.place(x):.1f},{HEIGHT - up.place(y):.1f}" for x, y in line.points)
        colour = COLOURS[number]
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield (
            f'<text x="{WIDTH - 4}" y="{HEIGHT - 8 - 14 * number}" text-anchor="end" '
            f'fill="{colour}">{escape(line.name)}</text>'
        )


def _number(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10**power:g}"
