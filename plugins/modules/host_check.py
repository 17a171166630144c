#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a host can become a node, and list all problems."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Check whether a host can become a Kubernetes node
description:
  - Looks at user, operating system, memory, disks, listening ports, clock, GPUs and Secure Boot of a host and returns all problems that it
    finds, each with the name of its check in brackets.
  - Returns the host's addresses, networks, cluster, packages and GPU pods, too, for M(baremetal.sonic.preflight) to compare.
  - It never fails because of a problem, so that the problems of all hosts can be listed together.
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
    description: Least free space, in GiB, by folder. For a missing folder the nearest existing one above it counts.
    type: dict
    default: {}
  ports:
    description:
      - TCP ports that must be free while the host is not a node yet (afterwards the cluster uses them).
    type: list
    elements: int
    default: []
  systems:
    description: Operating systems that are supported, as C(ID VERSION_ID) of C(/etc/os-release).
    type: list
    elements: str
    required: true
  gpus:
    description: Number of GPUs that the host must have on its PCI bus. 0 accepts any number above 0, a negative number is for a host without GPUs.
    type: int
    default: -1
  kernel_modules:
    description: The kind of NVIDIA's kernel modules that the host gets, V(open) or V(closed); empty for no check.
    type: str
    default: ""
  time:
    description: Time of the controller's clock, in seconds of the epoch; the host's may not differ by more than two minutes. Negative for no check.
    type: float
    default: -1
  skip:
    description:
      - Checks whose problems do not count, by the names at the end of the problems.
      - M(baremetal.sonic.preflight) has checks of its own, so names that are not of this module's are left to it.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check the host
  baremetal.sonic.host_check:
    memory_mib: 1700
    disk_gib: {/var/lib/containerd: 20}
    ports: [6443, 10250]
    systems: [debian 12, ubuntu 24.04]
  register: preflight_host
"""

RETURN = r"""
problems:
  description: Problems of the host and what to do about them, one line each; empty without problems.
  returned: always
  type: list
  elements: str
  sample: ["port 10250 is taken: stop what listens there [ports]"]
addresses:
  description: The host's own IPv4 addresses, without those of the loopback.
  returned: always
  type: list
  elements: str
  sample: [192.0.2.11]
networks:
  description:
    - The IPv4 networks that the host is connected to, with their interfaces, but for those of a cluster's own interfaces.
    - Empty on a host that is a node.
  returned: always
  type: list
  elements: dict
  sample: [{network: 192.0.2.0/24, interface: eth0}]
ansible_facts:
  description:
    - The distribution's name and the release's code name, as M(ansible.builtin.setup) gives them, so that a run need not gather facts.
  returned: always
  type: dict
  sample: {distribution: Debian, distribution_release: bookworm}
cluster_ca:
  description: SHA-256 of the CA certificate of the cluster that the host belongs to; empty when it belongs to none.
  returned: always
  type: str
node:
  description: The host's place in a cluster.
  returned: always
  type: dict
  contains:
    joined:
      description: Whether its kubelet has an identity in a cluster.
      type: bool
    control_plane:
      description: Whether kubeadm made it a control plane, or began to.
      type: bool
    api_server:
      description: Version of its API server; empty for none.
      type: str
    reset:
      description: Whether it was a control plane until C(kubeadm reset).
      type: bool
    gpu_pods:
      description: Pods with GPUs that run on it, each as NAMESPACE/NAME.
      type: list
      elements: str
packages:
  description: Versions of the installed packages of kubelet, containerd and NVIDIA, by name.
  returned: always
  type: dict
  sample: {kubelet: 1.36.3-1.1}
firewall:
  description: The firewall of a host that is no node yet, if it drops what no rule lets in; empty for none.
  returned: always
  type: str
  sample: nftables (table inet filter)
machine_id:
  description: The host's C(/etc/machine-id), which no two hosts may share.
  returned: always
  type: str
"""

import hashlib
import os
import platform
import shutil
import ssl
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._gpu import nvml
from ansible_collections.baremetal.sonic.plugins.module_utils._host import (
    firewalls,
    node_state,
    packages,
)

GIB = 1024**3
LISTEN = "0A"
CLOCK_S = 120
# Packages whose replacement under running pods the guards of preflight refuse.
GUARDED_PACKAGES = ["kubelet", "containerd.io", "*nvidia*"]
# Interfaces of pod networks, which a cluster makes and may leave behind.
CLUSTER_INTERFACES = (
    "kube-",
    "cni",
    "flannel",
    "cali",
    "cilium",
    "tunl",
    "tun-",
    "veth",
    "nodelocal",
)


def listening_ports(tables: list[str]) -> set[int]:
    """Return TCP ports in state LISTEN of the texts of /proc/net/tcp and tcp6."""
    ports = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == LISTEN:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def release_fields(os_release: str) -> dict[str, str]:
    """The fields of the text of /etc/os-release."""
    pairs = (line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def operating_system(os_release: str) -> str:
    """ID and VERSION_ID of /etc/os-release, for example "debian 12"."""
    fields = release_fields(os_release)
    return " ".join(fields.get(key, "?") for key in ("ID", "VERSION_ID"))


def distribution_facts(os_release: str) -> dict[str, str]:
    """The facts about the distribution that roles choose packages by."""
    fields = release_fields(os_release)
    return {
        "distribution": fields.get("ID", "").capitalize(),
        "distribution_release": fields.get("VERSION_CODENAME", ""),
    }


def total_memory_mib(meminfo: str) -> int:
    """MemTotal of /proc/meminfo, in MiB."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def existing(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def own_addresses(fib_trie: str) -> list[str]:
    """Return IPv4 addresses of the host itself, of the text of /proc/net/fib_trie."""
    addresses: dict[str, None] = {}
    last = ""
    for line in fib_trie.splitlines():
        words = line.split()
        if words[:1] in (["|--"], ["+--"]):
            last = words[1].partition("/")[0]
        elif words[1:3] == ["host", "LOCAL"] and not IPv4Address(last).is_loopback:
            addresses[last] = None
    return sorted(addresses, key=IPv4Address)


def connected_networks(table: str) -> list[dict[str, str]]:
    """Return networks that an interface is in, of the text of /proc/net/route."""
    networks = []
    for line in table.splitlines()[1:]:
        interface, destination, gateway, *_more = line.split()
        mask = line.split()[7]
        if int(gateway, 16) or not int(mask, 16) or interface.startswith(CLUSTER_INTERFACES):
            continue
        network = IPv4Network((_address(destination), str(_address(mask))))
        networks.append({"network": str(network), "interface": interface})
    return networks


def _address(little_endian: str) -> IPv4Address:
    return IPv4Address(struct.pack("<L", int(little_endian, 16)))


def certificate_digest(pem: str) -> str:
    """Return SHA-256 of the first certificate of a PEM text; empty for a text without one."""
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if start not in pem or end not in pem:
        return ""
    first = pem[pem.index(start) : pem.index(end) + len(end)]
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()
    except ValueError:
        return ""


def _text(path: str | Path) -> str:
    """Return a file's text; empty when it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _user(options: dict[str, Any]) -> list[str]:
    if os.geteuid() == 0:
        return []
    return [
        (
            "the connection is not root's: set ansible_user=root, or ansible_become=true for the groups"
            " of the site's hosts (not for all, which counts for the controller, too)"
        )
    ]


def _system(options: dict[str, Any]) -> list[str]:
    system = operating_system(_text("/etc/os-release"))
    if system in options["systems"]:
        return []
    return [f"{system} is not supported: install one of {', '.join(options['systems'])}"]


def _processor(options: dict[str, Any]) -> list[str]:
    if platform.machine() == "x86_64":
        return []
    return [f"{platform.machine()} is not supported: the packages are for x86_64"]


def _memory(options: dict[str, Any]) -> list[str]:
    memory = total_memory_mib(_text("/proc/meminfo"))
    if memory >= options["memory_mib"]:
        return []
    return [
        f"{memory} MiB of memory, {options['memory_mib']} needed: add memory, or take another host"
    ]


def is_node() -> bool:
    """Return whether the host's kubelet has an identity in a cluster."""
    return Path("/etc/kubernetes/kubelet.conf").exists()


def _disk(options: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    # The pods of a node use its disk, so its free space shows nothing about the host.
    for folder, gib in {} if is_node() else options["disk_gib"].items():
        free = shutil.disk_usage(existing(Path(folder))).free / GIB
        if free < float(gib):
            problems.append(f"{free:.1f} GiB free for {folder}, {float(gib):g} needed: free some")
    return problems


def _ports(options: dict[str, Any]) -> list[str]:
    tables = [] if is_node() else [_text("/proc/net/tcp"), _text("/proc/net/tcp6")]
    return [
        f"port {port} is taken: stop what listens there (ss -ltnp 'sport = {port}')"
        for port in sorted(listening_ports(tables) & set(options["ports"]))
    ]


def _clock(options: dict[str, Any]) -> list[str]:
    ahead = time.time() - options["time"]
    if options["time"] < 0 or abs(ahead) <= CLOCK_S:
        return []
    way = "ahead of" if ahead > 0 else "behind"
    return [
        (
            f"its clock is {abs(ahead):.0f} s {way} the controller's, and certificates count by the"
            " clock: have both synchronized (timedatectl set-ntp true, or chrony)"
        )
    ]


def _gpus(options: dict[str, Any]) -> list[str]:
    wanted, there = options["gpus"], nvml.Host.read().pci_gpus or 0
    if wanted < 0 or (there == wanted if wanted else there):
        return []
    return [
        (
            f"{there} of NVIDIA's GPUs are on the PCI bus (lspci -d 10de:), {wanted or 'some'} expected:"
            " correct nvidia_driver_gpu_count, or see to the GPU that is missing"
        )
    ]


def _kernel_modules(options: dict[str, Any]) -> list[str]:
    numbers = nvml.Host.read().pci_gpu_ids if options["gpus"] >= 0 else ()
    kind = options["kernel_modules"]
    if kind == "open":
        wrong = [number for number in numbers if number < nvml.FIRST_OPEN_ID]
        why = "older than Turing, which NVIDIA's open kernel modules do not drive"
    else:
        wrong = [number for number in numbers if number >= nvml.FIRST_ONLY_OPEN_ID]
        why = "Blackwell or later, for which there are only open kernel modules"
    if not kind or not wrong:
        return []
    listed = ", ".join(f"10de:{number:04x}" for number in sorted(set(wrong)))
    other = "closed" if kind == "open" else "open"
    return [f"{listed} (lspci -nn) is {why}: set nvidia_driver_kernel_modules to {other}"]


def _secure_boot(options: dict[str, Any]) -> list[str]:
    host = nvml.Host.read()
    # A driver that is loaded has been accepted.
    if options["gpus"] < 0 or host.module_version or not host.secure_boot:
        return []
    return [
        (
            "Secure Boot is on, and refuses the driver's module that is built on the host: turn it off"
            " in the firmware, or give 'mokutil --import /var/lib/dkms/mok.pub', reboot and accept the"
            " key, then add secure-boot to preflight_skip"
        )
    ]


Check = Callable[[dict[str, Any]], list[str]]
CHECKS: dict[str, Check] = {
    "user": _user,
    "system": _system,
    "processor": _processor,
    "memory": _memory,
    "disk": _disk,
    "ports": _ports,
    "clock": _clock,
    "gpus": _gpus,
    "kernel-modules": _kernel_modules,
    "secure-boot": _secure_boot,
}


def problems(options: dict[str, Any]) -> list[str]:
    """Return all problems of this host, each with the name of its check."""
    return [
        f"{line} [{name}]"
        for name, check in CHECKS.items()
        if name not in options["skip"]
        for line in check(options)
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "memory_mib": {"type": "int", "required": True},
            "disk_gib": {"type": "dict", "default": {}},
            "ports": {"type": "list", "elements": "int", "default": []},
            "systems": {"type": "list", "elements": "str", "required": True},
            "gpus": {"type": "int", "default": -1},
            "kernel_modules": {"type": "str", "default": ""},
            "time": {"type": "float", "default": -1},
            "skip": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    # Exits with 1 when no package has one of the names.
    _code, listed, _error = module.run_command([*packages.QUERY, *GUARDED_PACKAGES])

    def installed(name: str) -> bool:
        return module.get_bin_path(name) is not None

    module.exit_json(
        changed=False,
        ansible_facts=distribution_facts(_text("/etc/os-release")),
        problems=problems(module.params),
        machine_id=_text("/etc/machine-id").strip(),
        addresses=own_addresses(_text("/proc/net/fib_trie")),
        networks=[] if is_node() else connected_networks(_text("/proc/net/route")),
        cluster_ca=certificate_digest(_text("/etc/kubernetes/pki/ca.crt")),
        node=node_state.read(),
        # A node has been reached by the others.
        firewall="" if is_node() else firewalls.dropping(module.run_command, installed, Path("/")),
        packages=packages.installed_versions(listed),
    )


if __name__ == "__main__":
    main()
