# SPDX-License-Identifier: Apache-2.0
"""The addresses of hosts that Prometheus probes, from the inventory."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.rendering import ROOT, templated

VARIABLES = yaml.safe_load((ROOT / "roles/prometheus/vars/main/main.yml").read_text())
CASES = {
    "cp1": ({}, "cp1"),
    "cp2": ({"ansible_host": "192.0.2.12"}, "192.0.2.12"),
    "cp3": ({"kubeadm_node_ip": "10.0.0.13"}, "10.0.0.13"),
    "cp4": ({"ansible_host": "bastion.example.com", "kubeadm_node_ip": "10.0.0.14"}, "10.0.0.14"),
}


@pytest.mark.parametrize(
    ("variable", "hosts"),
    [
        ("prometheus_inventory_control_plane", "prometheus_leaders"),
        ("prometheus_inventory_ingress", "prometheus_ingress_hosts"),
    ],
)
def test_a_host_is_probed_at_its_address_in_the_cluster(variable: str, hosts: str) -> None:
    given: dict[str, Any] = {name: variables for name, (variables, _address) in CASES.items()}
    actual = templated(VARIABLES[variable], {hosts: list(CASES), "hostvars": given})
    assert list(actual) == [address for _variables, address in CASES.values()]
