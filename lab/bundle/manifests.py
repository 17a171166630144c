# SPDX-License-Identifier: Apache-2.0
"""Release manifests of the bundle, taken from the modules that the binaries are built from."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lab.bundle import golang
from lab.bundle.steps import Step, digest, run


def step(manifests: dict[str, Any], sources: Step, kubectl: Step, cache: Path) -> Step:
    """One folder with every manifest of the table under the name that it is served by.

    `sources` is the step of the Go module; `kubectl` the one of kubectl, which has kustomize.
    """

    def build(out: Path) -> None:
        for spec in manifests.values():
            module = golang.module_directory(sources.output(cache), spec["module"])
            source = module / spec["path"]
            if "images" in spec:
                text = kustomize(kubectl.output(cache) / "kubectl", source, spec["images"])
                (out / spec["name"]).write_text(text, encoding="utf-8")
            else:
                shutil.copyfile(source, out / spec["name"])

    return Step(
        name="manifests",
        key=digest(repr(sorted(manifests.items())), sources.key, Path(__file__), kubectl.key),
        seconds=3,
        build=build,
        needs=(sources.name, kubectl.name),
    )


def kustomize(kubectl: Path, source: Path, images: dict[str, str]) -> str:
    """A folder's objects with these tags of its images; they are the objects' version, too."""
    with tempfile.TemporaryDirectory() as folder:
        # kustomize takes no absolute paths, and follows links: name the folder as it does.
        overlay = Path(folder).resolve()
        wanted = {
            "resources": [os.path.relpath(source.resolve(), overlay)],
            "images": [{"name": name, "newTag": tag} for name, tag in images.items()],
            "labels": [{"pairs": {"app.kubernetes.io/version": tag}} for tag in {*images.values()}],
        }
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(wanted), encoding="utf-8")
        return run([kubectl, "kustomize", overlay])
