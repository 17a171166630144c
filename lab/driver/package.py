# SPDX-License-Identifier: Apache-2.0
"""Build nvidia-driver-mock, the only package of the lab that is not the original.

A mock libnvidia-ml.so.1 and libcuda.so.1, device nodes and a small nvidia-smi: enough for NVIDIA's
own device plugin, container toolkit and CDI to run unchanged above it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lab.bundle.steps import run

HERE = Path(__file__).resolve().parent
NAME = "nvidia-driver-mock"
# Looks like a driver's version, which NVIDIA's tools expect in names of files; none was released.
DRIVER_VERSION = "580.0.1"
PACKAGE_VERSION = f"{DRIVER_VERSION}-1"
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")

CONTROL = f"""\
Package: {NAME}
Version: {PACKAGE_VERSION}
Architecture: amd64
Section: admin
Priority: optional
Maintainer: baremetal.sonic authors <noreply@example.invalid>
Depends: libc6
Conflicts: libnvidia-ml1, libcuda1, nvidia-smi
Description: mock of NVIDIA's driver, for rehearsals on hosts without GPUs
 A stand-in: a mock NVML library and device nodes, one for each GPU that
 /etc/nvidia-mock/gpus says is plugged in. Nothing can be computed on them.
"""

COMPILE = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC"]
REPRODUCIBLE = dict(os.environ) | {"SOURCE_DATE_EPOCH": "0", "LC_ALL": "C"}


def build_package(out_dir: Path) -> Path:
    """Build the package into a folder and return its path; the same sources give the same bytes.

    Raises:
        LabError: gcc or dpkg-deb failed.
    """
    deb = out_dir / f"{NAME}_{PACKAGE_VERSION}_amd64.deb"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        library = build_libraries(root / LIBRARIES)
        program = root / "usr/bin/nvidia-smi"
        program.parent.mkdir(parents=True)
        run([*COMPILE, "-o", program, HERE / "mock_smi.c", library], env=REPRODUCIBLE)
        _put("plug-in", root / "usr/lib/nvidia-driver-mock/plug-in", 0o755)
        units = root / "usr/lib/systemd/system"
        _put("nvidia-mock.service", units / "nvidia-mock.service")
        # Enabled by the package itself, so that it also is where systemd does not run yet.
        wants = units / "multi-user.target.wants"
        wants.mkdir(mode=0o755)
        (wants / "nvidia-mock.service").symlink_to("../nvidia-mock.service")
        for script in ("postinst", "postrm"):
            _put(script, root / "DEBIAN" / script, 0o755)
        (root / "DEBIAN/control").write_text(CONTROL, encoding="utf-8")
        for path in root.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        options = ["--root-owner-group", "-Zgzip", "-z6"]
        run(["dpkg-deb", *options, "--build", root, deb], env=REPRODUCIBLE)
    return deb


def build_libraries(target: Path) -> Path:
    """Compile both libraries into a folder and return the path of the mock NVML.

    Raises:
        LabError: gcc failed.
    """
    target.mkdir(parents=True, exist_ok=True)
    for stem, names in (
        ("libnvidia-ml", ["mock_nvml.c", "mock_events.c"]),
        ("libcuda", ["mock_cuda.c"]),
    ):
        soname = f"{stem}.so.1"
        library = target / f"{stem}.so.{DRIVER_VERSION}"
        sources = [HERE / name for name in names]
        version = f'-DMOCK_VERSION="{DRIVER_VERSION}"'
        options = ["-shared", "-fvisibility=hidden", f"-Wl,-soname,{soname}", version]
        run([*COMPILE, *options, "-o", library, *sources], env=REPRODUCIBLE)
        library.chmod(0o644)
        (target / soname).symlink_to(library.name)
    return target / f"libnvidia-ml.so.{DRIVER_VERSION}"


def _put(name: str, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    text = (HERE / name).read_text(encoding="utf-8")
    target.write_text(text.replace("@VERSION@", DRIVER_VERSION), encoding="utf-8")
    target.chmod(mode)
