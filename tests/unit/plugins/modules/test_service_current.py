# SPDX-License-Identifier: Apache-2.0
"""When service_current starts or restarts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import service_current

RUNNING = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}


@pytest.mark.parametrize(
    ("unit", "files", "actions"),
    [
        (RUNNING, [], []),
        (RUNNING, ["/etc/a"], ["restarted"]),
        (RUNNING | {"NeedDaemonReload": "yes"}, [], ["reloaded"]),
        (RUNNING | {"UnitFileState": "disabled"}, [], ["enabled"]),
        (RUNNING | {"ActiveState": "failed"}, ["/etc/a"], ["started"]),
        (RUNNING | {"ActiveState": "activating"}, [], []),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, [], ["enabled", "started"]),
    ],
)
def test_actions(unit: dict[str, str], files: list[str], actions: list[str]) -> None:
    assert service_current.wanted_actions(unit, files) == actions


def test_a_change_after_the_start_counts_however_old_the_content_claims_to_be(
    tmp_path: Path,
) -> None:

    started = time.time()
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    for path in (before, after):
        path.write_text("x", encoding="utf-8")
        os.utime(path, (0, 0))  # as dpkg does with what it unpacks
    assert service_current.newer([f"{tmp_path}/*.toml"], started - 60) == [str(after), str(before)]
    assert service_current.newer([f"{tmp_path}/*.toml"], started + 60) == []


def test_properties() -> None:
    assert service_current.properties("A=1\nB=x=y\n\n") == {"A": "1", "B": "x=y"}
