# SPDX-License-Identifier: Apache-2.0
"""Hosts as nodes: names, addresses, networks, clusters, and texts in place of lists."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.plugin_utils import nodes

RANGES = {"site_pod_cidr": "10.244.0.0/16", "site_service_cidr": "10.96.0.0/16"}


@pytest.mark.parametrize(
    "name", ["gpu1", "gpu-1", "gpu1.dc1.example.com", "1", "a" * 63, "rack-1.gpu-2"]
)
def test_names_that_nodes_may_have(name: str) -> None:
    assert nodes.name_problems([name]) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("GPU_1", "for example gpu-1"),
        ("GPU1.DC.Example.com", "for example gpu1.dc.example.com"),
        ("gpu_2", "for example gpu-2"),
        ("-gpu", "for example gpu"),
        ("gpu-", "for example gpu"),
        ("gpu..1", "lower-case letters"),
        ("gpu1.", "lower-case letters"),
        ("gpü1", "lower-case letters"),
        ("gpu1\n", "lower-case letters"),
        ("a" * 64, "has 64 characters"),
        ("node.-a.example", "lower-case letters"),
    ],
)
def test_names_that_nodes_may_not_have(name: str, says: str) -> None:
    [problem] = nodes.name_problems(["cp1", name])
    assert problem.startswith(f"{name}: the inventory name becomes the node's name")
    assert says in problem


HAS = {"addresses": ["10.89.0.5", "192.0.2.11"]}


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("192.0.2.11", ""),
        ("gpu1.dc.example.test", "which is a name"),
        ("192.0.2.11/24", "which is a name"),
        ("192.0.2.300", "which is a name"),
        ("", "which is a name"),
        ("2001:db8::1", "is an IPv6 address, and clusters are IPv4 only"),
        ("192.0.2.11,2001:db8::1", "which is a name"),
        ("203.0.113.7", "but none of its interfaces has that (they have 10.89.0.5, 192.0.2.11;"),
    ],
)
def test_addresses(address: str, says: str) -> None:
    problems = nodes.address_problems({"gpu1": address}, {"gpu1": HAS})
    assert [says in line for line in problems.values()] == ([True] if says else [])
    assert not problems or "kubeadm_node_ip" in problems["gpu1"]


def test_a_host_that_was_not_looked_at_may_have_any_address() -> None:
    assert nodes.address_problems({"gpu1": "203.0.113.7"}, {}) == {}


def test_two_hosts_with_one_address() -> None:
    problems = nodes.address_problems({"a": "192.0.2.1", "b": "192.0.2.1"}, {})
    assert list(problems.values()) == ["b and a have the same address 192.0.2.1: correct one"]


@pytest.mark.parametrize(
    ("ranges", "address", "networks", "says"),
    [
        ({}, "192.0.2.11", ["192.0.2.0/24"], []),
        ({}, "10.96.3.4", [], ["its address 10.96.3.4 lies in site_service_cidr"]),
        ({}, "10.244.9.9", [], ["its address 10.244.9.9 lies in site_pod_cidr"]),
        ({}, "192.0.2.11", ["10.96.0.0/12"], ["10.96.0.0/12 (eth0) lies in site_service_cidr"]),
        ({}, "10.1.0.1", ["10.0.0.0/8"], ["lies in site_pod_cidr", "lies in site_service_cidr"]),
        ({"site_pod_cidr": "172.16.0.0/12"}, "192.0.2.1", ["172.17.0.0/16"], ["site_pod_cidr"]),
        ({"site_pod_cidr": "10.96.128.0/17"}, "192.0.2.1", [], ["overlap: choose separate"]),
        ({"site_pod_cidr": "nonsense"}, "192.0.2.1", [], []),
        ({"site_pod_cidr": "fd00::/48"}, "192.0.2.1", [], []),
    ],
)
def test_networks(
    ranges: dict[str, str], address: str, networks: list[str], says: list[str]
) -> None:
    report = {"networks": [{"network": net, "interface": "eth0"} for net in networks]}
    problems = nodes.network_problems(RANGES | ranges, {"gpu1": address}, {"gpu1": report})
    assert len(problems) == len(says)
    for line, part in zip(problems, says, strict=True):
        assert part in line


def test_a_host_of_another_cluster() -> None:
    reports = {
        "cp1": {"cluster_ca": "a" * 64},
        "gpu1": {"cluster_ca": "a" * 64},
        "gpu2": {"cluster_ca": "b" * 64},
        "gpu3": {"cluster_ca": ""},
        "gpu4": {},
    }
    [problem] = nodes.cluster_problems("cp1", reports["cp1"], reports)
    assert problem.startswith("gpu2: belongs to another cluster (its CA has the SHA-256 bbbb")
    assert "kubeadm reset" in problem


def test_a_new_leader_of_a_cluster_that_is_there() -> None:
    reports = {"cp0": {"cluster_ca": ""}, "cp1": {"cluster_ca": "a" * 64}}
    [problem] = nodes.cluster_problems("cp0", reports["cp0"], reports)
    assert problem.startswith("cp1: belongs to a cluster already, but cp0, the first of control")
    assert "second, empty cluster" in problem


def test_a_leader_that_was_not_looked_at_says_nothing() -> None:
    assert nodes.cluster_problems("cp1", {}, {"gpu1": {"cluster_ca": "a"}}) == []


OPTIONS: dict[str, Any] = {
    "names": {"type": "list", "elements": "str"},
    "map": {"type": "dict"},
    "on": {"type": "bool"},
    "text": {"type": "str"},
    "workers": {
        "type": "list",
        "elements": "dict",
        "options": {"scaling": {"type": "dict", "options": {"enabled": {"type": "bool"}}}},
    },
}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"names": ["a"], "map": {}, "on": "false", "text": "a,b"}, ""),
        ({"names": "a,b"}, "names is text, but must be a list"),
        ({"names": '["a"]'}, """as JSON (-e '{"names": ...}')"""),
        ({"map": "a=b"}, "map is text, but must be a dictionary"),
        ({"workers": [{"scaling": {"enabled": True}}, {"scaling": {"enabled": "no"}}]},
         "workers[1].scaling.enabled is the text 'no': write true or false"),
        ({"workers": [{"scaling": "{}"}]}, "workers[0].scaling is text"),
        ({"workers": [None]}, ""),
    ],
)  # fmt: skip
def test_texts_in_place_of_other_types(given: dict[str, Any], says: str) -> None:
    problems = nodes.type_problems(OPTIONS, given)
    assert [says in line for line in problems] == ([True] if says else [])
