# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.report import (
    Panel,
    Section,
    Series,
    ceiling,
    chart,
    figure,
    legend,
    page,
    shown,
)

START, END = 1_800_000_000.0, 1_800_003_600.0


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """The points of each drawn line."""
    texts = []
    for node in ET.fromstring(svg).iter("polyline"):
        pairs = (pair.split(",") for pair in node.attrib["points"].split())
        texts.append([(float(x), float(y)) for x, y in pairs])
    return texts


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "percentunit", "25 %"),
        (0.0123, "s", "12.3 ms"),
        (3.5, "s", "3.5 s"),
        (90 * 86400, "s", "90 days"),
        (2.5e9, "bytes", "2.5 GB"),
        (1200, "Bps", "1.2 kB/s"),
        (3, "reqps", "3 /s"),
        (0, "short", "0"),
    ],
)
def test_values_are_for_people(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("value", "end"), [(0, 1), (0.3, 0.5), (1, 1), (2.1, 2.5), (7, 10), (180, 200)]
)
def test_axis_ends_at_a_round_number(value: float, end: float) -> None:
    assert ceiling(value) == pytest.approx(end)


def test_legend_takes_values_of_labels() -> None:
    assert legend("{{pod}} in {{ zone }}{{missing}}", {"pod": "a", "zone": "b"}) == "a in b"


def test_lines_are_where_their_values_are() -> None:
    series = Series("x", [(START, 0.0), ((START + END) / 2, 5.0), (END, 10.0)])
    [(first, middle, last)] = lines(chart(Panel("t", "short", series=[series]), START, END))
    assert first[0] < middle[0] < last[0]
    assert first[1] > middle[1] > last[1], "more is further up"
    assert middle[0] - first[0] == pytest.approx(last[0] - middle[0], abs=0.2)
    assert first[1] - middle[1] == pytest.approx(middle[1] - last[1], abs=0.2)


def test_a_gap_stays_a_gap() -> None:
    points = [(START, 1.0), (START + 60, 1.0), (START + 120, math.nan), (START + 180, 1.0)]
    drawn = lines(chart(Panel("t", "short", series=[Series("x", points)]), START, END))
    assert [len(line) for line in drawn] == [2, 1]


def test_figure_lists_the_greatest_and_says_what_it_leaves_out() -> None:
    series = [Series(f"pod-{n}", [(START, float(n))]) for n in range(20)]
    text = figure(Panel("Pods", "short", series=series), START, END)
    assert "pod-19" in text
    assert "pod-0<" not in text
    assert "8 more are not drawn" in text


def test_missing_measurements_are_reported() -> None:
    assert "No measurements" in figure(Panel("t", "s"), START, END)
    nothing = Panel("t", "s", series=[Series("x", [(START, math.nan)])])
    assert "No measurements" in figure(nothing, START, END)
    assert "out of reach" in figure(Panel("t", "s", problem="out of reach"), START, END)


def test_page_holds_all_it_needs_and_no_markup_of_others() -> None:
    evil = "<script>alert(1)</script>"
    panel = Panel(evil, "short", evil, [Series(evil, [(START, 1.0), (END, 2.0)])])
    text = page(evil, [Section(evil, [panel])], [("critical", evil)], START, END)
    assert "<script" not in text
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert "2027-01-15 08:00" in text


def test_page_without_alerts_says_so() -> None:
    assert "None." in page("t", [], [], START, END)
