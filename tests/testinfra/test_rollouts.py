# SPDX-License-Identifier: Apache-2.0
"""A broken version: no client notices, and the run reports why it rolled back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client

from tests.playbooks import on_lab, refused_on_lab
from tests.testinfra.crowd import Crowd
from tests.testinfra.speaking import speech

pytestmark = pytest.mark.soak
STACK = "cartesia"
WORKER = "tts-worker"


def template(apps: client.AppsV1Api) -> Any:
    """The pods' template of the lab's worker."""
    return apps.read_namespaced_deployment(WORKER, STACK).spec.template


def worker(image: str) -> dict[str, Any]:
    """The lab's worker that speaks, with another image."""
    args = {"model": "sonic-reference", "image": image, "capacity": 4}
    scaling = {"enabled": True, "minReplicas": 1, "maxReplicas": 5}
    return {"name": WORKER, "workerArgs": args, "autoscaling": scaling}


def digest(core: client.CoreV1Api) -> str:
    """The worker's image by its digest."""
    pods = core.list_namespaced_pod(
        STACK,
        label_selector=f"app.kubernetes.io/name={WORKER}",
        field_selector="status.phase=Running",
    )
    image: str = pods.items[0].status.container_statuses[0].image_id
    return image


def pods(core: client.CoreV1Api) -> set[str]:
    """The worker's pods."""
    present = core.list_namespaced_pod(STACK, label_selector=f"app.kubernetes.io/name={WORKER}")
    return {pod.metadata.name for pod in present.items}


def sets(apps: client.AppsV1Api) -> int:
    """How many revisions of the worker have pods."""
    replica_sets = apps.list_namespaced_replica_set(
        STACK, label_selector=f"app.kubernetes.io/name={WORKER}"
    ).items
    return sum(bool(item.status.replicas) for item in replica_sets)


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        # Its model never loads.
        (
            {"workers_environment": {"SONIC_MODEL": ""}, "workers_load_timeout": 40},
            "cannot become ready",
        ),
        # It has capacity, and its voice is not there.
        ({"workers_environment": {"SONIC_MODEL": "another-model"}}, "it answered none"),
    ],
    ids=["no-capacity", "no-speech"],
)
def test_bad_version_goes_back(
    apps: client.AppsV1Api,
    core: client.CoreV1Api,
    info: dict[str, Any],
    variables: dict[str, Any],
    why: str,
) -> None:
    before, old = template(apps), pods(core)
    with Crowd(info, 2, sentences=3) as crowd:
        output = refused_on_lab("stack.yml", **variables)
        heard = crowd.leave()
    assert "run again as before this rollout, because it failed" in output
    assert why in output
    assert heard.broken == []
    assert heard.refused == 0
    assert heard.whole >= 2
    assert template(apps) == before
    assert sets(apps) == 1
    # The same pods: they were never taken away.
    assert old <= pods(core)
    assert "changed=0" in on_lab("stack.yml")


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("us-docker.pkg.dev/baremetal-sonic/worker:no-such-tag", "no-such-tag"),
        (f"us-docker.pkg.dev/baremetal-sonic/worker@sha256:{'0' * 64}", "sha256:000"),
    ],
    ids=["tag", "digest"],
)
def test_image_that_cannot_be_pulled_changes_nothing_that_runs(
    apps: client.AppsV1Api, info: dict[str, Any], image: str, why: str
) -> None:
    before = template(apps)
    output = refused_on_lab("stack.yml", workers=[worker(image)])
    assert "DaemonSet cartesia/worker-images cannot become ready" in output
    assert why in output
    assert template(apps) == before
    assert speech(info, "Still the old image.").duration_s > 0.5
    on_lab("stack.yml")


def test_account_that_may_not_pull_changes_nothing_that_runs(
    apps: client.AppsV1Api, info: dict[str, Any]
) -> None:
    stranger = {"private_key_id": "0" * 40, "client_email": "me@example.com", "private_key": "x"}
    before = template(apps)
    try:
        output = refused_on_lab(
            "stack.yml",
            site_service_account=json.dumps(stranger),
            # With the right account the answer is that there is no such image: see above.
            workers=[worker("us-docker.pkg.dev/baremetal-sonic/worker:no-such-tag")],
        )
        assert "DaemonSet cartesia/worker-images cannot become ready" in output
        assert "401 Unauthorized" in output
        assert template(apps) == before
        assert speech(info, "Still the old image.").duration_s > 0.5
    finally:
        on_lab("stack.yml")


def test_every_gpu_host_has_the_images(
    apps: client.AppsV1Api, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    image = template(apps).spec.containers[0].image
    for name, host in info["hosts"].items():
        if "gpu_workers" in host["groups"]:
            images = core.read_node(name).status.images
            assert any(image in (item.names or []) for item in images), name


def test_image_by_digest(
    apps: client.AppsV1Api, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    image = digest(core)
    assert "@sha256:" in image
    on_lab("stack.yml", workers=[worker(image)])
    try:
        assert template(apps).spec.containers[0].image == image
        assert speech(info, "The same image, by its digest.").duration_s > 0.5
    finally:
        on_lab("stack.yml")
