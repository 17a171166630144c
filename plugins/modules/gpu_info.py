#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's GPUs through NVML, or the reason why they cannot be used."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: Read a host's GPUs, or the reason why they cannot be used
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Asks NVIDIA's management library (NVML), which comes with the driver, for the driver's version and every GPU.
  - If the library does not answer, returns the reason and what to do. The driver may be missing or not loaded, updated
    without a reboot, refused by Secure Boot, not built for the running kernel, or it may have lost a GPU.
  - Reads only. NVML itself may load the driver's kernel module and make device nodes, as every program does that uses a GPU.
  - In check mode it does not fail for these reasons, because check mode may have left out the installation of the driver.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  expected_count:
    description:
      - Fail unless exactly this number of GPUs can be used.
      - V(0) accepts any number above 0.
      - Without this option the module only reports the state.
    type: int
  reboot_for:
    description:
      - States that the caller fixes by a reboot. In one of these, if a reboot helps, the module does not fail and
        RV(reboot_required) is true.
      - With V(driver_not_loaded) no program can be using a GPU of the host.
    type: list
    elements: str
    choices: [driver_not_loaded, version_mismatch]
    default: []
  library:
    description: Name or path of the library.
    type: str
    default: libnvidia-ml.so.1
"""

EXAMPLES = r"""
- name: Describe the GPUs
  baremetal.sonic.gpu_info:
  register: gpus

- name: Check that all eight GPUs can be used
  baremetal.sonic.gpu_info:
    expected_count: 8
"""

RETURN = r"""
usable:
  description: Whether the driver answers and every GPU it sees can be used.
  returned: always
  type: bool
state:
  description: State of the GPUs, in one word.
  returned: always
  type: str
  sample: usable
  choices:
    - usable
    - library_missing
    - driver_not_loaded
    - secure_boot
    - version_mismatch
    - no_permission
    - no_gpu
    - gpu_failed
    - failed
reason:
  description: Why the GPUs cannot be used and what to do; empty when they can.
  returned: always
  type: str
reboot_required:
  description: Whether the state is one of O(reboot_for) and a reboot fixes it.
  returned: always
  type: bool
driver_version:
  description: The driver's version.
  returned: always
  type: str
  sample: 580.95.05
cuda_version:
  description: The newest CUDA version that the driver supports.
  returned: always
  type: str
  sample: "13.0"
nvswitches:
  description:
    - How many NVSwitches are on the PCI bus. GPUs behind one compute only while the fabric manager of the driver's version runs.
  returned: always
  type: int
gpus:
  description: The GPUs.
  returned: always
  type: list
  elements: dict
  contains:
    index:
      description: Position in NVML's order, which is that of the PCI bus.
      type: int
    uuid:
      description: Permanent identifier of the GPU.
      type: str
      sample: GPU-2f3b0f5e-6d1c-4c5f-9a39-0d2a3c1e7b00
    name:
      description: Product name.
      type: str
      sample: NVIDIA H100 80GB HBM3
    memory_total_mib:
      description: Memory in MiB.
      type: int
      sample: 81559
    compute_capability:
      description: CUDA compute capability.
      type: str
      sample: "9.0"
    minor_number:
      description: Number of its device node.
      type: int
    pci_bus_id:
      description: Place on the PCI bus.
      type: str
      sample: "00000000:1B:00.0"
    mig_mode:
      description: V(enabled) or V(disabled); null where the GPU cannot be divided.
      type: str
"""

import ctypes
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._gpu.nvml import (
    LIBRARY,
    Host,
    Report,
    count_trouble,
    inspect,
)


def trouble(report: Report, expected: int | None, name: str, host: Host) -> str:
    """Return what is wrong for a caller that expects so many GPUs; empty when nothing is."""
    if expected is None:
        return ""
    if not report.usable:
        return f"{name}: {report.reason}"
    return count_trouble(report, expected, name, host) if expected else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "expected_count": {"type": "int"},
            "reboot_for": {
                "type": "list",
                "elements": "str",
                "choices": ["driver_not_loaded", "version_mismatch"],
                "default": [],
            },
            "library": {"type": "str", "default": LIBRARY},
        },
        supports_check_mode=True,
    )
    expected: int | None = module.params["expected_count"]
    if expected is not None and expected < 0:
        module.fail_json(msg=f"expected_count must not be negative, as {expected} is")
    host = Host.read()
    report = inspect(lambda: ctypes.CDLL(module.params["library"]), host)
    values: dict[str, Any] = report.values()
    values["reboot_required"] = report.reboot_helps and report.state in module.params["reboot_for"]
    values["nvswitches"] = host.pci_switches
    wrong = trouble(report, expected, os.uname().nodename, host)
    if wrong and module.check_mode:
        module.exit_json(changed=False, msg=f"would fail: {wrong}", **values)
    if wrong and not values["reboot_required"]:
        module.fail_json(msg=wrong, **values)
    module.exit_json(changed=False, **values)


if __name__ == "__main__":
    main()
