#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write apt repositories and refresh apt's index when it is older."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_repositories
short_description: Write a list of apt repositories and keep apt's index in step
description:
  - Writes one deb822 file for each repository, with its signing key inside, and refreshes apt's index in the same call.
  - The index is refreshed when a repository changed, when an earlier refresh did not finish, and when it is older than O(max_age_hours),
    so a run that was interrupted between the two is finished by the next one.
  - If the host has a source of the same address and suite (of another tool, for example), the module uses it and writes no second one,
    because apt refuses every command when two sources of one suite name different keys. It refuses a source that lacks a component.
  - If apt cannot read the new files, the module restores the old ones, so that apt keeps working.
  - Waits while another program holds one of dpkg's or apt's locks, and names that program.
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
  lock_timeout:
    description: How long to wait while other programs hold dpkg's or apt's locks, in seconds.
    type: int
    default: 300
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
  description: Repository files that were written or removed (or would be, in check mode).
  returned: success
  type: list
  elements: str
  sample: [/etc/apt/sources.list.d/site.sources]
refreshed:
  description: Whether apt's index was refreshed.
  returned: success
  type: bool
reused:
  description: Existing sources that are used in place of one of O(repositories), by the repository's name.
  returned: success
  type: dict
  sample: {containerd: "/etc/apt/sources.list.d/docker.list:1"}
waited:
  description: The lock that the module waited for, with the program that held it; empty without a wait.
  returned: success
  type: list
  elements: str
"""

import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host import apt_sources, openpgp
from ansible_collections.baremetal.sonic.plugins.module_utils._host.apt_locks import (
    Apt,
    LockedError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file

SOURCES = Path("/etc/apt/sources.list.d")
SOURCES_LIST = Path("/etc/apt/sources.list")
ARCHITECTURE = "amd64"
STAMP = Path("/var/lib/apt/baremetal-sonic-refreshed")


def deb822(repository: dict[str, Any]) -> str:
    """Return the text of a .sources file, as in the manual page sources.list(5)."""
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
    """Return what is wrong with the names of the repositories: all of it."""
    names = [repository["name"] for repository in repositories]
    lines = [f"{name}: named twice" for name in sorted(set(names)) if names.count(name) > 1]
    # apt passes over files of other names, as sources.list(5) says, without an error.
    lines += [
        f"{name!r} is no name: use letters, digits, dashes, underscores and dots"
        for name in names
        if not re.fullmatch("[A-Za-z0-9_.-]+", name)
    ]
    return lines


def foreign_keys(repositories: list[dict[str, Any]]) -> list[str]:
    """Keys whose fingerprints are not the pinned ones; both are named."""
    lines = []
    for repository in repositories:
        pinned = [openpgp.normalized(item) for item in repository["fingerprints"]]
        if not pinned:
            continue
        name = repository["name"]
        lines += [
            f"{name}: {item!r} is no fingerprint: give all 40 hexadecimal digits that"
            " gpg --show-keys prints"
            for item in pinned
            if not openpgp.FINGERPRINT.fullmatch(item)
        ]
        try:
            there = openpgp.fingerprints(repository["key"])
        except ValueError as error:
            lines.append(f"{name}: the signing key cannot be read: {error}")
            continue
        lines += [
            f"{name}: the signing key has the fingerprint {item}, pinned is {', '.join(pinned)}:"
            " do not trust it before the vendor confirms the new fingerprint"
            for item in there
            if item not in pinned
        ]
    return lines


def path_of(repository: dict[str, Any]) -> Path:
    """Return where a repository's file is."""
    return SOURCES / f"{repository['name']}.sources"


def existing(
    repositories: list[dict[str, Any]],
) -> tuple[dict[str, str], list[str]]:
    """Find sources of other programs for the same addresses and suites.

    Returns:
        The place of the source to use, by the name of the repository that it stands for; and what
        is wrong with those that do not offer enough.
    """
    ours = {path_of(repository) for repository in repositories}
    files = [SOURCES_LIST]
    for suffix in ("list", "sources"):
        files += sorted(path for path in SOURCES.glob(f"*.{suffix}") if path not in ours)
    theirs = apt_sources.sources(files)
    used, wrong = {}, []
    for repository in repositories:
        uri = apt_sources.normalized(repository["uris"])
        same = [s for s in theirs if (s.uri, s.suite) == (uri, repository["suites"])]
        covering = [s for s in same if s.covers(repository["components"], ARCHITECTURE)]
        if covering:
            used[repository["name"]] = covering[0].where
        elif same:
            wrong.append(
                f"{repository['name']}: {same[0].where} has {repository['uris']}"
                f" {repository['suites']} already, without {repository['components'] or 'it all'}"
                f" for {ARCHITECTURE}: two entries would stop apt. Complete that entry, or remove it"
            )
    return used, wrong


def refresh_index(module: AnsibleModule, before: dict[Path, str]) -> list[str]:
    """Refresh apt's index; returns one line on the wait for locks.

    Where apt refuses, the files get their former texts back (an empty one: no file), so that apt
    works for others, and the module fails.
    """
    apt = Apt(module.run_command, module.log, module.params["lock_timeout"])
    try:
        code, out, error = apt(["apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"])
        why = (
            "apt-get update failed; check the addresses and keys in"
            f" site_package_repositories: {(error or out).strip()}"
        )
    except LockedError as locked:
        code, why = 1, f"apt-get update: {locked}"
    if code:
        for path, text in before.items():
            write(module, path, text)
        module.fail_json(msg=why, changed=False, waited=apt.summary())
    STAMP.touch()
    return apt.summary()


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Replace a file at once; an empty text removes it."""
    if not text:
        path.unlink(missing_ok=True)
    else:
        write_file(module, path, text)


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
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    wrong = problems(module.params["repositories"])
    wrong += foreign_keys(module.params["repositories"])
    if wrong:
        module.fail_json(msg=f"site_package_repositories: {'; '.join(wrong)}")
    reused, wrong = existing(module.params["repositories"])
    if wrong:
        module.fail_json(msg=f"site_package_repositories: {'; '.join(wrong)}")
    for name, where in reused.items():
        module.log(f"the repository {name} comes from {where}")
    module.exit_json(**keep_in_step(module, reused))


def keep_in_step(module: AnsibleModule, reused: dict[str, str]) -> dict[str, Any]:
    """Write the files, refresh the index where that is due, and return the module's result.

    Args:
        module: brings the options, check mode and commands.
        reused: the sources of others that are used, by the names of the repositories.
    """
    texts: dict[Path, str] = {}
    diffs = []
    newest = 0.0
    for repository in module.params["repositories"]:
        path = path_of(repository)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = "" if repository["name"] in reused else deb822(repository)
        if before != after:
            texts[path] = before
            header = str(path)
            diffs.append(
                {"before": before, "after": after, "before_header": header, "after_header": header}
            )
            if not module.check_mode:
                write(module, path, after)
        if path.exists():
            newest = max(newest, path.stat().st_mtime)
    refreshed_at = STAMP.stat().st_mtime if STAMP.exists() else 0.0
    too_old = time.time() - refreshed_at > module.params["max_age_hours"] * 3600
    unfinished = refreshed_at < newest
    refresh = bool(texts) or unfinished or too_old
    waited = refresh_index(module, texts) if refresh and not module.check_mode else []
    for line in waited:
        module.warn(line)
    result: dict[str, Any] = {
        "changed": bool(texts) or (unfinished and bool(newest)),
        "changed_paths": [str(path) for path in texts],
        "refreshed": refresh,
        "reused": reused,
        "waited": waited,
    }
    if module._diff:
        result["diff"] = diffs
    return result


if __name__ == "__main__":
    main()
