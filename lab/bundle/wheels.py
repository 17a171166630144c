# SPDX-License-Identifier: Apache-2.0
"""Python wheels of the bundle, for the hosts' Python (Debian 12: 3.11)."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.bundle.steps import Step, digest, run

TARGET = ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
TARGET += [f"--platform=manylinux_2_{minor}_x86_64" for minor in (36, 34, 31, 28, 17)]
TARGET += ["--platform=manylinux2014_x86_64"]


def client_step(kubernetes: str) -> Step:
    """Return the wheels that kubernetes.core needs on a site's leader, as a folder of links."""

    def build(out: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", *TARGET]
        run([*command, "--dest", out, f"kubernetes=={kubernetes}"])
        links = [f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in sorted(out.iterdir())]
        (out / "index.html").write_text("<br>\n".join(links) + "\n", encoding="utf-8")

    return Step(name="wheels", key=digest(kubernetes, *TARGET), seconds=8, build=build)


def services_step(requirements: Path) -> Step:
    """Return what the reference services import, unpacked."""

    def build(out: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *TARGET]
        run([*command, "--target", out / "site-packages", "--requirement", requirements])

    return Step(
        name="services-packages", key=digest(requirements, *TARGET), seconds=20, build=build
    )
