# SPDX-License-Identifier: Apache-2.0
"""kernel_prerequisites, run on a tree of files in place of a host's root."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import kernel_prerequisites

from tests.unit.plugins.modules.running import Modules

SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"
FSTAB = (
    "# /swap.img none swap sw 0 0\n"
    "UUID=1-2 / ext4 defaults 0 1\n"
    "/swap.img\tnone\tswap\tsw\t0\t0\n"
    "//nas/swap /mnt cifs ro 0 0\n"
)
WANTED: dict[str, Any] = {
    "modules": [
        {"name": "overlay", "provides": "overlay"},
        {"name": "br_netfilter", "provides": "/proc/sys/net/bridge"},
    ],
    "sysctl": {"net.ipv4.ip_forward": True, "net.bridge.bridge-nf-call-iptables": 1},
    "swap": False,
}


class Root:
    """A host's files below a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def path(self, *parts: str | pathlib.Path) -> pathlib.Path:
        whole = pathlib.Path(*parts)
        if whole.is_absolute() and not whole.is_relative_to(self.folder):
            return self.folder / whole.relative_to("/")
        return whole

    def write(self, name: str, text: str) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return self.path(name).read_text()

    def everything(self) -> dict[str, str]:
        paths = self.folder.rglob("*")
        return {str(p.relative_to(self.folder)): p.read_text() for p in paths if p.is_file()}


@pytest.fixture
def root(modules: Modules, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root(tmp_path / "root")
    made.write("/proc/filesystems", "nodev\toverlay\n\text4\n")
    made.write("/proc/modules", "nf_nat 1 0 - Live 0x0\n")
    made.write("/proc/swaps", SWAPS + "/swap.img file 2097148 0 -2\n")
    made.write("/proc/sys/net/ipv4/ip_forward", "0\n")
    made.write("/etc/fstab", FSTAB)
    monkeypatch.setattr(kernel_prerequisites, "Path", made.path)
    bridge = made.path("/proc/sys/net/bridge")
    modules.program("modprobe", f"mkdir -p {bridge} && echo 0 > {bridge}/bridge-nf-call-iptables")
    modules.program("swapoff", f"printf '{SWAPS}' > {made.path('/proc/swaps')}")
    return made


def test_second_call_changes_nothing(modules: Modules, root: Root) -> None:
    first = modules.call(kernel_prerequisites.main, **WANTED)
    assert first["changes"] == [
        "/etc/modules-load.d/baremetal-sonic.conf written",
        "module br_netfilter loaded",
        "/etc/sysctl.d/zz-baremetal-sonic.conf written",
        "net.ipv4.ip_forward: 0 -> 1",
        "net.bridge.bridge-nf-call-iptables: 0 -> 1",
        "unit swap.target masked",
        "swap off: /swap.img",
        "/etc/fstab written",
    ]
    assert modules.ran == ["modprobe br_netfilter", "swapoff --all"]
    assert root.read("/proc/sys/net/ipv4/ip_forward") == "1"
    assert root.read("/etc/modules-load.d/baremetal-sonic.conf") == "overlay\nbr_netfilter\n"
    assert "net.ipv4.ip_forward = 1\n" in root.read("/etc/sysctl.d/zz-baremetal-sonic.conf")
    assert not modules.call(kernel_prerequisites.main, **WANTED)["changed"]
    assert len(modules.ran) == 2


def test_check_mode_changes_nothing(modules: Modules, root: Root) -> None:
    before = root.everything()
    result = modules.call(kernel_prerequisites.main, check=True, diff=True, **WANTED)
    assert root.everything() == before
    assert modules.ran == []
    assert "module br_netfilter loaded" in result["changes"]
    assert "net.ipv4.ip_forward: 0 -> 1" in result["changes"]
    assert [part["after_header"] for part in result["diff"]] == [
        "/etc/modules-load.d/baremetal-sonic.conf",
        "/etc/sysctl.d/zz-baremetal-sonic.conf",
        "/etc/fstab",
    ]


def test_only_swap_lines_of_fstab_are_commented_out(modules: Modules, root: Root) -> None:
    modules.call(kernel_prerequisites.main, swap=False)
    assert root.read("/etc/fstab") == FSTAB.replace("\n/swap.img", "\n# /swap.img")


def test_swap_is_left_alone_unless_asked(modules: Modules, root: Root) -> None:
    assert not modules.call(kernel_prerequisites.main)["changed"]
    assert root.read("/etc/fstab") == FSTAB


def test_module_that_cannot_be_loaded_is_tried_again(modules: Modules, root: Root) -> None:
    """The file for the next boot is there after the first try: that must not hide the failure."""
    modules.program("modprobe", "echo 'modprobe: FATAL: Module not found' >&2; exit 1")
    for _attempt in range(2):
        result = modules.call(kernel_prerequisites.main, modules=WANTED["modules"])
        assert result["failed"]
        assert "br_netfilter cannot be loaded: modprobe: FATAL: Module not found" in result["msg"]
        assert "install a kernel that has it" in result["msg"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("/proc/modules", "br_netfilter 32768 0 - Live 0x0\n"),
        ("/sys/module/br_netfilter/refcnt", "0\n"),
        ("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
        ("/lib/modules/6.1.0-x/modules.builtin", "kernel/net/bridge/br-netfilter.ko\n"),
    ],
)
def test_ways_in_which_a_module_is_there(
    root: Root, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    monkeypatch.setattr("platform.release", lambda: "6.1.0-x")
    assert not kernel_prerequisites.module_present("br_netfilter", "/proc/sys/net/bridge")
    root.write(file, text)
    assert kernel_prerequisites.module_present("br_netfilter", "/proc/sys/net/bridge")


def test_lists_of_numbers_are_compared_as_the_kernel_prints_them(
    modules: Modules, root: Root
) -> None:
    root.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
    wanted = {"net.ipv4.tcp_rmem": "4096 131072 6291456"}
    changes = modules.call(kernel_prerequisites.main, sysctl=wanted)["changes"]
    assert changes == ["/etc/sysctl.d/zz-baremetal-sonic.conf written"]


def test_interface_with_a_dot_in_its_name(modules: Modules, root: Root) -> None:
    root.write("/proc/sys/net/ipv4/conf/eth0.5/rp_filter", "1\n")
    modules.call(kernel_prerequisites.main, sysctl={"net.ipv4.conf.eth0/5.rp_filter": 0})
    assert root.read("/proc/sys/net/ipv4/conf/eth0.5/rp_filter") == "0"


@pytest.mark.parametrize("name", ["net.ipv4.no_such", "net.ipv4"])
def test_parameter_that_the_kernel_lacks(modules: Modules, root: Root, name: str) -> None:
    result = modules.call(kernel_prerequisites.main, sysctl={name: 1})
    assert result["msg"] == f"sysctl {name}: this kernel has no such parameter"


def kept_off(root: Root, name: str, folder: str = "/etc/systemd/system") -> bool:
    """Whether systemd passes over a unit at the next boot."""
    path = root.path(folder, name)
    return path.is_symlink() and path.readlink() == pathlib.Path("/dev/null")


UNIT = "[Swap]\nWhat=/var/swapfile\n\n[Install]\nWantedBy=multi-user.target\n"
SWAP_SOURCES = [
    ("/etc/systemd/system/var-swapfile.swap", "swap unit var-swapfile.swap"),
    ("/usr/lib/systemd/system/var-swapfile.swap", "swap unit var-swapfile.swap"),
    ("/lib/systemd/system/vendor.swap", "swap unit vendor.swap"),
    ("/run/systemd/generator/dev-zram0.swap", "swap unit dev-zram0.swap"),
    ("/run/systemd/generator.late/dev-sda3.swap", "swap unit dev-sda3.swap"),
    ("/run/systemd/system/made.swap", "swap unit made.swap"),
    ("/usr/lib/systemd/system-generators/zram-generator", "generator zram-generator"),
    ("/lib/systemd/system/zramswap.service", "swap service zramswap.service"),
    ("/usr/lib/systemd/system/dphys-swapfile.service", "swap service dphys-swapfile.service"),
    ("/etc/systemd/system/swapspace.service", "swap service swapspace.service"),
]


@pytest.mark.parametrize(("source", "named"), SWAP_SOURCES)
def test_swap_that_fstab_does_not_have_stays_off(
    modules: Modules, root: Root, source: str, named: str
) -> None:
    root.write(source, UNIT)
    modules.program("systemctl")
    result = modules.call(kernel_prerequisites.main, swap=False)
    assert f"{named} masked" in result["changes"]
    name = pathlib.Path(source).name
    generator = "generator" in named
    assert kept_off(root, name, f"/etc/systemd/system{'-generators' if generator else ''}")
    assert kept_off(root, "swap.target")
    stops = [f"systemctl stop {name}"] if name.endswith(".service") else []
    assert [line for line in modules.ran if line.startswith("systemctl")] == stops
    again = modules.call(kernel_prerequisites.main, swap=False)
    assert (again["changed"], again["changes"]) == (False, [])


def test_a_unit_of_the_hosts_own_is_kept_beside_its_mask(modules: Modules, root: Root) -> None:
    root.write("/etc/systemd/system/var-swapfile.swap", UNIT)
    modules.call(kernel_prerequisites.main, swap=False)
    assert root.read("/etc/systemd/system/var-swapfile.swap.off") == UNIT


def test_what_comes_from_fstab_needs_no_mask(modules: Modules, root: Root) -> None:
    """Its unit is gone with the line; the same name could be another's later."""
    text = f"[Unit]\nSourcePath=/etc/fstab\n{UNIT}"
    root.write("/run/systemd/generator/swap.img.swap", text)
    result = modules.call(kernel_prerequisites.main, swap=False)
    assert "unit swap.target masked" in result["changes"]
    assert not kept_off(root, "swap.img.swap")


def test_no_reload_of_units(modules: Modules, root: Root) -> None:
    """A daemon-reload takes GPUs from running containers."""
    for source, _named in SWAP_SOURCES:
        root.write(source, UNIT)
    modules.program("systemctl")
    modules.call(kernel_prerequisites.main, swap=False)
    assert not [line for line in modules.ran if "reload" in line or "mask" in line]


def test_check_mode_masks_nothing(modules: Modules, root: Root) -> None:
    for source, _named in SWAP_SOURCES:
        root.write(source, UNIT)
    before = root.everything()
    modules.program("systemctl")
    result = modules.call(kernel_prerequisites.main, swap=False, check=True)
    assert {f"{named} masked" for _source, named in SWAP_SOURCES} <= set(result["changes"])
    assert root.everything() == before
    assert modules.ran == []


def test_swap_units_stay_where_swap_may_be_used(modules: Modules, root: Root) -> None:
    for source, _named in SWAP_SOURCES:
        root.write(source, UNIT)
    assert not modules.call(kernel_prerequisites.main, swap=True)["changed"]


def test_parameters_are_read_after_those_of_the_host(modules: Modules, root: Root) -> None:
    """Debian's 99-sysctl.conf is /etc/sysctl.conf: ip_forward=0 there came back at boot."""
    root.write("/etc/sysctl.d/99-sysctl.conf", "net.ipv4.ip_forward=0\n")
    modules.call(kernel_prerequisites.main, sysctl=WANTED["sysctl"], modules=WANTED["modules"])
    folder = root.path("/etc/sysctl.d")
    last: dict[str, str] = {}
    # As systemd-sysctl reads them: sysctl.d(5), sorted by name.
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        for line in path.read_text().splitlines():
            key, _sign, value = line.partition("=")
            last[key.strip()] = value.strip()
    assert last["net.ipv4.ip_forward"] == "1"


BLOCKED = "/etc/modprobe.d/baremetal-sonic.conf"


@pytest.fixture
def disk(modules: Modules, root: Root) -> str:
    """The initial RAM disk of a kernel, older than anything that the module writes."""
    name = "/boot/initrd.img-6.1.0-41-amd64"
    root.write(name, "old")
    os.utime(root.path(name), (1, 1))
    modules.program("update-initramfs", f"echo new > {root.path(name)}")
    return name


def test_a_module_is_blocked_at_boot_too(modules: Modules, root: Root, disk: str) -> None:
    would = modules.call(kernel_prerequisites.main, blocked=["nouveau"], check=True)["changes"]
    assert root.read(disk) == "old"
    done = modules.call(kernel_prerequisites.main, blocked=["nouveau"])["changes"]
    assert would == done == [f"{BLOCKED} written", "made again: initrd.img-6.1.0-41-amd64"]
    assert root.read(BLOCKED) == "blacklist nouveau\ninstall nouveau /bin/false\n"
    assert modules.ran == ["update-initramfs -u -k all"]
    assert not modules.call(kernel_prerequisites.main, blocked=["nouveau"])["changed"]


def test_a_disk_that_an_interrupted_run_left_is_made_again(
    modules: Modules, root: Root, disk: str
) -> None:
    root.write(BLOCKED, "blacklist nouveau\ninstall nouveau /bin/false\n")
    for check in (True, False):
        result = modules.call(kernel_prerequisites.main, blocked=["nouveau"], check=check)
        assert result["changes"] == ["made again: initrd.img-6.1.0-41-amd64"]


def test_a_host_without_initial_disks(modules: Modules, root: Root) -> None:
    changes = modules.call(kernel_prerequisites.main, blocked=["nouveau"])["changes"]
    assert changes == [f"{BLOCKED} written"]
