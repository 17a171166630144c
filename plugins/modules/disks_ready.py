#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that disks hold nothing before volume groups are made of them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: disks_ready
short_description: Check that disks hold nothing before volume groups are made of them
description:
  - Fails with all problems at once if a disk is in use, or holds a file system, a partition table or any other signature that C(wipefs)
    knows, or if a mount point has files of its own. Nothing is changed then.
  - Removes the signatures of a disk only if O(wipe) names it and nothing of it is in use.
  - A disk that belongs to its volume group already is left alone.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  groups:
    description: The volume groups, as the variable C(data_disks_groups) of the role data_disks has them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the volume group.
        type: str
        required: true
      devices:
        description: Whole disks, best as C(/dev/disk/by-id/...), because other names may change from boot to boot.
        type: list
        elements: path
        required: true
      volumes:
        description: The logical volumes, of which only C(path), the mount point, is read.
        type: list
        elements: dict
        default: []
  wipe:
    description: Disks of O(groups) whose content may be destroyed.
    type: list
    elements: path
    default: []
  report_only:
    description: Return the problems without failing, and change nothing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check that the data disks hold nothing
  baremetal.sonic.disks_ready:
    groups:
      - name: data
        devices: [/dev/disk/by-id/nvme-SAMSUNG_MZQL23T8HCLS_S64HNE0R500123]
        volumes:
          - {name: containerd, size: 60%VG, path: /var/lib/containerd}
"""

RETURN = r"""
problems:
  description: Why the disks cannot be used and what to do about it, one line each; empty when all are ready.
  returned: always
  type: list
  elements: str
  sample: ["/dev/nvme1n1 holds ext4: choose an empty disk, or name it in data_disks_wipe to destroy that"]
wiped:
  description: The disks whose signatures were removed (or would be, in check mode).
  returned: success
  type: list
  elements: str
prepared:
  description: Whether every disk belongs to its volume group already.
  returned: always
  type: bool
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# What lsblk calls the parts of a disk that are on that disk alone.
PARTITION = "part"


@dataclass
class Disk:
    """What is on a disk.

    signatures: types of the signatures that wipefs lists. group: the volume group that it belongs to.
    partitions: their paths. used: mount points, and names of devices that stand on it.
    """

    signatures: list[str] = field(default_factory=list)
    group: str = ""
    partitions: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)

    @property
    def content(self) -> list[str]:
        """What would be lost."""
        return self.signatures + [f"the partition {path}" for path in self.partitions]


def signatures(output: str) -> list[str]:
    """Types of what `wipefs --parsable` lists: lines of offset, UUID, label and type."""
    rows = [line.split(",") for line in output.splitlines() if not line.startswith("#")]
    return list(dict.fromkeys(row[3] for row in rows if len(row) > 3))


def descendants(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A device of lsblk's tree, and all that stands on it."""
    yield node
    for child in node.get("children") or []:
        yield from descendants(child)


def read_tree(disk: Disk, output: str) -> None:
    """Fill in partitions and uses of a disk from the output of `lsblk --json`."""
    for root in json.loads(output)["blockdevices"]:
        for node in descendants(root):
            disk.used += [point for point in node.get("mountpoints") or [] if point]
            if node is root:
                continue
            if node["type"] == PARTITION:
                disk.partitions.append(node["path"])
            else:
                disk.used.append(node["path"])


def folder_problem(path: str) -> str:
    """Why a volume cannot be mounted on a folder; empty when it can."""
    folder = Path(path)
    if os.path.ismount(path) or not folder.exists():
        return ""
    if not folder.is_dir():
        return f"{path} is no folder: choose another path for the volume"
    if any(folder.iterdir()):
        return (
            f"{path} has files, which a volume mounted there would hide: stop what uses it and move"
            " them away"
        )
    return ""


class Disks:
    """Looks at disks and wipes them, with the host's own programs."""

    def __init__(self, module: AnsibleModule) -> None:
        """`module` brings options and commands."""
        self.module = module

    def read(self, device: str) -> Disk:
        """Look at one disk. Fails the module when wipefs or lsblk cannot."""
        disk = Disk(signatures(self._run("wipefs", "--noheadings", "--parsable", device)))
        read_tree(disk, self._run("lsblk", "--json", "--output", "PATH,TYPE,MOUNTPOINTS", device))
        if "LVM2_member" in disk.signatures and self.module.get_bin_path("pvs"):
            shown = self._run("pvs", "--noheadings", "--options", "vg_name", device)
            disk.group = shown.strip()
            if not disk.group:
                # A physical volume of no group, as an interrupted run leaves it, holds nothing.
                disk.signatures.remove("LVM2_member")
        return disk

    def wipe(self, device: str, disk: Disk) -> None:
        """Remove the signatures of a disk, and before those of its partitions."""
        self._run("wipefs", "--all", *disk.partitions, device)

    def _run(self, program: str, *arguments: str) -> str:
        command = [self.module.get_bin_path(program, required=True), *arguments]
        _code, out, _error = self.module.run_command(
            command, check_rc=True, environ_update={"LC_ALL": "C"}
        )
        return str(out)


def device_problem(device: str, seen: set[str]) -> str:
    """Why a path is no disk that can be looked at; empty when it is one."""
    try:
        mode = os.stat(device).st_mode
    except OSError:
        return f"{device} is not there: see lsblk and the names in /dev/disk/by-id"
    if not stat.S_ISBLK(mode):
        return f"{device} is no block device"
    if os.path.realpath(device) in seen:
        return f"{device} is named twice in data_disks_groups: name each disk once"
    return ""


def disk_problem(device: str, disk: Disk, allowed: bool) -> str:
    """Why a disk of no volume group cannot be used; empty when it can."""
    if disk.used:
        return f"{device} is in use ({', '.join(disk.used)}): choose another disk"
    if disk.group:
        return f"{device} belongs to the volume group {disk.group}: choose another disk"
    if disk.content and not allowed:
        return (
            f"{device} holds {', '.join(disk.content)}: choose an empty disk, or name it in"
            " data_disks_wipe to destroy that"
        )
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "groups": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "devices": {"type": "list", "elements": "path", "required": True},
                    "volumes": {"type": "list", "elements": "dict", "default": []},
                },
            },
            "wipe": {"type": "list", "elements": "path", "default": []},
            "report_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    disks = Disks(module)
    allowed = {os.path.realpath(path) for path in module.params["wipe"]}
    problems: list[str] = []
    seen: set[str] = set()
    to_wipe: dict[str, Disk] = {}
    prepared = True
    for group in module.params["groups"]:
        for volume in group["volumes"]:
            problems.append(folder_problem(volume["path"]))
        for device in group["devices"]:
            if wrong := device_problem(device, seen):
                problems.append(wrong)
                continue
            seen.add(os.path.realpath(device))
            disk = disks.read(device)
            if disk.group == group["name"]:
                continue
            prepared = False
            problems.append(disk_problem(device, disk, os.path.realpath(device) in allowed))
            if disk.content:
                to_wipe[device] = disk
    remaining = [line for line in problems if line]
    if module.params["report_only"]:
        module.exit_json(changed=False, problems=remaining, wiped=[], prepared=prepared)
    if remaining:
        module.fail_json(msg="; ".join(remaining), problems=remaining, prepared=prepared)
    if not module.check_mode:
        for device, disk in to_wipe.items():
            disks.wipe(device, disk)
    module.exit_json(changed=bool(to_wipe), problems=[], wiped=sorted(to_wipe), prepared=prepared)


if __name__ == "__main__":
    main()
