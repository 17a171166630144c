#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install Debian packages at given versions."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
short_description: Install Debian packages at given versions
description:
  - Installs packages at the given version, or without one at the version that apt itself would choose (its candidate).
  - Removes no package, lowers no version and changes no held package unless O(allow) permits it. It simulates the installation first,
    and fails with the whole list before it changes anything.
  - Waits while another program holds one of dpkg's or apt's locks, and names that program.
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
  allow:
    description:
      - Changes that an installation may make to installed packages.
      - V(downgrade) lowers a version, V(remove) removes a package that conflicts, V(held) changes one that C(apt-mark hold) holds.
    type: list
    elements: str
    default: []
  hold:
    description:
      - Installed packages to hold afterwards (C(apt-mark hold)), so that an upgrade of all packages leaves them as they are.
      - Each item is C(name) or C(name=version). Name and version are shell patterns.
      - A later run that needs another version of a held package needs V(held) in O(allow), and holds the new version again.
    type: list
    elements: str
    default: []
  lock_timeout:
    description: How long to wait while other programs hold dpkg's or apt's locks, in seconds.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Install containerd
  baremetal.sonic.apt_packages:
    packages:
      - conntrack
      - containerd.io=2.3.7-*

- name: Install the driver, and keep it from upgrades of all packages
  baremetal.sonic.apt_packages:
    packages:
      - nvidia-driver-cuda=580.*
    hold:
      - nvidia-*=580.*
      - libnvidia-*=580.*
"""

RETURN = r"""
installed:
  description: What was installed (or would be, in check mode), as C(name=version); without a version where apt does not know one yet.
  returned: success
  type: list
  elements: str
  sample: [containerd.io=2.3.7-1~debian.12~bookworm]
held:
  description: The packages that are held from now on and were not before (in check mode, of those that are installed already).
  returned: success
  type: list
  elements: str
  sample: [libnvidia-ml1, nvidia-driver-cuda]
waited:
  description: The lock that the module waited for, with the program that held it; empty without a wait.
  returned: success
  type: list
  elements: str
  sample: ["waited 24 s: /var/lib/dpkg/lock-frontend is held by process 812 (/usr/bin/unattended-upgrade)"]
"""

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host.apt_locks import (
    Apt,
    LockedError,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._host.packages import (
    QUERY,
    installed_versions,
    missing,
    split,
)

INSTALL = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends"]
INSTALL += ["--option=Dpkg::Options::=--force-confold"]
# A line of `apt-get --simulate`: Inst NAME [OLD] (NEW ORIGIN [ARCHITECTURE]), or Remv NAME [OLD].
ACTION = re.compile(r"(Inst|Remv) (\S+)(?: \[([^]]+)\])?(?: \((\S+))?")


def to_hold(patterns: list[str], output: str) -> list[str]:
    """The installed packages that match a pattern and are not held yet, sorted.

    Args:
        patterns: items of the option hold.
        output: dpkg-query's lines for these names.
    """
    names = set()
    for line in output.splitlines():
        status, name, version = line.split("\t")
        wanted = any(
            fnmatch.fnmatchcase(name, split(item)[0])
            and fnmatch.fnmatchcase(version, split(item)[1])
            for item in patterns
        )
        # The first letter is h for a package on hold.
        if wanted and status[1:] == "i " and status[0] != "h":
            names.add(name)
    return sorted(names)


def available_versions(output: str) -> dict[str, list[str]]:
    """Return versions by name, newest first, of what `apt-cache madison` printed."""
    versions: dict[str, list[str]] = {}
    for line in output.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3:
            versions.setdefault(fields[0], []).append(fields[1])
    return versions


def candidate_versions(output: str) -> dict[str, str]:
    """Return the candidate version by name, read from the output of `apt-cache policy`.

    Pins, target releases and backports are in it. A package without a candidate is left out.
    """
    candidates: dict[str, str] = {}
    name = ""
    for line in output.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        elif line.startswith("  Candidate: ") and "(none)" not in line:
            candidates[name] = line.removeprefix("  Candidate: ").strip()
    return candidates


def choose(
    wanted: list[str], available: dict[str, list[str]], candidates: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Return the packages to request from apt, and the items that no repository has.

    apt's candidate where it fits, else the newest version that does. Without a version in the
    item only the candidate counts: a newer one that a pin keeps away is not wanted.
    """
    chosen, unknown = [], []
    for package in wanted:
        name, pattern = split(package)
        versions = [candidates[name]] if name in candidates else []
        if pattern != "*":
            versions += available.get(name, [])
        fitting = [version for version in versions if fnmatch.fnmatchcase(version, pattern)]
        if fitting:
            chosen.append(f"{name}={fitting[0]}")
        else:
            unknown.append(package)
    return chosen, unknown


def refusal(unknown: list[str], available: dict[str, list[str]]) -> str:
    """Return why the items cannot be installed, and what to do."""
    parts = []
    for package in unknown:
        versions = available.get(split(package)[0])
        has = f"there is {', '.join(versions[:5])}" if versions else "no repository has it"
        if versions and split(package)[1] == "*":
            has = f"a pin in /etc/apt/preferences.d keeps away {', '.join(versions[:5])}"
        parts.append(f"{package} ({has})")
    return (
        f"cannot be installed: {'; '.join(parts)}. Check site_package_repositories and"
        " site_versions (apt-cache policy NAME on the host shows what apt sees)"
    )


@dataclass
class Effects:
    """The changes of an installation to installed packages: one line each."""

    remove: list[str] = field(default_factory=list)
    downgrade: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def effects(simulated: str, holds: set[str], older: Callable[[str, str], bool]) -> Effects:
    """Return the changes that apt would make, read from the output of `apt-get --simulate`.

    Args:
        simulated: the output.
        holds: packages that `apt-mark hold` holds.
        older: whether the first of two versions is lower than the second.
    """
    result = Effects()
    for line in simulated.splitlines():
        match = ACTION.match(line)
        if not match:
            continue
        action, name, old, new = match.groups()
        name = name.partition(":")[0]
        if action == "Remv":
            result.remove.append(f"{name} {old}")
        elif old and older(new, old):
            result.downgrade.append(f"{name} {old} to {new}")
        if name in holds:
            result.held.append(f"{name} {old or ''}".strip())
    return result


ADVICE = {
    "remove": ("remove", "move what needs them to another host"),
    "downgrade": ("lower the version of", "ask for the version that is there in site_versions"),
    "held": ("change the held", "release them with 'apt-mark unhold NAME'"),
}


def forbidden(changes: Effects, allowed: list[str], chosen: list[str]) -> str:
    """Return the reason to refuse an installation, with the fix; empty when it is allowed."""
    parts = [
        f"{verb} {', '.join(packages)}: {advice}, or add {kind} to site_apt_allow"
        for kind, (verb, advice) in ADVICE.items()
        if kind not in allowed and (packages := getattr(changes, kind))
    ]
    return f"installing {' '.join(chosen)} would {'; and would '.join(parts)}" if parts else ""


def flags(allowed: list[str]) -> list[str]:
    """apt-get's options for what an installation may do."""
    given = [] if "remove" in allowed else ["--no-remove"]
    given += ["--allow-downgrades"] if "downgrade" in allowed else []
    return given + (["--allow-change-held-packages"] if "held" in allowed else [])


class Installer:
    """Simulates an installation, and runs it."""

    def __init__(self, module: AnsibleModule) -> None:
        """`module` brings commands, check mode and options."""
        self.module = module
        self.apt = Apt(module.run_command, module.log, module.params["lock_timeout"])

    def run(self, command: list[str]) -> str:
        """Run a command that takes locks; returns its output. Fails the module."""
        try:
            code, out, error = self.apt(command)
        except LockedError as locked:
            self.module.fail_json(msg=f"{command[0]}: {locked}", waited=self.apt.summary())
            raise
        if code:
            words = "\n".join(part.strip()[-2000:] for part in (error, out) if part.strip())
            self.module.fail_json(msg=f"{command[0]} failed: {words}", stdout=out)
        return str(out)

    def older(self, one: str, other: str) -> bool:
        """Return whether one version is lower than another."""
        code, _out, _error = self.module.run_command(
            ["dpkg", "--compare-versions", one, "lt", other]
        )
        return bool(code == 0)

    def check(self, chosen: list[str]) -> None:
        """Fail the module where an installation would do what is not allowed."""
        allowed: list[str] = self.module.params["allow"]
        _code, out, _error = self.module.run_command(["apt-mark", "showhold"], check_rc=True)
        # A simulation takes no lock.
        simulated = self.run(
            [*INSTALL, "--simulate", *flags(["remove", "downgrade", "held"]), "--", *chosen]
        )
        if why := forbidden(effects(simulated, set(out.split()), self.older), allowed, chosen):
            self.module.fail_json(msg=why)

    def install(self, chosen: list[str]) -> None:
        """Have apt install exact versions; configuration files that a person changed are kept."""
        if not self.module.check_mode:
            # Configure packages that an interrupted dpkg left unpacked: apt refuses to run else.
            self.run(["dpkg", "--configure", "--pending", "--force-confold"])
        self.check(chosen)
        if not self.module.check_mode:
            self.run([*INSTALL, *flags(self.module.params["allow"]), "--", *chosen])
        for line in self.apt.summary():
            self.module.warn(line)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "allow": {
                "type": "list",
                "elements": "str",
                "default": [],
            },
            "hold": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    # Not choices of the option: ansible-lint takes a template for a value that is none of them.
    if unknown := sorted(set(module.params["allow"]) - ADVICE.keys()):
        module.fail_json(msg=f"allow: no {', '.join(unknown)}: choose of {', '.join(ADVICE)}")
    packages: list[str] = module.params["packages"]
    patterns: list[str] = module.params["hold"]
    names = [split(item)[0] for item in packages + patterns]
    out = queried(module, names)
    installed = installed_versions(out)
    wanted = missing(packages, installed)
    result: dict[str, Any] = {"changed": bool(wanted), "installed": [], "held": [], "waited": []}
    if wanted:
        result |= make_installed(module, wanted, installed)
        out = queried(module, names) if patterns else ""
    if held := to_hold(patterns, out):
        result |= {"changed": True, "held": held}
        if module._diff:
            diff = result.setdefault("diff", {"before": "", "after": ""})
            diff["after"] += "".join(f"{name} on hold\n" for name in held)
        if not module.check_mode:
            Installer(module).run(["apt-mark", "hold", *held])
    module.exit_json(**result)


def queried(module: AnsibleModule, names: list[str]) -> str:
    """dpkg-query's lines for the packages that match these names: status, name and version."""
    # Exits with 1 when it does not know one of the names, and lists the others.
    _code, out, _error = module.run_command([*QUERY, *names])
    return str(out)


def make_installed(
    module: AnsibleModule, wanted: list[str], installed: dict[str, str]
) -> dict[str, Any]:
    """Install what is missing; returns the module's result. Fails the module."""
    names = [split(package)[0] for package in wanted]
    _code, out, _error = module.run_command(["apt-cache", "madison", "--", *names], check_rc=True)
    available = available_versions(out)
    _code, out, _error = module.run_command(["apt-cache", "policy", "--", *names], check_rc=True)
    chosen, unknown = choose(wanted, available, candidate_versions(out))
    if unknown and not module.check_mode:
        module.fail_json(msg=refusal(unknown, available))
    installer = Installer(module)
    # In check mode the repository of an unknown package may be one that the run would add.
    if not unknown:
        installer.install(chosen)
    result: dict[str, Any] = {"installed": chosen + unknown, "waited": installer.apt.summary()}
    if module._diff:
        before = [f"{name}={installed[name]}" for name in names if name in installed]
        result["diff"] = {
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in result["installed"]),
        }
    return result


if __name__ == "__main__":
    main()
