# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Refuses changes of a living cluster that need a procedure which no playbook has yet."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils._host.kubeadm import INITIALIZED
from ..module_utils._host.packages import missing, split
from .openings import Site, text

Report = Mapping[str, Any]
# The packages by which the role nvidia_driver installs a driver, on any distribution and branch.
DRIVER = (
    "libnvidia-compute*",
    "nvidia-dkms*",
    "nvidia-driver-cuda",
    "nvidia-kernel*-dkms",
    "nvidia-utils*",
)
NAMED_PODS = 3


@dataclass(frozen=True)
class Problem:
    """One refusal.

    Attributes:
        check: the id by which preflight_skip names it.
        host: inventory name; empty for a problem of the whole site.
        cause: what is wrong and what the run would do; no colon and space in it, where a report
            divides the two.
        remedy: what to do instead.
    """

    check: str
    host: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        """The problem as preflight lists it."""
        where = f"{self.host}: " if self.host else ""
        return f"{where}{self.cause}: {self.remedy} [{self.check}]"


def counted(
    problems: Sequence[Problem], skipped: Mapping[str, Collection[str]], leader: str = ""
) -> list[Problem]:
    """The problems whose checks are not skipped.

    Args:
        problems: all of them.
        skipped: the value of preflight_skip by host.
        leader: the host whose preflight_skip counts for problems of the whole site.
    """
    return [p for p in problems if p.check not in skipped.get(p.host or leader, ())]


def version_problems(
    versions: Mapping[str, str],
    reports: Mapping[str, Report],
    drivers: Mapping[str, Sequence[str]],
) -> list[Problem]:
    """Return the nodes on which the run would replace software under a living cluster.

    Args:
        versions: site_versions.
        reports: results of host_check by host.
        drivers: nvidia_driver_packages by host, of the hosts with GPUs.
    """
    lines = []
    for host, report in reports.items():
        if not (report.get("node") or {}).get("joined"):
            continue
        lines += _kubernetes(host, str(versions.get("kubernetes", "")), report)
        if pods := report["node"].get("gpu_pods"):
            lines += _containerd(host, str(versions.get("containerd", "")), report, pods)
            lines += _driver(host, drivers.get(host, ()), report, pods)
    return lines


def driver_packages(installed: Mapping[str, str]) -> list[str]:
    """Return the names of a host's packages that are the driver itself, sorted.

    Args:
        installed: versions by name.
    """
    return sorted(
        name for name in installed if any(fnmatch.fnmatchcase(name, pattern) for pattern in DRIVER)
    )


def _kubernetes(host: str, wanted: str, report: Report) -> list[Problem]:
    package = report["packages"].get("kubelet", "").partition("-")[0]
    api_server = report["node"].get("api_server", "")
    # The API server's image is what runs; a worker's package is what it has.
    there = api_server or package
    if not there or (there == wanted and package in ("", wanted)):
        return []
    has = f"it runs Kubernetes {there}"
    if api_server and package and api_server != package:
        has = f"its API server is {api_server} and its kubelet's package {package}"
    cause = (
        f"{has}, and site_versions.kubernetes is {wanted}. The run would replace the packages on"
        " all hosts at once, without 'kubeadm upgrade'. The control plane would stay as it is, and"
        " after a reboot a kubelet could be newer than its API"
    )
    remedy = (
        f"set site_versions.kubernetes to {there}; to upgrade, follow Kubernetes' own page (kubeadm"
        " upgrade, host by host, with the packages of each), then set the new version"
    )
    return [Problem("kubernetes-version", host, cause, remedy)]


def _containerd(host: str, wanted: str, report: Report, pods: Sequence[str]) -> list[Problem]:
    there = report["packages"].get("containerd.io", "")
    if not there or not missing([f"containerd.io={wanted}-*"], {"containerd.io": there}):
        return []
    cause = f"the run would replace containerd {there} by {wanted} under {_listed(pods)}"
    return [Problem("containerd-version", host, cause, _drain(host))]


def _driver(host: str, wanted: Sequence[str], report: Report, pods: Sequence[str]) -> list[Problem]:
    installed = report["packages"]
    # host_check looks at NVIDIA's packages only; kernel headers disturb no pod.
    ours = [package for package in wanted if "nvidia" in split(package)[0]]
    changed = [
        f"{package} (it has {installed.get(split(package)[0], 'none')})"
        for package in missing(ours, dict(installed))
    ]
    if not changed:
        return []
    cause = (
        f"the run would install {', '.join(changed)} and so replace the driver's libraries under"
        f" {_listed(pods)}, and reboot the host"
    )
    return [Problem("driver-version", host, cause, _drain(host))]


def _drain(host: str) -> str:
    return (
        f"empty it first ('kubectl drain {host} --ignore-daemonsets --delete-emptydir-data'), run"
        f" playbooks/hosts.yml with --limit {host}, then 'kubectl uncordon {host}'; one host at a"
        " time"
    )


def _listed(pods: Sequence[str]) -> str:
    more = f" and {len(pods) - NAMED_PODS} more" if len(pods) > NAMED_PODS else ""
    return f"{', '.join(pods[:NAMED_PODS])}{more}"


def cluster_problems(
    leaders: Sequence[str], leader_report: Report, reports: Mapping[str, Report]
) -> list[Problem]:
    """Return what would make another cluster than the inventory's owner expects.

    Args:
        leaders: the site's hosts in control_plane, the first one first.
        leader_report: the first one's result of host_check; empty when it was not looked at.
        reports: results of host_check by host.
    """
    lines = []
    if len(leaders) > 1:
        joiners = " and ".join(leaders[1:])
        lines.append(
            Problem(
                "control-plane",
                "",
                f"the group control_plane has {len(leaders)} hosts of this site"
                f" ({', '.join(leaders)}), and the collection makes one control plane only."
                f" {joiners} would join as workers, without the API and without a warning",
                "keep one host in control_plane",
            )
        )
    node = leader_report.get("node") or {}
    if not leaders or not node:
        return lines
    leader = leaders[0]
    others = any(report.get("cluster_ca") for host, report in reports.items() if host != leader)
    if node.get("joined") and not node.get("control_plane"):
        lines.append(
            Problem(
                "cluster",
                leader,
                "it is a worker of a cluster, and the first of control_plane. 'kubeadm init' would"
                " run on it and make a second, empty cluster beside the one it works in",
                "put the control plane of its cluster first in control_plane, or give 'kubeadm"
                " reset' on it for a new cluster",
            )
        )
    # Beside living nodes, plugin_utils/nodes.py says what to do.
    if node.get("reset") and not others:
        lines.append(
            Problem(
                "reset",
                leader,
                "it was a control plane until 'kubeadm reset'. The run would initialize a new,"
                " empty cluster; the objects, Secrets and volumes' claims of the old one are gone",
                f"for a new cluster remove {INITIALIZED} on it; for the old one restore etcd and"
                " /etc/kubernetes from a backup",
            )
        )
    return lines


def firewall_problems(site: Site, reports: Mapping[str, Report]) -> list[Problem]:
    """Return the hosts whose firewall drops what no rule lets in, with what it has to let in.

    Args:
        site: the site's hosts.
        reports: results of host_check by host; those of nodes name no firewall.
    """
    return [
        Problem(
            "firewall",
            host,
            f"{report['firewall']} drops what no rule lets in, and the cluster's hosts could not"
            " reach each other",
            f"let in: {text(host, site)}; then add firewall to preflight_skip",
        )
        for host, report in reports.items()
        if report.get("firewall")
    ]
