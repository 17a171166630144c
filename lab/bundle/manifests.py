# SPDX-License-Identifier: Apache-2.0
"""Release manifests of the bundle, taken from the modules that the binaries are built from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lab.bundle import golang
from lab.bundle.steps import Step, digest
from lab.bundle.table import HERE


def step(manifests: dict[str, Any]) -> Step:
    """One folder with every manifest of the table."""
    sums = [HERE / "go" / spec["component"] / "go.sum" for spec in manifests.values()]

    def build(out: Path) -> None:
        for name, spec in manifests.items():
            module = golang.module_directory(spec["component"], spec["module"])
            shutil.copyfile(module / spec["path"], out / f"{name}.yaml")

    return Step(
        name="manifests", key=digest(repr(sorted(manifests.items())), *sums), seconds=2, build=build
    )
