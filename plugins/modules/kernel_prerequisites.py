#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load and block kernel modules, set kernel parameters and turn swap off, now and at every boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_prerequisites
short_description: Manage kernel modules, kernel parameters and swap
description:
  - Loads kernel modules, sets sysctl parameters and turns swap off, in the running kernel and for every boot.
  - A module counts as loaded when the kernel lists it, has it built in, or already has the feature in O(modules[].provides).
    So a host without loadable modules passes when its kernel has these features.
  - Swap may come from C(/etc/fstab), a C(.swap) unit, zram, a GPT partition that systemd finds by itself, or a service that makes swap files.
    The module turns all of them off, now and at boot, without C(systemctl daemon-reload), which takes devices from running containers.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  name:
    description: Name of the files below C(/etc/modules-load.d), C(/etc/modprobe.d) and C(/etc/sysctl.d).
    type: str
    default: baremetal-sonic
  modules:
    description: Kernel modules.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The module's name.
        type: str
        required: true
      provides:
        description: A path, or a word of C(/proc/filesystems), that exists when the kernel has this feature.
        type: str
  blocked:
    description:
      - Kernel modules that must not be loaded, by C(/etc/modprobe.d). One that is loaded already stays until the next boot.
      - Where update-initramfs is there, every initial RAM disk that is older than this file is made again.
    type: list
    elements: str
    default: []
  sysctl:
    description: Parameters by their dotted names.
    type: dict
    default: {}
  swap:
    description:
      - Whether swap may be used. V(false) turns it off and comments it out of C(/etc/fstab).
      - It also masks C(swap.target), swap units, zram's generator and the known services that make swap. A unit file of your own in
        C(/etc/systemd/system) is kept under its name with C(.off) at the end.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Configure the kernel for Kubernetes
  baremetal.sonic.kernel_prerequisites:
    modules:
      - {name: overlay, provides: overlay}
      - {name: br_netfilter, provides: /proc/sys/net/bridge}
    sysctl:
      net.ipv4.ip_forward: 1
    swap: false
"""

RETURN = r"""
changes:
  description: What was changed (or would be, in check mode), one line each.
  returned: success
  type: list
  elements: str
  sample: ["net.ipv4.ip_forward: 0 -> 1"]
"""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._host.files import write_file

MASKS = "/etc/systemd/system"
# systemd.unit(5) and systemd.generator(7); the same folder twice where /lib is a link.
UNITS = (
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
GENERATED = (
    "/run/systemd/generator.early",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
)
GENERATORS = (
    "/run/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
)
# Makes units of its own at each boot.
ZRAM_GENERATOR = "zram-generator"
# Of the packages zram-tools, zram-config, dphys-swapfile, swapspace, systemd-swap and zramd.
SWAP_SERVICES = (
    "zramswap.service",
    "zram-config.service",
    "dphys-swapfile.service",
    "swapspace.service",
    "systemd-swap.service",
    "zramd.service",
)
# Pulls in what systemd-gpt-auto-generator finds; these units' names change from boot to boot.
SWAP_TARGET = "swap.target"


def without_swap(fstab: str) -> str:
    """Return the text of /etc/fstab with its swap lines commented out."""
    lines = []
    for line in fstab.splitlines(keepends=True):
        fields = line.split()
        swap = len(fields) >= 3 and not fields[0].startswith("#") and fields[2] == "swap"
        lines.append(f"# {line}" if swap else line)
    return "".join(lines)


def swap_in_use(proc_swaps: str) -> list[str]:
    """Devices and files that /proc/swaps lists."""
    return [line.split()[0] for line in proc_swaps.splitlines()[1:] if line.strip()]


def swap_units() -> Iterator[str]:
    """Yield names of the .swap units of this host that do not come from /etc/fstab, each once."""
    names = set()
    for folder in (MASKS, *UNITS, *GENERATED):
        for path in sorted(Path(folder).glob("*.swap")):
            # systemd no longer makes it after it is commented out of fstab.
            if "SourcePath=/etc/fstab" not in (_read(path) or ""):
                names.add(path.name)
    yield from sorted(names)


def same_value(current: str, wanted: str) -> bool:
    """Return whether two values of a parameter are equal (the kernel prints lists with tabs)."""
    return current.split() == wanted.split()


def parameter_path(name: str) -> Path:
    """Return a parameter's path below /proc/sys; in sysctl.d(5) names a slash stands for a dot."""
    return Path("/proc/sys", *(part.replace("/", ".") for part in name.split(".")))


def parameter_value(value: Any) -> str:
    """Return a parameter's value in the kernel's words: it knows numbers, not truth values."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _written(path: Path) -> float:
    """When a file was last written, in seconds of the epoch."""
    return path.stat().st_mtime


def module_present(name: str, provides: str | None) -> bool:
    """Return whether the running kernel has what the module brings."""
    if provides and provides.startswith("/"):
        if Path(provides).exists():
            return True
    elif provides and provides in (_read("/proc/filesystems") or "").split():
        return True
    wanted = name.replace("-", "_")
    loaded = [line.split()[0] for line in (_read("/proc/modules") or "").splitlines()]
    if wanted in loaded or Path("/sys/module", wanted).exists():
        return True
    builtin = _read(f"/lib/modules/{platform.release()}/modules.builtin") or ""
    return any(
        Path(line).name.split(".")[0].replace("-", "_") == wanted for line in builtin.splitlines()
    )


class Settings:
    """Collects changes; applies each one at once unless it only checks."""

    def __init__(self, module: AnsibleModule) -> None:
        """`module` brings options, check mode and commands."""
        self.module = module
        self.changes: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def file(self, path: str, content: str) -> None:
        """Make a configuration file have this content."""
        before = _read(path) or ""
        if before == content:
            return
        self.changes.append(f"{path} written")
        self.diffs.append(
            {"before": before, "after": content, "before_header": path, "after_header": path}
        )
        if not self.module.check_mode:
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.module, target, content)

    def load(self, modules: list[dict[str, Any]]) -> None:
        """Load the modules that the kernel lacks."""
        for item in modules:
            if module_present(item["name"], item["provides"]):
                continue
            self.changes.append(f"module {item['name']} loaded")
            if not self.module.check_mode:
                code, _out, error = self.module.run_command(["modprobe", item["name"]])
                if code:
                    self.module.fail_json(
                        msg=f"the kernel module {item['name']} cannot be loaded: {error.strip()};"
                        f" install a kernel that has it ({platform.release()} runs)"
                    )

    def block(self, name: str, modules: list[str]) -> None:
        """Keep modules from being loaded, by the boot's initial RAM disk too."""
        path = f"/etc/modprobe.d/{name}.conf"
        content = "".join(f"blacklist {item}\ninstall {item} /bin/false\n" for item in modules)
        current = _read(path) == content
        self.file(path, content)
        known = current or not self.module.check_mode
        written = _written(Path(path)) if known else float("inf")
        old = [image for image in Path("/boot").glob("initrd.img-*") if _written(image) < written]
        program = self.module.get_bin_path("update-initramfs", opt_dirs=["/usr/sbin", "/sbin"])
        if not old or not program:
            return
        self.changes.append(f"made again: {', '.join(sorted(image.name for image in old))}")
        if not self.module.check_mode:
            self.module.run_command([program, "-u", "-k", "all"], check_rc=True)

    def sysctl(self, wanted: dict[str, str]) -> None:
        """Set the parameters of the running kernel."""
        for name, value in wanted.items():
            path = parameter_path(name)
            current = _read(path) if not path.is_dir() else None
            if current is None and self.module.check_mode:
                continue  # a module that check mode did not load would bring it
            if current is None:
                self.module.fail_json(msg=f"sysctl {name}: this kernel has no such parameter")
                return
            if same_value(current, value):
                continue
            self.changes.append(f"{name}: {' '.join(current.split())} -> {value}")
            if not self.module.check_mode:
                try:
                    path.write_text(value, encoding="utf-8")
                except OSError as error:
                    self.module.fail_json(
                        msg=f"sysctl {name}={value}: the kernel refuses ({error})"
                    )

    def mask(self, folder: str, name: str, what: str) -> bool:
        """Make systemd ignore a unit or generator from the next boot on; whether that is new.

        A link to /dev/null, as `systemctl mask` makes it, but without its reload of all units.
        """
        path = Path(folder, name)
        if path.is_symlink() and os.readlink(path) == os.devnull:
            return False
        self.changes.append(f"{what} {name} masked")
        if not self.module.check_mode:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            elif path.exists():
                path.replace(path.with_name(f"{name}.off"))
                self.changes.append(f"{path} kept as {name}.off")
            path.symlink_to(os.devnull)
        return True

    def no_swap_at_boot(self) -> None:
        """Mask everything outside /etc/fstab that turns swap on at the next boot."""
        self.mask(MASKS, SWAP_TARGET, "unit")
        for name in swap_units():
            self.mask(MASKS, name, "swap unit")
        if any(Path(folder, ZRAM_GENERATOR).exists() for folder in GENERATORS):
            self.mask("/etc/systemd/system-generators", ZRAM_GENERATOR, "generator")
        for name in SWAP_SERVICES:
            there = any(Path(folder, name).exists() for folder in (*UNITS, MASKS))
            # A masked one exists, too: its mask is a link to a file that is there.
            if there and self.mask(MASKS, name, "swap service") and not self.module.check_mode:
                self.module.run_command(["systemctl", "stop", name], check_rc=True)

    def no_swap(self) -> None:
        """Turn swap off, now and at boot."""
        self.no_swap_at_boot()
        used = swap_in_use(_read("/proc/swaps") or "")
        if used:
            self.changes.append(f"swap off: {', '.join(used)}")
            if not self.module.check_mode:
                self.module.run_command(["swapoff", "--all"], check_rc=True)
        fstab = _read("/etc/fstab")
        if fstab is not None:
            self.file("/etc/fstab", without_swap(fstab))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "baremetal-sonic"},
            "modules": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "provides": {"type": "str"},
                },
            },
            "blocked": {"type": "list", "elements": "str", "default": []},
            "sysctl": {"type": "dict", "default": {}},
            "swap": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options: dict[str, Any] = module.params
    parameters = {name: parameter_value(value) for name, value in options["sysctl"].items()}
    settings = Settings(module)
    name = options["name"]
    if options["modules"]:
        settings.file(
            f"/etc/modules-load.d/{name}.conf",
            "".join(f"{item['name']}\n" for item in options["modules"]),
        )
        settings.load(options["modules"])
    if options["blocked"]:
        settings.block(name, options["blocked"])
    if parameters:
        settings.file(
            # Behind 99-sysctl.conf, the link to /etc/sysctl.conf that Debian has.
            f"/etc/sysctl.d/zz-{name}.conf",
            "".join(f"{key} = {value}\n" for key, value in sorted(parameters.items())),
        )
        settings.sysctl(parameters)
    if not options["swap"]:
        settings.no_swap()
    result: dict[str, Any] = {"changed": bool(settings.changes), "changes": settings.changes}
    if module._diff:
        result["diff"] = settings.diffs
    module.exit_json(**result)


if __name__ == "__main__":
    main()
