# SPDX-License-Identifier: Apache-2.0
"""A snapshot of what our field managers have applied, and its restore."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._site.snapshot import Snapshot

ALL = {"/api/v1": ["Secret", "ConfigMap"], "/apis/apps/v1": ["Deployment"]}
BASE = "/apis/apps/v1/namespaces/cartesia/deployments/"


class Api:
    """Objects by path. An apply replaces what its manager owns, as all is of one manager here."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.applied: list[tuple[str, str]] = []

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path in ALL:
            return {
                "resources": [
                    {"kind": kind, "name": f"{kind.lower()}s", "namespaced": True}
                    for kind in ALL[path]
                ]
            }
        if "labelSelector" in query:
            group, _slash, plural = path.rpartition("/")
            start = f"{group}/namespaces/cartesia/{plural}/"
            return {
                "items": [
                    copy.deepcopy(item)
                    for at, item in self.objects.items()
                    if at.startswith(start) and item["metadata"].get("labels", {}).get("set")
                ]
            }
        if path not in self.objects:
            raise KubeError("not found", 404)
        return copy.deepcopy(self.objects[path])

    def apply(self, path: str, body: Any, manager: str, **_modes: Any) -> dict[str, Any]:
        self.applied.append((manager, path.rpartition("/")[2]))
        self.objects[path] = copy.deepcopy(body)
        return self.objects[path]  # type: ignore[no-any-return]

    def delete(self, path: str) -> None:
        del self.objects[path]


def deployment(image: str, status: int = 0) -> dict[str, Any]:
    """A Deployment whose image is ours, and whose replicas are the autoscaler's."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "api",
            "namespace": "cartesia",
            "labels": {"set": "api"},
            "managedFields": [
                {
                    "manager": "baremetal.sonic.api",
                    "operation": "Apply",
                    "apiVersion": "apps/v1",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:set": {}}},
                        "f:spec": {"f:image": {}},
                    },
                },
                {
                    "manager": "keda",
                    "operation": "Update",
                    "apiVersion": "apps/v1",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}},
                },
            ],
        },
        "spec": {"image": image, "replicas": 3},
        "status": {"readyReplicas": status},
    }


@pytest.fixture
def api() -> Api:
    made = Api()
    made.objects[f"{BASE}api"] = deployment("r/api:1")
    return made


def snapshot(api: Api) -> Snapshot:
    return Snapshot(api, "cartesia", "before", ["api"])


def test_restore_what_ran_and_remove_what_came(api: Api) -> None:
    assert snapshot(api).take("r1", dry_run=False)
    api.objects[f"{BASE}api"] = deployment("r/api:2")
    added = deployment("r/more:1")
    added["metadata"]["name"] = "more"
    api.objects[f"{BASE}more"] = added
    # An interrupted run takes it again: the site has changed, the snapshot has not.
    assert not snapshot(api).take("r1", dry_run=False)
    changed, workloads = snapshot(api).restore("r1", dry_run=False)
    assert changed == ["Deployment api", "Deployment more"]
    assert workloads == [{"kind": "Deployment", "namespace": "cartesia", "name": "api"}]
    assert f"{BASE}more" not in api.objects
    # The autoscaler's number of pods is not ours to restore.
    assert api.objects[f"{BASE}api"]["spec"] == {"image": "r/api:1"}
    assert api.applied[-1] == ("baremetal.sonic.api", "api")


def test_nothing_to_restore_changes_nothing(api: Api) -> None:
    snapshot(api).take("r1", dry_run=False)
    before = len(api.applied)
    changed, _workloads = snapshot(api).restore("r1", dry_run=False)
    assert changed == []
    assert len(api.applied) == before


def test_the_snapshot_of_another_release_is_not_restored(api: Api) -> None:
    snapshot(api).take("r1", dry_run=False)
    with pytest.raises(KubeError, match="no snapshot of the time before release r2"):
        snapshot(api).restore("r2", dry_run=False)
    assert snapshot(api).take("r2", dry_run=False)
    assert snapshot(api).remove(dry_run=False)
    assert snapshot(api).stored() is None


def test_a_site_without_a_stack_has_nothing_to_roll_back_to(api: Api) -> None:
    api.objects.clear()
    snapshot(api).take("r1", dry_run=False)
    with pytest.raises(KubeError, match="nothing ran before"):
        snapshot(api).restore("r1", dry_run=False)
