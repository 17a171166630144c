# SPDX-License-Identifier: Apache-2.0
"""How preflight and the playbook of the hosts treat data disks."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.rendering import ROOT, role_variables, templated

VOLUME = {"name": "containerd", "size": "60%VG", "path": "/var/lib/containerd"}


def volumes(groups: Any) -> Any:
    """The mount points that preflight sees."""
    own = {} if groups is None else {"data_disks_groups": groups}
    return templated("{{ preflight_volumes }}", role_variables("preflight") | own)


@pytest.mark.parametrize(
    ("groups", "paths"),
    [
        (None, []),
        ([], []),
        ([{"name": "a", "devices": [], "volumes": [VOLUME]}], ["/var/lib/containerd"]),
        ([{"name": "a"}, {"name": "b", "volumes": [{"name": "c"}]}], [""]),
        ("all", []),
    ],
)
def test_mount_points(groups: Any, paths: list[str]) -> None:
    assert volumes(groups) == paths


def test_space_below_a_mount_point_does_not_count() -> None:
    [look] = [
        task["baremetal.sonic.host_check"]
        for task in yaml.safe_load((ROOT / "roles/preflight/tasks/main.yml").read_text())
        if task["name"] == "Check the host"
    ]
    known = role_variables("preflight")
    assert templated(look["disk_gib"], known) == known["preflight_disk_gib"]
    disks = {"data_disks_groups": [{"name": "a", "devices": [], "volumes": [VOLUME]}]}
    assert templated(look["disk_gib"], known | disks) == {"/var/lib/kubelet": 1}


def test_disks_are_mounted_before_containerd_is_there() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/hosts.yml").read_text(encoding="utf-8"))
    [roles] = [play["roles"] for play in plays if "operating system" in play["name"]]
    names = [item["role"].rpartition(".")[2] for item in roles]
    assert names.index("data_disks") < names.index("containerd")
