# SPDX-License-Identifier: Apache-2.0
"""Builds the Go programs of the bundle from pinned modules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lab.bundle.steps import Step, digest, run
from lab.bundle.table import HERE


def steps(binaries: dict[str, Any]) -> dict[str, Step]:
    """A step for each binary, by its name in the table (go:COMPONENT/NAME)."""
    go_version = run(["go", "version"], env=_environment(cgo=False))
    made = {}
    for component, spec in binaries.items():
        folder = HERE / "go" / component
        for name, tool in spec["tools"].items():
            package = "/".join(part for part in (spec["package"], tool["path"]) if part)
            cgo = bool(spec.get("cgo"))
            flags = " ".join(
                ["-s -w"] + [f"-X {k}={v}" for k, v in sorted(spec.get("stamp", {}).items())]
            )
            tags: list[str] = spec.get("tags", [])
            modules = (folder / "go.mod", folder / "go.sum")
            made[f"go:{component}/{name}"] = Step(
                name=f"go:{component}/{name}",
                key=digest(go_version, *modules, package, flags, str(cgo), *tags),
                seconds=tool["seconds"],
                build=_builder(folder, package, name, flags, tags, cgo),
                # Side by side they would compile twice what they share.
                group=component,
            )
    return made


def module_directory(component: str, module: str) -> Path:
    """Where a component's module lies in Go's module cache."""
    folder = HERE / "go" / component
    run(["go", "mod", "download", module], cwd=folder, env=_environment(cgo=False))
    listed = run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=folder, env=_environment(cgo=False)
    )
    return Path(listed.strip())


def _environment(*, cgo: bool) -> dict[str, str]:
    # GOTOOLCHAIN: the build uses the Go that is here and never fetches another.
    # GOGC: a fifth less processor time than the default 100, for memory that GOMEMLIMIT bounds. The
    # greatest package, the EC2 client in kube-router, needs 2 GiB: with less it takes minutes.
    return dict(os.environ) | {
        "CGO_ENABLED": str(int(cgo)),
        "GOGC": "400",
        "GOMEMLIMIT": "3GiB",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
    }


def _builder(folder: Path, package: str, name: str, flags: str, tags: list[str], cgo: bool) -> Any:
    def build(out: Path) -> None:
        run(
            ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags]
            + [f"-tags={','.join(tags)}", "-o", out / name, package],
            cwd=folder,
            env=_environment(cgo=cgo),
        )

    return build
