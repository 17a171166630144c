# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What a firewall on a site's hosts has to let in: the one list of ports between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """What the list depends on.

    Attributes:
        addresses: each host's address in the cluster.
        control_plane: hosts with the API.
        ingress: hosts that serve clients.
        pods: network of the pods.
    """

    addresses: Mapping[str, str]
    control_plane: Sequence[str]
    ingress: Sequence[str]
    pods: str


@dataclass(frozen=True)
class Opening:
    """One thing to let in.

    Attributes:
        source: hosts (the site's other ones), pods, or anywhere.
        protocol: tcp or ipip.
        ports: empty for a protocol without ports.
        reason: what uses it.
    """

    source: str
    protocol: str
    ports: tuple[int, ...]
    reason: str

    def __str__(self) -> str:
        """The opening as the list has it."""
        if self.protocol == "ipip":
            return f"IP protocol 4 ({self.reason})"
        return f"{self.protocol} {' and '.join(map(str, self.ports))} ({self.reason})"


def of_host(host: str, site: Site) -> list[Opening]:
    """Everything that a host has to let in, beside SSH from the controller.

    Ports of kubeadm: https://kubernetes.io/docs/reference/networking/ports-and-protocols/
    """
    return [
        opening
        for opening, there in _openings(host in site.control_plane, host in site.ingress)
        if there
    ]


def _openings(leads: bool, serves: bool) -> Iterator[tuple[Opening, bool]]:
    yield Opening("hosts", "tcp", (179,), "routes of the pod network"), True
    yield Opening("hosts", "ipip", (), "IPIP, pods of hosts in other networks"), True
    yield Opening("hosts", "tcp", (10250,), "the kubelet"), True
    yield Opening("hosts", "tcp", (6443,), "the Kubernetes API"), leads
    yield Opening("pods", "tcp", (10250, 9100), "metrics of the host"), True
    yield Opening("pods", "tcp", (6443,), "the Kubernetes API"), leads
    yield Opening("pods", "tcp", (2379, 9379, 10257, 10259), "metrics of the control plane"), leads
    yield Opening("anywhere", "tcp", (80, 443), "clients"), serves


def text(host: str, site: Site) -> str:
    """The list of a host in one line, with addresses."""
    others = [address for name, address in site.addresses.items() if name != host]
    sources = {
        "hosts": f"from {' and '.join(others)} (the other hosts)",
        "pods": f"from {site.pods} (pods)",
        "anywhere": "from anywhere",
    }
    lines = of_host(host, site)
    parts = [
        f"{source}: {', '.join(named)}"
        for kind, source in sources.items()
        if (named := [str(opening) for opening in lines if opening.source == kind])
    ]
    return "; ".join([*parts, f"forwarded from and to {site.pods}: everything"])
