# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a rollout on the controller: one file, replaced at each transition."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

SCHEMA = 1
PASSED = "passed"
FAILED = "failed"
ROLLED_BACK = "rolled back"
STUCK = "rollback failed"
ASIDE = "set aside"
LATER = "left for later"
# The change is over at a site with one of these. A later run does not start it again.
FINAL = (PASSED, FAILED, ROLLED_BACK, STUCK)
# These count against the budget.
BAD = (FAILED, ROLLED_BACK, STUCK, ASIDE)


class StateError(Exception):
    """The folder of a rollout cannot be used; the message says why."""


@dataclass
class SiteState:
    """One site's part of a rollout.

    step: what is under way. done: the steps that are complete. failure: why the site is to be
    rolled back; empty while it goes forward. result: one of the words above; empty until the site
    has one. soak_until: when the soak ends, in seconds since 1970.
    """

    wave: int = 0
    step: str = ""
    done: list[str] = field(default_factory=list)
    failure: str = ""
    result: str = ""
    reason: str = ""
    seconds: float = 0.0
    soak_until: float = 0.0
    started: str = ""
    ended: str = ""
    log: str = ""
    reports: dict[str, Any] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether the change is over at this site."""
        return self.result in FINAL

    @property
    def bad(self) -> bool:
        """Whether the site counts against the budget."""
        return self.result in BAD


class Store:
    """The state of one rollout in a folder. Safe to use from threads."""

    def __init__(self, folder: Path, release: str) -> None:
        self._path = folder / "state.json"
        self._lock = threading.Lock()
        self.release = release
        self.sites: dict[str, SiteState] = {}

    def load(self, restart: bool) -> bool:
        """Load what an earlier run of the same release left; return whether there is any.

        Raises StateError for a file that cannot be read: it may be of a rollout under way.
        """
        if restart or not self._path.exists():
            return False
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["schema"] != SCHEMA:
                raise ValueError(f"schema {stored['schema']}")
            sites = {name: SiteState(**state) for name, state in stored["sites"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"{self._path} cannot be read ({error}): set rollout_restart to true to begin again"
            ) from error
        if stored["release"] != self.release:
            self._refuse_unfinished(stored["release"], sites)
            return False
        self.sites = sites
        return bool(sites)

    def _refuse_unfinished(self, release: str, sites: Mapping[str, SiteState]) -> None:
        """Raises StateError: a snapshot taken now would be of a site in mid-change."""
        between = [name for name, state in sites.items() if state.done and not state.final]
        if between:
            raise StateError(
                f"the rollout {release} is not over at {', '.join(between)}: run it to its end with"
                " its own variables, or set rollout_restart to true to forget it. What runs there"
                " now is then what a rollback restores"
            )

    def site(self, name: str) -> SiteState:
        """Return the state of a site, which is made if it is missing."""
        with self._lock:
            return self.sites.setdefault(name, SiteState())

    def save(self) -> None:
        """Replace the file. A reader sees the former state or this one. Raises StateError."""
        with self._lock:
            content = {
                "schema": SCHEMA,
                "release": self.release,
                "sites": {name: asdict(state) for name, state in self.sites.items()},
            }
            write_json(self._path, content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file at once, also on the disk. Raises StateError."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error}") from error


def lock_folder(folder: Path) -> TextIO:
    """Lock the folder for this run, and its children; return the file that holds the lock.

    Raises StateError when another run, or a child that it left, holds it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("a", encoding="utf-8")
    except OSError as error:
        raise StateError(f"rollout_folder: {folder} cannot be written: {error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StateError(
            f"another rollout uses {folder}, or a step that it started still runs there: wait"
            " until it has ended"
        ) from None
    return file


def controller_id(folder: Path) -> str:
    """Return the name of this folder among all controllers. A resumed run has the same."""
    path = folder / "controller"
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12] + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
