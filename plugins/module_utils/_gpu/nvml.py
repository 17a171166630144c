# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read a host's GPUs from NVIDIA's management library (NVML), or explain why that fails.

NVIDIA keeps NVML stable, and the device plugin uses it. The library is called directly, so a host
needs nothing but its driver. Numbers and structures are from the NVML API reference.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
MIB = 1024 * 1024

SUCCESS = 0
NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
OPERATING_SYSTEM = 17
VERSION_MISMATCH = 18

NVIDIA_VENDOR = "0x10de"
# PCI classes of VGA and 3D controllers. An NVIDIA audio function or switch is no GPU.
GPU_CLASSES = ("0x0300", "0x0302")
# PCI class of other bridges: an NVSwitch is one, and no other device of NVIDIA's is.
SWITCH_CLASS = "0x0680"
# PCI device IDs grow from one generation to the next. NVIDIA's open kernel modules drive Turing and
# later GPUs; Blackwell and later have no closed ones.
FIRST_OPEN_ID = 0x1E00
FIRST_ONLY_OPEN_ID = 0x2900
SECURE_BOOT_VARIABLE = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# The driver's kernel module, also by Debian's name. The kernel's nvidiafb does not match.
MODULE_FILE = re.compile(r"^(?:[^:\n]*/)?nvidia(?:-current)?(?:-open)?\.ko", re.MULTILINE)


class NvmlError(Exception):
    """A call failed. code: NVML's number, or FUNCTION_NOT_FOUND for a missing function."""

    def __init__(self, function: str, code: int, text: str) -> None:
        super().__init__(f"{function}: {text} (NVML error {code})")
        self.function = function
        self.code = code


class PciInfo(ctypes.Structure):
    """nvmlPciInfo_t."""

    _fields_ = [
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device_id", ctypes.c_uint),
        ("pci_subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    ]


class Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


@dataclass(frozen=True)
class Gpu:
    """One GPU. mig_mode: None if the GPU has no MIG."""

    index: int
    uuid: str
    name: str
    memory_total_mib: int
    compute_capability: str
    minor_number: int
    pci_bus_id: str
    mig_mode: str | None


@dataclass(frozen=True)
class Host:
    """What the kernel knows about the driver, to explain why NVML does not answer."""

    kernel: str = ""
    module_version: str | None = None
    kernels_with_module: tuple[str, ...] = ()
    # Kernels that the host can start; empty if they cannot be listed.
    kernel_images: tuple[str, ...] = ()
    nouveau: bool = False
    secure_boot: bool | None = None
    pci_gpus: int | None = None
    # PCI device IDs of these GPUs, sorted.
    pci_gpu_ids: tuple[int, ...] = ()
    # NVSwitches on the PCI bus: GPUs behind one compute only while the fabric manager runs.
    pci_switches: int = 0

    @classmethod
    def read(cls, root: Path = Path("/")) -> Host:
        """Read /sys and /lib/modules below a root. None stands for an unknown value."""
        modules = root / "lib/modules"
        devices = root / "sys/bus/pci/devices"
        symbol = [
            (_text(device / "class") or "", int(_text(device / "device") or "0", 16))
            for device in (devices.iterdir() if devices.is_dir() else ())
            if _text(device / "vendor") == NVIDIA_VENDOR
        ]
        gpus = sorted(number for kind, number in symbol if kind.startswith(GPU_CLASSES))
        return cls(
            kernel=os.uname().release,
            module_version=_text(root / "sys/module/nvidia/version"),
            kernels_with_module=tuple(
                sorted(
                    folder.name
                    for folder in (modules.iterdir() if modules.is_dir() else ())
                    if MODULE_FILE.search(_text(folder / "modules.dep") or "")
                )
            ),
            kernel_images=tuple(
                sorted(
                    path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")
                )
            ),
            nouveau=(root / "sys/module/nouveau").is_dir(),
            secure_boot=_secure_boot(root / "sys/firmware/efi/efivars" / SECURE_BOOT_VARIABLE),
            pci_gpus=len(gpus) if devices.is_dir() else None,
            pci_gpu_ids=tuple(gpus),
            pci_switches=sum(kind.startswith(SWITCH_CLASS) for kind, _number in symbol),
        )


@dataclass(frozen=True)
class Cause:
    """Why GPUs cannot be used. reason: with what to do. reboot_helps: whether a reboot fixes it."""

    state: str
    reason: str
    reboot_helps: bool = False


@dataclass
class Report:
    """The GPUs of a host. state: "usable", or the kind of trouble. reason: why, and what to do.

    reboot_helps: whether a reboot fixes it.
    """

    state: str = "usable"
    reason: str = ""
    reboot_helps: bool = False
    driver_version: str | None = None
    cuda_version: str | None = None
    gpus: list[Gpu] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether every GPU that the driver sees can be used."""
        return self.state == "usable"

    def blame(self, cause: Cause) -> None:
        """Record why the GPUs cannot be used."""
        self.state, self.reason = cause.state, cause.reason
        self.reboot_helps = cause.reboot_helps

    def values(self) -> dict[str, Any]:
        """Return plain values, for a module's result."""
        return {
            "usable": self.usable,
            "state": self.state,
            "reason": self.reason,
            "driver_version": self.driver_version,
            "cuda_version": self.cuda_version,
            "gpus": [asdict(gpu) for gpu in self.gpus],
        }


class Nvml:
    """The calls of NVML that are used. library: the loaded library."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function. Raises NvmlError if it is missing or fails."""
        try:
            symbol = getattr(self.library, function)
        except AttributeError:
            raise NvmlError(
                function, FUNCTION_NOT_FOUND, "this version of the library lacks it"
            ) from None
        code = int(symbol(*arguments))
        if code != SUCCESS:
            raise NvmlError(function, code, self._words(code))

    def _words(self, code: int) -> str:
        try:
            say = self.library.nvmlErrorString
        except AttributeError:
            return "failed"
        say.restype = ctypes.c_char_p
        text: bytes = say(code) or b"failed"
        return text.decode(errors="replace")

    def text(self, function: str, *before: Any) -> str:
        """Return the text that a function writes into a buffer."""
        buffer = ctypes.create_string_buffer(128)
        self.call(function, *before, buffer, ctypes.c_uint(len(buffer)))
        return buffer.value.decode(errors="replace")

    def number(self, function: str, *before: Any) -> int:
        """Return the int that a function writes."""
        value = ctypes.c_int()
        self.call(function, *before, ctypes.byref(value))
        return value.value

    def gpu(self, index: int) -> Gpu:
        """Describe one GPU. Raises NvmlError if it does not answer."""
        device = ctypes.c_void_p()
        self.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
        memory, pci = Memory(), PciInfo()
        self.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
        self.call("nvmlDeviceGetPciInfo_v3", device, ctypes.byref(pci))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call(
            "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor)
        )
        return Gpu(
            index=index,
            uuid=self.text("nvmlDeviceGetUUID", device),
            name=self.text("nvmlDeviceGetName", device),
            memory_total_mib=memory.total // MIB,
            compute_capability=f"{major.value}.{minor.value}",
            minor_number=self.number("nvmlDeviceGetMinorNumber", device),
            pci_bus_id=pci.bus_id.decode(errors="replace"),
            mig_mode=self.mig_mode(device),
        )

    def mig_mode(self, device: ctypes.c_void_p) -> str | None:
        """Return "enabled" or "disabled"; None if the GPU has no MIG."""
        current, pending = ctypes.c_uint(), ctypes.c_uint()
        try:
            self.call("nvmlDeviceGetMigMode", device, ctypes.byref(current), ctypes.byref(pending))
        except NvmlError as error:
            if error.code in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                return None
            raise
        return "enabled" if current.value else "disabled"


def inspect(load: Callable[[], Any], host: Host) -> Report:
    """Read the GPUs from the library that `load` returns; explain a failure by `host`.

    An OSError of `load` means that the library is missing.
    """
    report = Report()
    try:
        nvml = Nvml(load())
    except OSError as error:
        text = f"the driver's library cannot be loaded ({error}): install the driver"
        report.blame(Cause("library_missing", text))
        return report
    try:
        nvml.call("nvmlInit_v2")
    except NvmlError as error:
        report.blame(explain(error, host))
        return report
    try:
        _fill(report, nvml)
    except NvmlError as error:
        report.blame(explain(error, host))
    finally:
        nvml.library.nvmlShutdown()
    return report


def _fill(report: Report, nvml: Nvml) -> None:
    report.driver_version = nvml.text("nvmlSystemGetDriverVersion")
    cuda = nvml.number("nvmlSystemGetCudaDriverVersion_v2")
    report.cuda_version = f"{cuda // 1000}.{cuda % 1000 // 10}"
    count = nvml.number("nvmlDeviceGetCount_v2")
    failed = []
    for index in range(count):
        try:
            report.gpus.append(nvml.gpu(index))
        except NvmlError as error:
            if error.code not in (GPU_IS_LOST, RESET_REQUIRED):
                raise
            failed.append(f"GPU {index}: {error}")
    if failed:
        text = (
            f"{len(failed)} of {count} GPUs do not answer ({'; '.join(failed)}): see the kernel's"
            " log for Xid messages, then reset the GPU or power-cycle the host"
        )
        report.blame(Cause("gpu_failed", text))
    elif not count:
        text = "the driver runs and finds no GPU: see the kernel's log for NVRM messages"
        report.blame(Cause("no_gpu", text))


def explain(error: NvmlError, host: Host) -> Cause:
    """Explain a failure of the library."""
    if error.code == VERSION_MISMATCH:
        loaded = host.module_version or "of another version"
        return Cause(
            "version_mismatch",
            f"the running kernel has the driver {loaded}, and the installed library does not"
            " belong to it: reboot the host",
            reboot_helps=True,
        )
    if error.code in (NO_PERMISSION, OPERATING_SYSTEM):
        return Cause(
            "no_permission",
            f"no permission to read the driver ({error}): use root (become), and no container"
            " without GPU devices",
        )
    if error.code == DRIVER_NOT_LOADED:
        return _not_loaded(host)
    return Cause("failed", str(error))


def newest(kernels: Sequence[str]) -> str:
    """Return the kernel that a boot loader starts by default: the highest version; or empty."""

    def order(kernel: str) -> list[tuple[int, str]]:
        parts = re.findall(r"(\d+)|(\D+)", kernel)
        return [(int(number or -1), text) for number, text in parts]

    return max(kernels, key=order, default="")


def _not_loaded(host: Host) -> Cause:
    kernel = host.kernel
    if host.pci_gpus == 0:
        return Cause(
            "no_gpu",
            "the host has no NVIDIA GPU on its PCI bus: check that it is seated, powered and, in"
            " a virtual machine, passed through",
        )
    if kernel not in host.kernels_with_module:
        if host.kernels_with_module:
            others = ", ".join(host.kernels_with_module)
            next_one = newest(host.kernel_images)
            if next_one and next_one not in host.kernels_with_module:
                # For example headers that are newer than any kernel. A reboot would not help.
                return Cause(
                    "driver_not_loaded",
                    f"the running kernel {kernel} has no NVIDIA module, {others} has, and a reboot"
                    f" starts {next_one}: install linux-headers-{next_one} so that one is built,"
                    " and keep linux-headers-amd64 and linux-image-amd64 at one version",
                )
            return Cause(
                "driver_not_loaded",
                f"the running kernel {kernel} has no NVIDIA module, {others} has: reboot into it,"
                f" or install linux-headers-{kernel} so that one is built",
                reboot_helps=True,
            )
        return Cause(
            "driver_not_loaded",
            f"no NVIDIA module is built for the running kernel {kernel}: install"
            f" linux-headers-{kernel}, then see the driver's log below /var/lib/dkms",
        )
    if host.secure_boot:
        return Cause(
            "secure_boot",
            "Secure Boot is on and the kernel does not load the NVIDIA module: enrol the key that"
            " signed it (mokutil --import /var/lib/dkms/mok.pub, reboot, confirm on the console),"
            " or turn Secure Boot off in the firmware",
        )
    if host.nouveau:
        return Cause(
            "driver_not_loaded",
            "the kernel's nouveau driver holds the GPU: reboot the host",
            reboot_helps=True,
        )
    return Cause(
        "driver_not_loaded",
        "the NVIDIA module is built and not loaded: reboot the host; if that does not help, see"
        " the kernel's log for NVRM messages",
        reboot_helps=True,
    )


def count_trouble(report: Report, expected: int, host_name: str, host: Host) -> str:
    """Say what is wrong with the number of GPUs; empty if it is as expected."""
    usable = len(report.gpus)
    if usable == expected:
        return ""
    seen = ""
    if host.pci_gpus is not None and host.pci_gpus > usable:
        seen = f" (its PCI bus shows {host.pci_gpus}: the driver does not drive all)"
    return (
        f"{host_name} has {usable} GPUs that can be used, {expected} are expected{seen}: see the"
        " kernel's log for NVRM and Xid messages and check that every GPU is seated and powered,"
        " or correct the expected number (nvidia_driver_gpu_count in the inventory)"
    )


def _secure_boot(variable: Path) -> bool | None:
    try:
        # Four bytes of attributes, then the value.
        return variable.read_bytes()[4:5] == b"\x01"
    except OSError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
