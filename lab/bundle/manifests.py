# SPDX-License-Identifier: Apache-2.0
"""Release manifests of the bundle, taken from the modules that the binaries are built from."""

from __future__ import annotations

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
    """Return what upstream's release publishes, to the byte: its folder, built with these tags.

    As the target "release" of KEDA's Makefile does it: the tag takes the place of "main" in the
    images, and in the label of the version that a transformer gives to every object. The role's
    pinned sum therefore holds for this file, too.

    Args:
        kubectl: the program that has kustomize in it.
        source: the folder that is built; its neighbours belong to it.
        images: tags by the images' names, all the same.
    """
    [version] = set(images.values())
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / source.parent.name
        shutil.copytree(source.parent, copied, copy_function=shutil.copyfile)
        for path in copied.rglob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            if path.name == "kustomization.yaml" or "kind: LabelTransformer" in text:
                wanted = _released(yaml.safe_load(text) or {}, images, version)
                path.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        return run([kubectl, "kustomize", copied / source.name])


def _released(document: dict[str, Any], images: dict[str, str], version: str) -> dict[str, Any]:
    """Return a kustomization or a label transformer with the release's tags."""
    if document.get("kind") == "LabelTransformer":
        labels = document["labels"] | {"app.kubernetes.io/version": version}
        return document | {"labels": labels}
    if "images" not in document:
        return document
    tagged = [
        item | {"newTag": images.get(item["name"], item.get("newTag"))}
        for item in document["images"]
    ]
    return document | {"images": tagged}
