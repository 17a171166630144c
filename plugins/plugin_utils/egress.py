# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from the matrix of roles/egress/vars/main/matrix.yml: policies, tables, errors.

Pure functions of plain dictionaries: the role applies what they return, the tests probe what they
say, and the documentation prints it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..module_utils._kube.types import Object
from .egress_policies import METADATA, PRIVATE, Matrix, Platform, network_policies

# What is no address of the internet (RFC 6890): this host, carrier NAT, loopback, link-local,
# benchmarking, multicast and reserved, beside RFC 1918.
NOT_PUBLIC = (
    "0.0.0.0/8", *PRIVATE, "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15",
    "224.0.0.0/3",
)  # fmt: skip

# The gateway listens on this port for the allowlist's first name, on the next for the second...
FIRST_PORT = 8443
# Of an entry of the allowlist that names no port: HTTPS.
DEFAULT_PORT = 443
HOST_NAME = re.compile(
    r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
    re.IGNORECASE,
)


def cells(matrix: Matrix, profile: str) -> dict[tuple[str, str], bool]:
    """For each source and destination of the matrix: whether the profile allows it.

    Who is outside all namespaces with policies has cells for the components in them only.
    """
    rows = matrix["profiles"][profile].get("rows", {})
    sources, destinations = matrix["sources"], matrix["destinations"]
    return {
        (source, name): (source not in rows or name in rows[source])
        # Destinations that another role's policy closes, with any profile.
        and destination.get("only", facts.get("namespace")) == facts.get("namespace")
        for source, facts in sources.items()
        for name, destination in destinations.items()
        if "component" in facts
        or "inside" in facts
        or "component" in sources.get(destination.get("to"), ())
    }


def port_of(entry: Mapping[str, Any]) -> int:
    """Return the port of an entry of egress_allowlist."""
    return int(entry.get("port") or DEFAULT_PORT)


def listeners(
    allowlist: Sequence[Mapping[str, Any]], service_cidr: str, offset: int
) -> list[Object]:
    """What the gateway serves: the allowlist's entries that pods use, each with its own address.

    Args:
        allowlist: the variable egress_allowlist.
        service_cidr: addresses of the cluster's Services.
        offset: place in it of the first entry's Service; the others follow.

    Returns:
        The entries with `address` (the Service's), `listen` (the gateway's port for it) and
        `upstream` (where the gateway connects to: the name, or the address given for it).
    """
    used = [entry for entry in allowlist if set(entry["used_by"]) - {"hosts"}]
    first = ipaddress.ip_network(service_cidr).network_address + offset
    return [
        {
            "name": entry["name"].lower(),
            "port": port_of(entry),
            "used_by": list(entry["used_by"]),
            "upstream": entry.get("address") or entry["name"].lower(),
            "address": str(first + number),
            "listen": FIRST_PORT + number,
        }
        for number, entry in enumerate(used)
    ]


def plan(
    matrix: Matrix,
    profile: str,
    mode: str,
    platform: Platform,
    selectors: Mapping[str, Object],
    peers: Mapping[str, Sequence[Object]],
    allowlist: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, str],
    offset: int,
) -> dict[str, Any]:
    """Everything that follows from the role's variables.

    Args:
        matrix: roles/egress/vars/main/matrix.yml.
        profile: off, vendor or strict.
        mode: connected or airgapped.
        platform: the namespaces.
        selectors: label selector of each component.
        peers: NetworkPolicyPeers of the matrix's names that are not components: dns, ingress,
            control-plane, node, entry, ingress-pods and dcgm-exporter.
        allowlist: the variable egress_allowlist.
        ranges: networks of `pods` and `services`.
        offset: place of the gateway's first Service in the latter.

    Returns:
        `policies`; `listeners` of the gateway, none without internet; and `aliases`: for each
        component its pods' hostAliases, by which names lead to the gateway.
    """
    # Whatever the profile: changing it must not need new pods with other aliases.
    connected = mode == "connected"
    listening = listeners(allowlist, ranges["services"], offset) if connected else []
    everybody = {name: list(items) for name, items in peers.items()}
    for name, selector in selectors.items():
        home = {"kubernetes.io/metadata.name": platform.home(matrix["sources"][name])}
        everybody[name] = [{"podSelector": selector, "namespaceSelector": {"matchLabels": home}}]
    everybody["public"] = public_peers(list(ranges.values()))
    everybody["pods"] = [{"ipBlock": {"cidr": ranges["pods"]}}]
    aliases: dict[str, list[Object]] = {name: [] for name in selectors}
    for item in listening:
        for name in item["used_by"]:
            if name in aliases:
                alias = {"ip": item["address"], "hostnames": [item["name"]]}
                aliases[name].append(alias)
    return {
        "policies": network_policies(matrix, profile, platform, everybody, listening),
        "listeners": listening,
        "aliases": aliases,
    }


def public_peers(cidrs: Sequence[str]) -> list[Object]:
    """The internet as a NetworkPolicyPeer, without the cluster's own networks."""
    world = ipaddress.IPv4Network("0.0.0.0/0")
    nets = {ipaddress.IPv4Network(cidr) for cidr in (*NOT_PUBLIC, *cidrs)}
    # Each once: a network inside another is left out with it.
    kept = sorted(
        net for net in nets if not any(net != other and net.subnet_of(other) for other in nets)
    )
    return [{"ipBlock": {"cidr": str(world), "except": [str(net) for net in kept]}}]


def host_peers(addresses: Iterable[str]) -> list[Object]:
    """Return hosts as NetworkPolicyPeers. Skip what is no network: preflight has reported it."""
    nets = dict.fromkeys(_network(item) for item in addresses)
    return [{"ipBlock": {"cidr": str(net)}} for net in nets if net is not None]


def _address(text: object) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(str(text))
    except ValueError:
        return None


def _network(text: object) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None


def allowlist_problems(allowlist: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the variable egress_allowlist beyond its types."""
    lines = []
    seen: set[tuple[str, int]] = set()
    for entry in allowlist:
        name, port = str(entry.get("name")), port_of(entry)
        where = f"egress_allowlist: {name}"
        if not HOST_NAME.fullmatch(name):
            lines.append(
                f"{where} is not a full host name: give it without scheme, port, path or wildcard"
            )
        if not 1 <= port <= 65535:
            lines.append(f"{where}: port {port} is not from 1 to 65535")
        if (name.lower(), port) in seen:
            lines.append(f"{where}:{port} is there twice: keep one, with all of its used_by")
        seen.add((name.lower(), port))
        if not entry.get("used_by"):
            lines.append(f"{where}: used_by is empty: name who needs it, or remove the entry")
        address = entry.get("address")
        if address and (_address(address) is None or f"{address}/32" == METADATA):
            lines.append(
                f"{where}: address {address} is not one that the gateway may go to: give an IPv4"
                " address that is not the metadata address, or none to ask DNS"
            )
    return lines


def lets_to(allowlist: Sequence[Mapping[str, Any]], component: str, name: str, port: int) -> bool:
    """Whether an egress_allowlist lets a component to a name (in small letters) and port."""
    return any(
        str(entry.get("name")).lower() == name
        and port_of(entry) == port
        and component in (entry.get("used_by") or [])
        for entry in allowlist
    )


def peer_problems(variable: str, peers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a list of NetworkPolicyPeers."""
    lines = []
    for number, peer in enumerate(peers):
        where = f"{variable}[{number}]"
        if not peer:
            lines.append(
                f"{where} is empty, which would allow all peers: give a namespaceSelector, a"
                " podSelector or an ipBlock, or leave it out"
            )
        elif "ipBlock" in peer and _network((peer["ipBlock"] or {}).get("cidr")) is None:
            cidr = (peer["ipBlock"] or {}).get("cidr")
            lines.append(f"{where}: {cidr} is not an IPv4 network, as 192.0.2.0/28")
    return lines


def variable_problems(values: Mapping[str, Any], hosts: Mapping[str, Any]) -> list[str]:
    """What is wrong with the variables of the role egress.

    Args:
        values: variables of the roles egress and site by name, defaults included.
        hosts: address of each host of the site.
    """
    lines = allowlist_problems(values["egress_allowlist"])
    profile = values["egress_profile"]
    ranges = {name: values[name] for name in ("site_pod_cidr", "site_service_cidr")}
    nets = {name: _network(cidr) for name, cidr in ranges.items()}
    for name, net in nets.items():
        if net is None:
            lines.append(f"{name} is {ranges[name]}: give an IPv4 network, as 10.96.0.0/16")
        elif profile == "vendor" and not any(net.subnet_of(_net) for _net in _PRIVATE_NETS):
            lines.append(
                f"egress_profile vendor lets pods reach {', '.join(PRIVATE)} and DNS only, and"
                f" {name} is {net}: pods could not reach each other; use strict, or a range inside"
            )
    services, offset = nets["site_service_cidr"], int(values["egress_gateway_offset"])
    if services is not None and not 11 <= offset < services.num_addresses - 1 - len(
        values["egress_allowlist"]
    ):
        lines.append(
            f"egress_gateway_offset {offset} does not lie in site_service_cidr {services} behind"
            " the cluster's own first ten addresses"
        )
    for variable in ("egress_ingress_peers", "egress_prometheus_peers"):
        lines += peer_problems(variable, values[variable])
    for number, rule in enumerate(values["egress_prometheus_targets"]):
        where = f"egress_prometheus_targets[{number}]"
        if not rule.get("to"):
            lines.append(
                f"{where} has no to, which would mean everything: name what may be reached"
            )
        lines += peer_problems(f"{where}.to", rule.get("to") or [])
    for cidr in values["egress_host_networks"]:
        if _network(cidr) is None:
            lines.append(f"egress_host_networks: {cidr} is not an IPv4 network, as 192.0.2.0/28")
    if profile == "strict":
        lines += [
            f"{host}: egress_profile strict knows this host by its address, and {address} is"
            " none: set kubeadm_node_ip, the host's address in the cluster"
            for host, address in hosts.items()
            if _address(address) is None
        ]
    return lines


_PRIVATE_NETS = tuple(ipaddress.IPv4Network(cidr) for cidr in PRIVATE)
