# SPDX-License-Identifier: Apache-2.0
"""Copies of upstream modules without the parts that nothing here calls.

Most of a cold build is the Go compiler, and most of what it compiles are clients of clouds, brokers
and databases that a component only offers. `go build -overlay` refuses files beneath the module
cache, so go.mod replaces such a module by a copy that is made here. The copy starts from the module
that trims.yml pins by its sum.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lab.bundle.steps import digest, run
from lab.bundle.table import HERE
from lab.config import LabError

TABLE = HERE / "go" / "trims.yml"
# Go ignores folders whose names begin with an underscore.
OVERLAYS = HERE / "go" / "_trims"


def table() -> dict[str, Any]:
    """Return what trims.yml says of each copy, by the copy's name."""
    loaded: dict[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return loaded


def inputs() -> str:
    """Return a digest of all that decides what the copies hold."""
    files = sorted(path for path in OVERLAYS.rglob("*") if path.is_file())
    named = [part for path in files for part in (str(path.relative_to(OVERLAYS)), path)]
    return digest(TABLE, Path(__file__), *named)


def make(folder: Path, environment: dict[str, str]) -> None:
    """Make every copy in `folder`, by its name in trims.yml.

    Raises:
        LabError: a module's sum is not the pinned one, or an edit does not fit its file.
    """
    for name, trim in table().items():
        source = checked(f"{trim['module']}@{trim['version']}", trim["sum"], environment)
        copy(source, folder / name, trim, OVERLAYS / name)


def checked(module: str, wanted: str, environment: dict[str, str]) -> Path:
    """Download a module (PATH@VERSION) and return its folder in Go's module cache.

    Raises:
        LabError: its sum is not `wanted`.
    """
    # Outside any module: go.mod replaces this one, so go.sum does not know it.
    with tempfile.TemporaryDirectory() as empty:
        command = ["go", "mod", "download", "-json", module]
        downloaded = json.loads(run(command, env=environment, cwd=Path(empty)))
    if downloaded["Sum"] != wanted:
        raise LabError(f"{module} has the sum {downloaded['Sum']}; trims.yml pins {wanted}")
    return Path(downloaded["Dir"])


def copy(source: Path, target: Path, trim: dict[str, Any], overlay: Path) -> None:
    """Copy a module without its tests and what `trim` removes, edit it, lay `overlay` over it.

    Raises:
        LabError: a pattern removes nothing, or an edit does not fit exactly once.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*_test.go"))
    run(["chmod", "-R", "u+w", target])
    kept = {path for pattern in trim.get("keep", []) for path in target.glob(pattern)}
    for pattern in trim.get("remove", []):
        doomed = [path for path in target.glob(pattern) if path not in kept]
        if not doomed:
            raise LabError(f"trims.yml: {pattern} removes nothing from {trim['module']}")
        for path in doomed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for edit in trim.get("edits", []):
        path = target / edit["file"]
        text, count = re.subn(
            edit["pattern"],
            edit["replacement"].replace("\\", r"\\"),
            path.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        if count != 1:
            raise LabError(
                f"trims.yml: {edit['pattern']!r} fits {count} times in {edit['file']} of"
                f" {trim['module']}, once is wanted"
            )
        path.write_text(text, encoding="utf-8")
    if overlay.exists():
        shutil.copytree(overlay, target, dirs_exist_ok=True)
    # The requirements of all components stand in one go.mod: the copy's own would bring back the
    # modules that only the removed parts need.
    module = next(
        line for line in (source / "go.mod").read_text(encoding="utf-8").splitlines()
        if line.startswith("module ")
    )  # fmt: skip
    (target / "go.mod").write_text(f"{module}\n\ngo 1.26\n", encoding="utf-8")
