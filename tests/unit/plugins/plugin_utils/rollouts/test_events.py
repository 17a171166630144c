# SPDX-License-Identifier: Apache-2.0
"""What a rollout shows and posts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.events import Events
from ansible_collections.baremetal.sonic.plugins.plugin_utils.rollouts.state import (
    SiteState,
    Store,
)


def test_an_event_is_shown_and_posted_once(tmp_path: Path) -> None:
    shown: list[str] = []
    posted: list[Any] = []
    Events(tmp_path, "r1", shown.append, posted.append).event("oslo", "set aside", "no route")
    [line], [event] = shown, posted
    assert line.endswith("site oslo: set aside: no route")
    assert {key: event[key] for key in ("release", "site", "event", "reason")} == {
        "release": "r1",
        "site": "oslo",
        "event": "set aside",
        "reason": "no route",
    }
    assert line.startswith(event["at"])


def test_the_heartbeat_names_the_steps_under_way(tmp_path: Path) -> None:
    shown: list[str] = []
    events, store = Events(tmp_path, "r1", shown.append), Store(tmp_path, "r1")
    store.site("oslo").step = "verify"
    store.site("rome").result = "passed"
    with events.heartbeat(store, every=0.01):
        end = time.monotonic() + 10
        while not shown and time.monotonic() < end:
            time.sleep(0.01)
    assert shown[0].endswith(": oslo (verify)")


def test_the_table_and_the_file_have_all_sites(tmp_path: Path) -> None:
    shown: list[str] = []
    states = {
        "oslo": SiteState(wave=1, result="rolled back", reason="verify: silent", seconds=61.4),
        "rome": SiteState(wave=2),
    }
    lines = Events(tmp_path, "r1", shown.append).table(states, "1 failed")
    assert lines[1].split() == ["oslo", "1", "rolled", "back", "61", "verify:", "silent"]
    assert lines[2].split() == ["rome", "2", "not", "started", "0"]
    assert shown == [*lines, "halted: 1 failed"]
    stored = json.loads((tmp_path / "rollout.json").read_text(encoding="utf-8"))
    assert stored["halted"] == "1 failed"
    assert {name: site["result"] for name, site in stored["sites"].items()} == {
        "oslo": "rolled back",
        "rome": "not started",
    }
