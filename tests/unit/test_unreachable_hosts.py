# SPDX-License-Identifier: Apache-2.0
"""playbooks/preflight.yml with a host that does not answer: it is listed, and so is all else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.baremetal.sonic.plugins.modules import host_check

from tests.playbooks import ROOT, ansible
from tests.unit.test_inventories import inventory

# What this machine is, is not tested.
SKIPPED = ("user", "system", "processor", "memory", "disk", "ports", "clock", "firewall")
HERE: dict[str, Any] = {"ansible_connection": "local"}
# Nothing listens on that port.
DEAD: dict[str, Any] = {
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_common_args": "-o ConnectTimeout=5 -o StrictHostKeyChecking=no",
}


def playbook(tmp_path: Path) -> Path:
    """The playbook, and after it a play that stands for the changes."""
    message = {"msg": "goes on on {{ inventory_hostname }}"}
    after: dict[str, Any] = {"hosts": "all", "gather_facts": False}
    # As any task of a later play, it needs the host.
    after["tasks"] = [{"ansible.builtin.command": "true"}, {"ansible.builtin.debug": message}]
    first = {"ansible.builtin.import_playbook": str(ROOT / "playbooks/preflight.yml")}
    path = tmp_path / "playbook.yml"
    path.write_text(json.dumps([first, after]), encoding="utf-8")
    return path


def run(tmp_path: Path, dead: str, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the playbook with one dead host; returns its output in one line and the report."""
    hosts = inventory(tmp_path, "single-site")
    (hosts.parent / "host_vars").mkdir()
    for host in ("cp1", "gpu1", "gpu2"):
        path = hosts.parent / f"host_vars/{host}.json"
        path.write_text(json.dumps(DEAD if host == dead else HERE))
    # The hosts are this machine, and whether that could be a node is not what is tested.
    text = hosts.read_text(encoding="utf-8")
    for address in ("192.0.2.11", "192.0.2.21", "192.0.2.22"):
        text = text.replace(f"          ansible_host: {address}\n", "")
    hosts.write_text(text, encoding="utf-8")
    report = tmp_path / "report.json"
    done = ansible("-i", hosts, playbook(tmp_path), "-e", f"preflight_report={report}", *options)
    assert done.returncode != 0
    assert "goes on" not in done.stdout
    actual: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return " ".join(done.stdout.split()), actual


def test_a_dead_host_is_listed_with_all_else(tmp_path: Path) -> None:
    output, report = run(tmp_path, "gpu2")
    [problem] = [actual for actual in report["problems"] if actual["check"] == "reachable"]
    assert (problem["host"], problem["site"]) == ("gpu2", "rack1")
    # The reason is ssh's own: "Connection refused", or "Broken pipe" where it ends first.
    assert re.match(r"it cannot be reached \(.*127\.0\.0\.1", problem["cause"])
    # The hosts are one machine: their other problems are in the same list.
    assert [actual for actual in report["problems"] if "/etc/machine-id" in actual["cause"]]
    assert "gpu2: it cannot be reached" in output
    assert "SITE HOST RESULT" in output


def test_a_dead_host_may_be_left_out(tmp_path: Path) -> None:
    _output, report = run(tmp_path, "gpu2", "-e", "site_tolerate_unreachable=true")
    assert report["hosts"]["gpu2"] == {"site": "rack1", "ok": True, "left_out": True}
    assert [line for line in report["warnings"] if line.startswith("gpu2 cannot be reached")]
    assert not [actual for actual in report["problems"] if actual["check"] == "reachable"]


def test_the_control_plane_is_never_left_out(tmp_path: Path) -> None:
    _output, report = run(tmp_path, "cp1", "-e", "site_tolerate_unreachable=true")
    assert [f["host"] for f in report["problems"] if f["check"] == "reachable"] == ["cp1"]


def test_the_run_goes_on_without_it_and_ends_with_an_error(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, "single-site")
    trie = Path("/proc/net/fib_trie").read_text(encoding="utf-8")
    own = {"kubeadm_node_ip": host_check.own_addresses(trie)[0], "preflight_skip": list(SKIPPED)}
    variables = {"cp1": HERE | own, "gpu1": DEAD | {"kubeadm_node_ip": "192.0.2.21"}}
    # Not in the run: it is looked at because the control plane is in no cluster.
    variables["gpu2"] = DEAD | {"kubeadm_node_ip": "192.0.2.22"}
    site = {"site_pod_cidr": "198.18.0.0/16", "site_service_cidr": "198.19.0.0/16"}
    (hosts.parent / "group_vars/all/more.json").write_text(
        json.dumps(site | {"site_tolerate_unreachable": True})
    )
    (hosts.parent / "host_vars").mkdir()
    for host, values in variables.items():
        (hosts.parent / f"host_vars/{host}.json").write_text(json.dumps(values))
    text = hosts.read_text(encoding="utf-8")
    for address in ("192.0.2.11", "192.0.2.21", "192.0.2.22"):
        text = text.replace(f"          ansible_host: {address}\n", "")
    hosts.write_text(text, encoding="utf-8")
    done = ansible("-i", hosts, playbook(tmp_path), "--limit", "cp1,gpu1")
    # Ansible's exit status for hosts that could not be reached.
    assert done.returncode == 4, done.stdout + done.stderr
    output = " ".join(done.stdout.split())
    assert "goes on on cp1" in output
    assert "goes on on gpu1" not in output
    assert "left out: cannot be reached" in output
    recap = [line for line in done.stdout.splitlines() if line.startswith("gpu1 ")]
    assert "unreachable=1" in recap[0]
