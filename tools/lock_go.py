# SPDX-License-Identifier: Apache-2.0
"""Tidy lab/bundle/go/go.mod and go.sum: python -m tools.lock_go.

go.mod replaces some modules by copies that are made when the bundle is built, so `go mod tidy`
runs in a folder that has them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab.bundle import golang
from lab.bundle.steps import run


def main() -> None:
    """Write both files from the requirements of go.mod."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        golang.lay_sources(folder)
        tidy = golang.environment() | {"GOFLAGS": "-mod=mod"}
        run(["go", "mod", "tidy"], cwd=folder, env=tidy)
        for file in ("go.mod", "go.sum"):
            shutil.copyfile(folder / file, golang.MODULE / file)


if __name__ == "__main__":
    main()
