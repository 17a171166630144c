# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._kube import pods

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PODS: dict[str, Any] = yaml.safe_load((FIXTURES / "pods.yml").read_text(encoding="utf-8"))
GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("name", "cause", "says"),
    [
        ("image_back_off", "image", "worker:nope: not found"),
        ("init_image", "image", "kube-router:v2: ErrImagePull: dial tcp 172.30.0.2:5000"),
        ("crash_loop", "crash", "crashed 5 times, last with exit code 2: neither CARTESIA"),
        ("oom_killed", "crash", "exit code 137, OOMKilled"),
        ("no_gpu", "unschedulable", "2 Insufficient nvidia.com/gpu"),
        ("no_secret", "config", 'secret "api-key-secret" not found'),
        ("no_device", "config", "unresolvable CDI devices nvidia.com/gpu=0"),
        ("refused", "refused", "refused by node gpu2: UnexpectedAdmissionError"),
    ],
)
def test_trouble_is_named(name: str, cause: str, says: str) -> None:
    (trouble,) = pods.diagnose_pod(PODS[name], crash_restarts=3)
    assert trouble.cause == cause
    assert says in trouble.message
    assert PODS[name]["metadata"]["name"] in trouble.message


@pytest.mark.parametrize("name", ["ready", "loading", "first_crash", "leaving"])
def test_no_trouble(name: str) -> None:
    assert pods.diagnose_pod(PODS[name], crash_restarts=3) == []


def test_one_crash_is_a_loop_where_one_is_the_limit() -> None:
    (trouble,) = pods.diagnose_pod(PODS["first_crash"], crash_restarts=1)
    assert (trouble.pod, trouble.container) == ("license-proxy-5c-eeeee", "license-proxy")


def test_unschedulable_tells_what_is_short_and_no_preemption() -> None:
    (trouble,) = pods.diagnose_pod(PODS["no_gpu"], crash_restarts=3)
    assert trouble.resources == ("cpu", GPU)
    assert "reemption" not in trouble.message


def test_ready_pod_that_is_leaving_does_not_serve() -> None:
    assert pods.pod_ready(PODS["ready"])
    assert not pods.pod_ready(PODS["loading"])
    assert not pods.pod_ready(PODS["leaving"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ready", "Ready, on gpu1"),
        ("loading", "Running, on gpu1, worker starting"),
        ("crash_loop", "CrashLoopBackOff"),
        ("no_gpu", "Insufficient nvidia.com/gpu"),
        ("leaving", "Terminating"),
        ("init_image", "install-config ErrImagePull"),
    ],
)
def test_pod_in_words(name: str, says: str) -> None:
    assert says in pods.describe_pod(PODS[name])


def test_gpu_accounting() -> None:
    nodes = [
        {
            "metadata": {"name": name},
            "status": {
                "allocatable": {GPU: count},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for name, count in (("gpu2", "4"), ("gpu1", "1"), ("cp1", "0"))
    ]
    uses = pods.node_use(nodes, PODS.values(), GPU)
    assert [(use.node, use.allocatable, use.used) for use in uses] == [
        ("gpu1", 1, 2),
        ("gpu2", 4, 1),
    ]
    assert pods.being_freed(uses)
    lines = pods.describe_use(GPU, uses)
    assert "gpu1: 0 of 1 free, held by tts-worker-7d9f-aaaaa, tts-worker-7d9f-bbbbb" in lines
    assert "gpu2: 3 of 4 free, held by tts-worker-7d9f-kkkkk (terminating)" in lines


def test_no_gpu_anywhere_is_reported() -> None:
    assert pods.describe_use(GPU, []) == f"{GPU}: no node offers any"
    assert not pods.being_freed([])


def test_ended_pods_hold_nothing() -> None:
    ended = {**PODS["ready"], "status": {"phase": "Succeeded"}}
    assert pods.node_use([], [ended], GPU) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("4", "4"), (2, "2"), ("100m", "0.1"), ("1k", "1000"), ("2Gi", "2147483648"), ("0", "0")],
)
def test_quantity(text: object, number: str) -> None:
    assert pods.quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1Q", "-"])
def test_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        pods.quantity(text)


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "1", "b": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["0"]}]}, False),
        (None, False),
    ],
)
def test_selectors(selector: dict[str, Any] | None, holds: bool) -> None:
    assert pods.matches(selector, {"a": "1"}) is holds
