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
    """One folder with every manifest of the table under the name that it is served by."""
    sums = [HERE / "go" / spec["component"] / "go.sum" for spec in manifests.values()]

    def build(out: Path) -> None:
        for spec in manifests.values():
            module = golang.module_directory(spec["component"], spec["module"])
            shutil.copyfile(module / spec["path"], out / spec["name"])

    return Step(
        name="manifests", key=digest(repr(sorted(manifests.items())), *sums), seconds=2, build=build
    )
