# SPDX-License-Identifier: Apache-2.0
"""disks_ready, on what wipefs, lsblk and pvs print, and on real loop devices."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.modules import disks_ready

from tests.unit.plugins.modules.running import Modules

NVME = "/dev/nvme1n1"
TREE = {"path": NVME, "type": "disk", "mountpoints": [None]}
PART = {"path": f"{NVME}p1", "type": "part", "mountpoints": [None]}
ROOT = {"path": f"{NVME}p2", "type": "part", "mountpoints": ["/"]}
RAID = {"path": "/dev/md0", "type": "raid1", "mountpoints": [None]}


class Host:
    """A host with one disk that programs describe."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.shows()
        self.signed()
        modules.program("pvs")

    def shows(self, *children: dict[str, Any]) -> None:
        text = json.dumps({"blockdevices": [TREE | {"children": list(children)}]})
        self.modules.program("lsblk", f"echo '{text}'")

    def signed(self, *kinds: str) -> None:
        lines = "".join(f"0x438,8a-b4,,{kind}\\n" for kind in kinds)
        self.modules.program("wipefs", f"printf '{lines}'")

    def call(self, *devices: str, folder: str = "/nowhere", **options: Any) -> dict[str, Any]:
        volumes = [{"name": "a", "size": "1g", "path": folder}]
        group = {"name": "data", "devices": list(devices) or [NVME], "volumes": volumes}
        return self.modules.call(disks_ready.main, groups=[group], **options)

    @property
    def wiped(self) -> list[str]:
        return [line for line in self.modules.ran if line.startswith("wipefs --all")]


@pytest.fixture
def host(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> Host:
    real = os.stat

    def shown(path: Any, **options: Any) -> Any:
        if path != NVME:
            return real(path, **options)
        return os.stat_result((stat.S_IFBLK | 0o660, *[0] * 9))

    monkeypatch.setattr(os, "stat", shown)
    return Host(modules)


def test_an_empty_disk(host: Host) -> None:
    result = host.call()
    assert not result["changed"]
    assert (result["problems"], result["prepared"]) == ([], False)
    assert host.wiped == []


@pytest.mark.parametrize(
    ("signatures", "children", "named"),
    [
        (["ext4"], [], "holds ext4:"),
        (["gpt", "PMBR"], [PART], f"holds gpt, PMBR, the partition {NVME}p1:"),
        ([], [PART], f"holds the partition {NVME}p1:"),
        (["crypto_LUKS"], [], "holds crypto_LUKS:"),
    ],
)
def test_content_is_refused_unless_it_is_named(
    host: Host, signatures: list[str], children: list[dict[str, Any]], named: str
) -> None:
    host.signed(*signatures)
    host.shows(*children)
    failed = host.call()
    assert failed["failed"]
    assert f"{NVME} {named}" in failed["msg"]
    assert "name it in data_disks_wipe" in failed["msg"]
    assert host.wiped == []
    would = host.call(wipe=[NVME], check=True)
    assert (would["changed"], would["wiped"], host.wiped) == (True, [NVME], [])
    assert host.call(wipe=[NVME])["wiped"] == [NVME]
    parts = "".join(f"{child['path']} " for child in children)
    assert host.wiped == [f"wipefs --all {parts}{NVME}"]


@pytest.mark.parametrize(
    ("child", "used"), [(ROOT, "/"), (PART | {"children": [RAID]}, "/dev/md0")]
)
def test_a_disk_in_use_is_never_wiped(host: Host, child: dict[str, Any], used: str) -> None:
    host.signed("gpt")
    host.shows(PART, child)
    assert f"{NVME} is in use ({used}): choose another disk" in host.call(wipe=[NVME])["msg"]
    assert host.wiped == []


def test_a_disk_of_its_own_group_is_ready_and_one_of_another_is_not(host: Host) -> None:
    host.signed("LVM2_member")
    host.modules.program("pvs", "echo '  data '")
    result = host.call(wipe=[NVME])
    assert (result["changed"], result["prepared"]) == (False, True)
    host.modules.program("pvs", "echo '  other '")
    assert "belongs to the volume group other" in host.call(wipe=[NVME])["msg"]
    # What an interrupted run leaves.
    host.modules.program("pvs", "echo '  '")
    assert host.call()["problems"] == []
    assert host.wiped == []


def test_all_problems_at_once_and_without_failing(host: Host, tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    host.signed("xfs")
    devices = [NVME, NVME, "/dev/nowhere", str(tmp_path / "image")]
    result = host.call(*devices, folder=str(tmp_path), wipe=[NVME], report_only=True)
    assert not result.get("failed")
    assert not result["changed"]
    folder, twice, absent, image = result["problems"]
    assert folder.startswith(f"{tmp_path} has files")
    assert "is named twice" in twice
    assert absent.startswith("/dev/nowhere is not there")
    assert image.endswith("is no block device")
    assert host.wiped == []


def test_a_folder_that_is_mounted_already_may_have_files(host: Host) -> None:
    assert host.call(folder="/proc")["problems"] == []
    assert "is no folder" in host.call(folder="/etc/hosts")["msg"]


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A disk that is a file."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    try:
        device = run("losetup", "--find", "--show", image)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no loop devices here")
    try:
        yield device
    finally:
        subprocess.run(["wipefs", "--all", "--force", device], capture_output=True, check=False)
        run("losetup", "--detach", device)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("vgcreate"), reason="no root, no LVM")
def test_a_real_disk_becomes_a_volume_group(modules: Modules, loop: str, tmp_path: Path) -> None:
    name = f"test{os.getpid()}"
    group = {"name": name, "devices": [loop], "volumes": []}
    assert modules.call(disks_ready.main, groups=[group])["problems"] == []
    run("mkfs.ext4", "-q", loop)
    assert "holds ext4" in modules.call(disks_ready.main, groups=[group])["msg"]
    assert modules.call(disks_ready.main, groups=[group], wipe=[loop])["wiped"] == [loop]
    run("pvcreate", "--yes", loop)
    assert modules.call(disks_ready.main, groups=[group])["problems"] == []
    run("vgcreate", name, loop)
    try:
        done = modules.call(disks_ready.main, groups=[group], wipe=[loop])
        assert (done["changed"], done["prepared"]) == (False, True)
        other = [group | {"name": "other"}]
        message = modules.call(disks_ready.main, groups=other, wipe=[loop])["msg"]
        assert f"belongs to the volume group {name}" in message
    finally:
        run("vgremove", "--force", "--yes", name)
