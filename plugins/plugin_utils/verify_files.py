# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Write the files of playbooks/verify.yml into a folder that all sites share."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from . import text_files, verify_calendar, verify_junit, verify_pages
from .verify_results import InvalidResultError, Site

# Seconds. Another run holds the lock for the time that a few files take to write.
PATIENCE = 60.0
LOCK = ".lock"
# Names that belong to the files over all sites.
RESERVED = ("index", "calendar")


def name_problem(site: str) -> str:
    """Return why a site cannot give its name to files; empty if it can."""
    if site in RESERVED:
        return f"site_name: {site} is the name of a file over all sites: choose another"
    if not site or site.startswith(".") or "/" in site or not site.isprintable():
        return (
            f"site_name: {site!r} cannot be the name of a file:"
            " use letters, digits, dots and hyphens, and no dot in front"
        )
    return ""


def write(folder: Path, site: Site, now: datetime) -> list[Path]:
    """Write a site's files, then those over all sites; the folder is made.

    Several runs may write into one folder at the same time. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        files = {
            f"{site.name}.json": site.as_json(),
            f"{site.name}.xml": verify_junit.xml(site),
            f"{site.name}.html": verify_pages.site_page(site, verify_calendar.entries([site])),
        }
        for name, text in files.items():
            text_files.replace(folder / name, text)
        sites, unreadable = read(folder)
        lines = verify_calendar.entries(sites)
        shared = {
            "index.html": verify_pages.index_page(sites, unreadable, lines, now),
            "calendar.json": verify_calendar.as_json(lines, unreadable, now),
            "calendar.ics": verify_calendar.ics(lines),
        }
        for name, text in shared.items():
            text_files.replace(folder / name, text)
    return [folder / name for name in files | shared]


def read(folder: Path) -> tuple[list[Site], dict[str, str]]:
    """Return the results in a folder by name, and why other files in it are none.

    Raises OSError.
    """
    sites: list[Site] = []
    unreadable: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith(".") or path.stem in RESERVED:
            continue
        try:
            site = Site.of_json(path.read_text(encoding="utf-8"))
        except (InvalidResultError, UnicodeDecodeError) as error:
            unreadable[path.name] = str(error)
            continue
        except OSError as error:
            unreadable[path.name] = error.strerror or str(error)
            continue
        if site.name != path.stem:
            unreadable[path.name] = f"it is the result of the site {site.name}"
            continue
        sites.append(site)
    return sites, unreadable


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises OSError, also when another run keeps the lock."""
    with (folder / LOCK).open("a", encoding="utf-8") as file:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(
                        f"another run has held {folder / LOCK} for {PATIENCE:.0f} s: stop that run"
                    ) from None
            time.sleep(0.05)
        yield
