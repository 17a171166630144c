# SPDX-License-Identifier: Apache-2.0
"""The description of a host's GPUs, with the compiled mock library and with failing ones."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._gpu.nvml import (
    Host,
    NvmlError,
    Report,
    count_trouble,
    explain,
    inspect,
    newest,
)

from lab.driver.package import DRIVER_VERSION, build_libraries, build_packages

SERIAL = "0123456789abcdef0123456789abcdef"
KERNEL = "6.1.0-40-amd64"


@pytest.fixture(scope="session")
def mock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mock NVML, compiled."""
    return build_libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver root with the control node, a serial number and no GPU yet."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    firmware = tmp_path / "lib/firmware/nvidia" / DRIVER_VERSION
    firmware.mkdir(parents=True)
    (firmware / "gsp_mock.bin").write_text(f"{SERIAL}\n")
    (tmp_path / "run/nvidia-mock/xid").mkdir(parents=True)
    monkeypatch.setenv("MOCK_NVML_ROOT", str(tmp_path))
    return tmp_path


def plug(root: Path, *minors: int) -> None:
    for minor in minors:
        (root / f"dev/nvidia{minor}").touch()


def look(library: Path) -> Report:
    return inspect(lambda: ctypes.CDLL(str(library)), Host())


def test_every_gpu_is_described(mock_library: Path, root: Path) -> None:
    plug(root, 0, 1)
    report = look(mock_library)
    assert report.usable
    assert report.values()["driver_version"] == DRIVER_VERSION
    assert report.cuda_version == "13.0"
    assert report.values()["gpus"][1] == {
        "index": 1,
        "uuid": "GPU-01234567-89ab-cdef-0123-456789abcd01",
        "name": "NVIDIA H100 80GB HBM3 (mock)",
        "memory_total_mib": 81559,
        "compute_capability": "9.0",
        "minor_number": 1,
        "pci_bus_id": "00000000:11:00.0",
        "mig_mode": None,
    }


def test_gpu_keeps_its_uuid_where_it_is_alone(mock_library: Path, root: Path) -> None:
    plug(root, 0, 3)
    there = look(mock_library).gpus[1]
    (root / "dev/nvidia0").unlink()
    alone = look(mock_library).gpus[0]
    assert (alone.index, alone.uuid, alone.minor_number) == (0, there.uuid, 3)


def test_driver_without_gpus(mock_library: Path, root: Path) -> None:
    report = look(mock_library)
    assert (report.state, report.driver_version) == ("no_gpu", DRIVER_VERSION)


def test_no_control_node_means_no_driver(mock_library: Path, root: Path) -> None:
    (root / "dev/nvidiactl").unlink()
    assert look(mock_library).state == "driver_not_loaded"


def test_library_that_is_not_there() -> None:
    report = inspect(lambda: ctypes.CDLL("libnvidia-ml-that-is-not.so.1"), Host())
    assert report.state == "library_missing"
    assert "install the driver" in report.reason
    assert not report.reboot_helps


@pytest.fixture
def events(mock_library: Path, root: Path) -> Iterator[Callable[[int], tuple[int, int, int]]]:
    """Waits so many milliseconds for a fault; returns NVML's answer, the minor and the Xid."""
    plug(root, 0, 1)
    (root / "run/nvidia-mock/xid/before").write_text("0 79")
    library = ctypes.CDLL(str(mock_library))
    handle = ctypes.c_void_p()
    assert library.nvmlEventSetCreate(ctypes.byref(handle)) == 0

    def wait(milliseconds: int) -> tuple[int, int, int]:
        # nvmlEventData_t: the device, the event's type, its data, two numbers of MIG.
        event = (ctypes.c_ulonglong * 4)()
        code = library.nvmlEventSetWait_v2(handle, ctypes.byref(event), milliseconds)
        number = ctypes.c_uint()
        if code == 0:
            library.nvmlDeviceGetMinorNumber(ctypes.c_void_p(event[0]), ctypes.byref(number))
        return code, number.value, event[2]

    yield wait
    library.nvmlEventSetFree(handle)


def report_fault(root: Path, name: str, text: str) -> None:
    draft = root / "run" / name
    draft.write_text(text)
    draft.rename(root / "run/nvidia-mock/xid" / name)


def test_faults_are_reported_once_and_in_order(
    events: Callable[[int], tuple[int, int, int]], root: Path
) -> None:
    assert events(10)[0] == 10, "a fault from before the listener counts as old"
    report_fault(root, "b", "1 79")
    time.sleep(0.02)
    report_fault(root, "a", "0 31")
    assert events(2000) == (0, 1, 79)
    assert events(2000) == (0, 0, 31)
    assert events(10)[0] == 10


def test_fault_of_a_gpu_that_is_not_there_is_none(
    events: Callable[[int], tuple[int, int, int]], root: Path
) -> None:
    report_fault(root, "a", "7 79")
    report_fault(root, "b", "nonsense")
    assert events(60)[0] == 10


def test_mock_has_what_nvidia_tools_call(mock_library: Path) -> None:
    library = ctypes.CDLL(str(mock_library))
    names = """
        nvmlInit_v2 nvmlInitWithFlags nvmlShutdown nvmlErrorString nvmlSystemGetDriverVersion
        nvmlSystemGetCudaDriverVersion nvmlDeviceGetCount_v2 nvmlDeviceGetHandleByIndex_v2
        nvmlDeviceGetHandleByUUID nvmlDeviceGetName nvmlDeviceGetUUID nvmlDeviceGetMinorNumber
        nvmlDeviceGetPciInfo_v3 nvmlDeviceGetMemoryInfo nvmlDeviceGetCudaComputeCapability
        nvmlDeviceGetMigMode nvmlEventSetCreate nvmlEventSetWait_v2 nvmlEventSetFree
        nvmlDeviceGetSupportedEventTypes nvmlDeviceRegisterEvents nvmlDeviceGetNvLinkState
        nvmlDeviceGetTopologyCommonAncestor nvmlDeviceGetGpuFabricInfo nvmlDeviceGetGpuFabricInfoV
    """.split()
    assert [name for name in names if not hasattr(library, name)] == []


def test_package_is_the_same_each_time(tmp_path: Path) -> None:
    packages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        packages.append(build_packages(tmp_path / name))
    assert packages[0].read_bytes() == packages[1].read_bytes()
    listed = subprocess.run(
        ["dpkg-deb", "--info", packages[0]], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert "Description: mock" in listed


class Failing:
    """A library each of whose functions returns a number, unless it is named."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name == "nvmlErrorString" or self.codes.get(name) == -1:
            raise AttributeError(name)

        def function(*_arguments: Any) -> int:
            self.called.append(name)
            if name == "nvmlDeviceGetCount_v2":
                _arguments[0]._obj.value = 2
            return self.codes.get(name, 0)

        return function


@pytest.mark.parametrize(
    ("code", "state", "words", "reboot_helps"),
    [
        (18, "version_mismatch", "reboot", True),
        (4, "no_permission", "become", False),
        (17, "no_permission", "container", False),
        (999, "failed", "999", False),
    ],
)
def test_library_that_refuses(code: int, state: str, words: str, reboot_helps: bool) -> None:
    report = inspect(lambda: Failing(nvmlInit_v2=code), Host())
    assert (report.state, report.reboot_helps) == (state, reboot_helps)
    assert words in report.reason


def test_lost_gpu_is_named_and_the_library_closed() -> None:
    library = Failing(nvmlDeviceGetMemoryInfo=15)
    report = inspect(lambda: library, Host())
    assert report.state == "gpu_failed"
    assert "2 of 2 GPUs" in report.reason
    assert "GPU 1" in report.reason
    assert library.called[-1] == "nvmlShutdown"


def test_library_too_old() -> None:
    report = inspect(lambda: Failing(nvmlDeviceGetPciInfo_v3=-1), Host())
    assert report.state == "failed"
    assert "nvmlDeviceGetPciInfo_v3: this version of the library lacks it" in report.reason


NOT_LOADED = NvmlError("nvmlInit_v2", 9, "Driver Not Loaded")


@pytest.mark.parametrize(
    ("host", "state", "words", "reboot_helps"),
    [
        (Host(KERNEL, pci_gpus=0), "no_gpu", "PCI bus", False),
        (Host(KERNEL, pci_gpus=8), "driver_not_loaded", f"linux-headers-{KERNEL}", False),
        (
            Host(KERNEL, kernels_with_module=("6.1.0-41-amd64",), pci_gpus=8),
            "driver_not_loaded",
            "6.1.0-41-amd64 has: reboot into it",
            True,
        ),
        # Headers from backports, newer than any kernel: each run would reboot in vain.
        (
            Host(
                KERNEL,
                kernels_with_module=("6.12.9-amd64",),
                pci_gpus=8,
                kernel_images=(KERNEL, "6.1.0-9-amd64"),
            ),
            "driver_not_loaded",
            f"a reboot starts {KERNEL}: install linux-headers-{KERNEL}",
            False,
        ),
        (
            Host(
                KERNEL,
                kernels_with_module=("6.1.0-41-amd64",),
                pci_gpus=8,
                kernel_images=("6.1.0-41-amd64", "6.1.0-9-amd64"),
            ),
            "driver_not_loaded",
            "6.1.0-41-amd64 has: reboot into it",
            True,
        ),
        (
            Host(KERNEL, kernels_with_module=(KERNEL,), secure_boot=True, pci_gpus=8),
            "secure_boot",
            "mokutil --import",
            False,
        ),
        (
            Host(KERNEL, kernels_with_module=(KERNEL,), secure_boot=False, nouveau=True),
            "driver_not_loaded",
            "nouveau",
            True,
        ),
        (
            Host(KERNEL, kernels_with_module=(KERNEL,)),
            "driver_not_loaded",
            "not loaded: reboot",
            True,
        ),
    ],
)
def test_why_the_driver_is_not_loaded(
    host: Host, state: str, words: str, reboot_helps: bool
) -> None:
    cause = explain(NOT_LOADED, host)
    assert (cause.state, cause.reboot_helps) == (state, reboot_helps)
    assert words in cause.reason


def test_host_is_read_from_the_kernel(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("sys/module/nvidia/version", "580.95.05\n")
    write("sys/module/nouveau/refcnt", "1")
    write("boot/vmlinuz-6.1.0-9-amd64", "")
    write("boot/vmlinuz-6.1.0-41-amd64", "")
    write("lib/modules/6.1.0-1-amd64/modules.dep", "updates/dkms/nvidia.ko.xz:\n")
    write("lib/modules/6.1.0-2-amd64/modules.dep", "kernel/fbdev/nvidia/nvidiafb.ko: x.ko\n")
    write("lib/modules/6.1.0-3-amd64/modules.dep", "a.ko:\nupdates/dkms/nvidia-current.ko:\n")
    for slot, vendor, kind in (
        ("0000:1b:00.0", "0x10de", "0x030200"),
        ("0000:1b:00.1", "0x10de", "0x040300"),
        ("0000:07:00.0", "0x10de", "0x068000"),
        ("0000:08:00.0", "0x10de", "0x068000"),
        ("0000:09:00.0", "0x8086", "0x068000"),
        ("0000:02:00.0", "0x1a03", "0x030000"),
    ):
        write(f"sys/bus/pci/devices/{slot}/vendor", f"{vendor}\n")
        write(f"sys/bus/pci/devices/{slot}/class", f"{kind}\n")
    write("sys/bus/pci/devices/0000:1b:00.0/device", "0x2330\n")
    variable = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    write(f"sys/firmware/efi/efivars/{variable}", "\x06\0\0\0\x01")
    host = Host.read(tmp_path)
    assert host.module_version == "580.95.05"
    assert host.nouveau
    assert host.kernels_with_module == ("6.1.0-1-amd64", "6.1.0-3-amd64")
    assert (host.pci_gpus, host.pci_gpu_ids, host.pci_switches) == (1, (0x2330,), 2)
    assert host.kernel_images == ("6.1.0-41-amd64", "6.1.0-9-amd64")
    assert newest(host.kernel_images) == "6.1.0-41-amd64"
    assert host.secure_boot is True


def test_bare_host_is_read_too(tmp_path: Path) -> None:
    host = Host.read(tmp_path)
    assert (host.module_version, host.kernels_with_module, host.nouveau) == (None, (), False)
    assert (host.secure_boot, host.pci_gpus, host.pci_switches) == (None, None, 0)


def test_count_that_is_wrong_names_the_host(mock_library: Path, root: Path) -> None:
    plug(root, 0, 1)
    report = look(mock_library)
    assert count_trouble(report, 2, "gpu1", Host()) == ""
    trouble = count_trouble(report, 4, "gpu1", Host(pci_gpus=4))
    assert trouble.startswith("gpu1 has 2 GPUs that can be used, 4 are expected")
    assert "PCI bus shows 4" in trouble


def test_library_is_opened_again_by_another_program(mock_library: Path, root: Path) -> None:
    plug(root, 0)
    code = (
        "import ctypes, sys; n = ctypes.c_uint();"
        "l = ctypes.CDLL(sys.argv[1]); l.nvmlDeviceGetCount_v2(ctypes.byref(n)); print(n.value)"
    )
    for count in (1, 2):
        shown = subprocess.run(
            [sys.executable, "-c", code, mock_library], check=True, stdout=subprocess.PIPE
        ).stdout
        assert int(shown) == count
        plug(root, 1)
