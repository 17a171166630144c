# SPDX-License-Identifier: Apache-2.0
"""Malformed input to the lab through its ingress: nothing ends, hangs or leaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client, stream

pytest.register_assert_rewrite("tests.fuzz")

from tests.fuzz import FuzzTests, complaints, resident_peak  # noqa: E402
from tests.sites import Site  # noqa: E402

pytestmark = pytest.mark.soak
STACK = "cartesia"
# Seconds between two looks at the memory.
LOOK_S = 2.0


def containers(core: client.CoreV1Api) -> dict[str, int]:
    """The restarts of the stack's pods."""
    return {
        pod.metadata.name: state.restart_count
        for pod in core.list_namespaced_pod(STACK).items
        for state in pod.status.container_statuses or []
    }


@pytest.fixture(scope="module")
def before(core: client.CoreV1Api) -> dict[str, int]:
    """The restarts before."""
    return containers(core)


@pytest.fixture(scope="module")
def peak(core: client.CoreV1Api) -> Callable[[], int]:
    """Return a function for the peak memory of the API's processes (bytes)."""
    asked = 0.0
    most = 0

    def highest() -> int:
        nonlocal asked, most
        # A look takes longer than a case.
        if time.monotonic() - asked > LOOK_S:
            asked = time.monotonic()
            pods = core.list_namespaced_pod(
                STACK, label_selector="app.kubernetes.io/component=api"
            ).items
            output = [
                stream.stream(
                    core.connect_get_namespaced_pod_exec, pod.metadata.name, STACK,
                    command=["sh", "-c", "cat /proc/[0-9]*/status"],
                    stdout=True, stderr=False, stdin=False, tty=False,
                )
                for pod in pods
                if not pod.metadata.deletion_timestamp
            ]  # fmt: skip
            most = max(resident_peak(one) for one in output)
        return most

    return highest


@pytest.mark.usefixtures("before")
class TestFuzz(FuzzTests):
    """Each way in, here."""


def test_nothing_was_left_behind(
    site: Site, core: client.CoreV1Api, info: dict[str, Any], before: dict[str, int]
) -> None:
    logs = {
        pod.metadata.name: core.read_namespaced_pod_log(pod.metadata.name, STACK)
        for part in ("api", "worker")
        for pod in core.list_namespaced_pod(
            STACK, label_selector=f"app.kubernetes.io/component={part}"
        ).items
    }
    assert logs
    wrong = {name: actual for name, log in logs.items() if (actual := complaints(log, site.key))}
    assert wrong == {}
    # A pod that the autoscaler took away has not crashed.
    now = containers(core)
    assert {name: count for name, count in now.items() if before.get(name, 0) != count} == {}
