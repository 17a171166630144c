# SPDX-License-Identifier: Apache-2.0
"""Changes that need a procedure of their own are refused before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import guards, openings

VERSIONS = {"kubernetes": "1.36.3", "containerd": "2.3.7"}


def node(**changes: Any) -> dict[str, Any]:
    """A worker's report, as host_check makes it."""
    state = {"joined": True, "control_plane": False, "api_server": "", "reset": False}
    state |= {"gpu_pods": ["cartesia/tts-1"]}
    packages = {"kubelet": "1.36.3-1.1", "containerd.io": "2.3.7-1~debian.12~bookworm"}
    packages |= {"nvidia-driver-cuda": "580.95.05-1"}
    state |= {key: value for key, value in changes.items() if key in state}
    packages |= changes.get("packages", {})
    return {"node": state, "packages": packages, "cluster_ca": "a" * 64}


def control_plane(**changes: Any) -> dict[str, Any]:
    """A control plane's report."""
    return node(**{"control_plane": True, "api_server": "1.36.3", "gpu_pods": []} | changes)


def test_a_site_as_it_should_be() -> None:
    reports = {"cp1": control_plane(), "gpu1": node(), "gpu2": {"node": {}, "packages": {}}}
    drivers = {"gpu1": ["nvidia-driver-cuda", "linux-headers-amd64"]}
    assert guards.version_problems(VERSIONS, reports, drivers) == []
    assert guards.cluster_problems(["cp1"], reports["cp1"], reports) == []


def test_another_version_of_kubernetes() -> None:
    reports = {"cp1": control_plane(), "gpu1": node()}
    actual = guards.version_problems(VERSIONS | {"kubernetes": "1.37.0"}, reports, {})
    assert [(problem.host, problem.check) for problem in actual] == [
        ("cp1", "kubernetes-version"),
        ("gpu1", "kubernetes-version"),
    ]
    text = str(actual[0])
    assert text.startswith("cp1: it runs Kubernetes 1.36.3, and site_versions.kubernetes is 1.37.0")
    assert "without 'kubeadm upgrade'" in text
    assert "set site_versions.kubernetes to 1.36.3" in text
    assert text.endswith("[kubernetes-version]")


def test_packages_that_are_ahead_of_their_control_plane() -> None:
    """Another program replaced the packages, or an earlier run did."""
    report = control_plane(api_server="1.35.1")
    [problem] = guards.version_problems(VERSIONS, {"cp1": report}, {})
    assert "its API server is 1.35.1 and its kubelet's package 1.36.3" in str(problem)


@pytest.mark.parametrize(
    "packages", [{"kubelet": "1.37.0-1.1"}, {"kubelet": "1.37.0~rc.1-1"}, {"kubelet": ""}]
)
def test_a_host_that_is_no_node_may_have_any_kubelet(packages: dict[str, str]) -> None:
    report = node(joined=False, gpu_pods=[], packages=packages)
    assert guards.version_problems(VERSIONS, {"gpu1": report}, {}) == []


def test_containerd_under_workers() -> None:
    reports = {"cp1": control_plane(), "gpu1": node()}
    [problem] = guards.version_problems(VERSIONS | {"containerd": "2.4.0"}, reports, {})
    assert (problem.host, problem.check) == ("gpu1", "containerd-version")
    assert "would replace containerd 2.3.7-1~debian.12~bookworm by 2.4.0" in problem.cause
    assert "cartesia/tts-1" in problem.cause
    assert "kubectl drain gpu1" in problem.remedy


def test_a_driver_under_workers() -> None:
    drivers = {"gpu1": ["nvidia-driver-cuda=590.*", "linux-headers-amd64"]}
    [problem] = guards.version_problems(VERSIONS, {"gpu1": node()}, drivers)
    assert (problem.host, problem.check) == ("gpu1", "driver-version")
    assert "nvidia-driver-cuda=590.* (it has 580.95.05-1)" in problem.cause
    assert "kubectl drain gpu1" in problem.remedy


def test_another_package_of_the_driver_under_workers() -> None:
    drivers = {"gpu1": ["nvidia-driver-590-open"]}
    [problem] = guards.version_problems(VERSIONS, {"gpu1": node()}, drivers)
    assert "nvidia-driver-590-open (it has none)" in problem.cause


def test_a_drained_host_may_change() -> None:
    drivers = {"gpu1": ["nvidia-driver-cuda=590.*"]}
    reports = {"gpu1": node(gpu_pods=[])}
    assert guards.version_problems(VERSIONS | {"containerd": "2.4.0"}, reports, drivers) == []


def test_many_pods_are_counted() -> None:
    report = node(gpu_pods=[f"cartesia/tts-{number}" for number in range(8)])
    [problem] = guards.version_problems(VERSIONS | {"containerd": "2"}, {"gpu1": report}, {})
    assert "cartesia/tts-0, cartesia/tts-1, cartesia/tts-2 and 5 more" in problem.cause


def test_two_control_planes() -> None:
    [problem] = guards.cluster_problems(["cp1", "cp2", "cp3"], {}, {})
    assert (problem.host, problem.check) == ("", "control-plane")
    assert str(problem).startswith(
        "the group control_plane has 3 hosts of this site (cp1, cp2, cp3)"
    )
    assert "cp2 and cp3 would join as workers" in problem.cause


def test_a_worker_that_is_named_control_plane() -> None:
    [problem] = guards.cluster_problems(["gpu1"], node(), {"gpu1": node()})
    assert (problem.host, problem.check) == ("gpu1", "cluster")
    assert "is a worker of a cluster" in problem.cause
    assert "'kubeadm init' would run on it" in problem.cause


def test_a_leader_that_was_reset() -> None:
    report = control_plane(joined=False, control_plane=False, reset=True, api_server="")
    [problem] = guards.cluster_problems(["cp1"], report, {"cp1": report})
    assert (problem.host, problem.check) == ("cp1", "reset")
    assert "a new, empty cluster" in problem.cause
    assert "/etc/kubernetes/.baremetal-sonic-initialized" in problem.remedy


def test_a_leader_that_was_not_looked_at() -> None:
    assert guards.cluster_problems(["cp1"], {}, {"gpu1": node()}) == []


def test_checks_that_are_skipped() -> None:
    reports = {"cp1": control_plane(), "gpu1": node()}
    actual = guards.version_problems(VERSIONS | {"kubernetes": "1.37.0"}, reports, {})
    skipped = {"cp1": {"kubernetes-version"}, "gpu1": {"reset"}}
    assert [problem.host for problem in guards.counted(actual, skipped)] == ["gpu1"]


def test_ports_to_open_in_a_firewall_are_listed() -> None:
    addresses = {"cp1": "192.0.2.11", "gpu1": "192.0.2.21"}
    site = openings.Site(addresses, ["cp1"], ["cp1"], "10.244.0.0/16")
    reports = {"cp1": {"firewall": "ufw"}, "gpu1": {"firewall": ""}, "gpu2": {}}
    [problem] = guards.firewall_problems(site, reports)
    assert (problem.host, problem.check) == ("cp1", "firewall")
    assert problem.cause.startswith("ufw drops what no rule lets in")
    assert "from 192.0.2.21 (the other hosts): tcp 179" in problem.remedy
    assert "then add firewall to preflight_skip" in problem.remedy


def test_packages_of_the_driver_on_every_distribution() -> None:
    driver = ["libnvidia-compute-570", "nvidia-dkms-570-open", "nvidia-driver-cuda"]
    others = ["libnvidia-container1", "nvidia-container-toolkit", "nvidia-fabricmanager"]
    assert guards.driver_packages(dict.fromkeys([*driver, *others], "1")) == driver
