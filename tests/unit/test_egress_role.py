# SPDX-License-Identifier: Apache-2.0
"""The addresses and namespaces that the role egress reads from an inventory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.monitoring import INVENTORY
from tests.playbooks import ROOT, offline

Policy = dict[str, Any]


def policies(folder: Path, **variables: Any) -> dict[tuple[str, str], Policy]:
    """The specs of the role's policies by namespace and name; variables are a site's."""
    files = [ROOT / "roles/site/defaults/main.yml", ROOT / "roles/egress/defaults/main.yml"]
    files += sorted(ROOT.glob("roles/egress/vars/main/*.yml"))
    play = {
        "hosts": "control_plane",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(path) for path in files],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ egress_plan.policies | to_json }}",
                    "dest": str(folder / "policies.json"),
                    "mode": "0600",
                },
                "vars": {"ansible_python_interpreter": sys.executable},
            }
        ],
    }
    offline(folder, INVENTORY, play, variables)
    made = json.loads((folder / "policies.json").read_text(encoding="utf-8"))
    return {(p["metadata"]["namespace"], p["metadata"]["name"]): p["spec"] for p in made}


def names(made: dict[tuple[str, str], Policy], namespace: str) -> set[str]:
    return {name.removeprefix("strict-") for place, name in made if place == namespace}


def test_all_hosts_are_closed_to_guarded_pods(tmp_path: Path) -> None:
    made = policies(tmp_path, egress_host_networks=["198.51.100.0/28"])
    guarded = {place for place, name in made if name == "strict-no-hosts"}
    assert guarded == {"default", "ingress", "kube-node-lease", "kube-public", "kube-system"}
    [closed] = [
        peer["ipBlock"]["except"]
        for rule in made["kube-system", "strict-no-hosts"]["egress"]
        for peer in rule.get("to", [])
        if "except" in peer.get("ipBlock", {})
    ]
    hosts = {"192.0.2.11/32", "192.0.2.21/32", "192.0.2.22/32", "198.51.100.0/28"}
    assert set(closed) == hosts | {"169.254.169.254/32", "10.244.0.0/16"}


def test_prometheus_reads_every_host_by_its_address_in_the_cluster(tmp_path: Path) -> None:
    # The kubelet has an address of its own; certificates are looked at under that of SSH.
    made = policies(
        tmp_path,
        kubeadm_node_ip="{{ '10.7.0.1' if inventory_hostname == 'gpu2' else ansible_host }}",
    )
    addresses = {
        peer["ipBlock"]["cidr"]
        for rule in made["monitoring", "strict-prometheus"]["egress"]
        if {"protocol": "TCP", "port": 10250} in rule["ports"]
        for peer in rule["to"]
    }
    assert addresses == {"192.0.2.11/32", "192.0.2.21/32", "10.7.0.1/32", "192.0.2.22/32"}


def test_a_host_that_is_reached_by_a_name_has_its_kubelets_address(tmp_path: Path) -> None:
    made = policies(tmp_path, ansible_host="host.example.com", kubeadm_node_ip="10.7.0.1")
    [rule] = made["monitoring", "strict-kube-state-metrics"]["egress"]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.7.0.1/32"}}]


def test_namespaces_are_the_sites(tmp_path: Path) -> None:
    made = policies(tmp_path, prometheus_namespace="observability", ingress_install=False)
    assert "default-deny" in names(made, "observability")
    assert names(made, "monitoring") == names(made, "ingress") == set()
    assert "default-deny" in names(made, "keda")


def test_what_others_installed_is_left_alone(tmp_path: Path) -> None:
    made = policies(tmp_path, prometheus_install=False, keda_install=False)
    assert names(made, "monitoring") == {"json-exporter", "blackbox-exporter"}
    assert names(made, "keda") == set()


def test_alerts_reach_alertmanager(tmp_path: Path) -> None:
    there = [{"namespace": "alerts", "name": "alertmanager", "port": "web"}]
    made = policies(tmp_path, prometheus_alertmanagers=there)
    *_others, last = made["monitoring", "strict-prometheus"]["egress"]
    [peer] = last["to"]
    [expression] = peer["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["alerts"]
