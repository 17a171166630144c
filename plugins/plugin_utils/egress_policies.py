# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""The network policies of an egress profile, by the matrix of roles/egress/vars/main/matrix.yml."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils._kube.types import Object

Matrix = Mapping[str, Any]

# RFC 1918, and the address at which clouds serve metadata and credentials without a password.
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
METADATA = "169.254.169.254/32"
LABELS = {
    "app.kubernetes.io/name": "egress",
    "app.kubernetes.io/part-of": "cartesia",
    "app.kubernetes.io/managed-by": "baremetal.sonic",
}
DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def ports_of(destination: Mapping[str, Any]) -> list[Object]:
    """The ports of a destination as NetworkPolicyPorts; none where they are the gateway's."""
    return [
        {"protocol": protocol.upper(), "port": port}
        for protocol in ("udp", "tcp")
        for port in destination.get(protocol, ())
    ]


@dataclass(frozen=True)
class Platform:
    """The surroundings of the stack.

    Attributes:
        namespaces: names of the namespaces by the matrix' names; the stack's is ``stack``.
        policed: which of the others are this site's own, so that policies say all about them.
        guarded: names of namespaces whose pods reach no port of a host and no metadata.
        readers: more NetworkPolicyPeers that may read Prometheus.
        targets: more rules (to, ports) for what Prometheus may reach.
    """

    namespaces: Mapping[str, str]
    policed: Sequence[str] = ()
    guarded: Sequence[str] = ()
    readers: Sequence[Object] = ()
    targets: Sequence[Object] = ()

    def home(self, source: Mapping[str, Any]) -> str:
        """The name of a source's namespace."""
        return self.namespaces[source.get("namespace", "stack")]


def network_policies(
    matrix: Matrix,
    profile: str,
    platform: Platform,
    peers: Mapping[str, Sequence[Object]],
    listening: Sequence[Object],
) -> list[Object]:
    """The NetworkPolicies of a profile.

    Args:
        matrix: roles/egress/vars/main/matrix.yml.
        profile: one of its profiles.
        platform: the namespaces.
        peers: NetworkPolicyPeers of each source, and of each name in destinations' `to`. Those of a
            component must be a podSelector and a namespaceSelector each.
        listening: what `listeners` returned; empty where there is no gateway.
    """
    rows: Mapping[str, Sequence[str]] = matrix["profiles"][profile].get("rows", {})
    if not rows:
        return []
    components = [
        name
        for name, source in matrix["sources"].items()
        if source.get("component")
        and name in rows
        and (name != "egress-gateway" or listening)
        and (source.get("namespace", "stack") in ("stack", *platform.policed) or "ours" in source)
    ]
    if matrix["profiles"][profile]["by"] == "peer":
        specs = _by_peer(matrix, rows, components, platform, peers, listening)
    else:
        specs = _by_network(matrix, rows, components, platform, peers, listening)
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"{profile}-{name}", "namespace": namespace, "labels": LABELS},
            "spec": spec,
        }
        for (namespace, name), spec in specs.items()
    ]


def _by_peer(
    matrix: Matrix,
    rows: Mapping[str, Sequence[str]],
    components: Sequence[str],
    platform: Platform,
    peers: Mapping[str, Sequence[Object]],
    listening: Sequence[Object],
) -> dict[tuple[str, str], Object]:
    """Both ways, for each component; then everything else of its namespace is denied."""
    specs: dict[tuple[str, str], Object] = {}
    for name in components:
        incoming = _incoming(matrix, rows, name, peers, listening)
        outgoing = _outgoing(matrix, rows[name], name, peers, listening)
        if name == "prometheus":
            incoming += _read_by(matrix["destinations"][name], platform.readers)
            outgoing += platform.targets
        specs[platform.home(matrix["sources"][name]), name] = {
            "podSelector": peers[name][0]["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
            "ingress": incoming,
            "egress": outgoing,
        }
    # Last, so that what is allowed is there before everything else is denied.
    for place in ("stack", *platform.policed):
        specs[platform.namespaces[place], "default-deny"] = {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
        }
    # Policies add up: this one would open what the others deny.
    denied = {namespace for namespace, name in specs if name == "default-deny"}
    for namespace in sorted({*platform.guarded} - denied):
        specs[namespace, "no-hosts"] = {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": _anywhere_but_hosts(matrix, rows["neighbour"], peers),
        }
    return specs


def _by_network(
    matrix: Matrix,
    rows: Mapping[str, Sequence[str]],
    components: Sequence[str],
    platform: Platform,
    peers: Mapping[str, Sequence[Object]],
    listening: Sequence[Object],
) -> dict[tuple[str, str], Object]:
    """Rules for all pods of the stack, and more for single components."""
    stack = platform.namespaces["stack"]
    shared = set.intersection(*(set(rows[name]) for name in components))
    specs: dict[tuple[str, str], Object] = {
        (stack, "external-egress"): {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": _networks({matrix["destinations"][name]["network"] for name in shared}),
        }
    }
    for name in components:
        if more := [item for item in rows[name] if item not in shared]:
            specs[stack, name] = {
                "podSelector": peers[name][0]["podSelector"],
                "policyTypes": ["Egress"],
                "egress": _outgoing(matrix, more, name, peers, listening),
            }
    return specs


def _read_by(destination: Mapping[str, Any], peers: Sequence[Object]) -> list[Object]:
    return [{"from": list(peers), "ports": ports_of(destination)}] if peers else []


def _anywhere_but_hosts(
    matrix: Matrix, row: Iterable[str], peers: Mapping[str, Sequence[Object]]
) -> list[Object]:
    """Everything but the hosts and the metadata address, and of hosts what the row names.

    Pods are named as such, not by their network: in it each host has an address of its own.
    """
    nets = {peer["ipBlock"]["cidr"] for peer in (*peers["node"], *peers["pods"])}
    closed = sorted({*nets, METADATA}, key=ipaddress.IPv4Network)
    hosts = {"control-plane", "entry"}
    return [
        {"ports": DNS_PORTS},
        {"to": [{"namespaceSelector": {}}]},
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": closed}}]},
        *(
            {"to": list(peers[destination["to"]]), "ports": ports_of(destination)}
            for destination in map(matrix["destinations"].get, row)
            if destination.get("to") in hosts and peers[destination["to"]]
        ),
    ]


def _outgoing(
    matrix: Matrix,
    row: Iterable[str],
    source: str,
    peers: Mapping[str, Sequence[Object]],
    listening: Sequence[Object],
) -> list[Object]:
    rules: list[Object] = []
    for name in row:
        destination = matrix["destinations"][name]
        if destination["to"] == "public":
            rules += _upstreams(peers["public"], listening)
        elif ports := _ports(destination, source, listening):
            rules.append({"to": list(peers[destination["to"]]), "ports": ports})
    # A rule without peers would allow all of them.
    return [rule for rule in rules if rule["to"]]


def _incoming(
    matrix: Matrix,
    rows: Mapping[str, Sequence[str]],
    target: str,
    peers: Mapping[str, Sequence[Object]],
    listening: Sequence[Object],
) -> list[Object]:
    rules: list[Object] = []
    for source, row in rows.items():
        if source == "egress-gateway" and not listening:
            continue
        for name in row:
            destination = matrix["destinations"][name]
            if destination.get("to") == target:
                ports = _ports(destination, source, listening)
                rules += [{"from": list(peers[source]), "ports": ports}] if ports else []
    return [rule for rule in rules if rule["from"]]


def _ports(
    destination: Mapping[str, Any], source: str, listening: Sequence[Object]
) -> list[Object]:
    if destination.get("ports") != "allowlist":
        return ports_of(destination)
    return [
        {"protocol": "TCP", "port": item["listen"]}
        for item in listening
        if source in item["used_by"]
    ]


def _upstreams(public: Sequence[Object], listening: Sequence[Object]) -> list[Object]:
    """The gateway's way out: addresses that were given, and the internet for names."""
    rules: list[Object] = []
    fixed = {(item["upstream"], item["port"]) for item in listening if _is_address(item)}
    for address, port in sorted(fixed):
        block = {"ipBlock": {"cidr": f"{address}/32"}}
        rules.append({"to": [block], "ports": [{"protocol": "TCP", "port": port}]})
    if ports := sorted({item["port"] for item in listening if not _is_address(item)}):
        named = [{"protocol": "TCP", "port": port} for port in ports]
        rules.append({"to": list(public), "ports": named})
    return rules


def _is_address(item: Mapping[str, Any]) -> bool:
    return bool(item["upstream"] != item["name"])


def _networks(networks: set[str]) -> list[Object]:
    """Egress rules for networks outside, whatever hosts are in them."""
    rules: dict[str, Object] = {
        "dns": {"ports": DNS_PORTS},
        "private": {"to": [{"ipBlock": {"cidr": cidr}} for cidr in PRIVATE]},
        "metadata": {"to": [{"ipBlock": {"cidr": METADATA}}]},
    }
    return [rule for name, rule in rules.items() if name in networks]
