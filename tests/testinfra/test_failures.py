# SPDX-License-Identifier: Apache-2.0
"""Parts of the stack fail under load: an accepted request ends complete, or with an error.

A stream that was cut must not look like one that came to its end, nor may a listener be left
waiting: the Crowd's sockets time out after 30 s, and a timeout fails the test.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from lab.waiting import wait, wait_while
from tests.playbooks import on_lab
from tests.testinfra.crowd import Crowd
from tests.testinfra.test_reboot import trouble
from tests.testinfra.test_scaling import WORKER, worker_with

STACK = "cartesia"
COMPONENT = "app.kubernetes.io/component"
LISTENERS = 4


@pytest.fixture(scope="module", autouse=True)
def two_of_each() -> Iterator[None]:
    """Two API pods and two workers: one of each may die; afterwards the inventory's own."""
    on_lab(
        "stack.yml",
        api_replicas=2,
        **worker_with(autoscaling={"enabled": False}, replicas=2),
    )
    try:
        yield
    finally:
        on_lab("stack.yml")


def serves(pod: Any) -> bool:
    """Whether a pod is there to stay, and ready."""
    states = pod.status.container_statuses or []
    return bool(states) and not pod.metadata.deletion_timestamp and all(s.ready for s in states)


def pods(core: client.CoreV1Api, component: str) -> list[Any]:
    """A component's pods that serve."""
    return [
        pod
        for pod in core.list_namespaced_pod(STACK, label_selector=f"{COMPONENT}={component}").items
        if serves(pod)
        and (component != "worker" or pod.metadata.labels["app.kubernetes.io/name"] == WORKER)
    ]


def kill(host: Any, pod: Any) -> None:
    """End a pod's processes at once, as the kernel does when memory runs out."""
    [container] = host.check_output(
        f"crictl ps --quiet --label io.kubernetes.pod.name={pod.metadata.name}"
    ).split()
    described = json.loads(host.check_output(f"crictl inspect {container}"))
    host.check_output(f"kill -KILL {described['info']['pid']}")


@pytest.mark.parametrize(
    "component",
    [
        "worker",
        "nats",
        # The host that is killed below takes an API pod with it.
        pytest.param("api", marks=pytest.mark.soak),
        pytest.param("license-proxy", marks=pytest.mark.soak),
    ],
)
def test_part_is_killed_under_load(
    component: str,
    core: client.CoreV1Api,
    info: dict[str, Any],
    machines: Callable[[str], Any],
    record_property: Callable[[str, object], None],
) -> None:
    wait("all pods", lambda: all(len(pods(core, name)) >= 2 for name in ("worker", "api")))
    there = pods(core, component)
    victim = there[0]
    restarts = victim.status.container_statuses[0].restart_count
    with Crowd(info, LISTENERS, sentences=2) as crowd:
        wait("speech before", lambda: crowd.heard.whole >= LISTENERS, 60)
        killed = time.monotonic()
        kill(machines(victim.spec.node_name), victim)
        whole = crowd.heard.whole

        def back() -> str:
            actual = {pod.metadata.name: pod for pod in pods(core, component)}
            now = actual.get(victim.metadata.name)
            if not now or now.status.container_statuses[0].restart_count == restarts:
                return f"{victim.metadata.name} is not back"
            return (
                ""
                if crowd.heard.whole >= whole + 2 * LISTENERS
                else "no listener gets a whole answer"
            )

        wait_while(back, 120)
        record_property(f"{component}_back_s", round(time.monotonic() - killed, 1))
        heard = crowd.leave()
    record_property(f"{component}_broken", len(heard.broken))
    record_property(f"{component}_refused", heard.refused)
    assert [line for line in heard.broken if "imeout" in line or "did not end" in line] == []
    # The engine's pauses differ by a few samples from one time to the next.
    assert min(heard.lengths) > 0.97 * max(heard.lengths), "one ended early and looked whole"
    if component == "license-proxy":
        # What it said of a key is remembered for a while.
        assert (heard.broken, heard.refused) == ([], 0)


def test_host_is_killed_under_load(
    core: client.CoreV1Api, info: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    """A host without power: no process closes its connections, to listeners or to NATS."""
    parts = ("worker", "api")
    wait("all pods", lambda: all(len(pods(core, name)) >= 2 for name in parts))
    # Its listeners would lose their own connection with a host of the ingress.
    [name] = [
        name
        for name, host in info["hosts"].items()
        if host["gpus"] and "ingress" not in host["groups"]
    ]
    lost = {part for part in parts for pod in pods(core, part) if pod.spec.node_name == name}
    assert lost == set(parts), "it has nothing to lose"
    container = info["hosts"][name]["container"]

    left = sum(host["gpus"] for other, host in info["hosts"].items() if other != name)

    def elsewhere() -> str:
        workers = core.list_namespaced_pod(STACK, label_selector=f"{COMPONENT}=worker").items
        counts = [
            len([pod for pod in actual if serves(pod) and pod.spec.node_name != name])
            for actual in (pods(core, "api"), workers)
        ]
        return (
            ""
            if counts[0] >= 2 and counts[1] >= left
            else f"API pods and workers on other hosts: {counts}"
        )

    with Crowd(info, LISTENERS, sentences=2) as crowd:
        wait("speech before", lambda: crowd.heard.whole >= LISTENERS, 60)
        subprocess.run(["podman", "kill", container], check=True, stdout=subprocess.DEVNULL)
        killed, progress = time.monotonic(), crowd.heard.whole
        try:
            wait("speech again", lambda: crowd.heard.whole >= progress + 2 * LISTENERS, 60)
            record_property("host_speaks_again_s", round(time.monotonic() - killed, 1))
            wait_while(elsewhere, 180)
            record_property("host_replaced_s", round(time.monotonic() - killed, 1))
        finally:
            subprocess.run(["podman", "start", container], check=True, stdout=subprocess.DEVNULL)
        heard = crowd.leave()
    record_property("host_broken", len(heard.broken))
    record_property("host_refused", heard.refused)
    assert [line for line in heard.broken if "imeout" in line or "did not end" in line] == []
    assert min(heard.lengths) > 0.97 * max(heard.lengths), "one ended early and looked whole"
    wait_while(lambda: trouble(core, name, info["hosts"][name]["gpus"]), 240)


def test_streams_of_the_dead_are_free_again(core: client.CoreV1Api) -> None:
    """No worker still counts a stream without a listener."""

    def busy() -> list[str]:
        texts = {
            pod.metadata.name: str(
                core.connect_get_namespaced_pod_proxy_with_path(
                    f"{pod.metadata.name}:8080", STACK, "metrics"
                )
            )
            for pod in pods(core, "worker")
        }
        assert texts
        return [name for name, text in texts.items() if "inferno_worker_load 0.0" not in text]

    wait_while(busy, 60)


# Python runs this before anything else: the service is still far from taking signals.
SLOW = "import time; time.sleep(90)"
SERVICES = ("cartesia-api", "license-proxy", "artifact-sync", WORKER)


def test_pod_that_has_hardly_begun_ends_on_sigterm(
    core: client.CoreV1Api, apps: client.AppsV1Api
) -> None:
    """The kernel drops a signal for a first process that has no handler yet.

    A worker that missed its SIGTERM would hold its GPU, and even serve, for the whole grace period.
    """
    name = "hardly-begun"
    core.create_namespaced_config_map(
        STACK, {"metadata": {"name": name}, "data": {"sitecustomize.py": SLOW}}
    )
    made = {f"{name}-{service}": service for service in SERVICES}
    try:
        for pod, service in made.items():
            spec = apps.read_namespaced_deployment(service, STACK).spec.template.spec
            [container] = spec.containers
            alike = {
                "name": "service",
                "image": container.image,
                "securityContext": container.security_context,
                "env": [{"name": "PYTHONPATH", "value": "/slow"}],
                "volumeMounts": [{"name": "slow", "mountPath": "/slow"}],
            }
            body = {
                "metadata": {"name": pod},
                "spec": {
                    "containers": [alike],
                    "imagePullSecrets": spec.image_pull_secrets,
                    "securityContext": spec.security_context,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 60,
                    "volumes": [{"name": "slow", "configMap": {"name": name}}],
                },
            }
            core.create_namespaced_pod(STACK, body)
        wait_while(lambda: [pod for pod in made if not runs(core, pod)], 60)
        for pod in made:
            core.delete_namespaced_pod(pod, STACK)
        wait_while(lambda: [pod for pod in made if runs(core, pod)], 20)
    finally:
        for pod in made:
            with suppress(ApiException):
                core.delete_namespaced_pod(pod, STACK, grace_period_seconds=0)
        core.delete_namespaced_config_map(name, STACK)


def runs(core: client.CoreV1Api, pod: str) -> bool:
    """Whether there is a pod of this name whose container runs."""
    pods = core.list_namespaced_pod(STACK, field_selector=f"metadata.name={pod}").items
    states = pods[0].status.container_statuses or [] if pods else []
    return any(status.state.running for status in states)
