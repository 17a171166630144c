# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hash the content of a file or a folder."""

from __future__ import annotations

DOCUMENTATION = r"""
name: content_hash
short_description: A short name for the content of a file or a folder
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns twelve hexadecimal digits of a hash of a file on the controller, or of the names and contents of all files of a folder.
options:
  _input:
    description: Path of the file or the folder.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Name the chart's content
  ansible.builtin.debug:
    msg: "{{ 'files/cartesia' | baremetal.sonic.content_hash }}"
"""

RETURN = r"""
_value:
  description: The name.
  type: str
  sample: 3f1c0a9be27d
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError


def content_hash(path: str) -> str:
    """Return the name of what is at `path`. Raises AnsibleFilterError when it cannot be read."""
    root = Path(path).expanduser()
    if not root.exists():
        raise AnsibleFilterError(f"{path} does not exist on the controller")
    files = sorted(item for item in root.rglob("*") if item.is_file()) if root.is_dir() else [root]
    made = hashlib.sha256()
    try:
        for file in files:
            name = file.relative_to(root).as_posix()
            made.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    except OSError as error:
        raise AnsibleFilterError(f"{path} cannot be read: {error}") from error
    return made.hexdigest()[:12]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"content_hash": content_hash}
