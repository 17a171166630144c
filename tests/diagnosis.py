# SPDX-License-Identifier: Apache-2.0
"""Describe the state of a cluster in a few lines, for the report of a failed test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

GPU = "nvidia.com/gpu"
EVENTS, LINES = 25, 8


def describe(api: client.ApiClient) -> str:
    """Nodes, pods that are not ready and why, and the last warnings."""
    core = client.CoreV1Api(api)
    lines = [*_nodes(core), *_pods(core), *_warnings(core)]
    return "\n".join(lines)


def _nodes(core: client.CoreV1Api) -> Iterator[str]:
    for node in core.list_node().items:
        ready = [c for c in node.status.conditions if c.type == "Ready"]
        state = "Ready" if [c.status for c in ready] == ["True"] else f"not Ready: {ready}"
        taints = ", ".join(f"{t.key}:{t.effect}" for t in node.spec.taints or [])
        gpus = node.status.allocatable.get(GPU, "0")
        cordoned = ", cordoned" if node.spec.unschedulable else ""
        yield f"node {node.metadata.name}: {state}{cordoned}, {gpus} GPUs, taints [{taints}]"


def _pods(core: client.CoreV1Api) -> Iterator[str]:
    for pod in core.list_pod_for_all_namespaces().items:
        status = pod.status
        states = (status.init_container_statuses or []) + (status.container_statuses or [])
        if pod.status.phase == "Succeeded" or (states and all(state.ready for state in states)):
            continue
        name = f"{pod.metadata.namespace}/{pod.metadata.name}"
        deletion = pod.metadata.deletion_timestamp
        deleted = f", deleted {deletion:%T}" if deletion else ""
        reason = " ".join(filter(None, (pod.status.reason, pod.status.message)))
        yield (
            f"pod {name} on {pod.spec.node_name}, made {pod.metadata.creation_timestamp:%T}"
            f"{deleted}: {pod.status.phase} {reason}".rstrip()
        )
        for state in states:
            if not state.ready:
                yield f"  {state.name}: {_state(state)}"
                yield from _log(core, pod, state.name)
        for condition in pod.status.conditions or []:
            if condition.status != "True" and condition.message:
                yield f"  {condition.type}: {condition.message}"


def _log(core: client.CoreV1Api, pod: Any, container: str) -> Iterator[str]:
    """The last lines that a container wrote; nothing when it never ran."""
    name, namespace = pod.metadata.name, pod.metadata.namespace
    try:
        log = core.read_namespaced_pod_log(name, namespace, container=container, tail_lines=LINES)
    except (urllib3.exceptions.HTTPError, ApiException):
        return
    yield from (f"    | {line[:300]}" for line in log.splitlines())


def _state(status: Any) -> str:
    """A container's state, and how it ended before."""
    now = status.state.waiting or status.state.terminated
    reason = " ".join(filter(None, (now.reason, now.message))) if now else "runs, is not ready"
    last = status.last_state.terminated if status.last_state else None
    before = f"; before: {last.reason}, exit {last.exit_code}" if last else ""
    return f"{reason}{before}; {status.restart_count} restarts"


def _warnings(core: client.CoreV1Api) -> Iterator[str]:
    events = core.list_event_for_all_namespaces(field_selector="type=Warning").items
    dated = [(event.last_timestamp or event.event_time or event.metadata.creation_timestamp, event)
             for event in events]  # fmt: skip
    for when, event in sorted(dated, key=lambda pair: pair[0])[-EVENTS:]:
        about = f"{event.involved_object.namespace}/{event.involved_object.name}"
        yield f"{when:%T} {about} {event.reason} x{event.count or 1}: {event.message}"[:300]
