# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a site, and the index of all sites: HTML without scripts, with nothing to load."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import quote

from ansible_collections.baremetal.sonic.plugins.module_utils._speech.report import STYLE
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
    Check,
)

from .verify_calendar import Entry
from .verify_plots import plot
from .verify_results import (
    URGENCY,
    Site,
    counts,
    instant,
    printable,
    timestamp,
    urgent_first,
)

DOCS = "https://github.com/baremetal-sonic/baremetal.sonic/blob/main/docs"
# An older result says little about the site.
STALE = timedelta(days=1)
SOON = timedelta(days=14)
TITLES = {FAIL: "Failed", WARN: "Warnings", SKIPPED: "Skipped", PASS: "Passed"}
CALENDARS = (
    '<p class="why">For a calendar: <a href="calendar.ics">calendar.ics</a>,'
    ' <a href="calendar.json">calendar.json</a>.</p>'
)

# After the style of the report (site_report).
OWN_STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --paper: #fff; --faint: #555; --rule: #ccc;
  --grid: #ddd; --link: #0057a8; --values: #0072b2;
  --fail: #b00020; --warn: #8a5a00; --pass: #00694a; --skipped: #555; --on: #fff }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e6e6e6; --paper: #16181b; --faint: #a8adb3; --rule: #3d4248; --grid: #30353a;
    --link: #7db8f0; --values: #56b4e9;
    --fail: #ff8a8f; --warn: #f0b429; --pass: #4fd1a5; --skipped: #a8adb3; --on: #16181b }
}
body { color: var(--text); background: var(--paper); max-width: 1000px; overflow-wrap: anywhere }
a { color: var(--link) }
h1 { display: flex; gap: .75rem; align-items: center; flex-wrap: wrap; margin: .5rem 0 }
.why, .none, text { color: var(--faint); fill: var(--faint) }
.badge { display: inline-block; box-sizing: border-box; min-width: 4.6rem; padding: .05rem .5rem;
  border-radius: 4px; font-size: .8rem; font-weight: 600; text-align: center; white-space: nowrap;
  background: var(--skipped); color: var(--on); print-color-adjust: exact;
  -webkit-print-color-adjust: exact }
.badge.fail { background: var(--fail) }
.badge.warn { background: var(--warn) }
.badge.pass { background: var(--pass) }
h1 .badge { font-size: 1.2rem; padding: .1rem .8rem }
.check { display: grid; grid-template-columns: 5.4rem minmax(0, 1fr); padding: .5rem 0;
  border-top: 1px solid var(--rule); break-inside: avoid }
.check p { margin: .15rem 0 0; white-space: pre-line }
.check code { color: var(--faint); font-size: .85em; margin-left: .4rem }
.check .do { font-weight: 600 }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: .5rem }
figure { border-color: var(--rule); width: 320px; max-width: 100%; box-sizing: border-box;
  break-inside: avoid }
figcaption { font-size: .85rem }
.grid { stroke: var(--grid) }
.values { fill: none; stroke: var(--values); stroke-width: 1.6 }
.dot { fill: var(--values) }
.dot.beyond { fill: var(--fail) }
.limit { stroke: var(--fail); stroke-dasharray: 6 3 }
.limit-text { fill: var(--fail) }
.wide { overflow-x: auto; overflow-wrap: break-word }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-top: 1px solid var(--rule) }
th { border-top: 0; color: var(--faint); font-weight: 600 }
tr { break-inside: avoid }
.date { white-space: nowrap; font-variant-numeric: tabular-nums }
.soon { color: var(--warn); font-weight: 600 }
.past { color: var(--fail); font-weight: 600 }
footer { margin-top: 2rem; color: var(--faint); font-size: .85rem }
@media print { html, body { font-size: 12px } body { margin: 0; max-width: none } }
"""


def site_page(site: Site, lines: Sequence[Entry]) -> str:
    """Return the page of a site. lines: its part of the calendar."""
    took = f", in {site.seconds:g} s" if site.seconds else ""
    body = [
        '<p><a href="index.html">All sites</a></p>',
        f"<h1>{_text(site.name)} {_badge(site.verdict)}</h1>",
        f"<p>{_text(counts(site))}. Checked on {_moment(site.at)}{took}.</p>",
    ]
    ordered = urgent_first(site.checks)
    for verdict in URGENCY:
        if mine := [check for check in ordered if check.verdict == verdict]:
            body.append(f"<h2>{TITLES[verdict]}</h2>")
            body += [_check(check) for check in mine]
    body.append("<h2>What ends</h2>")
    body.append(_calendar(lines, instant(site.at), with_sites=False))
    if site.versions:
        rows = [
            f"<tr><td>{_text(name)}</td><td>{_text(_version(value))}</td></tr>"
            for name, value in sorted(site.versions.items())
        ]
        body += ["<h2>Versions</h2>", _table(("component", "version"), rows)]
    name = quote(site.name)
    body.append(
        f'<footer>The same as <a href="{name}.json">JSON</a> and'
        f' <a href="{name}.xml">JUnit XML</a>.</footer>'
    )
    return _document(f"{site.name}: {site.verdict}", body)


def index_page(
    sites: Sequence[Site], unreadable: Mapping[str, str], lines: Sequence[Entry], now: datetime
) -> str:
    """Return the index. unreadable: files without a result, and why. lines: the calendar."""
    numbers = Counter(site.verdict for site in sites)
    listed = [f"{numbers[verdict]} {verdict}" for verdict in URGENCY if numbers[verdict]]
    listed += [f"{len(unreadable)} unreadable"] if unreadable else []
    next_ends: dict[str, Entry] = {}
    for entry in lines:
        next_ends.setdefault(entry.site, entry)
    rows = [
        f"<tr><td>{_badge(FAIL, 'unreadable')}</td><td>{_text(name)}</td>"
        f'<td colspan="3">cannot be read: {_text(reason)}.'
        " Run verify for this site again, or remove the file.</td></tr>"
        for name, reason in sorted(unreadable.items())
    ]
    ordered = sorted(sites, key=lambda site: (URGENCY.index(site.verdict), site.name))
    rows += [_site_row(site, next_ends.get(site.name), now) for site in ordered]
    body = [
        "<h1>Speech sites</h1>",
        f"<p>{_text(', '.join(listed) or 'No sites')}. Written on {_moment(timestamp(now))}.</p>",
        _table(("", "site", "checks", "checked", "next end"), rows),
        "<h2>What ends</h2>",
        _calendar(lines, now, with_sites=True),
        CALENDARS,
    ]
    if versions := _versions(sites):
        body += ["<h2>Versions</h2>", _table(("component", "version", "sites"), versions)]
    return _document("Speech sites", body)


def _document(title: str, body: Iterable[str]) -> str:
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is loaded, whatever a text holds.
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{STYLE}{OWN_STYLE}</style></head><body>\n"
    )
    return "".join([head, *(f"{part}\n" for part in body), "</body></html>\n"])


def _text(text: str) -> str:
    return escape(printable(text))


def _badge(verdict: str, label: str = "") -> str:
    return f'<span class="badge {verdict}">{escape(label or verdict)}</span>'


def _moment(text: str) -> str:
    return f'<span class="date">{instant(text):%Y-%m-%d %H:%M} UTC</span>'


def _table(titles: Iterable[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _check(check: Check) -> str:
    parts = [
        f'<div class="check"><div>{_badge(check.verdict)}</div><div>',
        f"<b>{_text(check.title)}</b><code>{_text(check.id)}</code>",
        f"<p>{_text(check.evidence)}</p>",
    ]
    if check.remedy:
        parts.append(f'<p class="do">Do: {_text(check.remedy)}</p>')
    if check.runbook:
        address = escape(f"{DOCS}/{quote(check.runbook, safe='/#')}")
        parts.append(f'<p><a href="{address}">Runbook: {_text(check.runbook)}</a></p>')
    if check.figures:
        plots = "".join(plot(figure) for figure in check.figures)
        parts.append(f'<div class="figures">{plots}</div>')
    return "".join([*parts, "</div></div>"])


def _left(at: str, now: datetime) -> str:
    """Return the days that are left, coloured when they are few."""
    rest = instant(at) - now
    if rest <= timedelta(0):
        return '<span class="past">ended</span>'
    kind = "soon" if rest <= SOON else "later"
    days = "1 day" if rest.days == 1 else f"{rest.days} days"
    return f'<span class="{kind}">{days}</span>'


def _calendar(lines: Sequence[Entry], now: datetime, *, with_sites: bool) -> str:
    if not lines:
        return '<p class="none">No check reported anything that ends.</p>'
    rows = [
        f'<tr><td class="date">{instant(entry.at):%Y-%m-%d}</td>'
        f'<td class="date">{_left(entry.at, now)}</td>'
        + (f"<td>{_link(entry.site)}</td>" if with_sites else "")
        + f"<td>{_text(entry.what)}</td><td>{_text(entry.kind)}</td>"
        f"<td>{_text(entry.remedy)}</td></tr>"
        for entry in lines
    ]
    middle = ("site",) if with_sites else ()
    return _table(("date", "left", *middle, "what", "kind", "do"), rows)


def _link(site: str) -> str:
    return f'<a href="{escape(quote(site))}.html">{_text(site)}</a>'


def _site_row(site: Site, end: Entry | None, now: datetime) -> str:
    stale = now - instant(site.at) > STALE
    mark = f"<br>{_badge(WARN, 'older than a day')}" if stale else ""
    following = "-"
    if end:
        following = (
            f'<span class="date">{instant(end.at):%Y-%m-%d}</span> {_text(end.what)},'
            f" {_left(end.at, now)}"
        )
    return (
        f"<tr><td>{_badge(site.verdict)}</td><td>{_link(site.name)}</td>"
        f"<td>{_text(counts(site))}</td><td>{_moment(site.at)}{mark}</td><td>{following}</td></tr>"
    )


def _version(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _versions(sites: Sequence[Site]) -> list[str]:
    """Return a row for each version of each component, with the sites that have it."""
    places: dict[str, dict[str, list[str]]] = {}
    for site in sites:
        for name, value in site.versions.items():
            places.setdefault(str(name), {}).setdefault(_version(value), []).append(site.name)
    rows = []
    for name, versions in sorted(places.items()):
        for version, names in sorted(versions.items()):
            mark = f" {_badge(WARN, 'differs')}" if len(versions) > 1 else ""
            where = "all" if len(names) == len(sites) else ", ".join(sorted(names))
            rows.append(
                f"<tr><td>{_text(name)}{mark}</td><td>{_text(version)}</td><td>{_text(where)}</td></tr>"
            )
    return rows
