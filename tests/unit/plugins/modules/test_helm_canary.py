# SPDX-License-Identifier: Apache-2.0
"""The module that starts an upgrade's first pod, with a program that answers as helm does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.modules import helm_canary

from tests.unit.plugins.modules import helming
from tests.unit.plugins.modules.running import Modules

APPS = "/apis/apps/v1"
CANARY = f"{APPS}/namespaces/cartesia/deployments/tts-canary"
MANIFEST = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tts}
spec:
  selector: {matchLabels: {app: tts}}
  template:
    metadata: {labels: {app: tts}}
    spec: {containers: [{name: worker, image: "worker:%s", env: [{name: KEY, value: "%s"}]}]}
"""


def release(revision: int, image: str, key: str = "", status: str = "deployed") -> str:
    """The release with a worker of this image."""
    workers = [{"name": "tts", "workerArgs": {"model": "sonic"}}]
    return helming.release(revision, MANIFEST % (image, key), status, workers=workers)


class Api:
    """An API server that knows Deployments, ConfigMaps and Secrets."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path == "/api/v1":
            kinds = {"ConfigMap": "configmaps", "Secret": "secrets"}
        elif path == APPS:
            kinds = {"Deployment": "deployments"}
        elif path.startswith(f"{APPS}/namespaces"):
            if path not in self.objects:
                raise KubeError("not found", 404)
            return self.objects[path]
        else:
            return {"items": list(self.objects.values()) if path.startswith(APPS) else []}
        return {"resources": [{"kind": k, "name": n, "namespaced": True} for k, n in kinds.items()]}

    def apply(
        self, path: str, body: dict[str, Any], _manager: str, *, dry_run: bool
    ) -> dict[str, Any]:
        if not dry_run:
            self.objects[path] = body
        return body

    def delete(self, path: str) -> None:
        del self.objects[path]


class Cluster(helming.Helm):
    """A cluster with a release that must not change, and the module."""

    def __init__(self, modules: Modules, folder: Path, api: Api) -> None:
        super().__init__(modules, folder, upgrades=False)
        self.there = api.objects

    def call(self, **options: Any) -> dict[str, Any]:
        given = self.options | {"workers": ["tts", "stt"]} | options
        return self._modules.call(helm_canary.main, diff=True, **given)


@pytest.fixture
def cluster(modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    api = Api()
    monkeypatch.setattr(helm_canary, "client_of", lambda *_args, **_more: api)
    return Cluster(modules, tmp_path, api)


def test_started_once_and_removed(cluster: Cluster) -> None:
    cluster.has(release(1, "1"), release(2, "2"))
    predicted = cluster.call(check=True)
    assert (predicted["changed"], predicted["deployment"], cluster.there) == (
        True,
        "tts-canary",
        {},
    )
    made = cluster.call()
    assert made == predicted
    assert (made["worker"], made["models"]) == ("tts", ["sonic"])
    assert made["diff"] == {"before": "[]\n", "after": "- Deployment tts-canary\n"}
    [container] = cluster.there[CANARY]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "worker:2"
    assert not cluster.call()["changed"]
    gone = cluster.call(state="absent", chart=None)
    assert (gone["changed"], gone["deployment"], cluster.there) == (True, "", {})
    assert not cluster.call(state="absent", chart=None)["changed"]


@pytest.mark.parametrize(
    ("is_", "becomes", "workers"),
    [
        ("", release(1, "1"), ["tts"]),
        (release(1, "1"), release(2, "1"), ["tts"]),
        (release(1, "1"), release(2, "2"), []),
    ],
    ids=["first-deployment", "unchanged", "not-wanted"],
)
def test_one_that_is_left_over_is_removed(
    cluster: Cluster, is_: str, becomes: str, workers: list[str]
) -> None:
    cluster.has(release(1, "1"), release(2, "2"))
    cluster.call()
    assert cluster.there
    cluster.has(is_, becomes)
    result = cluster.call(workers=workers)
    assert (result["changed"], result["deployment"], cluster.there) == (True, "", {})
    assert not cluster.call(workers=workers)["changed"]


def test_secret_values_reach_the_pod_and_are_not_shown(cluster: Cluster) -> None:
    cluster.has(release(1, "1"), release(2, "2", key="sk_hidden"))
    result = cluster.call(secret_values={"key": "sk_hidden"})
    assert "sk_hidden" in json.dumps(cluster.there)
    assert "sk_hidden" not in json.dumps(result)


def test_interrupted_release_is_reported(cluster: Cluster) -> None:
    cluster.has(release(1, "1", status="pending-upgrade"), release(2, "2"))
    result = cluster.call()
    assert result["failed"]
    assert "revision 1 is pending-upgrade" in result["msg"]
    assert cluster.there == {}


def test_check_mode_before_anything_is_there(cluster: Cluster) -> None:
    result = cluster.call(check=True, chart="/nowhere/chart")
    assert not result["changed"]
    assert "/nowhere/chart" in result["msg"]
    assert result["deployment"] == ""
