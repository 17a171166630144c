#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says whether a host can become a node, and lists everything that speaks against it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Whether a host can become a Kubernetes node
description:
  - Looks at user, operating system, memory, disks and listening ports of a host and returns all problems that it finds.
  - It never fails because of a problem, so that the problems of all hosts can be told together; see M(baremetal.sonic.preflight).
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  memory_mib:
    description: Least memory of the host, in MiB.
    type: int
    required: true
  disk_gib:
    description: Least free space, in GiB, by folder. A folder that is not there yet counts as the one above it.
    type: dict
    default: {}
  ports:
    description:
      - TCP ports that must be free while the host is not a node yet (afterwards it is the cluster that listens there).
    type: list
    elements: int
    default: []
  systems:
    description: Operating systems that are supported, as C(ID VERSION_ID) of C(/etc/os-release).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Look at the host
  baremetal.sonic.host_check:
    memory_mib: 1700
    disk_gib: {/var/lib/containerd: 20}
    ports: [6443, 10250]
    systems: [debian 12, ubuntu 24.04]
  register: preflight_host
"""

RETURN = r"""
problems:
  description: What speaks against the host and what to do about it, one line each; empty when all is well.
  returned: always
  type: list
  elements: str
  sample: ["port 10250 is taken: stop what listens there"]
machine_id:
  description: The host's C(/etc/machine-id), which no two hosts may share.
  returned: always
  type: str
"""

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

GIB = 1024**3
LISTEN = "0A"


def listening_ports(tables: list[str]) -> set[int]:
    """TCP ports in state LISTEN of the texts of /proc/net/tcp and tcp6."""
    found = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == LISTEN:
                found.add(int(fields[1].rsplit(":", 1)[1], 16))
    return found


def operating_system(os_release: str) -> str:
    """ID and VERSION_ID of /etc/os-release, for example "debian 12"."""
    pairs = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return " ".join(pairs.get(key, "?").strip("\"'") for key in ("ID", "VERSION_ID"))


def total_memory_mib(meminfo: str) -> int:
    """MemTotal of /proc/meminfo, in MiB."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def problems(options: dict[str, Any]) -> list[str]:
    """Everything that speaks against this host."""
    found = []
    if os.geteuid() != 0:
        found.append("the connection is not root's: set ansible_user=root or ansible_become=true")
    system = operating_system(Path("/etc/os-release").read_text(encoding="utf-8"))
    if system not in options["systems"]:
        found.append(f"{system} is not supported: install one of {', '.join(options['systems'])}")
    if platform.machine() != "x86_64":
        found.append(f"{platform.machine()} is not supported: the packages are for x86_64")
    memory = total_memory_mib(Path("/proc/meminfo").read_text(encoding="utf-8"))
    if memory < options["memory_mib"]:
        found.append(f"{memory} MiB of memory, {options['memory_mib']} needed")
    node = Path("/etc/kubernetes/kubelet.conf").exists()
    if not node:
        # A node's disk is filled by what it runs; that is the cluster's business, not ours.
        for folder, gib in options["disk_gib"].items():
            free = shutil.disk_usage(existing(Path(folder))).free / GIB
            if free < float(gib):
                found.append(f"{free:.1f} GiB free for {folder}, {gib} needed: free some")
        tables = [
            p.read_text(encoding="utf-8")
            for p in map(Path, ("/proc/net/tcp", "/proc/net/tcp6"))
            if p.exists()
        ]
        for port in sorted(listening_ports(tables) & set(options["ports"])):
            found.append(
                f"port {port} is taken: stop what listens there (ss -ltnp 'sport = {port}')"
            )
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "memory_mib": {"type": "int", "required": True},
            "disk_gib": {"type": "dict", "default": {}},
            "ports": {"type": "list", "elements": "int", "default": []},
            "systems": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    machine_id = Path("/etc/machine-id")
    module.exit_json(
        changed=False,
        problems=problems(module.params),
        machine_id=machine_id.read_text(encoding="utf-8").strip() if machine_id.exists() else "",
    )


if __name__ == "__main__":
    main()
