# SPDX-License-Identifier: Apache-2.0
"""The objects of the role workers for the canary of a rollout, and the images' names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rendering import render


def worker(name: str = "tts", image: str = "worker") -> dict[str, Any]:
    """An entry of workers."""
    return {"name": name, "workerArgs": {"model": "m", "image": image, "capacity": 4}}


def specs(*workers: dict[str, Any], **variables: Any) -> dict[str, dict[str, Any]]:
    """The Deployments' specs by name."""
    names = {"site_image_registry": "registry.example.com/x", "site_release_tag": "1"}
    made = render("workers", "workers.yml.j2", workers=list(workers), **names | variables)
    return {item["metadata"]["name"]: item["spec"] for item in made if item["kind"] == "Deployment"}


def test_first_pod_holds_the_others_back() -> None:
    surge = {"tts": {"maxSurge": 3, "maxUnavailable": 0}}
    actual = specs(worker(), worker("stt"), strategies=surge, canary="tts")
    first = actual["tts"]
    # The API server asks for a deadline that is greater.
    assert first["minReadySeconds"] == first["progressDeadlineSeconds"] - 1 > 900
    assert first["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "minReadySeconds" not in actual["stt"]
    rest = specs(worker(), worker("stt"), strategies=surge)
    assert "minReadySeconds" not in rest["tts"]
    assert rest["tts"]["strategy"]["rollingUpdate"] == surge["tts"]
    assert rest["tts"]["template"] == first["template"]


def test_first_pod_without_a_free_gpu() -> None:
    rest = {"tts": {"maxSurge": 0, "maxUnavailable": 1}}
    first = specs(worker(), strategies=rest, canary="tts")["tts"]
    assert first["strategy"]["rollingUpdate"] == rest["tts"]


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("worker", "registry.example.com/x/worker:1"),
        ("ghcr.io/y/worker:2", "ghcr.io/y/worker:2"),
        (f"ghcr.io/y/worker@sha256:{'0' * 64}", f"ghcr.io/y/worker@sha256:{'0' * 64}"),
    ],
)
def test_images(image: str, full: str) -> None:
    [container] = specs(worker(image=image))["tts"]["template"]["spec"]["containers"]
    assert container["image"] == full


def test_models_are_kept_where_the_site_says() -> None:
    def volumes(**variables: Any) -> tuple[Any, Any]:
        spec = specs(worker(), **variables)["tts"]["template"]["spec"]
        mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
        actual = {v["name"]: v for v in spec["volumes"]}
        return actual.get("models"), mounts.get("models")

    assert volumes() == (None, None)
    path, mount = volumes(workers_cache_path="/data/models")
    assert path["persistentVolumeClaim"]["claimName"].startswith("worker-models-")
    assert mount == "/var/cache/models"
    claim, _mount = volumes(workers_cache_class="fast")
    assert claim["persistentVolumeClaim"] == {"claimName": "worker-models"}
    made = render(
        "workers",
        "workers.yml.j2",
        workers=[worker(image="x/w:1")],
        workers_cache_class="fast",
    )
    [wanted] = [item["spec"] for item in made if item["kind"] == "PersistentVolumeClaim"]
    assert (wanted["storageClassName"], wanted["accessModes"]) == ("fast", ["ReadWriteMany"])
