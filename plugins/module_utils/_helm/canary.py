# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""One pod of what an upgrade of a release would make of a worker, beside all that runs.

It has a Deployment of its own, which is not the release's: nothing of the release is touched until
the pod has shown what it can do. ConfigMaps and Secrets that the upgrade makes or changes are given
to it as copies under other names, so that only it sees them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .._kube.pods import Object, name_of
from .client import DEPLOYED, Release

# Marks the canary's pod, beside the labels that its worker's pods have.
LABEL = "baremetal.sonic/canary"
SUFFIX = "-canary"
COPIED = ("ConfigMap", "Secret")

Key = tuple[str, str]


@dataclass(frozen=True)
class Reference:
    """A place in a pod's specification that names another object: holder[key] is the name."""

    kind: str
    holder: Any
    key: str

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.holder[self.key])


@dataclass(frozen=True)
class Canary:
    """What has to be there while the canary is looked at.

    worker: whose pod it is; empty when there is none. objects: its Deployment and the copies. why:
    when there is none although workers' pods are replaced, the reason.
    """

    worker: str = ""
    objects: Sequence[Object] = ()
    why: str = ""

    @property
    def deployment(self) -> str:
        """The Deployment's name; empty when there is none."""
        return self.worker + SUFFIX if self.worker else ""


def references(spec: Object) -> Iterator[Reference]:
    """The objects that a pod reads or runs as, by the fields of PodSpec in Kubernetes' core/v1."""
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
    """A release's objects by kind and name."""
    return {(item["kind"], name_of(item)): item for item in release.objects}


def plan(before: Release, after: Release, workers: Sequence[str], namespace: str) -> Canary:
    """The canary for an upgrade.

    Args:
        before: the release as it is.
        after: the release as it would become.
        workers: names of workers, which are Deployments; the first whose pods are replaced by the
            upgrade gets the canary.
        namespace: the release's.
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
    """A copy of an object's content under another name, which a later copy may replace."""
    content = {k: v for k, v in item.items() if k not in ("metadata", "immutable")}
    return content | {"metadata": {"name": name, "namespace": namespace}}
