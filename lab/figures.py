# SPDX-License-Identifier: Apache-2.0
"""Lines drawn as SVG, for a page that needs nothing else."""

from __future__ import annotations

from html import escape

COLOURS = ("#000000", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")


def figure(title: str, lines: dict[str, list[tuple[int, float]]]) -> str:
    """One figure as SVG, both axes from 0."""
    width, height, left, low = 560, 260, 60, 30
    right = max(x for line in lines.values() for x, _y in line)
    top = max(y for line in lines.values() for _x, y in line) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + x / right * (width - left - 90),
            height - low - y / top * (height - low - 30),
        )

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" font-family="sans-serif" font-size="11">'
            f'<text x="{left}" y="16">{escape(title)}, over streams at once</text>'
        )
    ]
    for share in (0.0, 0.5, 1.0):
        x, y = place(0, top * share)
        parts.append(f'<path d="M{x:.0f} {y:.1f}H{width - 90}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">')
        parts.append(f"{top * share:.0f}</text>")
    for x_value in {x for line in lines.values() for x, _y in line}:
        x, y = place(x_value, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{x_value}</text>')
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        x, y = place(*line[-1])
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(
            f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" fill="{colour}">B = {escape(name)}</text>'
        )
    return "".join([*parts, "</svg>"])
