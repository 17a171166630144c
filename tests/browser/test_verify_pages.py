# SPDX-License-Identifier: Apache-2.0
"""The pages of verify in a real browser: in light and dark, narrow and wide, and printed."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import verify_files

from tests.browser.chromium import Browser
from tests.verify_results import CHECKS, NOW, attacked, site

pytestmark = pytest.mark.soak

PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}
# WCAG 2: contrast of text to its background, level AA.
CONTRAST = 4.5
LOW_CONTRAST = """
(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map((c) => {
      const x = c / 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4 });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour }
    return 'rgb(255, 255, 255)' };
  const low = [];
  for (const node of document.body.querySelectorAll(':not(title)')) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())) continue;
    const style = getComputedStyle(node);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(colour), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < LIMIT) low.push([node.textContent.slice(0, 40), colour, ratio]) }
  return low })()
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: SONIC_PICTURES keeps them for a look."""
    kept = os.environ.get("SONIC_PICTURES")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file."""
    started = Browser(tmp_path_factory.mktemp("browser") / "profile")
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of four sites, and a file that is none."""
    made = tmp_path_factory.mktemp("results")
    (made / "rack9.json").write_text("{", encoding="utf-8")
    passing = tuple(check for check in CHECKS if check.verdict in ("pass", "skipped"))
    verify_files.write(made, site("rack2", passing, age=40), NOW)
    verify_files.write(made, site("rack3", passing + CHECKS[2:3]), NOW)
    verify_files.write(made, attacked(), NOW)
    verify_files.write(made, site(), NOW)
    return made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["rack1", "rack-evil", "index"])
def test_page(browser: Browser, folder: Path, pictures: Path, name: str, scheme: str) -> None:
    page = folder / f"{name}.html"
    browser.open(page, scheme)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == PAPER[scheme]
    assert browser.evaluate(LOW_CONTRAST.replace("LIMIT", str(CONTRAST))) == []
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("document.scripts.length + document.images.length") == 0
    picture = browser.screenshot(pictures / f"{name}-{scheme}.png")
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize("name", ["rack1", "rack-evil", "index"])
def test_nothing_is_wider_than_the_window(
    browser: Browser, folder: Path, pictures: Path, name: str, width: int
) -> None:
    browser.open(folder / f"{name}.html", "light", width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.screenshot(pictures / f"{name}-{width}.png")


def test_failed_checks_come_first(browser: Browser, folder: Path) -> None:
    browser.open(folder / "rack1.html", "light")
    badges: Any = browser.evaluate("[...document.querySelectorAll('.badge')].map(b => b.innerText)")
    assert badges == ["fail", "fail", "warn", "skipped"] + ["pass"] * 4
    plots: Any = browser.evaluate(
        "[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().height)"
    )
    assert len(plots) == 2
    assert min(plots) > 50


def test_links_of_the_index_lead_to_files(browser: Browser, folder: Path) -> None:
    browser.open(folder / "index.html", "light")
    addresses: Any = browser.evaluate("[...document.links].map(a => a.href)")
    files = [Path(address.removeprefix("file://")) for address in addresses]
    assert {file.name for file in files} >= {"rack1.html", "rack2.html", "calendar.ics"}
    assert [file for file in files if not file.exists()] == []


def test_it_prints_on_white(browser: Browser, folder: Path, pictures: Path) -> None:
    """Also for people whose screen is dark."""
    browser.open(folder / "rack1.html", "dark")
    answer = browser.call("Page.printToPDF", printBackground=True)
    document = base64.b64decode(answer["data"])
    (pictures / "rack1.pdf").write_bytes(document)
    assert document.startswith(b"%PDF")
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=[dark])
    shown = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shown == PAPER["light"]
    browser.screenshot(pictures / "rack1-print.png")
