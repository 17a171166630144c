# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Validate hosts as nodes: names, addresses, networks, and the cluster they belong to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# RFC 1123 in lower case, as in Kubernetes. The label kubernetes.io/hostname holds 63 characters.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
LONGEST_NAME = 63
Report = Mapping[str, Any]


def name_problems(hosts: Iterable[str]) -> list[str]:
    """Return the inventory names that cannot be names of nodes."""
    messages = []
    for host in hosts:
        if not NAME.fullmatch(host):
            better = re.sub(r"[^a-z0-9.]+", "-", host.lower()).strip("-.")
            example = f", for example {better}" if NAME.fullmatch(better) else ""
            messages.append(
                f"{host}: the inventory name becomes the node's name, which may hold lower-case"
                f" letters, digits, - and . only: rename the host{example}, and keep its address in"
                " ansible_host"
            )
        elif len(host) > LONGEST_NAME:
            messages.append(
                f"{host}: the inventory name becomes the node's name, but has {len(host)}"
                f" characters: use {LONGEST_NAME} or fewer"
            )
    return messages


def address_problems(
    addresses: Mapping[str, object], reports: Mapping[str, Report]
) -> dict[str, str]:
    """Return what is wrong with each host's address in the cluster, by host.

    Args:
        addresses: kubeadm_node_ip of each host, or its default.
        reports: results of host_check by host; hosts without a result are missing.
    """
    by_host: dict[str, str] = {}
    owners: dict[ipaddress.IPv4Address, str] = {}
    for host, given in addresses.items():
        text = str(given)
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            by_host[host] = (
                f"{host}: its address in the cluster would be {text}, which is a name: set"
                " kubeadm_node_ip to the IPv4 address by which the other hosts reach it"
            )
            continue
        if isinstance(address, ipaddress.IPv6Address):
            by_host[host] = (
                f"{host}: kubeadm_node_ip {text} is an IPv6 address, and clusters are IPv4 only:"
                " set kubeadm_node_ip to an IPv4 address of the host"
            )
            continue
        if address in owners:
            by_host[host] = (
                f"{host} and {owners[address]} have the same address {text}: correct one"
            )
        owners[address] = host
        own = reports.get(host, {}).get("addresses")
        if own is not None and text not in own:
            by_host[host] = (
                f"{host}: its address in the cluster would be {text}, but none of its interfaces"
                f" has that (they have {', '.join(own) or 'none'}; {text} may be a floating or"
                " public address): set kubeadm_node_ip to the one by which the other hosts reach it"
            )
    return by_host


def network_problems(
    ranges: Mapping[str, str], addresses: Mapping[str, object], reports: Mapping[str, Report]
) -> list[str]:
    """Return overlaps between the networks of pods, Services and hosts.

    Args:
        ranges: site_pod_cidr and site_service_cidr by name. An invalid one is not reported here.
        addresses: each host's address in the cluster.
        reports: results of host_check by host.
    """
    nets = {name: net for name, cidr in ranges.items() if (net := _network(cidr))}
    messages = []
    if len(nets) == len(ranges) == 2:
        (one, pods), (other, services) = nets.items()
        if pods.overlaps(services):
            messages.append(
                f"{one} {pods} and {other} {services} overlap: choose separate networks"
            )
    for host, given in addresses.items():
        theirs = {f"its address {given}": _network(given)}
        for route in reports.get(host, {}).get("networks") or []:
            theirs[f"its network {route['network']} ({route['interface']})"] = _network(
                route["network"]
            )
        messages += [
            f"{host}: {what} lies in {name} {net}: pods could not reach it. Set {name} to a"
            " network that no host is in"
            for what, their in theirs.items()
            for name, net in nets.items()
            if their and their.overlaps(net)
        ]
    return messages


def _network(text: object) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None


def cluster_problems(
    leader: str, leader_report: Report, reports: Mapping[str, Report]
) -> list[str]:
    """Return the hosts that belong to another cluster than the leader, by their CA certificates.

    Args:
        leader: the site's first control plane.
        leader_report: its result of host_check; empty if there is none.
        reports: results of host_check by host.
    """
    if "cluster_ca" not in leader_report:
        return []
    ours = leader_report["cluster_ca"]
    messages = []
    for host, report in reports.items():
        theirs = report.get("cluster_ca")
        if host == leader or not theirs or theirs == ours:
            continue
        if ours:
            messages.append(
                f"{host}: belongs to another cluster (its CA has the SHA-256 {theirs[:16]}, that of"
                f" {leader} {ours[:16]}): run 'kubeadm reset' on it, or remove it from the"
                " inventory"
            )
        else:
            messages.append(
                f"{host}: belongs to a cluster already, but {leader}, the first of control_plane,"
                f" does not: {leader} would start a second, empty cluster. Put the control plane"
                f" of {host} first, or run 'kubeadm reset' on {host}"
            )
    return messages


def type_problems(
    options: Mapping[str, Any], given: Mapping[str, Any], where: str = ""
) -> list[str]:
    """Return the texts in place of a list or dictionary, and those in place of a bool in one.

    Ansible's own validation splits a text at commas, but templates get the text itself and would
    loop over its letters.

    Args:
        options: the options of an argument spec by name.
        given: the variables by name.
        where: the path to them, for the message.
    """
    messages = []
    for name, option in options.items():
        value, kind, path = given.get(name), option.get("type"), f"{where}{name}"
        if isinstance(value, str) and kind in ("list", "dict"):
            messages.append(
                f"{path} is text, but must be a {'list' if kind == 'list' else 'dictionary'}: give"
                " it in the inventory's YAML, in a file (-e @FILE), or as JSON"
                f""" (-e '{{"{name}": ...}}')"""
            )
        elif isinstance(value, str) and kind == "bool" and where:
            messages.append(f"{path} is the text {value!r}: write true or false without quotes")
        elif inner := option.get("options"):
            for number, item in enumerate(_items(value)):
                if isinstance(item, Mapping):
                    place = f"{path}[{number}]" if isinstance(value, list) else path
                    messages += type_problems(inner, item, f"{place}.")
    return messages


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
