# SPDX-License-Identifier: Apache-2.0
"""The egress matrix and what follows from it, checked by an evaluator of network policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.plugin_utils import egress, egress_policies
from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import plain_defaults

ROOT = Path(__file__).resolve().parents[4]
MATRIX = yaml.safe_load((ROOT / "roles/egress/vars/main/matrix.yml").read_text())["egress_matrix"]
DEFAULTS = yaml.safe_load((ROOT / "roles/egress/defaults/main.yml").read_text())
SELECTORS = yaml.safe_load((ROOT / "roles/egress/vars/main/main.yml").read_text())[
    "egress_default_selectors"
]
PROFILES = ["off", "vendor", "strict"]
INGRESS_HOST, LEADER, OWN_HOST = "192.168.7.11", "192.168.7.12", "192.168.7.21"
STACK, MONITORING, KEDA, SYSTEM = "cartesia", "monitoring", "keda", "kube-system"
PODS = "10.244.0.0/16"
PLATFORM = egress_policies.Platform(
    namespaces={"stack": STACK, "monitoring": MONITORING, "keda": KEDA},
    policed=["monitoring", "keda"],
    guarded=["default", "ingress"],
)

Endpoint = tuple[str, dict[str, str], str]  # namespace ("" for none), labels, address


def component(name: str) -> Endpoint:
    number = 10 + list(SELECTORS).index(name)
    home = PLATFORM.home(MATRIX["sources"][name])
    return home, SELECTORS[name]["matchLabels"], f"10.244.1.{number}"


SOURCES: dict[str, Endpoint] = {name: component(name) for name in SELECTORS} | {
    "stranger": (STACK, {}, "10.244.1.30"),
    "monitoring": (MONITORING, {}, "10.244.1.31"),
    "keda": (KEDA, {}, "10.244.1.32"),
    "neighbour": ("default", {}, "10.244.1.33"),
    "ingress": ("", {}, INGRESS_HOST),
    "control-plane": ("", {}, LEADER),
    "outsider": ("elsewhere", {}, "10.244.1.34"),
}
CONTROLLER: Endpoint = ("ingress", {"app.kubernetes.io/name": "haproxy-ingress"}, "10.244.1.41")
# Owners of the ports of destinations that are not components.
HOLDERS: dict[str, list[Endpoint]] = {
    "dns": [(SYSTEM, {"k8s-app": "kube-dns"}, "10.244.0.2")],
    "entry": [("", {}, INGRESS_HOST), CONTROLLER],
    "ingress-pods": [CONTROLLER],
    "dcgm-exporter": [("gpu", {"app.kubernetes.io/name": "dcgm-exporter"}, "10.244.1.42")],
    "control-plane": [("", {}, LEADER)],
    # Each host has an address in the network of pods, too.
    "node": [("", {}, OWN_HOST), ("", {}, LEADER), ("", {}, INGRESS_HOST)],
    "public": [("", {}, "203.0.113.9")],
}
OUTSIDE: dict[str, tuple[Endpoint, list[tuple[str, int]]]] = {
    "elsewhere": (("elsewhere", {}, "10.244.1.40"), [("TCP", 8000)]),
    "private": (("", {}, "10.9.8.7"), [("TCP", 443), ("TCP", 80)]),
    "metadata": (("", {}, "169.254.169.254"), [("TCP", 80)]),
    "public-dns": (("", {}, "8.8.8.8"), [("UDP", 53), ("TCP", 53)]),
    "public": (("", {}, "203.0.113.9"), [("TCP", 443)]),
}
# The role ingress has this one, whatever the profile.
METRICS_OF_THE_INGRESS: dict[str, Any] = {
    "metadata": {"namespace": "ingress"},
    "spec": {
        "podSelector": {"matchLabels": CONTROLLER[1]},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"protocol": "TCP", "port": 8443}, {"protocol": "TCP", "port": 443}]},
            {
                "from": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": MONITORING}
                        }
                    }
                ],
                "ports": [{"protocol": "TCP", "port": port} for port in (9101, 10254)],
            },
        ],
    },
}


def peers() -> dict[str, Any]:
    anywhere: dict[str, Any] = {"namespaceSelector": {}}
    dcgm = {"matchLabels": {"app.kubernetes.io/name": "dcgm-exporter"}}
    controllers = DEFAULTS["egress_ingress_peers"]
    return {
        "dns": DEFAULTS["egress_dns_peers"],
        "ingress": [*egress.host_peers([INGRESS_HOST]), *controllers],
        "ingress-pods": controllers,
        "entry": [*egress.host_peers([INGRESS_HOST]), *controllers],
        "dcgm-exporter": [anywhere | {"podSelector": dcgm}],
        "control-plane": egress.host_peers([LEADER]),
        "node": egress.host_peers([OWN_HOST, LEADER, INGRESS_HOST]),
    }


def plan(
    profile: str,
    mode: str = "connected",
    platform: egress_policies.Platform = PLATFORM,
    **changes: Any,
) -> dict[str, Any]:
    return egress.plan(
        MATRIX,
        profile,
        mode,
        platform,
        SELECTORS,
        peers() | changes,
        DEFAULTS["egress_allowlist"],
        {"pods": PODS, "services": "10.96.0.0/16"},
        20,
    )


# The Kubernetes API's rules for network policies, as far as these use them.


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return (selector.get("matchLabels") or {}).items() <= labels.items()


def is_peer(home: str, peer: dict[str, Any], other: Endpoint) -> bool:
    namespace, labels, address = other
    if block := peer.get("ipBlock"):
        ip = ipaddress.ip_address(address)
        nets = map(ipaddress.ip_network, block.get("except") or [])
        return ip in ipaddress.ip_network(block["cidr"]) and not any(ip in net for net in nets)
    if "namespaceSelector" in peer:
        name = {"kubernetes.io/metadata.name": namespace}
        inside = bool(namespace) and selects(peer["namespaceSelector"], name)
    else:
        inside = namespace == home
    return inside and selects(peer.get("podSelector") or {}, labels)


def side_allows(
    policies: Sequence[Mapping[str, Any]],
    side: str,
    pod: Endpoint,
    other: Endpoint,
    port: tuple[str, int],
) -> bool:
    """Whether the policies of one end allow a connection."""
    key, ends = ("egress", "to") if side == "Egress" else ("ingress", "from")
    chosen = [
        policy["spec"]
        for policy in policies
        if pod[0] == policy["metadata"]["namespace"]
        and selects(policy["spec"]["podSelector"], pod[1])
        and side in policy["spec"]["policyTypes"]
    ]
    return not chosen or any(
        (not rule.get(ends) or any(is_peer(pod[0], peer, other) for peer in rule[ends]))
        and (
            not rule.get("ports")
            or any((item["protocol"], item["port"]) == port for item in rule["ports"])
        )
        for spec in chosen
        for rule in spec.get(key) or []
    )


def allowed(
    policies: Sequence[Mapping[str, Any]], source: Endpoint, target: Endpoint, port: tuple[str, int]
) -> bool:
    return side_allows(policies, "Egress", source, target, port) and side_allows(
        policies, "Ingress", target, source, port
    )


def probes(source: str, name: str, made: dict[str, Any]) -> Iterator[tuple[Endpoint, Any, bool]]:
    """What a cell of the matrix stands for: target, port, and whether it is the source's to use."""
    if name in OUTSIDE:
        target, ports = OUTSIDE[name]
        yield from ((target, port, True) for port in ports)
        return
    destination = MATRIX["destinations"][name]
    held_by = HOLDERS.get(destination["to"]) or [component(destination["to"])]
    if destination.get("ports") == "allowlist":
        for item in made["listeners"]:
            yield held_by[0], ("TCP", item["listen"]), source in item["used_by"]
    else:
        for target in held_by:
            for port in egress_policies.ports_of(destination):
                yield target, (port["protocol"], port["port"]), True


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("source", MATRIX["sources"])
def test_policies_do_what_the_matrix_says(profile: str, source: str) -> None:
    made = plan(profile)
    wrong = []
    seen = 0
    for (row, name), cell in egress.cells(MATRIX, profile).items():
        if row != source:
            continue
        for target, port, own in probes(source, name, made):
            seen += 1
            # Another component's name is denied in profiles that distinguish names.
            wanted = cell and (own or profile != "strict")
            policies = [*made["policies"], METRICS_OF_THE_INGRESS]
            if allowed(policies, SOURCES[source], target, port) != wanted:
                wrong.append(f"{source} to {name} {port}: {'denied' if wanted else 'allowed'}")
    assert wrong == []
    assert seen >= len([x for x in MATRIX["destinations"].values() if x.get("to") in SELECTORS])


def test_matrix_names_only_what_it_knows() -> None:
    places = {*MATRIX["sources"], *HOLDERS, "public"}
    for destination in MATRIX["destinations"].values():
        assert destination.get("to", "dns") in places
        assert destination["network"] in {"dns", "private", "metadata", "public"}
        ports = destination.get("ports") or egress_policies.ports_of(destination)
        assert bool(ports) == ("to" in destination)
    assert MATRIX["sources"].keys() == SOURCES.keys()
    assert {name for name, item in MATRIX["sources"].items() if item.get("component")} == set(
        SELECTORS
    )
    assert list(MATRIX["profiles"]) == PROFILES
    for profile in MATRIX["profiles"].values():
        for source, row in profile.get("rows", {}).items():
            assert source in MATRIX["sources"]
            assert set(row) <= MATRIX["destinations"].keys()
            assert len(set(row)) == len(row)


def test_strict_has_a_row_for_everybody() -> None:
    assert MATRIX["profiles"]["strict"]["rows"].keys() == MATRIX["sources"].keys()


def test_vendor_denies_the_internet_and_nothing_else() -> None:
    cells = egress.cells(MATRIX, "vendor")
    inside = {
        name
        for name, item in MATRIX["sources"].items()
        if item.get("component") and "namespace" not in item
    }
    # What another role's policy closes is closed in every profile.
    denied = {cell for cell, allow in cells.items() if not allow and cell[1] != "ingress-metrics"}
    assert denied == {(name, "public") for name in (inside | {"stranger"}) - {"egress-gateway"}}


def test_vendor_is_the_reference_to_the_letter() -> None:
    [policy] = plan("vendor", "airgapped")["policies"]
    assert policy["spec"] == {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {
                "to": [
                    {"ipBlock": {"cidr": "10.0.0.0/8"}},
                    {"ipBlock": {"cidr": "172.16.0.0/12"}},
                    {"ipBlock": {"cidr": "192.168.0.0/16"}},
                ]
            },
            {"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]},
        ],
    }


@pytest.mark.parametrize("mode", ["connected", "airgapped"])
def test_off_has_no_policies(mode: str) -> None:
    assert plan("off", mode)["policies"] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_airgapped_has_no_gateway(profile: str) -> None:
    made = plan(profile, "airgapped")
    assert made["listeners"] == []
    assert not any(made["aliases"].values())
    assert not [p for p in made["policies"] if p["metadata"]["name"].endswith("gateway")]
    public = OUTSIDE["public"]
    if profile != "off":
        stack = [name for name in SELECTORS if "namespace" not in MATRIX["sources"][name]]
        for name in stack:
            assert not allowed(made["policies"], SOURCES[name], public[0], public[1][0])


def test_gateway_tells_names_apart() -> None:
    made = plan("strict")
    assert [(item["name"], item["address"], item["listen"]) for item in made["listeners"]] == [
        ("storage.googleapis.com", "10.96.0.20", 8443),
        ("api.cartesia.ai", "10.96.0.21", 8444),
    ]
    assert made["aliases"]["license-proxy"] == [
        {"ip": "10.96.0.21", "hostnames": ["api.cartesia.ai"]}
    ]
    assert made["aliases"]["api"] == made["aliases"]["worker"]
    assert made["aliases"]["nats"] == []


def test_changing_the_profile_moves_no_name() -> None:
    assert plan("off")["aliases"] == plan("vendor")["aliases"] == plan("strict")["aliases"]


def test_an_empty_list_allows_no_peer() -> None:
    no_peers: dict[str, Any] = {name: [] for name in peers()}
    policies = plan("strict", **no_peers)["policies"]
    assert not allowed(policies, SOURCES["outsider"], component("api"), ("TCP", 5000))
    for policy in policies:
        for side, key in (("ingress", "from"), ("egress", "to")):
            rules = policy["spec"].get(side) or []
            # Guarded pods ask any name server.
            assert all(rule[key] for rule in rules if rule != {"ports": egress_policies.DNS_PORTS})


def test_an_address_given_for_a_name_is_all_that_is_opened_for_it() -> None:
    listening = egress.listeners(
        [{"name": "a.example.com", "used_by": ["api"], "address": "10.1.2.3"}], "10.96.0.0/16", 20
    )
    known = {name: [{"podSelector": selector}] for name, selector in SELECTORS.items()}
    known |= peers() | {"public": egress.public_peers([]), "pods": egress.host_peers([PODS])}
    policies = egress_policies.network_policies(MATRIX, "strict", PLATFORM, known, listening)
    gateway = SOURCES["egress-gateway"]
    assert allowed(policies, gateway, ("", {}, "10.1.2.3"), ("TCP", 443))
    assert not allowed(policies, gateway, ("", {}, "10.1.2.4"), ("TCP", 443))
    assert not allowed(policies, gateway, *(OUTSIDE["public"][0], ("TCP", 443)))


def test_the_internet_is_without_the_clusters_own_networks() -> None:
    [peer] = egress.public_peers(["100.64.0.0/16", "203.0.113.0/24"])
    assert "203.0.113.0/24" in peer["ipBlock"]["except"]
    assert "100.64.0.0/16" not in peer["ipBlock"]["except"], "lies in 100.64.0.0/10"
    assert "10.0.0.0/8" in peer["ipBlock"]["except"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "https://api.cartesia.ai"}, "full host name"),
        ({"name": "*.cartesia.ai"}, "full host name"),
        ({"name": "10.1.2.3"}, "full host name"),
        ({"name": "cartesia"}, "full host name"),
        ({"name": "api.cartesia.ai", "port": 70000}, "port 70000"),
        ({"name": "api.cartesia.ai", "used_by": []}, "used_by is empty"),
        ({"name": "api.cartesia.ai", "address": "169.254.169.254"}, "metadata"),
        ({"name": "api.cartesia.ai", "address": "api"}, "IPv4"),
    ],
)
def test_bad_entries_of_the_allowlist(entry: dict[str, Any], message: str) -> None:
    [problem] = egress.allowlist_problems([{"used_by": ["api"], "port": 443} | entry])
    assert message in problem
    assert problem.startswith("egress_allowlist: ")


def test_names_that_are_there_twice() -> None:
    entry = {"name": "api.cartesia.ai", "port": 443, "used_by": ["api"]}
    [problem] = egress.allowlist_problems([entry, entry | {"name": "API.cartesia.ai"}])
    assert "twice" in problem


def test_defaults_are_right() -> None:
    assert egress.variable_problems(plain_defaults(), {"cp1": "192.0.2.11"}) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"egress_profile": "vendor", "site_pod_cidr": "100.64.0.0/16"}, "site_pod_cidr"),
        ({"site_service_cidr": "services"}, "site_service_cidr is services"),
        ({"egress_gateway_offset": 5}, "egress_gateway_offset 5"),
        ({"egress_gateway_offset": 70000}, "egress_gateway_offset 70000"),
        ({"egress_host_networks": ["cp1"]}, "egress_host_networks: cp1"),
        ({"egress_ingress_peers": [{}]}, "allow all peers"),
        ({"egress_prometheus_peers": [{}]}, "egress_prometheus_peers[0] is empty"),
        ({"egress_prometheus_peers": [{"ipBlock": {"cidr": "grafana"}}]}, "grafana"),
        ({"egress_prometheus_targets": [{"ports": [{"port": 9093}]}]}, "everything"),
        ({"egress_prometheus_targets": [{"to": [{}]}]}, "egress_prometheus_targets[0].to[0]"),
        ({"egress_ingress_peers": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}, "10.0.0.1/8"),
    ],
)
def test_bad_variables(values: dict[str, Any], message: str) -> None:
    [problem] = egress.variable_problems({**plain_defaults(), **values}, {"cp1": "192.0.2.11"})
    assert message in problem


def test_a_host_that_is_let_in_needs_an_address() -> None:
    hosts = {"cp1": "cp1.example.com", "cp2": "192.0.2.12"}
    [problem] = egress.variable_problems(plain_defaults(), hosts)
    assert problem.startswith("cp1: ")
    assert "kubeadm_node_ip" in problem
    vendor = {**plain_defaults(), "egress_profile": "vendor"}
    assert egress.variable_problems(vendor, {"cp1": "cp1.example.com"}) == []


EXPORTERS = ["json-exporter", "blackbox-exporter"]


@pytest.mark.parametrize("name", EXPORTERS)
def test_exporters_are_no_deputies(name: str) -> None:
    """They connect to any address in a request: only Prometheus may ask, for their targets only."""
    policies = plan("strict")["policies"]
    [port] = egress_policies.ports_of(MATRIX["destinations"][name])
    asked = component(name), (port["protocol"], port["port"])
    askers = {other for other in SOURCES if allowed(policies, SOURCES[other], *asked)}
    assert askers == {"prometheus"}
    license_proxy = component("license-proxy"), ("TCP", 8080)
    sync = component("artifact-sync"), ("TCP", 8080)
    for target, where in (license_proxy, sync, (OUTSIDE["metadata"][0], ("TCP", 80))):
        assert not allowed(policies, SOURCES[name], target, where)


def test_prometheus_and_keda_of_others_keep_their_own_policies() -> None:
    theirs = replace(PLATFORM, policed=[])
    policies = plan("strict", platform=theirs)["policies"]
    names = {
        policy["metadata"]["name"]
        for policy in policies
        if policy["metadata"]["namespace"] in (MONITORING, KEDA)
    }
    # The exporters that read NATS and certificates are ours there, too.
    assert names == {f"strict-{name}" for name in EXPORTERS}
    # Theirs is found by its label, and reads the stack.
    assert allowed(policies, SOURCES["prometheus"], component("api"), ("TCP", 8080))


def test_prometheus_has_more_readers_and_targets_when_the_site_says_so() -> None:
    readers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}]
    targets: list[dict[str, Any]] = [{"to": readers, "ports": [{"protocol": "TCP", "port": 8000}]}]
    prometheus, port = component("prometheus"), ("TCP", 9090)
    target = OUTSIDE["elsewhere"][0], ("TCP", 8000)
    closed = plan("strict")["policies"]
    assert not allowed(closed, SOURCES["outsider"], prometheus, port)
    assert not allowed(closed, prometheus, *target)
    wider = replace(PLATFORM, readers=readers, targets=targets)
    opened = plan("strict", platform=wider)["policies"]
    assert allowed(opened, SOURCES["outsider"], prometheus, port)
    assert allowed(opened, prometheus, *target)
    assert not allowed(opened, SOURCES["outsider"], prometheus, ("TCP", 8080))


def test_guarded_pods_do_not_reach_hosts_by_their_address_among_the_pods() -> None:
    policies = plan("strict")["policies"]
    bridge: Endpoint = ("", {}, "10.244.1.1")
    for port in (22, 10250, 9100):
        assert not allowed(policies, SOURCES["neighbour"], bridge, ("TCP", port))
        assert not allowed(policies, CONTROLLER, bridge, ("TCP", port))
    assert allowed(policies, CONTROLLER, component("api"), ("TCP", 5000))


def test_guarding_opens_nothing_that_is_denied() -> None:
    """Policies add up, and this one allows all but the hosts."""
    everywhere = replace(PLATFORM, guarded=[STACK, MONITORING, KEDA, "default"])
    assert plan("strict", platform=everywhere) == plan(
        "strict", platform=replace(PLATFORM, guarded=["default"])
    )
