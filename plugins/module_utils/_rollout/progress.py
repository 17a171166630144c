# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""See whether a workload has completed its rollout, and why it has not.

Pure functions on apps/v1 objects, with the rules of `kubectl rollout status`. wait.py uses them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from .._kube.pods import (
    Trouble,
    condition,
    describe_pod,
    diagnose_pod,
    matches,
    name_of,
    pod_ready,
    terminating,
    when,
)
from .._kube.types import Object

KINDS = {
    "Deployment": "deployments",
    "DaemonSet": "daemonsets",
    "StatefulSet": "statefulsets",
}
REVISION = "deployment.kubernetes.io/revision"
# A failed pod of this age, in seconds, says nothing of the present: its controller replaced it.
HISTORY_S = 60


@dataclass(frozen=True, order=True)
class Target:
    """A workload to wait for. namespace: empty for a kind without namespaces."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}".replace(" /", " ")


@dataclass(frozen=True)
class Progress:
    """Progress of a rollout. done: all wanted pods are available and of the newest revision."""

    done: bool
    message: str
    desired: int = 0
    ready: int = 0


@dataclass(frozen=True)
class Assessment:
    """One workload at one moment: its progress, its pods, and why it is not ready."""

    target: Target
    progress: Progress
    exists: bool
    troubles: tuple[Trouble, ...] = ()
    pods: tuple[Object, ...] = field(default=(), repr=False)

    def summary(self) -> dict[str, object]:
        """Return plain values, for a module's result."""
        return {
            "kind": self.target.kind,
            "namespace": self.target.namespace,
            "name": self.target.name,
            "exists": self.exists,
            "complete": self.progress.done,
            "message": self.progress.message,
            "desired": self.progress.desired,
            "ready": self.progress.ready,
            "pods": {name_of(pod): describe_pod(pod) for pod in self.pods},
        }


def _count(status: Object, key: str) -> int:
    return int(status.get(key) or 0)


def deployment_progress(obj: Object) -> Progress:
    """Progress of a Deployment: all replicas updated, no old ones left, all available."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    updated, available = _count(status, "updatedReplicas"), _count(status, "availableReplicas")
    ready = _count(status, "readyReplicas")
    if _count(status, "observedGeneration") < int(obj["metadata"].get("generation", 0)):
        return Progress(False, "the controller has not yet seen the new template", wanted, ready)
    if updated < wanted:
        return Progress(False, f"{updated} of {wanted} pods updated", wanted, ready)
    if _count(status, "replicas") > updated:
        old = _count(status, "replicas") - updated
        return Progress(False, f"{old} pods of the old revision still there", wanted, ready)
    if available < updated:
        return Progress(False, f"{available} of {updated} pods available", wanted, ready)
    return Progress(True, f"{available} of {wanted} pods available", wanted, ready)


def first_progress(obj: Object, newest: Iterable[Object]) -> Progress:
    """Progress of a Deployment to the first ready pod of its newest revision."""
    status = obj.get("status") or {}
    if _count(status, "observedGeneration") < int(obj["metadata"].get("generation", 0)):
        return Progress(False, "the controller has not yet seen the new template", 1, 0)
    ready = sum(pod_ready(pod) for pod in newest)
    return Progress(ready > 0, f"{ready} pods of the new revision ready", 1, ready)


def may_be_crowded(obj: Object, min_replicas: int) -> bool:
    """Whether a Deployment has `min_replicas` pods available and none of an old revision.

    That is enough for a Deployment that an autoscaler scales: the load may ask for more pods than
    the nodes have room for.
    """
    status = obj.get("status") or {}
    wanted = int((obj.get("spec") or {}).get("replicas", 1))
    updated = _count(status, "updatedReplicas")
    return (
        _count(status, "observedGeneration") >= int(obj["metadata"].get("generation", 0))
        and updated >= wanted
        and _count(status, "replicas") <= updated
        and _count(status, "availableReplicas") >= min_replicas
    )


def crowded_progress(progress: Progress, pods: Iterable[Object]) -> Progress:
    """Progress of a Deployment that may be crowded: done when all that it lacks is room."""
    waiting = [pod for pod in pods if not pod_ready(pod) and not terminating(pod)]
    if progress.done or not waiting or not all(has_no_room(pod) for pod in waiting):
        return progress
    message = f"{progress.ready} of {progress.desired} pods ready, no node has room for the others"
    return Progress(True, message, progress.desired, progress.ready)


def has_no_room(pod: Object) -> bool:
    """Whether the scheduler finds no node for the pod."""
    return [trouble.cause for trouble in diagnose_pod(pod, 1)] == ["unschedulable"]


def daemonset_progress(obj: Object) -> Progress:
    """Progress of a DaemonSet: every wanted node runs an available pod of the newest template."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = _count(status, "desiredNumberScheduled")
    updated, available = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    ready = _count(status, "numberReady")
    if _count(status, "observedGeneration") < int(obj["metadata"].get("generation", 0)):
        return Progress(False, "the controller has not yet seen the new template", wanted, ready)
    on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    if updated < wanted and not on_delete:
        return Progress(False, f"{updated} of {wanted} pods updated", wanted, ready)
    if available < wanted:
        return Progress(False, f"{available} of {wanted} pods available", wanted, ready)
    return Progress(True, f"{available} of {wanted} pods available", wanted, ready)


def statefulset_progress(obj: Object) -> Progress:
    """Progress of a StatefulSet: all replicas ready and, beyond the partition, updated."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    ready, updated = _count(status, "readyReplicas"), _count(status, "updatedReplicas")
    if _count(status, "observedGeneration") < int(obj["metadata"].get("generation", 0)):
        return Progress(False, "the controller has not yet seen the new template", wanted, ready)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") != "OnDelete":
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        due = max(wanted - partition, 0)
        if updated < due:
            return Progress(False, f"{updated} of {due} pods updated", wanted, ready)
        if not partition and status.get("currentRevision") != status.get("updateRevision"):
            return Progress(False, "the new revision is not current yet", wanted, ready)
    if ready < wanted:
        return Progress(False, f"{ready} of {wanted} pods ready", wanted, ready)
    return Progress(True, f"{ready} of {wanted} pods ready", wanted, ready)


PREDICATES = {
    "Deployment": deployment_progress,
    "DaemonSet": daemonset_progress,
    "StatefulSet": statefulset_progress,
}


def _owned_by(obj: Object, uid: str) -> bool:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def _newest_replicaset(workload: Object, replicasets: Iterable[Object]) -> Object | None:
    revision = (workload["metadata"].get("annotations") or {}).get(REVISION)
    for replicaset in replicasets:
        annotations = replicaset["metadata"].get("annotations") or {}
        if _owned_by(replicaset, workload["metadata"]["uid"]) and (
            annotations.get(REVISION) == revision
        ):
            return replicaset
    return None


def _pods_of(
    target: Target, workload: Object, pods: Iterable[Object], replicaset: Object | None
) -> tuple[list[Object], list[Object]]:
    """Return all pods of a workload, and those of its newest revision, sorted by name."""
    selector = (workload.get("spec") or {}).get("selector")
    mine = [pod for pod in pods if matches(selector, pod["metadata"].get("labels") or {})]
    if target.kind == "Deployment":
        uid = replicaset["metadata"]["uid"] if replicaset else None
        newest = [pod for pod in mine if uid and _owned_by(pod, uid)]
    else:
        mine = [pod for pod in mine if _owned_by(pod, workload["metadata"]["uid"])]
        newest = mine
    if target.kind == "StatefulSet":
        revision = (workload.get("status") or {}).get("updateRevision")
        newest = [
            pod
            for pod in mine
            if pod["metadata"]["labels"].get("controller-revision-hash") == revision
        ]
    return sorted(mine, key=name_of), sorted(newest, key=name_of)


def assess(
    target: Target,
    workload: Object | None,
    pods: Iterable[Object],
    replicasets: Iterable[Object],
    crash_restarts: int,
    min_replicas: int | None = None,
    first: bool = False,
    now: datetime | None = None,
) -> Assessment:
    """Assess one workload from the objects of its namespace.

    Only pods of the newest revision are diagnosed: old pods are about to go.

    min_replicas: for a Deployment that an autoscaler scales, how many pods are enough
    (may_be_crowded).
    first: whether one ready pod of the newest revision is enough.
    now: the time, with its zone; without it a failed pod has no age.
    """
    if workload is None:
        trouble = Trouble("missing", "it does not exist")
        return Assessment(target, Progress(False, "does not exist"), False, (trouble,))
    progress = PREDICATES[target.kind](workload)
    replicaset = _newest_replicaset(workload, replicasets) if target.kind == "Deployment" else None
    mine, newest = _pods_of(target, workload, pods, replicaset)
    if first:
        mine, progress = newest, first_progress(workload, newest)
    crowded = min_replicas is not None and may_be_crowded(workload, min_replicas)
    if crowded:
        progress = crowded_progress(progress, newest)
    troubles: list[Trouble] = []
    if not progress.done:
        if (workload.get("spec") or {}).get("paused"):
            troubles.append(Trouble("paused", "it is paused, so nothing rolls it out"))
        troubles += _create_failures([workload, *([replicaset] if replicaset else [])])
        for pod in newest:
            if not _history(pod, newest, now):
                troubles += diagnose_pod(pod, crash_restarts)
        if crowded:
            troubles = [trouble for trouble in troubles if trouble.cause != "unschedulable"]
    return Assessment(target, progress, True, tuple(troubles), tuple(mine))


def _history(pod: Object, siblings: Iterable[Object], now: datetime | None) -> bool:
    """Whether a failed pod belongs to the past: it is old, or a node has admitted a younger one.

    A GPU host that reboots leaves such pods. Its kubelet refuses them until the device plugin is
    back, and their controller replaces them at once. They stay until they are deleted, also over a
    rollout that returns to their revision.
    """
    if (pod.get("status") or {}).get("phase") != "Failed":
        return False
    created = pod["metadata"].get("creationTimestamp") or ""
    if now and created and (now - when(created)).total_seconds() > HISTORY_S:
        return True
    return any(
        (other["metadata"].get("creationTimestamp") or "") > created
        # Only the kubelet sets startTime. It may still refuse a pod without it.
        and (other.get("status") or {}).get("startTime")
        and other["status"].get("phase") != "Failed"
        and not terminating(other)
        for other in siblings
    )


def _create_failures(objects: Iterable[Object]) -> list[Trouble]:
    """Return the first refusal of the API server to create pods (quota, admission)."""
    for obj in objects:
        failure = condition(obj, "ReplicaFailure")
        if failure.get("status") == "True":
            message = failure.get("message") or failure.get("reason") or "no message"
            return [Trouble("quota", f"its pods cannot be created: {message}")]
    return []


def ready_pods(assessment: Assessment) -> list[Object]:
    """Return the pods of a workload that serve now."""
    return [pod for pod in assessment.pods if pod_ready(pod) and not terminating(pod)]
