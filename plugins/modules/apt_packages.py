#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs Debian packages at given versions, and says so beforehand in check mode."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
short_description: Install Debian packages at given versions
description:
  - Makes packages be installed, at a version where one is given, up or down.
  - It asks dpkg what is installed and calls apt only when something is missing, so a run with nothing to do loads no package index;
    M(ansible.builtin.apt) loads it every time, which takes most of a second on each host.
  - In check mode it also answers for packages of a repository that the host does not know yet,
    because an earlier task of the same run would have added it.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  packages:
    description: Packages, as C(name) or C(name=version), where the version may end with C(*).
    type: list
    elements: str
    required: true
  lock_timeout:
    description: How long to wait while another program holds dpkg's lock, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Install containerd
  baremetal.sonic.apt_packages:
    packages:
      - conntrack
      - containerd.io=2.3.7-*
"""

RETURN = r"""
installed:
  description: What was installed (or would be, in check mode), as C(name=version); without a version where apt does not know one yet.
  returned: success
  type: list
  elements: str
  sample: [containerd.io=2.3.7-1~debian.12~bookworm]
"""

import fnmatch
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def split(package: str) -> tuple[str, str]:
    """Name and version pattern of an item; the pattern is * when none is given."""
    name, _sign, version = package.partition("=")
    return name, version or "*"


def installed_versions(output: str) -> dict[str, str]:
    """Versions by name, of what dpkg-query lists as installed and configured."""
    found = {}
    for line in output.splitlines():
        status, name, version = line.split("\t")
        if status == "ii ":
            found[name] = version
    return found


def missing(packages: list[str], installed: dict[str, str]) -> list[str]:
    """The items that what is installed does not satisfy."""
    return [
        package
        for package in packages
        if not fnmatch.fnmatchcase(installed.get(split(package)[0], ""), split(package)[1])
        or split(package)[0] not in installed
    ]


def available_versions(output: str) -> dict[str, list[str]]:
    """Versions by name, newest first, of what `apt-cache madison` printed."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3:
            found.setdefault(fields[0], []).append(fields[1])
    return found


def choose(wanted: list[str], available: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """What to ask apt for, and the items that no repository has."""
    chosen, unknown = [], []
    for package in wanted:
        name, pattern = split(package)
        versions = [v for v in available.get(name, []) if fnmatch.fnmatchcase(v, pattern)]
        if versions:
            chosen.append(f"{name}={versions[0]}")
        else:
            unknown.append(package)
    return chosen, unknown


def refusal(unknown: list[str], available: dict[str, list[str]]) -> str:
    """Why the items cannot be installed, and what to do."""
    parts = []
    for package in unknown:
        versions = available.get(split(package)[0])
        has = f"there is {', '.join(versions[:5])}" if versions else "no repository has it"
        parts.append(f"{package} ({has})")
    return (
        f"cannot be installed: {'; '.join(parts)}. Check site_package_repositories and"
        " site_versions (apt-cache policy NAME on the host shows what apt sees)"
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    packages: list[str] = module.params["packages"]
    names = [split(package)[0] for package in packages]
    # Exits with 1 when it does not know one of the names, and lists the others.
    _code, out, _error = module.run_command(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\n"]
        + ["--", *names]
    )
    installed = installed_versions(out)
    wanted = missing(packages, installed)
    result: dict[str, Any] = {"changed": bool(wanted), "installed": []}
    if wanted:
        _code, out, _error = module.run_command(
            ["apt-cache", "madison", "--", *[split(package)[0] for package in wanted]],
            check_rc=True,
        )
        available = available_versions(out)
        chosen, unknown = choose(wanted, available)
        if unknown and not module.check_mode:
            module.fail_json(msg=refusal(unknown, available))
        result["installed"] = chosen + unknown
        if module._diff:
            before = [
                f"{n}={installed[n]}" for n in (split(p)[0] for p in wanted) if n in installed
            ]
            result["diff"] = {
                "before": "".join(f"{line}\n" for line in before),
                "after": "".join(f"{line}\n" for line in result["installed"]),
            }
        if not module.check_mode:
            install(module, chosen)
    module.exit_json(**result)


def install(module: AnsibleModule, chosen: list[str]) -> None:
    """Have apt install exact versions; configuration files that a person changed are kept."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    # What an interrupted dpkg left unpacked must be configured before apt agrees to go on.
    commands = [["dpkg", "--configure", "--pending", "--force-confold"]]
    commands.append(
        ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends"]
        + ["--allow-downgrades", "--allow-change-held-packages"]
        + ["--option=Dpkg::Options::=--force-confold"]
        + [f"--option=DPkg::Lock::Timeout={module.params['lock_timeout']}", "--", *chosen]
    )
    for command in commands:
        code, out, error = module.run_command(command, environ_update=environment)
        if code:
            module.fail_json(
                msg=f"{command[0]} failed: {(error or out).strip()[-2000:]}", stdout=out
            )


if __name__ == "__main__":
    main()
