# SPDX-License-Identifier: Apache-2.0
"""Debian's own packages of NVIDIA's driver, as far as they go without a GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._gpu.nvml import Host
from ansible_collections.baremetal.sonic.plugins.modules import gpu_info

from tests.unit.plugins.modules.running import Modules

pytestmark = pytest.mark.soak

COMPONENTS = "main contrib non-free non-free-firmware"
LIBRARY = "usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1"
# The kernel modules that a worker needs; a driver has more of them.
MODULES = {"nvidia", "nvidia-uvm", "nvidia-modeset"}


def debian(release: str, variant: str, packages: list[str], root: Path) -> str:
    """Make a root file system with these packages; returns what the installation said."""
    done = subprocess.run(
        ["mmdebstrap", f"--variant={variant}", f"--components={COMPONENTS}"]
        + [f"--include={','.join(packages)}", "--aptopt=APT::Install-Recommends false"]
        + [release, str(root), "http://deb.debian.org/debian"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def with_one_card(folder: Path) -> Path:
    """Describe a host with one H100 as its /sys does; returns the root of that."""
    device = folder / "host/sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    for name, value in (("vendor", "0x10de"), ("device", "0x2330"), ("class", "0x030200")):
        (device / name).write_text(f"{value}\n", encoding="utf-8")
    return folder / "host"


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="a driver is loaded here")
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_library_without_its_kernel_module_is_a_driver_that_is_not_loaded(
    release: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    debian(release, "extract", ["libnvidia-ml1"], tmp_path / "root")
    modules = Modules(tmp_path, capsys, monkeypatch)
    # The library is the real one; only the card on the bus is made up.
    host = Host.read(with_one_card(tmp_path))
    monkeypatch.setattr(Host, "read", staticmethod(lambda: host))
    library = str(tmp_path / "root" / LIBRARY)
    state = modules.call(gpu_info.main, library=library)
    assert (state["state"], state["usable"], state["gpus"]) == ("driver_not_loaded", False, [])
    refused = modules.call(gpu_info.main, library=library, expected_count=1)
    assert refused["failed"]
    assert state["reason"] in refused["msg"]


def test_open_modules_are_built_unattended_for_a_kernel_of_debian(tmp_path: Path) -> None:
    root = tmp_path / "root"
    packages = ["ca-certificates", "dkms", "linux-headers-cloud-amd64", "nvidia-open-kernel-dkms"]
    debian("bookworm", "minbase", packages, root)
    # Debian names them for their flavour, so that several can be installed.
    built = {path.name.split(".ko")[0] for path in (root / "lib/modules").rglob("*.ko*")}
    assert {f"nvidia-current-open{name.removeprefix('nvidia')}" for name in MODULES} <= built, built
