# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the figures of a check as small plots: inline SVG in the colours of the page."""

from __future__ import annotations

from html import escape as escaped
from statistics import median

from ansible_collections.baremetal.sonic.plugins.module_utils._speech.report import ceiling, shown
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import Figure

from .verify_results import printable

WIDTH, HEIGHT = 320, 96
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 12, 10
# More points run into each other.
MAX_DOTS = 60


def _text(text: str) -> str:
    return escaped(printable(text))


def amount(value: float, unit: str) -> str:
    """Return a readable value in the unit of a figure."""
    if unit == "ms":
        return shown(value / 1000, "s")
    if unit in ("", "s", "bytes", "percentunit"):
        return shown(value, unit)
    return f"{shown(value, '')} {unit}"


def plot(figure: Figure) -> str:
    """Return a figure with its caption and limit. Its name and unit may hold any text."""
    points, limit, unit = figure.points, figure.limit, figure.unit
    if points[1:]:
        summary = (
            f"{len(points)} values, median {amount(median(points), unit)},"
            f" greatest {amount(max(points), unit)}"
        )
    else:
        summary = amount(points[0], unit) if points else "no values"
    if limit is not None:
        summary += f", limit {amount(limit, unit)}"
    caption = f"<figcaption>{_text(figure.name)}</figcaption>"
    note = f'<div class="why">{_text(summary)}</div>'
    return f"<figure>{caption}{_drawing(figure) if points else ''}{note}</figure>"


def _drawing(figure: Figure) -> str:
    points, limit = figure.points, figure.limit
    top = ceiling(max([*points, *([limit] if limit is not None else [])]))
    # Points lie in the middle of their columns, so that a single one is in the middle of the plot.
    column = (WIDTH - LEFT - RIGHT) / len(points)

    def height(value: float) -> float:
        return HEIGHT - BOTTOM - min(max(value, 0) / top, 1) * (HEIGHT - TOP - BOTTOM)

    places = [(LEFT + (n + 0.5) * column, height(value)) for n, value in enumerate(points)]
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{_text(figure.name)}</title>")
    for value in (0.0, top):
        y = height(value)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>')
        text = _text(amount(value, figure.unit))
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    if places[1:]:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="values" points="{path}"/>')
    if len(places) <= MAX_DOTS:
        for (x, y), value in zip(places, points, strict=True):
            beyond = limit is not None and value > limit
            kind = "dot beyond" if beyond else "dot"
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    if limit is not None:
        y = height(limit)
        parts.append(f'<line class="limit" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="limit-text" x="{WIDTH}" y="{y - 3:.1f}" text-anchor="end">limit</text>'
        )
    return "".join([*parts, "</svg>"])
