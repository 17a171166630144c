#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what support needs of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_host
short_description: Read what support needs of a host
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the kernel, the distribution, disks, memory, failed units, the journal of kubelet and containerd, the kernel's
    messages about GPUs, and the output of C(nvidia-smi -q) if that program is installed.
  - Removes what looks like a private key, a key, a token or a password. M(baremetal.sonic.support_bundle) also removes
    the values of the site's secrets. Give the task C(no_log).
  - A command that fails or takes more than 20 seconds is listed in RV(left_out), and is no failure.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  since:
    description: Seconds of the journal.
    type: int
    default: 3600
  log_bytes:
    description: Most bytes of one text. The last lines are kept.
    type: int
    default: 1048576
seealso:
  - module: baremetal.sonic.support_bundle
"""

EXAMPLES = r"""
- name: Read the host
  baremetal.sonic.support_host:
    log_bytes: 262144
  register: support_host
  no_log: true
"""

RETURN = r"""
files:
  description: Texts by their file name.
  type: dict
  returned: success
truncated:
  description: Names of the texts whose first lines are missing.
  type: list
  elements: str
  returned: success
left_out:
  description: What could not be read.
  type: list
  elements: dict
  returned: success
  contains:
    what:
      description: Name of the text.
      type: str
    why:
      description: Why it is missing.
      type: str
"""

import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._support.archive import last_bytes
from ansible_collections.baremetal.sonic.plugins.module_utils._support.redaction import Redactor

# A GPU that fell off its bus can hold nvidia-smi for ever.
TIMEOUT_S = 20
# Most lines of the journal that are read, before they are cut to bytes.
LINES = 50_000
GPU_MESSAGE = re.compile(r"NVRM|Xid|nvidia|AER:|nvlink", re.IGNORECASE)


def commands(since_s: int, now: float) -> dict[str, list[str]]:
    """Return the commands by the name of the text that they print."""
    since = f"--since=@{now - since_s:.0f}"
    journal = ["journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={LINES}"]
    return {
        "kernel.txt": ["uname", "-a"],
        "uptime.txt": ["uptime"],
        "disks.txt": ["df", "-hT", "-x", "tmpfs", "-x", "overlay", "-x", "squashfs"],
        "memory.txt": ["free", "-m"],
        "failed-units.txt": ["systemctl", "--no-pager", "--plain", "--failed"],
        "kubelet-containerd.log": [*journal, since, "--unit=kubelet", "--unit=containerd"],
        "gpu-messages.log": ["dmesg", "--ctime"],
        "nvidia-smi.txt": ["nvidia-smi", "-q"],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "since": {"type": "int", "default": 3600},
            "log_bytes": {"type": "int", "default": 1048576},
        },
        supports_check_mode=True,
    )
    files: dict[str, str] = {}
    truncated: list[str] = []
    left_out: list[dict[str, str]] = []
    redactor = Redactor()

    def add(name: str, text: str) -> None:
        kept, cut = last_bytes(text, module.params["log_bytes"])
        files[name] = redactor.text(kept)
        if cut:
            truncated.append(name)

    try:
        add("os-release.txt", Path("/etc/os-release").read_text(encoding="utf-8"))
    except OSError as error:
        left_out.append({"what": "os-release.txt", "why": str(error)})
    for name, command in commands(module.params["since"], time.time()).items():
        if not module.get_bin_path(command[0]):
            left_out.append({"what": name, "why": f"{command[0]} is not installed"})
            continue
        status, output, problem = module.run_command(
            ["timeout", "--kill-after=5", str(TIMEOUT_S), *command], errors="replace"
        )
        if status:
            why = f"did not end in {TIMEOUT_S} s" if status in (124, 137) else f"exit code {status}"
            # Redacted before it is cut: a part of a secret is not recognized.
            last = redactor.text((problem or output).strip())[-500:]
            left_out.append({"what": name, "why": f"{' '.join(command)}: {why}: {last}"})
            continue
        if name == "gpu-messages.log":
            output = "".join(line for line in output.splitlines(True) if GPU_MESSAGE.search(line))
        add(name, output)
    module.exit_json(changed=False, files=files, truncated=truncated, left_out=left_out)


if __name__ == "__main__":
    main()
