# SPDX-License-Identifier: Apache-2.0
"""kernel_settings, run on a tree of files that stands for a host's root."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import kernel_settings

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
        found = self.folder.rglob("*")
        return {str(p.relative_to(self.folder)): p.read_text() for p in found if p.is_file()}


@pytest.fixture
def root(modules: Modules, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root(tmp_path / "root")
    made.write("/proc/filesystems", "nodev\toverlay\n\text4\n")
    made.write("/proc/modules", "nf_nat 1 0 - Live 0x0\n")
    made.write("/proc/swaps", SWAPS + "/swap.img file 2097148 0 -2\n")
    made.write("/proc/sys/net/ipv4/ip_forward", "0\n")
    made.write("/etc/fstab", FSTAB)
    monkeypatch.setattr(kernel_settings, "Path", made.path)
    bridge = made.path("/proc/sys/net/bridge")
    modules.program("modprobe", f"mkdir -p {bridge} && echo 0 > {bridge}/bridge-nf-call-iptables")
    modules.program("swapoff", f"printf '{SWAPS}' > {made.path('/proc/swaps')}")
    return made


def test_second_call_changes_nothing(modules: Modules, root: Root) -> None:
    first = modules.call(kernel_settings.main, **WANTED)
    assert first["changes"] == [
        "/etc/modules-load.d/baremetal-sonic.conf written",
        "module br_netfilter loaded",
        "/etc/sysctl.d/99-baremetal-sonic.conf written",
        "net.ipv4.ip_forward: 0 -> 1",
        "net.bridge.bridge-nf-call-iptables: 0 -> 1",
        "swap off: /swap.img",
        "/etc/fstab written",
    ]
    assert modules.ran == ["modprobe br_netfilter", "swapoff --all"]
    assert root.read("/proc/sys/net/ipv4/ip_forward") == "1"
    assert root.read("/etc/modules-load.d/baremetal-sonic.conf") == "overlay\nbr_netfilter\n"
    assert "net.ipv4.ip_forward = 1\n" in root.read("/etc/sysctl.d/99-baremetal-sonic.conf")
    assert not modules.call(kernel_settings.main, **WANTED)["changed"]
    assert len(modules.ran) == 2


def test_check_mode_changes_nothing(modules: Modules, root: Root) -> None:
    before = root.everything()
    result = modules.call(kernel_settings.main, check=True, diff=True, **WANTED)
    assert root.everything() == before
    assert modules.ran == []
    assert "module br_netfilter loaded" in result["changes"]
    assert "net.ipv4.ip_forward: 0 -> 1" in result["changes"]
    assert [part["after_header"] for part in result["diff"]] == [
        "/etc/modules-load.d/baremetal-sonic.conf",
        "/etc/sysctl.d/99-baremetal-sonic.conf",
        "/etc/fstab",
    ]


def test_only_swap_lines_of_fstab_are_commented_out(modules: Modules, root: Root) -> None:
    modules.call(kernel_settings.main, swap=False)
    assert root.read("/etc/fstab") == FSTAB.replace("\n/swap.img", "\n# /swap.img")


def test_swap_is_left_alone_unless_asked(modules: Modules, root: Root) -> None:
    assert not modules.call(kernel_settings.main)["changed"]
    assert root.read("/etc/fstab") == FSTAB


def test_module_that_cannot_be_loaded_is_tried_again(modules: Modules, root: Root) -> None:
    """The file for the next boot is there after the first try: that must not hide the failure."""
    modules.program("modprobe", "echo 'modprobe: FATAL: Module not found' >&2; exit 1")
    for _attempt in range(2):
        result = modules.call(kernel_settings.main, modules=WANTED["modules"])
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
    assert not kernel_settings.module_present("br_netfilter", "/proc/sys/net/bridge")
    root.write(file, text)
    assert kernel_settings.module_present("br_netfilter", "/proc/sys/net/bridge")


def test_lists_of_numbers_are_compared_as_the_kernel_prints_them(
    modules: Modules, root: Root
) -> None:
    root.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
    wanted = {"net.ipv4.tcp_rmem": "4096 131072 6291456"}
    changes = modules.call(kernel_settings.main, sysctl=wanted)["changes"]
    assert changes == ["/etc/sysctl.d/99-baremetal-sonic.conf written"]


def test_interface_with_a_dot_in_its_name(modules: Modules, root: Root) -> None:
    root.write("/proc/sys/net/ipv4/conf/eth0.5/rp_filter", "1\n")
    modules.call(kernel_settings.main, sysctl={"net.ipv4.conf.eth0/5.rp_filter": 0})
    assert root.read("/proc/sys/net/ipv4/conf/eth0.5/rp_filter") == "0"


@pytest.mark.parametrize("name", ["net.ipv4.no_such", "net.ipv4"])
def test_parameter_that_the_kernel_lacks(modules: Modules, root: Root, name: str) -> None:
    result = modules.call(kernel_settings.main, sysctl={name: 1})
    assert result["msg"] == f"sysctl {name}: this kernel has no such parameter"
