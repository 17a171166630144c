# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that a wait passes over: one dead or cordoned host must not stop the others' run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .._kube.pods import condition, name_of, pod_ready, terminating
from .._kube.types import Object
from .progress import Assessment, Progress

MISSING = "does not exist"
# The deprecated annotation and label that still tell the templates of a DaemonSet apart.
TEMPLATE = "deprecated.daemonset.template.generation"
TEMPLATE_LABEL = "pod-template-generation"
REVISION_LABEL = "controller-revision-hash"


def nodes_aside(nodes: Iterable[Object]) -> dict[str, str]:
    """Nodes that are not waited for, with the reason.

    A node whose kubelet answers and is not ready is waited for: it may just have joined.
    """
    aside = {}
    for node in nodes:
        if (node.get("spec") or {}).get("unschedulable"):
            aside[name_of(node)] = "is cordoned"
        if condition(node, "Ready").get("status") == "Unknown":
            aside[name_of(node)] = "does not answer"
    return aside


def pass_over(
    assessment: Assessment, workload: Object | None, aside: Mapping[str, str]
) -> Assessment:
    """The assessment of a DaemonSet or StatefulSet without its lost pods on nodes set aside.

    Deployments need no such thing: their pods begin elsewhere. A StatefulSet must have more than
    half of its pods, so that what decides by majority does.
    """
    kind = assessment.target.kind
    lost = [
        pod
        for pod in assessment.pods
        if (pod.get("spec") or {}).get("nodeName") in aside
        and (terminating(pod) or not pod_ready(pod))
    ]
    if kind == "Deployment" or workload is None or not lost:
        return assessment
    left = [pod for pod in assessment.pods if pod not in lost]
    names = {name_of(pod) for pod in lost}
    troubles = tuple(trouble for trouble in assessment.troubles if trouble.pod not in names)
    progress = assessment.progress
    nodes = sorted({pod["spec"]["nodeName"] for pod in lost})
    enough = kind == "DaemonSet" or 2 * len(left) > progress.desired
    if (
        not progress.done
        and enough
        and _seen(workload)
        and len(left) + len(nodes) >= progress.desired
        and all(pod_ready(pod) and _newest(kind, pod, workload) for pod in left)
    ):
        message = f"{len(left)} of {progress.desired} pods ready, without {', '.join(nodes)}"
        progress = Progress(True, message, progress.desired, len(left))
    return replace(assessment, progress=progress, troubles=troubles, pods=tuple(left))


def _seen(workload: Object) -> bool:
    """Whether the controller has seen the workload's newest template."""
    seen = int((workload.get("status") or {}).get("observedGeneration") or 0)
    return seen >= int(workload["metadata"].get("generation") or 0)


def _newest(kind: str, pod: Object, workload: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    if kind == "StatefulSet":
        return bool(
            labels.get(REVISION_LABEL) == (workload.get("status") or {}).get("updateRevision")
        )
    wanted = (workload["metadata"].get("annotations") or {}).get(TEMPLATE)
    return wanted is None or labels.get(TEMPLATE_LABEL) == wanted
