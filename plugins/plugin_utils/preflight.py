# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Judges an inventory: variables, and what hosts said of themselves."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any


def shared_machine_ids(machine_ids: Mapping[str, str]) -> list[str]:
    """Hosts that were cloned from one image without a new identity."""
    hosts: dict[str, list[str]] = {}
    for host, machine_id in machine_ids.items():
        if machine_id:
            hosts.setdefault(machine_id, []).append(host)
    return [
        f"{' and '.join(sorted(names))} have the same /etc/machine-id: on all but one, empty it"
        " and run systemd-machine-id-setup"
        for names in hosts.values()
        if len(names) > 1
    ]


def gpu_problems(workers: Sequence[Mapping[str, Any]], gpus: Mapping[str, int | None]) -> list[str]:
    """Whether the workers ask for more GPUs than the inventory says there are.

    Args:
        workers: the variable workers_list.
        gpus: GPUs by host; None where the inventory does not say.
    """
    if not gpus or any(count is None for count in gpus.values()):
        return []
    have = sum(count or 0 for count in gpus.values())
    need = sum(
        int(item.get("replicas") or (item.get("autoscaling") or {}).get("minReplicas") or 1)
        for item in workers
    )
    if need <= have:
        return []
    listed = ", ".join(f"{host} {count}" for host, count in gpus.items())
    message = f"workers_list asks for {need} GPUs, the inventory has {have} ({listed}):"
    return [f"{message} lower the replicas or add hosts to gpu_workers"]


def virtual_ip_problems(address: str, hosts: Mapping[str, str]) -> list[str]:
    """Whether the ingress hosts can share an address.

    Args:
        address: the variable ingress_virtual_ip.
        hosts: addresses of the site's hosts, by inventory name; names count as addresses unknown.
    """
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return [f"ingress_virtual_ip={address} is not an IP address: give one without a prefix"]
    return [
        f"ingress_virtual_ip={address} is the address of {host}: choose a free one in the ingress"
        " hosts' network"
        for host, own in hosts.items()
        if own == address
    ]
