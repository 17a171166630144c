#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a systemd service enabled, and running with the present content of its files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_service
short_description: Start a service, and restart it after a change of its files
description:
  - Enables and starts a systemd service, and restarts it when the content of a file that it reads has changed since its start.
  - The module compares states and needs no notification. So the next run also restarts the service after a run that was interrupted before
    the restart.
  - Keeps digests of the files at the process's start in C(/run/baremetal-sonic), which a reboot empties. So clocks do not matter.
  - A process that another program started has no digests. For such a process the files' change times (C(ctime)) count, once.
  - C(systemctl daemon-reload) takes devices from running containers, so it runs only before a start or restart that needs it.
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
- name: Start containerd or restart it after a change
  baremetal.sonic.systemd_service:
    name: containerd.service
    reads:
      - /usr/bin/containerd
      - /etc/containerd/config.toml
      - /etc/containerd/conf.d/*.toml
"""

RETURN = r"""
actions:
  description: Actions on the service (or actions that would be taken, in check mode).
  returned: success
  type: list
  elements: str
  sample: [restarted]
newer:
  description: Files whose content changed since the service was started, including removed ones.
  returned: success
  type: list
  elements: str
"""

import glob
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file

RECORDS = Path("/run/baremetal-sonic/services")
PROPERTIES = (
    "ActiveState",
    "DropInPaths",
    "ExecMainStartTimestampMonotonic",
    "FragmentPath",
    "InvocationID",
    "LoadState",
    "NeedDaemonReload",
    "UnitFileState",
)
# The unit itself, among the patterns of a service's files.
UNIT = "(unit)"


def properties(output: str) -> dict[str, str]:
    """Return the properties that `systemctl show` printed."""
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def newer(patterns: list[str], started: float) -> list[str]:
    """Return files that match and were changed after a time (seconds of the epoch)."""
    return [path for path in matching(patterns) if os.stat(path).st_ctime > started]


def matching(patterns: Iterable[str]) -> list[str]:
    """Return the files that match any of the patterns, sorted."""
    return sorted({path for pattern in patterns for path in glob.glob(pattern)})


@dataclass
class Record:
    """What a running process was started with.

    invocation: systemd's ID of this start. files: for each pattern, each file's state as `signed`
    gives it.
    """

    invocation: str = ""
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, invocation: str) -> Record:
        """Read the record of a unit; an empty one if this start has no record."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            read = cls(content["invocation"], content["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(invocation)
        return read if invocation and read.invocation == invocation else cls(invocation)

    def write(self, module: AnsibleModule, path: Path) -> None:
        """Write the record. Only root can read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(module, path, json.dumps(vars(self), sort_keys=True), 0o600)


def signed(path: str, before: list[str] | None) -> list[str]:
    """Return the state of a file: its signature, and the digest of its content.

    A file is not read again where its signature (inode, size and times) is the one before.
    """
    shown = os.stat(path)
    parts = (shown.st_ino, shown.st_size, shown.st_mtime_ns, shown.st_ctime_ns)
    signature = "-".join(str(part) for part in parts)
    if before and before[0] == signature:
        return before
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return [signature, digest.hexdigest()]


def snapshot(patterns: Mapping[str, list[str]], record: Record) -> dict[str, dict[str, list[str]]]:
    """Return the present files of each pattern, in the form of `Record.files`."""
    return {
        pattern: {
            path: signed(path, record.files.get(pattern, {}).get(path))
            for path in matching(paths)
            if os.path.isfile(path)
        }
        for pattern, paths in patterns.items()
    }


def differing(now: Mapping[str, dict[str, list[str]]], record: Record, started: float) -> list[str]:
    """Return files that are not as they were when the process started.

    Args:
        now: the present files by pattern.
        record: what the process was started with, as far as it is known.
        started: when it was started, in seconds of the epoch; for patterns that the record lacks.
    """
    changed: set[str] = set()
    for pattern, files in now.items():
        if pattern not in record.files:
            changed |= set(newer([glob.escape(path) for path in files], started))
            continue
        before = record.files[pattern]
        changed |= {
            path
            for path in files.keys() | before.keys()
            if files.get(path, ["", ""])[1] != before.get(path, ["", ""])[1]
        }
    return sorted(changed)


def wanted_actions(unit: dict[str, str], changed_files: list[str]) -> list[str]:
    """Return what must be done, in order: reloaded, enabled, started or restarted."""
    actions = []
    if unit.get("ActiveState") not in ("active", "activating", "reloading"):
        actions.append("started")
    elif changed_files:
        actions.append("restarted")
    # systemd's own view of the unit is used at a start only.
    if actions and unit.get("NeedDaemonReload") == "yes":
        actions.insert(0, "reloaded")
    if unit.get("UnitFileState") != "enabled":
        actions.insert(len(actions) - 1 if actions else 0, "enabled")
    return actions


# Enabling makes links for the next boot; nothing of the running system has to be read again.
COMMANDS = {
    "reloaded": ["daemon-reload"],
    "enabled": ["--no-reload", "enable"],
    "started": ["start"],
    "restarted": ["restart"],
}


class Service:
    """A unit of this host."""

    def __init__(self, module: AnsibleModule) -> None:
        """`module` brings the options and runs commands."""
        self.module = module
        self.name: str = module.params["name"]
        self.path = RECORDS / f"{self.name}.json"

    def show(self) -> dict[str, str]:
        """Return the unit's properties."""
        _code, out, _error = self.module.run_command(
            ["systemctl", "show", f"--property={','.join(PROPERTIES)}", self.name], check_rc=True
        )
        return properties(out)

    def patterns(self, unit: dict[str, str]) -> dict[str, list[str]]:
        """Return what the service reads: the unit's own files, and those that the task names."""
        files = [unit.get("FragmentPath", ""), *unit.get("DropInPaths", "").split()]
        named = {pattern: [pattern] for pattern in self.module.params["reads"]}
        return {UNIT: [glob.escape(path) for path in files if path]} | named

    def act(self, actions: list[str]) -> None:
        """Run the commands. Fails the module."""
        for action in actions:
            words = ["systemctl", *COMMANDS[action]]
            words += [] if action == "reloaded" else [self.name]
            code, _out, error = self.module.run_command(words)
            if code:
                self.module.fail_json(
                    msg=f"{self.name} could not be {action}: {error.strip()}."
                    f" See 'journalctl -u {self.name}'"
                )

    def remember(self, read: dict[str, dict[str, list[str]]], record: Record, began: bool) -> None:
        """Keep what the process was started with.

        Args:
            read: what this call's patterns match, from before a start.
            record: what was known until now; patterns of other calls are in it.
            began: whether this call started the process.
        """
        files = record.files | read
        if began:
            # A started process has read all files, also those of other calls.
            others = {p: [p] for p in record.files if p != UNIT and p not in read}
            files = read | snapshot(others, record)
        new = Record(self.show().get("InvocationID", "") if began else record.invocation, files)
        if new.invocation and (began or new.files != record.files):
            new.write(self.module, self.path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "reads": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    service = Service(module)
    unit = service.show()
    if unit.get("LoadState") == "not-found":
        if not module.check_mode:
            module.fail_json(msg=f"this host has no unit {service.name}: is its package installed?")
        module.exit_json(changed=True, actions=["enabled", "started"], newer=[])
    since_boot = int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    started = time.time() - time.monotonic() + since_boot
    record = Record.of(service.path, unit.get("InvocationID", ""))
    now = snapshot(service.patterns(unit), record)
    changed_files = differing(now, record, started) if since_boot else []
    actions = wanted_actions(unit, changed_files)
    if not module.check_mode:
        service.act(actions)
        service.remember(now, record, began=bool({"started", "restarted"} & set(actions)))
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "newer": changed_files,
    }
    if module._diff and actions:
        state = {key: unit.get(key, "") for key in ("ActiveState", "UnitFileState")}
        result["diff"] = {
            "before": "".join(f"{k}: {v}\n" for k, v in state.items()),
            "after": f"{', '.join(actions)}\n",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
