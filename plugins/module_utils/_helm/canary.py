# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Plan a canary: one pod of a worker as an upgrade of the release would make it.

The pod has a Deployment of its own outside the release. So the release does not change until the
pod has proved that it works. The canary gets copies, under other names, of the ConfigMaps and
Secrets that the upgrade makes or changes. So no other pod sees them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .._kube.pods import name_of
from .._kube.types import Object
from .client import DEPLOYED, Release

# Marks the canary's pod, in addition to the labels of its worker's pods.
LABEL = "baremetal.sonic/canary"
SUFFIX = "-canary"
COPIED = ("ConfigMap", "Secret")

Key = tuple[str, str]


@dataclass(frozen=True)
class Reference:
    """A field of a pod's specification that names another object: holder[key] is the name."""

    kind: str
    holder: Any
    key: str

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.holder[self.key])


@dataclass(frozen=True)
class Canary:
    """The objects of a canary.

    worker: the worker whose pod it is; empty for no canary. objects: its Deployment and the
    copies. why: the reason for no canary although the upgrade replaces pods of workers.
    """

    worker: str = ""
    objects: Sequence[Object] = ()
    why: str = ""

    @property
    def deployment(self) -> str:
        """Name of the canary's Deployment; empty for no canary."""
        return self.worker + SUFFIX if self.worker else ""


def references(spec: Object) -> Iterator[Reference]:
    """Yield the references of a PodSpec (core/v1) to objects that a pod reads or runs as."""
    if spec.get("serviceAccountName"):
        yield Reference("ServiceAccount", spec, "serviceAccountName")
    for secret in spec.get("imagePullSecrets") or []:
        yield Reference("Secret", secret, "name")
    for volume in spec.get("volumes") or []:
        parts = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for part in parts:
            if "configMap" in part:
                yield Reference("ConfigMap", part["configMap"], "name")
            if "secret" in part:
                secret = part["secret"]
                yield Reference("Secret", secret, "secretName" if part is volume else "name")
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            yield Reference("PersistentVolumeClaim", claim, "claimName")
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        for source in container.get("envFrom") or []:
            if "configMapRef" in source:
                yield Reference("ConfigMap", source["configMapRef"], "name")
            if "secretRef" in source:
                yield Reference("Secret", source["secretRef"], "name")
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            if "configMapKeyRef" in source:
                yield Reference("ConfigMap", source["configMapKeyRef"], "name")
            if "secretKeyRef" in source:
                yield Reference("Secret", source["secretKeyRef"], "name")


def by_key(release: Release) -> dict[Key, Object]:
    """Return a release's objects by kind and name."""
    return {(item["kind"], name_of(item)): item for item in release.objects}


def plan(before: Release, after: Release, workers: Sequence[str], namespace: str) -> Canary:
    """Plan the canary for an upgrade.

    Args:
        before: the release as it is.
        after: the release after the upgrade.
        workers: names of the workers' Deployments. The first one whose pods the upgrade replaces
            gets the canary.
        namespace: namespace of the release.
    """
    old, new = by_key(before), by_key(after)
    for worker in workers:
        key = ("Deployment", worker)
        if key not in old or key not in new:
            continue
        if before.status != DEPLOYED or _template(old[key]) != _template(new[key]):
            return _of(new[key], old, new, namespace)
    return Canary()


def _template(deployment: Object) -> Any:
    return deployment["spec"]["template"]


def _of(
    deployment: Object, old: dict[Key, Object], new: dict[Key, Object], namespace: str
) -> Canary:
    worker = name_of(deployment)
    if ("Deployment", worker + SUFFIX) in new:
        return Canary(why=f"the chart has a Deployment {worker}{SUFFIX} of its own")
    template = copy.deepcopy(_template(deployment))
    mark = {LABEL: worker}
    template["metadata"]["labels"] |= mark
    copies: dict[Key, Object] = {}
    for reference in references(template["spec"]):
        key = (reference.kind, reference.name)
        if key not in new or new[key] == old.get(key):
            continue
        if reference.kind not in COPIED:
            return Canary(
                why=f"pods of {worker} need {reference.kind} {reference.name}, which the upgrade"
                " makes or changes"
            )
        copies[key] = _named(new[key], reference.name + SUFFIX, namespace)
        reference.holder[reference.key] += SUFFIX
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    made = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": worker + SUFFIX, "namespace": namespace},
        "spec": {"replicas": 1, "selector": selector, "template": template},
    }
    return Canary(worker, [*copies.values(), made])


def _named(item: Object, name: str, namespace: str) -> Object:
    """Return a copy of an object under another name, never immutable: later copies replace it."""
    content = {k: v for k, v in item.items() if k not in ("metadata", "immutable")}
    return content | {"metadata": {"name": name, "namespace": namespace}}
