# SPDX-License-Identifier: Apache-2.0
"""When systemd_service starts or restarts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import systemd_service

from tests.unit.plugins.modules.running import Modules

RUNNING = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}


@pytest.mark.parametrize(
    ("unit", "files", "actions"),
    [
        (RUNNING, [], []),
        (RUNNING, ["/etc/a"], ["restarted"]),
        (RUNNING | {"NeedDaemonReload": "yes"}, [], []),
        (RUNNING | {"NeedDaemonReload": "yes"}, ["/etc/a"], ["reloaded", "restarted"]),
        (
            {"ActiveState": "inactive", "UnitFileState": "disabled", "NeedDaemonReload": "yes"},
            [],
            ["reloaded", "enabled", "started"],
        ),
        (RUNNING | {"UnitFileState": "disabled"}, [], ["enabled"]),
        (RUNNING | {"ActiveState": "failed"}, ["/etc/a"], ["started"]),
        (RUNNING | {"ActiveState": "activating"}, [], []),
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, [], ["enabled", "started"]),
    ],
)
def test_actions(unit: dict[str, str], files: list[str], actions: list[str]) -> None:
    assert systemd_service.wanted_actions(unit, files) == actions


def test_a_change_after_the_start_counts_however_old_the_content_claims_to_be(
    tmp_path: Path,
) -> None:

    started = time.time()
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    for path in (before, after):
        path.write_text("x", encoding="utf-8")
        os.utime(path, (0, 0))  # as dpkg does with what it unpacks
    assert systemd_service.newer([f"{tmp_path}/*.toml"], started - 60) == [str(after), str(before)]
    assert systemd_service.newer([f"{tmp_path}/*.toml"], started + 60) == []


def test_properties() -> None:
    assert systemd_service.properties("A=1\nB=x=y\n\n") == {"A": "1", "B": "x=y"}


class Unit:
    """A service under a systemctl of the test's own, which starts it at a time of the test's."""

    def __init__(self, modules: Modules, folder: Path) -> None:
        self.modules = modules
        self.folder = folder
        self.file("unit", "[Service]")
        self.file("config.toml", "version = 3")
        self.file("conf.d/nvidia.toml", "nvidia")
        self.state("active", 1)
        shown = folder / "shown"
        self.modules.program(
            "systemctl",
            f'case "$*" in show*) cat {shown};;\n'
            f"  *restart*|*start*) sed -i s/InvocationID=.*/InvocationID=again$$/ {shown};; esac",
        )

    def file(self, name: str, text: str) -> Path:
        """Write a file that the service reads."""
        path = self.folder / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def state(self, active: str, start: int, **more: str) -> None:
        """The unit as systemd shows it, with the number of its start."""
        properties = {
            "ActiveState": active,
            "DropInPaths": "",
            "ExecMainStartTimestampMonotonic": "1000000",
            "FragmentPath": str(self.folder / "etc/unit"),
            "InvocationID": f"start{start}",
            "LoadState": "loaded",
            "NeedDaemonReload": "no",
            "UnitFileState": "enabled",
        } | more
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        (self.folder / "shown").write_text(text)

    def call(self, *reads: str, **options: Any) -> dict[str, Any]:
        names = reads or ("config.toml", "conf.d/*.toml")
        given = [str(self.folder / "etc" / name) for name in names]
        return self.modules.call(
            systemd_service.main, name="containerd.service", reads=given, **options
        )

    @property
    def commands(self) -> list[str]:
        """What systemctl was asked to do."""
        return [line for line in self.modules.ran if not line.startswith("systemctl show")]


@pytest.fixture
def unit(modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unit:
    monkeypatch.setattr(systemd_service, "RECORDS", tmp_path / "run")
    # The clock of the tests' files: long before the service's start.
    monkeypatch.setattr(systemd_service, "newer", lambda patterns, started: [])
    return Unit(modules, tmp_path)


def clock_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files were changed after the service's start, as a corrected clock has it."""
    monkeypatch.setattr(
        systemd_service, "newer", lambda patterns, started: systemd_service.matching(patterns)
    )


def test_a_clock_that_was_ahead_restarts_once_at_most(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_ahead(monkeypatch)
    first = unit.call()
    assert first["actions"] == ["restarted"]
    for _run in range(3):
        assert unit.call()["actions"] == []
    assert unit.commands == ["systemctl restart containerd.service"]


def test_a_known_process_is_compared_by_content_only(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unit.call()["actions"] == []
    clock_ahead(monkeypatch)
    # The same content again, as a package or a person writes it: other times, another inode.
    path = unit.file("config.toml", "version = 3")
    os.utime(path, (2**32, 2**32))
    assert unit.call()["actions"] == []
    unit.file("config.toml", "version = 4")
    os.utime(path, (0, 0))
    changed = unit.call()
    assert (changed["actions"], changed["newer"]) == (["restarted"], [str(path)])
    assert unit.call()["actions"] == []


@pytest.mark.parametrize("change", ["added", "removed", "changed", "unit"])
def test_every_change_counts_once(unit: Unit, change: str) -> None:
    unit.call()
    if change == "removed":
        (unit.folder / "etc/conf.d/nvidia.toml").unlink()
    else:
        names = {"added": "conf.d/more.toml", "changed": "conf.d/nvidia.toml", "unit": "unit"}
        unit.file(names[change], "other")
    assert unit.call(check=True)["actions"] == ["restarted"]
    assert unit.commands == []
    assert unit.call()["actions"] == ["restarted"]
    assert unit.call()["actions"] == []


def test_two_roles_name_other_files_of_one_service(unit: Unit) -> None:
    """containerd's role and the toolkit's: a restart by one is a restart for the other."""
    unit.call("config.toml")
    unit.call("conf.d/*.toml")
    unit.file("conf.d/nvidia.toml", "other")
    unit.file("config.toml", "other")
    assert unit.call("config.toml")["actions"] == ["restarted"]
    assert unit.call("conf.d/*.toml")["actions"] == []
    assert unit.call("config.toml")["actions"] == []


def test_an_interrupted_restart_is_made_up_for(unit: Unit) -> None:
    unit.call()
    unit.file("config.toml", "other")
    unit.modules.program("systemctl", f'[ "$1" = show ] && cat {unit.folder / "shown"}')
    assert "could not be restarted" in unit.call()["msg"]
    assert unit.call(check=True)["actions"] == ["restarted"]


def test_a_start_by_something_else_is_known_by_its_time(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.call()
    unit.file("config.toml", "other")
    unit.state("active", 2)
    assert unit.call()["actions"] == []
    unit.state("active", 3)
    clock_ahead(monkeypatch)
    assert unit.call()["actions"] == ["restarted"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {}}'])
def test_a_record_that_cannot_be_read_is_none(unit: Unit, text: str) -> None:
    unit.call()
    (unit.folder / "run/containerd.service.json").write_text(text)
    assert unit.call()["actions"] == []
    unit.file("config.toml", "other")
    assert unit.call()["actions"] == ["restarted"]


def test_units_are_reloaded_only_for_a_start(unit: Unit) -> None:
    """A daemon-reload takes GPUs from running containers."""
    unit.call()
    unit.state("active", 1, NeedDaemonReload="yes", UnitFileState="disabled")
    assert unit.call()["actions"] == ["enabled"]
    assert unit.commands == ["systemctl --no-reload enable containerd.service"]
    unit.file("unit", "[Service]\nRestart=always")
    assert unit.call()["actions"] == ["reloaded", "enabled", "restarted"]
    assert unit.commands[1] == "systemctl daemon-reload"


def test_a_unit_that_is_not_there(unit: Unit) -> None:
    unit.state("inactive", 0, LoadState="not-found")
    assert "has no unit containerd.service" in unit.call()["msg"]
    assert unit.call(check=True)["changed"]
