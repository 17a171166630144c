#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a list of small text files in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write a list of small text files in one call
description:
  - Writes each file with the given content, mode and owner, and makes missing folders above it.
  - One call for all files costs one round trip. A loop costs one for each file.
  - Replaces a file atomically, so that a reader never gets half a file.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      content:
        description: The whole text. Required unless O(files[].state=absent).
        type: str
      mode:
        description: Permission bits in octal.
        type: str
        default: "0644"
      owner:
        description: User that owns the file.
        type: str
        default: root
      group:
        description: Group that owns the file.
        type: str
        default: root
      state:
        description: Whether the file must be there.
        type: str
        choices: [present, absent]
        default: present
      marker:
        description:
          - Words that mark a file of this collection in one of its first five lines, for example the comment C(Managed by NAME).
          - A file without them belongs to another program. It is kept beside the new one, with C(.before-baremetal-sonic) at the end of
            its name, and a warning names it.
        type: str
        default: ""
"""

EXAMPLES = r"""
- name: Configure containerd and its registry mirror
  baremetal.sonic.config_files:
    files:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
      - path: /etc/containerd/certs.d/_default/hosts.toml
        content: "{{ lookup('ansible.builtin.template', 'hosts.toml.j2') }}"
"""

RETURN = r"""
changed_paths:
  description: Files that were written, removed or given other permissions (or would be, in check mode).
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
backups:
  description: Copies of other programs' files (or copies that would be made, in check mode).
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/config.toml.before-baremetal-sonic]
"""

import grp
import os
import pwd
import re
import shutil
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file

BACKUP = ".before-baremetal-sonic"


class Target:
    """One file: what is wanted, what is there, and how to get from there to what is wanted."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        """`wanted` is an item of the option `files`."""
        self.path = Path(wanted["path"])
        self.absent = wanted["state"] == "absent"
        self.content: str = wanted["content"] or ""
        self.marker: str = wanted.get("marker", "")
        self.mode = int(wanted["mode"], 8)
        self.uid = pwd.getpwnam(wanted["owner"]).pw_uid
        self.gid = grp.getgrnam(wanted["group"]).gr_gid

    def current(self) -> tuple[str | None, str]:
        """Text and permissions as they are; the text is None where there is no file."""
        try:
            shown = self.path.stat()
            # Not read_text: it would hide line ends of other systems.
            text = self.path.read_bytes().decode("utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ("", "a link that leads nowhere") if self.path.is_symlink() else (None, "")
        return text, _permissions(stat.S_IMODE(shown.st_mode), shown.st_uid, shown.st_gid)

    def wanted(self) -> tuple[str | None, str]:
        """Text and permissions as they should be."""
        if self.absent:
            return None, ""
        return self.content, _permissions(self.mode, self.uid, self.gid)

    def backup(self, current: str | None) -> Path | None:
        """Return the path at which to keep another program's file; None if there is none."""
        if not self.marker or current is None or not current.strip():
            return None
        if any(self.marker in line for line in current.splitlines()[:5]):
            return None
        kept, number = self.path.with_name(f"{self.path.name}{BACKUP}"), 1
        while kept.exists() and kept.read_bytes() != self.path.read_bytes():
            number += 1
            kept = self.path.with_name(f"{self.path.name}{BACKUP}.{number}")
        return kept

    def keep(self, kept: Path) -> None:
        """Copy the file as it is, with its permissions."""
        shutil.copy2(self.path, kept)
        shown = self.path.stat()
        os.chown(kept, shown.st_uid, shown.st_gid)

    def write(self, module: AnsibleModule) -> None:
        """Write or remove the file. Raises OSError."""
        if self.absent:
            self.path.unlink()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(module, self.path, self.content, self.mode, (self.uid, self.gid))


def _permissions(mode: int, uid: int, gid: int) -> str:
    return f"mode={mode:04o} uid={uid} gid={gid}"


def problems(files: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the option `files`: all of it, each naming its file."""
    lines = []
    seen = set()
    for item in files:
        path = item["path"]
        if not path.startswith("/"):
            lines.append(f"{path}: not an absolute path")
        if path in seen:
            lines.append(f"{path}: named twice")
        seen.add(path)
        if item["state"] == "present" and item["content"] is None:
            lines.append(f"{path}: content is missing (or say state: absent)")
        if not re.fullmatch("[0-7]{3,4}", item["mode"]):
            lines.append(f"{path}: mode {item['mode']!r} is not octal, as '0644' is")
        for kind, lookup in (("owner", pwd.getpwnam), ("group", grp.getgrnam)):
            try:
                lookup(item[kind])
            except KeyError:
                lines.append(f"{path}: this host has no {kind} {item[kind]!r}")
    return lines


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str"},
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "state": {
                        "type": "str",
                        "choices": ["present", "absent"],
                        "default": "present",
                    },
                    "marker": {"type": "str", "default": ""},
                },
            }
        },
        supports_check_mode=True,
    )
    files: list[dict[str, Any]] = module.params["files"]
    wrong = problems(files)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    module.exit_json(**make_files(module, files))


def make_files(module: AnsibleModule, files: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the files into their wanted state; returns the module's result. Fails the module."""
    changed_paths: list[str] = []
    diffs: list[dict[str, str]] = []
    backups: list[str] = []
    for target in map(Target, files):
        try:
            before, after = target.current(), target.wanted()
            kept = target.backup(before[0]) if before != after else None
        except OSError as error:
            module.fail_json(msg=f"{target.path}: {error.strerror}", changed=bool(changed_paths))
        if before == after:
            continue
        changed_paths.append(str(target.path))
        for kind, old, new in (
            ("", before[0] or "", after[0] or ""),
            (" (permissions)", before[1], after[1]),
        ):
            if old != new:
                header = f"{target.path}{kind}"
                diffs.append(
                    {"before": old, "after": new, "before_header": header, "after_header": header}
                )
        if kept:
            backups.append(str(kept))
            module.warn(f"{target.path} was not this collection's: it is kept as {kept}")
        if not module.check_mode:
            try:
                if kept:
                    target.keep(kept)
                target.write(module)
            except OSError as error:
                module.fail_json(msg=f"{target.path}: {error.strerror}", changed=True)
    result: dict[str, Any] = {
        "changed": bool(changed_paths),
        "changed_paths": changed_paths,
        "backups": backups,
    }
    if module._diff:
        result["diff"] = diffs
    return result


if __name__ == "__main__":
    main()
