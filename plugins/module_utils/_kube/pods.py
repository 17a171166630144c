# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnose pods from what the API says about them.

Pure functions on the dictionaries that the Kubernetes API returns (core/v1 Pod and Node), so tests
can use recorded objects. Nothing here waits or calls a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .types import Object

IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
# Reasons of pods that the kubelet refused. Their controller makes new ones without end.
REFUSED_REASONS = ("UnexpectedAdmissionError", "NodeAffinity", "OutOf", "Evicted")

_INSUFFICIENT = re.compile(r"Insufficient ([A-Za-z0-9./_-]*[A-Za-z0-9])")
_PREEMPTION = re.compile(r"(?: no new claims to deallocate,)? preemption: ")
_QUANTITY = re.compile(r"^([0-9.]+)([A-Za-z]*)$")
_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}


@dataclass(frozen=True)
class Trouble:
    """One reason why a workload cannot become ready.

    cause: image, crash, config, refused, unschedulable, quota, missing or paused.
    message: a whole sentence that names the object.
    pod, container: whose log shows the reason (crash only); empty otherwise.
    resources: what the scheduler has too little of (unschedulable only).
    """

    cause: str
    message: str
    pod: str = ""
    container: str = ""
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeUse:
    """How much of one resource a node offers, and which pods hold it."""

    node: str
    allocatable: int
    used: int
    schedulable: bool
    holders: tuple[str, ...]


def name_of(obj: Object) -> str:
    """Return the object's name; empty if it has none."""
    return str((obj.get("metadata") or {}).get("name", ""))


def terminating(obj: Object) -> bool:
    """Whether the object is being deleted."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def condition(obj: Object, kind: str) -> Object:
    """Return the status condition of this type; empty if the object lacks it."""
    for item in (obj.get("status") or {}).get("conditions") or []:
        if item.get("type") == kind:
            entry: Object = item
            return entry
    return {}


def pod_ready(pod: Object) -> bool:
    """Whether the pod serves: it is Ready and not being deleted."""
    return not terminating(pod) and condition(pod, "Ready").get("status") == "True"


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a metav1.LabelSelector; an absent selector matches nothing."""
    if not selector:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        label, values = labels.get(rule["key"]), rule.get("values") or []
        holds = {
            "In": label in values,
            "NotIn": label not in values,
            "Exists": label is not None,
            "DoesNotExist": label is None,
        }
        if not holds.get(rule["operator"], False):
            return False
    return True


def diagnose_pod(pod: Object, crash_restarts: int) -> list[Trouble]:
    """Return everything that keeps this pod from running now.

    A pod that is being deleted has no troubles: its controller has already replaced it.

    crash_restarts: a container in back-off with at least so many restarts is in a crash loop.
    """
    if terminating(pod):
        return []
    name = name_of(pod)
    status = pod.get("status") or {}
    troubles: list[Trouble] = []
    if status.get("phase") == "Failed":
        reason = str(status.get("reason") or "")
        if reason.startswith(REFUSED_REASONS):
            message = status.get("message") or "no message"
            node = (pod.get("spec") or {}).get("nodeName", "?")
            troubles.append(
                Trouble("refused", f"pod {name} was refused by node {node}: {reason}: {message}")
            )
        return troubles
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        reason = str(scheduled.get("reason") or "")
        message = str(scheduled.get("message") or "no message")
        if reason == "Unschedulable":
            # The rest is about preemption, which the stack does not use.
            message = _PREEMPTION.split(message)[0]
            short = tuple(sorted(set(_INSUFFICIENT.findall(message))))
            troubles.append(
                Trouble("unschedulable", f"pod {name} fits on no node: {message}", resources=short)
            )
        elif reason == "SchedulingGated":
            troubles.append(Trouble("unschedulable", f"pod {name} is held back: {message}"))
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        trouble = _diagnose_container(name, container, crash_restarts)
        if trouble:
            troubles.append(trouble)
    return troubles


def _diagnose_container(pod: str, container: Object, crash_restarts: int) -> Trouble | None:
    """Return the trouble of one entry of containerStatuses, if any."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "no message")
    who = str(container.get("name", "?"))
    if reason in IMAGE_REASONS:
        image = container.get("image") or "its image"
        return Trouble("image", f"pod {pod} cannot pull {image}: {reason}: {message}")
    if reason in CONFIG_REASONS:
        return Trouble("config", f"pod {pod}, container {who}: {reason}: {message}")
    if reason == "CrashLoopBackOff":
        restarts = int(container.get("restartCount") or 0)
        if restarts < crash_restarts:
            return None
        last = (container.get("lastState") or {}).get("terminated") or {}
        return Trouble(
            "crash",
            f"pod {pod}, container {who} crashed {restarts + 1} times, last with {_ending(last)}",
            pod=pod,
            container=who,
        )
    return None


def _ending(terminated: Object) -> str:
    """Describe how a container ended: exit code, signal, reason and termination message."""
    parts = [f"exit code {terminated.get('exitCode', '?')}"]
    if terminated.get("signal"):
        parts.append(f"signal {terminated['signal']}")
    if terminated.get("reason") and terminated["reason"] != "Error":
        parts.append(str(terminated["reason"]))
    text = ", ".join(parts)
    message = str(terminated.get("message") or "").strip()
    return f"{text}: {message}" if message else text


def when(text: str) -> datetime:
    """Return a time that the API server gives. Raises ValueError.

    Python 3.10 does not know the letter of UTC.
    """
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def unsettled(pod: Object, now: datetime, within_s: float) -> str:
    """Name a container that does not run, or restarted less than within_s seconds ago; else empty.

    Between two crashes a container without probes counts as ready for a moment, and its workload
    as available a moment longer. So readiness alone does not prove that it runs.
    """
    status = pod.get("status") or {}
    if terminating(pod) or status.get("phase") in ("Failed", "Succeeded"):
        return ""
    for container in status.get("containerStatuses") or []:
        running = (container.get("state") or {}).get("running")
        restarts = int(container.get("restartCount") or 0)
        who = f"pod {name_of(pod)}, container {container.get('name')}"
        if running is None:
            return f"{who} is not running, after {restarts} restarts"
        if restarts and running.get("startedAt"):
            age = (now - when(running["startedAt"])).total_seconds()
            if age < within_s:
                return f"{who} restarted {max(age, 0):.0f} s ago, {restarts} times in all"
    return ""


def describe_pod(pod: Object) -> str:
    """Describe in one line what the pod is doing now, for summaries and timeouts."""
    status = pod.get("status") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    words = ["Terminating" if terminating(pod) else str(status.get("phase") or "Unknown")]
    if pod_ready(pod):
        words = ["Ready"]
    if node:
        words.append(f"on {node}")
    restarts = 0
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        restarts += int(container.get("restartCount") or 0)
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            message = f" ({waiting['message']})" if waiting.get("message") else ""
            words.append(f"{container.get('name')} {waiting['reason']}{message}")
        elif (container.get("state") or {}).get("running") and not container.get("ready"):
            started = container.get("started")
            words.append(f"{container.get('name')} {'not ready' if started else 'starting'}")
    if restarts:
        words.append(f"{restarts} restarts")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        words.append(str(scheduled.get("message") or scheduled.get("reason") or ""))
    return ", ".join(word for word in words if word)


def quantity(value: object) -> Decimal:
    """Return a resource.Quantity as a number. Raises ValueError for any other text.

    Exponents are not supported.
    """
    match = _QUANTITY.match(str(value))
    if not match or match.group(2) not in _SUFFIXES:
        raise ValueError(f"not a Kubernetes quantity: {value!r}")
    return Decimal(match.group(1)) * _SUFFIXES[match.group(2)]


def requested(pod: Object, resource: str) -> int:
    """Return how much of an extended resource a pod takes, init containers included."""
    spec = pod.get("spec") or {}

    def of(container: Object) -> int:
        resources = container.get("resources") or {}
        wanted = (resources.get("requests") or {}).get(
            resource, (resources.get("limits") or {}).get(resource, 0)
        )
        return int(quantity(wanted))

    running = sum(of(container) for container in spec.get("containers") or [])
    return max([running, *(of(container) for container in spec.get("initContainers") or [])])


def node_use(nodes: Iterable[Object], pods: Iterable[Object], resource: str) -> list[NodeUse]:
    """Return which pods hold an extended resource on each node that offers it, sorted by node.

    Pods that ended (Succeeded, Failed) hold nothing. Pods that are being deleted still do.
    """
    held: dict[str, list[tuple[str, int]]] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            amount = requested(pod, resource)
            if amount:
                leaving = " (terminating)" if terminating(pod) else ""
                held.setdefault(node, []).append((name_of(pod) + leaving, amount))
    uses = []
    for node_object in nodes:
        name = name_of(node_object)
        allocatable = int(
            quantity((node_object.get("status") or {}).get("allocatable", {}).get(resource, 0))
        )
        holders = sorted(held.get(name, []))
        if allocatable or holders:
            uses.append(
                NodeUse(
                    node=name,
                    allocatable=allocatable,
                    used=sum(amount for _unused, amount in holders),
                    schedulable=not (node_object.get("spec") or {}).get("unschedulable", False)
                    and condition(node_object, "Ready").get("status") == "True",
                    holders=tuple(holder for holder, _unused in holders),
                )
            )
    return sorted(uses, key=lambda use: use.node)


def being_freed(uses: Iterable[NodeUse]) -> bool:
    """Whether a pod that holds the resource is being deleted, so that a wait can help."""
    return any(holder.endswith(" (terminating)") for use in uses for holder in use.holders)


def describe_use(resource: str, uses: Iterable[NodeUse]) -> str:
    """Describe in one line which nodes offer the resource and how much of it is free."""
    lines = [
        f"{use.node}: {max(use.allocatable - use.used, 0)} of {use.allocatable} free"
        + ("" if use.schedulable else ", not schedulable")
        + (f", held by {', '.join(use.holders)}" if use.holders else "")
        for use in uses
    ]
    return f"{resource}: " + ("; ".join(lines) if lines else "no node offers any")
