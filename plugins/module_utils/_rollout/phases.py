# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What the pods of a workload are doing, in one line that shows progress."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .._kube.pods import condition, pod_ready, terminating, when
from .._kube.types import Object
from .progress import Assessment

# In the order of a pod's life. Kubernetes does not tell a pull from the other work before a start.
PENDING, STARTING, LOADING, READY = "pending", "pulling or starting", "loading", "ready"
FAILING, ENDING = "failing", "ending"
ORDER = (READY, LOADING, STARTING, PENDING, FAILING, ENDING)


def phase(pod: Object, now: datetime) -> tuple[str, float]:
    """Return what a pod is doing, and for how many seconds; empty for one that has ended."""
    status = pod.get("status") or {}
    if terminating(pod):
        return ENDING, _age(pod["metadata"].get("deletionTimestamp"), now)
    if status.get("phase") in ("Failed", "Succeeded"):
        return "", 0.0
    if pod_ready(pod):
        return READY, _age(condition(pod, "Ready").get("lastTransitionTime"), now)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "True":
        return PENDING, _age(pod["metadata"].get("creationTimestamp"), now)
    states = [
        item.get("state") or {}
        for item in status.get("containerStatuses") or status.get("initContainerStatuses") or []
    ]
    reasons = {str((state.get("waiting") or {}).get("reason") or "") for state in states}
    if any(reason.endswith(("BackOff", "Error")) for reason in reasons):
        return FAILING, _age(scheduled.get("lastTransitionTime"), now)
    running = [state["running"] or {} for state in states if "running" in state]
    if running:
        begun = [str(each["startedAt"]) for each in running if each.get("startedAt")]
        return LOADING, _age(min(begun, default=None), now)
    return STARTING, _age(scheduled.get("lastTransitionTime"), now)


def _age(since: object, now: datetime) -> float:
    try:
        # The node's clock may be ahead.
        return max(0.0, (now - when(str(since))).total_seconds())
    except ValueError:
        return 0.0


def counts(assessment: Assessment, now: datetime) -> dict[str, tuple[int, float]]:
    """Return for each phase how many pods are in it, and the longest time of one, in seconds."""
    seen: dict[str, list[float]] = {}
    for pod in assessment.pods:
        name, seconds = phase(pod, now)
        if name:
            seen.setdefault(name, []).append(seconds)
    return {name: (len(seen[name]), max(seen[name])) for name in ORDER if name in seen}


def line(assessment: Assessment, now: datetime) -> str:
    """Return the state of a workload: tts-worker 3/8 ready, 4 loading (62 s), 1 pending (5 s)."""
    seen = counts(assessment, now)
    ready = seen.pop(READY, (0, 0.0))[0]
    rest = [f"{count} {name} ({seconds:.0f} s)" for name, (count, seconds) in seen.items()]
    head = f"{assessment.target.name} {ready}/{assessment.progress.desired} ready"
    return ", ".join([head, *rest])


def changed(before: Sequence[Assessment], now: Sequence[Assessment], at: datetime) -> bool:
    """Whether a phase has another number of pods."""

    def numbers(assessments: Sequence[Assessment]) -> list[dict[str, int]]:
        return [
            {name: count for name, (count, _seconds) in counts(each, at).items()}
            for each in assessments
        ]

    return numbers(before) != numbers(now)
