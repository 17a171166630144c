# SPDX-License-Identifier: Apache-2.0
"""Preflight refuses what would break a living cluster, for the whole site and with --limit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.sonic.plugins.filter.complete_versions import default_versions

from tests.unit.test_inventories import inventory, validate

LEADER: dict[str, Any] = {
    "node": {"joined": True, "control_plane": True, "api_server": "1.36.3", "gpu_pods": []},
    "packages": {"kubelet": "1.36.3-1.1", "containerd.io": "2.3.7-1"},
    "ca": "aaaa",
}
WORKER: dict[str, Any] = {
    "node": {"joined": True, "control_plane": False, "gpu_pods": ["cartesia/tts-1"]},
    "packages": {
        "kubelet": "1.36.3-1.1",
        "containerd.io": "2.3.7-1",
        "nvidia-driver-cuda": "580.95.05-1",
        "nvidia-kernel-open-dkms": "580.95.05-1",
    },
    "ca": "aaaa",
}


def living(tmp_path: Path, **hosts: dict[str, Any]) -> Path:
    """The example as a living cluster; what host_check would say of some hosts can be replaced."""
    path = inventory(tmp_path, "single-site")
    folder = path.parent / "host_vars"
    folder.mkdir()
    for host, facts in ({"cp1": LEADER, "gpu1": WORKER, "gpu2": WORKER} | hosts).items():
        (folder / f"{host}.json").write_text(json.dumps(facts), encoding="utf-8")
    return path


def versions(hosts: Path, **changes: str) -> None:
    """Write the whole table: the role site, which completes it, is not in the tests' play."""
    table = {"site_versions": default_versions() | changes}
    (hosts.parent / "group_vars/all/versions.json").write_text(json.dumps(table))


def checks(lines: list[str]) -> list[str]:
    """The ids at the lines' ends."""
    return [line.rsplit(" ", 1)[1] for line in lines]


def test_a_living_cluster_is_in_order(tmp_path: Path) -> None:
    assert validate(tmp_path, living(tmp_path)) == (0, [])


def test_another_kubernetes_is_refused_on_each_node(tmp_path: Path) -> None:
    hosts = living(tmp_path)
    versions(hosts, kubernetes="1.37.0")
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert checks(problems) == ["[kubernetes-version]"] * 3
    skip = ["-e", '{"preflight_skip": ["kubernetes-version"]}']
    assert validate(tmp_path, hosts, *skip) == (0, [])
    assert validate(tmp_path, hosts, "-e", "preflight_skip=kubernetes-version,clock") == (0, [])


def test_an_added_host_joins_no_cluster_of_another_version(tmp_path: Path) -> None:
    """With --limit the leader is looked at from the added host."""
    hosts = living(tmp_path, gpu2={"node": {"joined": False}})
    versions(hosts, kubernetes="1.37.0")
    leader = {"leader_node": LEADER["node"], "leader_packages": LEADER["packages"]}
    status, [problem] = validate(tmp_path, hosts, "--limit", "gpu2", "-e", json.dumps(leader))
    assert status != 0
    assert problem.startswith("cp1: it runs Kubernetes 1.36.3")


def test_nothing_is_replaced_under_workers(tmp_path: Path) -> None:
    drained = WORKER | {"node": WORKER["node"] | {"gpu_pods": []}}
    hosts = living(tmp_path, gpu2=drained)
    versions(hosts, containerd="2.4.0")
    driver = {"nvidia_driver_packages": ["nvidia-driver-cuda=590.*"]}
    (hosts.parent / "group_vars/all/driver.json").write_text(json.dumps(driver))
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert [line.partition(":")[0] for line in problems] == ["gpu1", "gpu1"]
    assert checks(problems) == ["[containerd-version]", "[driver-version]"]
    assert validate(tmp_path, hosts, "--limit", "cp1,gpu2") == (0, [])


def test_a_second_control_plane_is_refused(tmp_path: Path) -> None:
    hosts = living(tmp_path)
    text = hosts.read_text(encoding="utf-8")
    hosts.write_text(
        text.replace(
            "        cp1:\n          ansible_host: 192.0.2.11\n",
            "        cp1:\n          ansible_host: 192.0.2.11\n"
            "        cp2:\n          ansible_host: 192.0.2.12\n",
            1,
        ),
        encoding="utf-8",
    )
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert checks(problems) == ["[control-plane]"]


def test_another_leader_than_the_clusters_is_refused(tmp_path: Path) -> None:
    blank = {"node": {"joined": False, "control_plane": False, "reset": False}, "ca": ""}
    hosts = living(tmp_path, cp1=blank)
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert checks(problems) == ["[cluster]"] * 2
    # A problem of the site is skipped for its first control plane.
    facts = json.dumps(blank | {"preflight_skip": ["cluster"]})
    (hosts.parent / "host_vars/cp1.json").write_text(facts)
    assert validate(tmp_path, hosts) == (0, [])


def test_a_reset_leader_is_refused(tmp_path: Path) -> None:
    blank = {"node": {"joined": False, "control_plane": False, "reset": False}, "ca": ""}
    reset = {"node": {"joined": False, "control_plane": False, "reset": True}, "ca": ""}
    hosts = living(tmp_path, cp1=reset, gpu1=blank, gpu2=blank)
    status, problems = validate(tmp_path, hosts)
    assert status != 0
    assert checks(problems) == ["[reset]"]


def test_a_run_for_a_new_leader_alone_sees_the_living_cluster(tmp_path: Path) -> None:
    blank = {"node": {"joined": False, "control_plane": False, "reset": False}, "ca": ""}
    beside = {"item": "gpu1", "cluster_ca": "aaaa"} | {"node": WORKER["node"], "packages": {}}
    dead = {"item": "gpu2", "unreachable": True}
    hosts = living(tmp_path, cp1=blank | {"others": {"results": [beside, dead]}})
    status, problems = validate(tmp_path, hosts, "--limit", "cp1")
    assert status != 0
    assert checks(problems) == ["[cluster]"]
    assert problems[0].startswith("gpu1: belongs to a cluster already")
