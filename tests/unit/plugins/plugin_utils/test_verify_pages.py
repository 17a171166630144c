# SPDX-License-Identifier: Apache-2.0
"""The pages of verify: nothing to load, no script, every text escaped, failed checks first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import Figure
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_calendar import entries
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_pages import (
    DOCS,
    index_page,
    site_page,
)
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_plots import amount, plot
from ansible_collections.baremetal.sonic.plugins.plugin_utils.verify_results import Site

from tests.verify_results import EVIL, NOW, attacked, site

VOID = {"meta", "br"}
# SVG's own shapes have no content here.
SHAPES = {"line", "polyline", "circle"}
ALLOWED = VOID | SHAPES | set(
    "html head title style body h1 h2 p a b span div code table tr th td figure figcaption"
    " svg text footer".split()
)  # fmt: skip


class Page(HTMLParser):
    """Reads a page: elements are nested rightly and known, and nothing is loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "srcset", "action", "data", "background"), name
            if name == "href":
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        elif data.strip():
            self.texts.append(data)


def page_of(result: Site) -> Page:
    return Page(site_page(result, entries([result])))


def index_of(*sites: Site, unreadable: dict[str, str] | None = None) -> Page:
    return Page(index_page(sites, unreadable or {}, entries(sites), NOW))


@pytest.mark.parametrize("page", [page_of(site()), page_of(attacked()), index_of(attacked())])
def test_nothing_is_loaded(page: Page) -> None:
    assert "url(" not in page.style
    assert "@import" not in page.style
    for link in page.links:
        assert link.startswith(f"{DOCS}/") or re.fullmatch(r"[\w.-]+\.(html|json|xml|ics)", link)


def test_texts_are_shown_and_not_run() -> None:
    shown = EVIL.replace("\x1b", "\ufffd")
    assert page_of(attacked()).texts.count(shown) >= 6
    assert [text for text in index_of(attacked()).texts if shown in text]


def test_a_runbook_is_a_page_of_the_documentation() -> None:
    assert f"{DOCS}/runbooks/SpeechSlowFirstAudio.md" in page_of(site()).links
    [link] = [link for link in page_of(attacked()).links if link.startswith("https:")]
    assert link.startswith(f"{DOCS}/javascript%3A%3Cscript")


def test_a_page_begins_with_the_verdict_and_what_failed() -> None:
    texts = page_of(site()).texts
    start = texts.index("All sites")
    assert texts[start + 1 : start + 3] == ["rack1 ", "fail"]
    titles = ["Failed", "Warnings", "Skipped", "Passed", "What ends", "Versions"]
    assert [text for text in texts if text in titles] == titles


def test_a_page_has_light_and_dark_and_prints() -> None:
    style = page_of(site()).style
    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert "@media print" in style


def test_what_ended_and_what_ends_soon() -> None:
    result = replace(site(), at="2027-07-01T00:00:00Z")
    texts = page_of(result).texts
    assert texts.count("ended") == 2
    assert "397 days" in texts
    assert "11 days" in page_of(site()).texts


def test_the_index_shows_each_site_and_the_next_end() -> None:
    passing = tuple(check for check in site().checks if check.verdict == "pass")
    page = index_of(site("b", passing), site("a"), unreadable={"c.json": "no JSON: <b>"})
    assert {"a.html", "b.html", "calendar.ics", "calendar.json"} <= set(page.links)
    texts = page.texts
    order = [text for text in texts if text in ("unreadable", "fail", "pass")]
    assert order == ["unreadable", "fail", "pass"]
    assert "c.json" in texts
    assert [text for text in texts if "cannot be read: no JSON: <b>" in text]
    assert [text for text in texts if "certificate of speech.example.com," in text]


@pytest.mark.parametrize(("hours", "stale"), [(23, False), (25, True)])
def test_the_index_marks_results_older_than_a_day(hours: int, stale: bool) -> None:
    assert ("older than a day" in index_of(site(age=hours)).texts) is stale


def test_the_index_shows_where_versions_differ() -> None:
    other = replace(site("b"), versions={"kubernetes": "1.37.0", "images": {"api": "sha256:1"}})
    texts = index_of(site("a"), other).texts
    assert texts.count("differs") == 2
    assert '{"api": "sha256:1"}' in texts
    assert "differs" not in index_of(site("a"), site("b")).texts


def test_an_index_without_results() -> None:
    texts = index_of().texts
    assert "No check reported anything that ends." in texts


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.14, "s", "140 ms"),
        (1500, "ms", "1.5 s"),
        (3, "", "3"),
        (12, "streams", "12 streams"),
        (2e9, "bytes", "2 GB"),
        (0.5, "percentunit", "50 %"),
    ],
)
def test_amounts(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_a_plot_has_its_points_and_its_limit() -> None:
    drawn = plot(Figure("f", "s", (0.1, 0.2, 0.4), 0.3))
    assert drawn.count("<circle") == 3
    assert drawn.count("dot beyond") == 1
    assert 'class="limit"' in drawn
    assert "3 values, median 200 ms, greatest 400 ms, limit 300 ms" in drawn


@pytest.mark.parametrize(
    "points", [(), (1.0,), (0.0, 0.0), (-1.0, 5.0), tuple(map(float, range(500)))]
)
def test_plots_stay_in_their_frame(points: tuple[float, ...]) -> None:
    drawn = plot(Figure("f", "", points))
    Page(drawn)
    assert 'class="limit"' not in drawn
    for pair in re.findall(r'points="([^"]*)"', drawn):
        for place in pair.split():
            x, y = map(float, place.split(","))
            assert 0 <= x <= 320
            assert 0 <= y <= 96
