# SPDX-License-Identifier: Apache-2.0
"""Build the Go programs of the bundle, all from one module with pinned versions and sums.

With one module each dependency has one version, so the compiler sees it once, whichever of the
programs need it: most of what Kubernetes' ecosystem is made of is shared.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.bundle import trims
from lab.bundle.steps import Step, digest, run
from lab.bundle.table import HERE

MODULE = HERE / "go"
SOURCES = "go:sources"


def sources_step() -> Step:
    """Return the module that all programs are built in: go.mod, own mains, and trimmed copies."""
    mains = sorted((MODULE / "mains").rglob("*.go"))
    named = [part for path in mains for part in (str(path.relative_to(MODULE)), path)]
    modules = [MODULE / "go.mod", MODULE / "go.sum"]
    return Step(
        name=SOURCES,
        key=digest(*modules, trims.inputs(), *named),
        seconds=20,
        build=lay_sources,
    )


def lay_sources(out: Path) -> None:
    """Fill a folder with the module; a program is built there.

    Raises:
        LabError: a trimmed copy could not be made.
    """
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(MODULE / name, out / name)
    shutil.copytree(MODULE / "mains", out / "mains")
    trims.make(out / "trimmed", environment())


def steps(binaries: dict[str, Any], cache: Path) -> dict[str, Step]:
    """Return the step of the sources, and one for each binary of the table (go:NAME/TOOL)."""
    go_version = run(["go", "version"], env=environment())
    sources = sources_step()
    made = {SOURCES: sources}
    for component, spec in binaries.items():
        for name, tool in spec["tools"].items():
            package = "/".join(part for part in (spec["package"], tool["path"]) if part)
            cgo = bool(spec.get("cgo"))
            flags = " ".join(
                ["-s -w"] + [f"-X {k}={v}" for k, v in sorted(spec.get("stamp", {}).items())]
            )
            tags: list[str] = spec.get("tags", [])
            made[f"go:{component}/{name}"] = Step(
                name=f"go:{component}/{name}",
                key=digest(go_version, sources.key, package, flags, str(cgo), *tags),
                seconds=tool["seconds"],
                build=_builder(sources.output(cache), package, name, flags, tags, cgo),
                needs=(SOURCES,),
                # Side by side they would compile twice what they share; one uses all processors.
                group="go",
            )
    return made


def module_directory(sources: Path, module: str) -> Path:
    """Return where the sources of a module lie: in Go's module cache, or in its trimmed copy."""
    run(["go", "mod", "download", module], cwd=sources, env=environment())
    listed = run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=sources, env=environment())
    return Path(listed.strip())


def environment(*, cgo: bool = False) -> dict[str, str]:
    """Return the environment that Go is run in."""
    # GOTOOLCHAIN: the build uses the Go that is here and never fetches another.
    # GOGC: without collections the compiler needs a fifth less processor time. GOMEMLIMIT brings
    # them back for the few packages that would take more than a small machine has.
    return dict(os.environ) | {
        "CGO_ENABLED": str(int(cgo)),
        "GOGC": "off",
        "GOMEMLIMIT": "2GiB",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
    }


def _builder(
    sources: Path, package: str, name: str, flags: str, tags: list[str], cgo: bool
) -> Callable[[Path], None]:
    def build(out: Path) -> None:
        run(
            # The linker drops debug information (-s -w), so the compiler need not make it.
            ["go", "build", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"]
            + ["-ldflags", flags, f"-tags={','.join(tags)}", "-o", out / name, package],
            cwd=sources,
            env=environment(cgo=cgo),
        )

    return build
