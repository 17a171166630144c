#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a systemd service enabled, running, and started after what it reads was last changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_current
short_description: Keep a service running with its present configuration
description:
  - Enables and starts a systemd service, and restarts it when a file that it reads changed after it was started.
  - It compares states instead of waiting to be notified, so a run that was interrupted between a change and the restart is mended by the next one.
  - What counts is a file's change time (C(ctime)), which no package can set back.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  name:
    description: The unit's name.
    type: str
    required: true
  reads:
    description: Files that the service reads when it starts, its program included; shell patterns are allowed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Run containerd with its present configuration
  baremetal.sonic.service_current:
    name: containerd.service
    reads:
      - /usr/bin/containerd
      - /etc/containerd/config.toml
      - /etc/containerd/conf.d/*.toml
"""

RETURN = r"""
actions:
  description: What was done (or would be, in check mode).
  returned: success
  type: list
  elements: str
  sample: [restarted]
newer:
  description: Files that changed after the service was started.
  returned: success
  type: list
  elements: str
"""

import glob
import os
import time

from ansible.module_utils.basic import AnsibleModule

PROPERTIES = (
    "ActiveState",
    "ExecMainStartTimestampMonotonic",
    "LoadState",
    "NeedDaemonReload",
    "UnitFileState",
)


def properties(output: str) -> dict[str, str]:
    """The properties that `systemctl show` printed."""
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def newer(patterns: list[str], started: float) -> list[str]:
    """Files that match and were changed after a time (seconds of the epoch)."""
    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})
    return [path for path in paths if os.stat(path).st_ctime > started]


def wanted_actions(unit: dict[str, str], changed_files: list[str]) -> list[str]:
    """What must be done, in order: reloaded, enabled, started or restarted."""
    actions = []
    if unit.get("NeedDaemonReload") == "yes":
        actions.append("reloaded")
    if unit.get("UnitFileState") != "enabled":
        actions.append("enabled")
    if unit.get("ActiveState") not in ("active", "activating", "reloading"):
        actions.append("started")
    elif changed_files:
        actions.append("restarted")
    return actions


COMMANDS = {
    "reloaded": ["daemon-reload"],
    "enabled": ["enable"],
    "started": ["start"],
    "restarted": ["restart"],
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "reads": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    name: str = module.params["name"]
    _code, out, _error = module.run_command(
        ["systemctl", "show", f"--property={','.join(PROPERTIES)}", name], check_rc=True
    )
    unit = properties(out)
    if unit.get("LoadState") == "not-found":
        if not module.check_mode:
            module.fail_json(msg=f"this host has no unit {name}: is its package installed?")
        module.exit_json(changed=True, actions=["enabled", "started"], newer=[])
    since_boot = int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    started = time.time() - time.monotonic() + since_boot
    changed_files = newer(module.params["reads"], started) if since_boot else []
    actions = wanted_actions(unit, changed_files)
    if not module.check_mode:
        for action in actions:
            words = ["systemctl", *COMMANDS[action], *([] if action == "reloaded" else [name])]
            code, _out, error = module.run_command(words)
            if code:
                module.fail_json(
                    msg=f"{name} could not be {action}: {error.strip()}. See 'journalctl -u {name}'"
                )
    result = {"changed": bool(actions), "actions": actions, "newer": changed_files}
    if module._diff and actions:
        state = {key: unit.get(key, "") for key in ("ActiveState", "UnitFileState")}
        result["diff"] = {
            "before": "".join(f"{k}: {v}\n" for k, v in state.items()),
            "after": f"{', '.join(actions)}\n",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
