# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Draws what Prometheus measured as one HTML page: inline SVG, no script, nothing to fetch.

Pure functions; the module site_report brings the measurements.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

WIDTH, HEIGHT = 560, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 10, 24
# Told apart also by eyes that do not tell red from green (Okabe and Ito), and by the dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("", "6 3", "2 3")
# More lines than these tell nothing: the ones with the greatest values are drawn.
MAX_SERIES = 12

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  margin: 2rem auto; max-width: 1180px; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.panels { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)) }
figure { margin: 0; border: 1px solid #ccc; border-radius: 4px; padding: .6rem }
figcaption { font-weight: 600 }
.why { color: #555; font-size: .85rem }
svg { width: 100%; height: auto }
text { font: 11px system-ui, sans-serif; fill: #555 }
table { border-collapse: collapse; font-size: .85rem; width: 100% }
td, th { text-align: right; padding: 0 .4rem }
td:first-child, th:first-child { text-align: left }
.bad { color: #b00020; font-weight: 600 }
.none { color: #555 }
"""


@dataclass(frozen=True)
class Series:
    """One line: its name, and (seconds since 1970, value) in order of time."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def values(self) -> list[float]:
        """The values that are numbers: a quantile of nothing is none."""
        return [value for _when, value in self.points if math.isfinite(value)]


@dataclass(frozen=True)
class Panel:
    """One figure. problem: why it has no series, if that is not just that nothing happened."""

    title: str
    unit: str
    description: str = ""
    series: Sequence[Series] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class Section:
    """Figures under one heading."""

    title: str
    panels: Sequence[Panel]


def legend(template: str, labels: Mapping[str, str]) -> str:
    """A series' name from a legend in Grafana's notation: {{label}} stands for its value."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)


def shown(value: float, unit: str) -> str:
    """A value for people, in one of Grafana's units."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return _seconds(value)
    suffix = {"bytes": "B", "Bps": "B/s", "reqps": "/s", "ops": "/s", "mps": "/s"}.get(unit, "")
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {prefix}{suffix}"
    return f"{value:.3g} {suffix}".rstrip()


def _seconds(value: float) -> str:
    if abs(value) >= 2 * 86400:
        return f"{value / 86400:.0f} days"
    if abs(value) >= 120:
        return f"{value / 60:.0f} min"
    return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"


def ceiling(value: float) -> float:
    """The end of an axis from 0: the least of 1, 2, 2.5 and 5 times a power of ten over value."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999)


def chart(panel: Panel, start: float, end: float) -> str:
    """A panel's lines as SVG, from 0 up, over the time from start to end (seconds since 1970)."""
    top = ceiling(max((max(line.values) for line in panel.series if line.values), default=0.0))

    def place(when: float, value: float) -> str:
        x = LEFT + (when - start) / max(end - start, 1) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - max(value, 0) / top * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{escape(panel.title)}</title>")
    for step in range(5):
        value = top * step / 4
        x, y = place(start, value).split(",")
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">'
            f"{escape(shown(value, panel.unit))}</text>"
        )
    for step, anchor in enumerate(("start", "middle", "end")):
        when = start + (end - start) * step / 2
        x = place(when, 0).split(",")[0]
        clock = datetime.fromtimestamp(when, UTC).strftime("%H:%M")
        parts.append(f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">{clock}</text>')
    for number, line in enumerate(panel.series):
        for run in _runs(line.points):
            path = " ".join(place(when, value) for when, value in run)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke-width="1.6"'
                f' stroke="{_colour(number)}" stroke-dasharray="{_dash(number)}"/>'
            )
    return "".join([*parts, "</svg>"])


def _runs(points: Iterable[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The stretches without a value that is no number."""
    runs: list[list[tuple[float, float]]] = [[]]
    for when, value in points:
        if math.isfinite(value):
            runs[-1].append((when, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _dash(number: int) -> str:
    return DASHES[number // len(COLOURS) % len(DASHES)]


def figure(panel: Panel, start: float, end: float) -> str:
    """A panel with its title, its lines, and a table of their last and greatest values."""
    text = [f"<figure><figcaption>{escape(panel.title)}</figcaption>"]
    if panel.description:
        text.append(f'<div class="why">{escape(panel.description)}</div>')
    ranked = sorted(panel.series, key=lambda line: -max(line.values, default=-math.inf))
    kept = ranked[:MAX_SERIES]
    if panel.problem:
        text.append(f'<p class="bad">{escape(panel.problem)}</p>')
    elif not any(line.values for line in kept):
        text.append('<p class="none">No measurements in this time.</p>')
    else:
        drawn = Panel(panel.title, panel.unit, panel.description, kept)
        text.append(chart(drawn, start, end))
        text.append("<table><tr><th></th><th>last</th><th>greatest</th></tr>")
        for number, line in enumerate(kept):
            last, most = (
                (shown(line.values[-1], panel.unit), shown(max(line.values), panel.unit))
                if line.values
                else ("-", "-")
            )
            mark = (
                f'<svg viewBox="0 0 22 8" style="width:22px"><line x1="0" y1="4" x2="22" y2="4"'
                f' stroke="{_colour(number)}" stroke-width="2"'
                f' stroke-dasharray="{_dash(number)}"/></svg>'
            )
            text.append(
                f"<tr><td>{mark} {escape(line.name)}</td><td>{last}</td><td>{most}</td></tr>"
            )
        text.append("</table>")
        if len(ranked) > MAX_SERIES:
            text.append(f'<p class="why">{len(ranked) - MAX_SERIES} more are not drawn.</p>')
    return "".join([*text, "</figure>"])


def page(
    title: str,
    sections: Iterable[Section],
    alerts: Sequence[tuple[str, str]],
    start: float,
    end: float,
) -> str:
    """The whole page. alerts: severity and text of each that fires now."""
    clock = "%Y-%m-%d %H:%M"
    span = " to ".join(datetime.fromtimestamp(when, UTC).strftime(clock) for when in (start, end))
    text = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{span} (UTC)</p><h2>Alerts that fire</h2>",
    ]
    if alerts:
        rows = (f'<li><span class="bad">{escape(s)}</span> {escape(t)}</li>' for s, t in alerts)
        text.append(f"<ul>{''.join(rows)}</ul>")
    else:
        text.append('<p class="none">None.</p>')
    for section in sections:
        panels = "".join(figure(panel, start, end) for panel in section.panels)
        text.append(f'<h2>{escape(section.title)}</h2><div class="panels">{panels}</div>')
    return "".join([*text, "</body></html>\n"])
