#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describes apt repositories and refreshes apt's index when it is older than they are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_repositories
short_description: Write a list of apt repositories and keep apt's index in step
description:
  - Writes one deb822 file for each repository, with its signing key inside, and refreshes apt's index in the same call.
  - The index is refreshed when a repository changed, when an earlier refresh did not finish, and when it is older than O(max_age_hours),
    so a run that was interrupted between the two is mended by the next one.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  repositories:
    description: The repositories.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file below C(/etc/apt/sources.list.d).
        type: str
        required: true
      uris:
        description: Address of the repository.
        type: str
        required: true
      suites:
        description: Suite, or a path that ends with a slash for a flat repository.
        type: str
        required: true
      components:
        description: Components; empty for a flat repository.
        type: str
        default: ""
      key:
        description: The signing key, ASCII-armoured.
        type: str
        required: true
      fingerprints:
        description:
          - Fingerprints that the key's primary keys may have, 40 (or 64) hexadecimal digits each; spaces in them do not matter.
          - A key with any other fingerprint is refused before anything is written. Empty to take the key as it is.
        type: list
        elements: str
        default: []
  max_age_hours:
    description: How old apt's index may grow before it is refreshed. A refresh for age alone is not reported as a change.
    type: int
    default: 24
"""

EXAMPLES = r"""
- name: Use the site's package repository
  baremetal.sonic.apt_repositories:
    repositories:
      - name: site
        uris: http://artifacts.example.com/apt
        suites: ./
        key: "{{ lookup('ansible.builtin.file', 'site-key.asc') }}"

- name: Use a repository whose key comes from the network
  baremetal.sonic.apt_repositories:
    repositories:
      - name: containerd
        uris: https://download.docker.com/linux/debian
        suites: bookworm
        components: stable
        key: "{{ lookup('ansible.builtin.url', 'https://download.docker.com/linux/debian/gpg', split_lines=false) }}"
        fingerprints: [9DC858229FC7DD38854AE2D88D81803C0EBFCD88]
"""

RETURN = r"""
changed_paths:
  description: Repository files that were written (or would be, in check mode).
  returned: success
  type: list
  elements: str
  sample: [/etc/apt/sources.list.d/site.sources]
refreshed:
  description: Whether apt's index was refreshed.
  returned: success
  type: bool
"""

import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils import openpgp

SOURCES = Path("/etc/apt/sources.list.d")
STAMP = Path("/var/lib/apt/baremetal-sonic-refreshed")


def deb822(repository: dict[str, Any]) -> str:
    """The text of a .sources file, as in the manual page sources.list(5)."""
    key = [line.strip() or "." for line in repository["key"].strip().splitlines()]
    fields = {
        "Types": "deb",
        "URIs": repository["uris"],
        "Suites": repository["suites"],
        "Components": repository["components"],
        "Signed-By": "".join(f"\n {line}" for line in key),
    }
    lines = [f"{k}:{'' if v.startswith(chr(10)) else ' '}{v}" for k, v in fields.items() if v]
    return "\n".join(lines) + "\n"


def problems(repositories: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the names of the repositories: all of it."""
    names = [repository["name"] for repository in repositories]
    found = [f"{name}: named twice" for name in sorted(set(names)) if names.count(name) > 1]
    # apt passes over files of other names, as sources.list(5) says, without an error.
    found += [
        f"{name!r} is no name: use letters, digits, dashes, underscores and dots"
        for name in names
        if not re.fullmatch("[A-Za-z0-9_.-]+", name)
    ]
    return found


def foreign_keys(repositories: list[dict[str, Any]]) -> list[str]:
    """Keys whose fingerprints are not the pinned ones; both are named."""
    found = []
    for repository in repositories:
        pinned = [openpgp.normalized(item) for item in repository["fingerprints"]]
        if not pinned:
            continue
        name = repository["name"]
        found += [
            f"{name}: {item!r} is no fingerprint: give all 40 hexadecimal digits that"
            " gpg --show-keys prints"
            for item in pinned
            if not openpgp.FINGERPRINT.fullmatch(item)
        ]
        try:
            there = openpgp.fingerprints(repository["key"])
        except ValueError as error:
            found.append(f"{name}: the signing key cannot be read: {error}")
            continue
        found += [
            f"{name}: the signing key has the fingerprint {item}, pinned is {', '.join(pinned)}:"
            " do not trust it before the vendor confirms the new fingerprint"
            for item in there
            if item not in pinned
        ]
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "repositories": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "uris": {"type": "str", "required": True},
                    "suites": {"type": "str", "required": True},
                    "components": {"type": "str", "default": ""},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "fingerprints": {"type": "list", "elements": "str", "default": []},
                },
            },
            "max_age_hours": {"type": "int", "default": 24},
        },
        supports_check_mode=True,
    )
    wrong = problems(module.params["repositories"])
    wrong += foreign_keys(module.params["repositories"])
    if wrong:
        module.fail_json(msg=f"site_package_repositories: {'; '.join(wrong)}")
    changed_paths = []
    diffs = []
    newest = 0.0
    for repository in module.params["repositories"]:
        path = SOURCES / f"{repository['name']}.sources"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = deb822(repository)
        if before != after:
            changed_paths.append(str(path))
            header = str(path)
            diffs.append(
                {"before": before, "after": after, "before_header": header, "after_header": header}
            )
            if not module.check_mode:
                temporary = path.with_name(f".{path.name}.new")
                temporary.write_text(after, encoding="utf-8")
                temporary.chmod(0o644)
                temporary.replace(path)
        if path.exists():
            newest = max(newest, path.stat().st_mtime)
    refreshed_at = STAMP.stat().st_mtime if STAMP.exists() else 0.0
    too_old = time.time() - refreshed_at > module.params["max_age_hours"] * 3600
    unfinished = refreshed_at < newest
    refresh = bool(changed_paths) or unfinished or too_old
    if refresh and not module.check_mode:
        code, out, error = module.run_command(
            ["apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"]
        )
        if code:
            module.fail_json(
                msg="apt-get update failed; check the addresses and keys in"
                f" site_package_repositories: {(error or out).strip()}",
                changed=bool(changed_paths),
            )
        STAMP.touch()
    result: dict[str, Any] = {
        "changed": bool(changed_paths) or (unfinished and bool(newest)),
        "changed_paths": changed_paths,
        "refreshed": refresh,
    }
    if module._diff:
        result["diff"] = diffs
    module.exit_json(**result)


if __name__ == "__main__":
    main()
