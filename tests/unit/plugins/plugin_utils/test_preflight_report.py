# SPDX-License-Identifier: Apache-2.0
"""Preflight's result as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import guards, preflight_report
from ansible_collections.baremetal.sonic.plugins.plugin_utils.preflight_report import Finding

HOSTS = {"cp1": "rack1", "gpu1": "rack1", "gpu-1": "rack2"}


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (
            "gpu1: port 10250 is taken: stop what listens there (ss -ltnp 'sport = 10250') [ports]",
            Finding(
                "rack1",
                "gpu1",
                "ports",
                "port 10250 is taken",
                "stop what listens there (ss -ltnp 'sport = 10250')",
            ),
        ),
        (
            "role ingress: missing required arguments: ingress_hosts",
            Finding(
                "rack1", "", "inventory", "role ingress: missing required arguments: ingress_hosts"
            ),
        ),
        (
            "gpu1 and gpu2 have the same /etc/machine-id: on all but one, empty it",
            Finding(
                "rack1",
                "",
                "inventory",
                "gpu1 and gpu2 have the same /etc/machine-id: on all but one, empty it",
            ),
        ),
        (
            "the group control_plane has 2 hosts: keep one [control-plane]",
            Finding(
                "rack1", "", "control-plane", "the group control_plane has 2 hosts", "keep one"
            ),
        ),
    ],
)
def test_findings_of_lines(line: str, finding: Finding) -> None:
    assert preflight_report.finding("rack1", line, HOSTS) == finding


def test_causes_and_remedies_of_guards_are_divided_rightly() -> None:
    node = {"joined": True, "control_plane": False, "reset": False, "gpu_pods": ["a/b"]}
    packages = {"kubelet": "1.35.0-1", "containerd.io": "2.0.0-1", "nvidia-driver": "1"}
    report = {"node": node, "packages": packages}
    versions = {"kubernetes": "1.36.3", "containerd": "2.3.7"}
    problems = guards.version_problems(versions, {"gpu1": report}, {"gpu1": ["nvidia-driver=2"]})
    problems += guards.cluster_problems(["gpu1", "cp1"], report, {})
    problems += guards.cluster_problems(["gpu1"], {"node": {"reset": True}}, {})
    assert len(problems) == 6
    for problem in problems:
        actual = preflight_report.finding("rack1", str(problem), HOSTS)
        assert (actual.host, actual.check) == (problem.host, problem.check)
        assert (actual.cause, actual.remedy) == (problem.cause, problem.remedy)


FINDINGS = [
    Finding("rack1", "gpu1", "clock", "its clock is ahead", "set it"),
    Finding("rack1", "gpu1", "disk", "full", "free some"),
    Finding("rack2", "", "inventory", "role ingress: missing"),
]


def test_the_table_has_all_hosts_and_sites() -> None:
    assert preflight_report.table(HOSTS, FINDINGS, ["gpu-1"]) == [
        "SITE   HOST   RESULT",
        "rack1  cp1    ok",
        "rack1  gpu1   clock, disk",
        "rack2  gpu-1  left out: cannot be reached",
        "rack2  -      inventory",
    ]


def test_the_file_for_machines(tmp_path: Path) -> None:
    path = tmp_path / "new/report.json"
    preflight_report.write(path, HOSTS, FINDINGS, ["a warning"], ["gpu-1"])
    actual = json.loads(path.read_text(encoding="utf-8"))
    assert actual["ok"] is False
    assert actual["hosts"]["gpu-1"] == {"site": "rack2", "ok": True, "left_out": True}
    assert actual["hosts"]["gpu1"] == {"site": "rack1", "ok": False, "left_out": False}
    assert actual["problems"][0] == {
        "site": "rack1",
        "host": "gpu1",
        "check": "clock",
        "cause": "its clock is ahead",
        "remedy": "set it",
    }
    assert actual["warnings"] == ["a warning"]
    preflight_report.write(path, HOSTS, [], [], [])
    assert json.loads(path.read_text(encoding="utf-8"))["ok"] is True
