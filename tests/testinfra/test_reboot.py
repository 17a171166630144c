# SPDX-License-Identifier: Apache-2.0
"""A host that is switched off and on comes back by itself: GPUs, kubelet, pods."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

BOOTED = "systemctl show --property=UserspaceTimestampMonotonic --value"
LIMIT_S = 240


def pods(core: client.CoreV1Api, node: str) -> list[Any]:
    """The pods that are bound to a node and still want to run.

    The kubelet fails a GPU pod that it looks at again before the device plugin is back
    (UnexpectedAdmissionError). The Deployment replaces it at once; the failed one stays to be read.
    """
    present: list[Any] = core.list_pod_for_all_namespaces(
        field_selector=f"spec.nodeName={node},status.phase!=Failed"
    ).items
    return present


def incomplete(apps: client.AppsV1Api) -> list[str]:
    """Deployments with fewer ready pods than they want."""
    return [
        f"{item.metadata.name} has {item.status.ready_replicas or 0} of {item.spec.replicas} pods"
        for item in apps.list_deployment_for_all_namespaces().items
        if (item.status.ready_replicas or 0) < item.spec.replicas
    ]


def containers(core: client.CoreV1Api, node: str) -> set[str]:
    """Identities of a node's running containers."""
    statuses = [s for pod in pods(core, node) for s in pod.status.container_statuses or []]
    return {status.container_id for status in statuses if status.container_id}


def trouble(core: client.CoreV1Api, node: str, gpus: int) -> str:
    """What the cluster lacks of this node; empty when it lacks nothing."""
    described = core.read_node(node)
    if [c.status for c in described.status.conditions if c.type == "Ready"] != ["True"]:
        return "the node is not Ready"
    offered = int(described.status.allocatable.get("nvidia.com/gpu", 0))
    if offered != gpus:
        return f"the node offers {offered} GPUs of {gpus}"
    for pod in pods(core, node):
        states = pod.status.container_statuses or []
        if not states or not all(state.ready for state in states):
            return f"the pod {pod.metadata.namespace}/{pod.metadata.name} is not ready"
    return "; ".join(incomplete(client.AppsV1Api(core.api_client)))


@pytest.mark.each_host_in_soak
def test_gpu_host_comes_back(
    core: client.CoreV1Api, info: dict[str, Any], gpu_machine: Any, gpu_node: str
) -> None:
    booted = gpu_machine.check_output(BOOTED)
    before = containers(core, gpu_node)
    host = info["hosts"][gpu_node]
    subprocess.run(
        ["podman", "restart", "--time", "30", host["container"]],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    limit = time.monotonic() + LIMIT_S
    left = "never looked"
    while left:
        assert time.monotonic() < limit, f"{gpu_node} after {LIMIT_S} s: {left}"
        time.sleep(1)
        try:
            left = trouble(core, gpu_node, host["gpus"])
            running = containers(core, gpu_node)
        except (urllib3.exceptions.HTTPError, ApiException) as error:
            left = f"the API does not answer: {error}"
            continue
        # Right after the restart the API still shows what was before it.
        left = left or ("containers from before the reboot" if running & before else "")
    assert gpu_machine.check_output(BOOTED) != booted
