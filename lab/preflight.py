# SPDX-License-Identifier: Apache-2.0
"""Check the machine before a lab is made, and report all that is missing at once."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from pathlib import Path

from lab import hosts
from lab.config import Lab, LabError, cache_dir

GIB = 1024**3
# Measured: 13.5 GiB of caches when all is compiled. A build needs more on its way.
BUNDLE_DISK_GIB = 16
LAB_DISK_GIB = 7
LAB_MEMORY_GIB = 6


def available_memory(meminfo: str) -> int:
    """MemAvailable of /proc/meminfo, in bytes."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LabError("/proc/meminfo has no MemAvailable: is this Linux?")


def machine_problems() -> list[str]:
    """Of the machine as such."""
    problems = []
    if os.geteuid() != 0:
        problems.append("not root: run as root (the lab makes hosts with systemd in them)")
    if not Path("/sys/fs/cgroup").is_dir():
        problems.append("no control groups: mount /sys/fs/cgroup")
    try:
        socket.create_server(("127.0.0.1", 0)).close()
    except OSError as error:
        problems.append(f"no port of 127.0.0.1 can be opened: {error}")
    return problems


def check(lab: Lab, subnet: str | None) -> None:
    """Check the machine for a lab that is not there yet.

    Raises:
        LabError: with all that is wrong, one line each.
    """
    problems = machine_problems()
    memory = available_memory(Path("/proc/meminfo").read_text(encoding="utf-8"))
    if memory < LAB_MEMORY_GIB * GIB:
        problems.append(
            f"{memory / GIB:.1f} GiB of memory available, {LAB_MEMORY_GIB} needed: stop something"
        )
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    needed = LAB_DISK_GIB + (
        0 if (cache / "bundle/registry/seeded.json").exists() else BUNDLE_DISK_GIB
    )
    free = shutil.disk_usage(cache).free
    if free < needed * GIB:
        problems.append(
            f"{free / GIB:.1f} GiB free under {cache}, {needed} needed: free some, or set"
            " XDG_CACHE_HOME to a larger disk"
        )
    if subnet is not None:
        problems += subnet_problems(subnet, lab)
    if problems:
        raise LabError("\n".join(["this machine cannot hold the lab:", *problems]))


def subnet_problems(text: str, lab: Lab) -> list[str]:
    """Of a subnet that the user asked for by LAB_SUBNET."""
    try:
        wanted = ipaddress.IPv4Network(text)
    except ValueError as error:
        return [f"LAB_SUBNET={text} is not a network: {error}"]
    if wanted.prefixlen != 24 or str(wanted) != text:
        return [f"LAB_SUBNET={text} is not a /24, as 172.30.5.0/24 is"]
    if lab.subnet == text:
        return []
    taken = sorted(str(net) for net in hosts.network_subnets() if net.overlaps(wanted))
    if taken:
        return [
            f"LAB_SUBNET={text} is taken by {', '.join(taken)}: choose another, or leave it out"
        ]
    return []
