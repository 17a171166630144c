# SPDX-License-Identifier: Apache-2.0
"""Waits pass over nodes that do not answer, are cordoned or do not exist."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import collection
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.aside import nodes_aside
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.progress import Target
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.wait import (
    NodeResources,
    Outcome,
    Wait,
)

from tests.unit.plugins.module_utils._rollout.test_wait import SHORT, FakeApi

INGRESS = Target("DaemonSet", "ingress", "haproxy-ingress")
NATS = Target("StatefulSet", "cartesia", "nats")


def node(name: str, ready: str = "True", cordoned: bool = False, gpus: int = 0) -> dict[str, Any]:
    """A Node."""
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": status | {"allocatable": {"nvidia.com/gpu": str(gpus)}},
    }


def pod(name: str, node_name: str, ready: bool, owner: str, **labels: str) -> dict[str, Any]:
    """A pod of a workload."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "labels": {"app": owner} | {k.replace("_", "-"): v for k, v in labels.items()},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"nodeName": node_name},
        "status": {"phase": "Running", "conditions": [condition]},
    }


def daemonset(wanted: int, updated: int, available: int) -> dict[str, Any]:
    """A DaemonSet whose template has the generation 2."""
    return {
        "metadata": {
            "name": INGRESS.name,
            "namespace": INGRESS.namespace,
            "uid": "ds",
            "generation": 2,
            "annotations": {"deprecated.daemonset.template.generation": "2"},
        },
        "spec": {"selector": {"matchLabels": {"app": "ds"}}},
        "status": {
            "observedGeneration": 2,
            "desiredNumberScheduled": wanted,
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
            "numberReady": available,
        },
    }


def statefulset(ready: int) -> dict[str, Any]:
    """A StatefulSet of three pods."""
    return {
        "metadata": {"name": NATS.name, "namespace": NATS.namespace, "uid": "ss", "generation": 1},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "ss"}}},
        "status": {
            "observedGeneration": 1,
            "readyReplicas": ready,
            "updatedReplicas": 3,
            "currentRevision": "b",
            "updateRevision": "b",
        },
    }


def run(nodes: list[dict[str, Any]], workload: dict[str, Any], *pods: dict[str, Any]) -> Outcome:
    """Wait for a workload for a moment."""
    target = INGRESS if workload["metadata"]["uid"] == "ds" else NATS
    kind = "daemonsets" if target is INGRESS else "statefulsets"
    api = FakeApi()
    api.objects[collection("nodes")] = nodes
    api.objects[collection(kind, target.namespace)] = [workload]
    api.objects[collection("pods", target.namespace)] = list(pods)
    return Wait(api, [target], SHORT, 0.1).run()


def test_nodes_that_are_not_waited_for() -> None:
    nodes = [node("a"), node("b", "Unknown"), node("c", cordoned=True), node("d", "False")]
    assert nodes_aside(nodes) == {"b": "does not answer", "c": "is cordoned"}


@pytest.mark.parametrize("dead", [node("gpu2", "Unknown"), node("gpu2", cordoned=True)])
def test_a_daemonsets_lost_pod(dead: dict[str, Any]) -> None:
    pods = [
        pod("x1", "gpu1", True, "ds", pod_template_generation="2"),
        pod("x2", "gpu2", False, "ds", pod_template_generation="1"),
    ]
    outcome = run([node("gpu1"), dead], daemonset(2, 1, 1), *pods)
    assert (outcome.failure, outcome.pending) == ("", [])
    assert list(outcome.passed_over) == ["gpu2"]
    assert outcome.assessments[0].progress.message == "1 of 2 pods ready, without gpu2"


def test_a_living_node_is_waited_for() -> None:
    pods = [
        pod("x1", "gpu1", True, "ds", pod_template_generation="2"),
        pod("x2", "gpu2", False, "ds", pod_template_generation="2"),
    ]
    outcome = run([node("gpu1"), node("gpu2", "False")], daemonset(2, 2, 1), *pods)
    assert outcome.cause == "timeout"
    assert outcome.passed_over == {}


def test_living_nodes_need_the_newest_template() -> None:
    pods = [
        pod("x1", "gpu1", True, "ds", pod_template_generation="1"),
        pod("x2", "gpu2", False, "ds", pod_template_generation="2"),
    ]
    outcome = run([node("gpu1"), node("gpu2", "Unknown")], daemonset(2, 1, 1), *pods)
    assert outcome.cause == "timeout"


def test_a_pod_that_is_yet_to_be_made_is_waited_for() -> None:
    pods = [pod("x2", "gpu2", False, "ds", pod_template_generation="2")]
    outcome = run([node("gpu1"), node("gpu2", "Unknown")], daemonset(2, 1, 0), *pods)
    assert outcome.cause == "timeout"


@pytest.mark.parametrize(("lost", "done"), [(1, True), (2, False)])
def test_a_statefulset_needs_its_majority(lost: int, done: bool) -> None:
    revision = {"controller_revision_hash": "b"}
    pods = [pod(f"nats-{n}", f"n{n}", n >= lost, "ss", **revision) for n in range(3)]
    nodes = [node(f"n{n}", "Unknown" if n < lost else "True") for n in range(3)]
    assert (run(nodes, statefulset(3 - lost), *pods).failure == "") is done


def test_nodes_of_which_no_gpus_are_expected() -> None:
    api = FakeApi()
    api.objects[collection("nodes")] = [
        node("gpu1", gpus=2),
        node("gpu2", "Unknown"),
        node("gpu3", cordoned=True),
    ]
    wanted = NodeResources("nvidia.com/gpu", {"gpu1": 2, "gpu2": 2, "gpu3": 2, "gpu4": 2})
    outcome = Wait(api, [], SHORT, 0.1, node_resources=wanted).run()
    assert (outcome.failure, outcome.pending) == ("", [])
    assert outcome.passed_over == {
        "gpu2": "does not answer",
        "gpu3": "is cordoned",
        "gpu4": "does not exist",
    }
