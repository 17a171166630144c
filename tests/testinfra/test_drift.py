# SPDX-License-Identifier: Apache-2.0
"""drift.yml on the lab: in order, then after changes in the cluster and on a host."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.playbooks import tried_on_lab

NAMESPACE = "cartesia"
PINS = "/etc/apt/preferences.d/baremetal-sonic-kubernetes.pref"


def compared(folder: Path) -> tuple[int, dict[str, Any], str]:
    """Run drift.yml; returns its exit code, the lab's entry, and the output."""
    done = tried_on_lab("drift.yml", drift_folder=str(folder))
    report = json.loads((folder / "drift.json").read_text("utf-8"))
    return done.returncode, report["sites"]["lab"], done.stdout


def test_the_lab_is_as_its_inventory_wants(tmp_path: Path) -> None:
    code, lab, output = compared(tmp_path)
    assert (code, lab["result"], lab["differences"]) == (0, "same", []), output[-4000:]
    assert "site lab: as its inventory wants" in output
    assert not (tmp_path / "lab.log").exists()


def test_changes_by_hand_are_listed_and_stay(
    api: client.ApiClient, machines: Callable[[str], Any], tmp_path: Path
) -> None:
    apps, host = client.AppsV1Api(api), machines("gpu1")
    apps.patch_namespaced_deployment("cartesia-api", NAMESPACE, {"spec": {"replicas": 1}})
    assert host.run(f"cp {PINS} /root/pins && echo '# By hand.' >> {PINS}").rc == 0
    try:
        code, lab, output = compared(tmp_path)
        left = apps.read_namespaced_deployment("cartesia-api", NAMESPACE).spec.replicas
        changed = "# By hand." in host.file(PINS).content_string
    finally:
        host.run(f"mv /root/pins {PINS}")
        apps.patch_namespaced_deployment("cartesia-api", NAMESPACE, {"spec": {"replicas": 2}})
    assert (code, lab["result"], left, changed) == (2, "drift", 1, True), output[-4000:]
    [replicas] = [each for each in lab["differences"] if each["field"] == "spec.replicas"]
    assert (replicas["live"], replicas["wanted"]) == ("1", "2")
    assert replicas["object"] == "Deployment cartesia-api"
    [pins] = [each for each in lab["differences"] if each["host"] == "gpu1"]
    assert PINS in pins["object"]
    assert "- # By hand." in pins["wanted"]
    assert len(lab["differences"]) == 2, lab
