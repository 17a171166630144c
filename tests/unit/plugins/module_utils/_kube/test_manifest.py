# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest import (
    Release,
    ReleaseError,
    established,
    fingerprint,
    in_namespace,
    version_of,
)
from ansible_collections.baremetal.sonic.plugins.modules.k8s_manifest import objects

MANIFEST = b"""\
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator}
subjects:
  - {kind: ServiceAccount, name: operator, namespace: default}
  - {kind: Group, name: admins}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator, namespace: default}
spec: {replicas: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec: {enum: [!!str a, =, 2024-01-01]}
"""
KINDS = {
    "/api/v1": [("Namespace", "namespaces", False), ("ServiceAccount", "serviceaccounts", True)],
    "/apis/apps/v1": [("Deployment", "deployments", True)],
    "/apis/rbac.authorization.k8s.io/v1": [("ClusterRoleBinding", "clusterrolebindings", False)],
    "/apis/apiregistration.k8s.io/v1": [("APIService", "apiservices", False)],
    "/apis/apiextensions.k8s.io/v1": [
        ("CustomResourceDefinition", "customresourcedefinitions", False)
    ],
}
DEPLOYMENT = "/apis/apps/v1/namespaces/tools/deployments/operator"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com"


class Api:
    """As much of an API server as a release needs; counts what it is asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.applied: list[str] = []
        self.clock = 0

    def get(self, path: str, **_query: str) -> dict[str, Any]:
        if path in KINDS:
            keys = ("kind", "name", "namespaced")
            return {"resources": [dict(zip(keys, kind, strict=True)) for kind in KINDS[path]]}
        if path not in self.objects:
            raise KubeError("not found", 404)
        return copy.deepcopy(self.objects[path])

    def metadata(self, path: str) -> dict[str, Any]:
        return {"metadata": self.get(path)["metadata"]}

    def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        manager: str,
        *,
        dry_run: bool,
        whole: bool = True,
    ) -> dict[str, Any]:
        assert (manager, whole) == ("baremetal.sonic", False)
        if "/namespaces/tools/" in path and "/api/v1/namespaces/tools" not in self.objects:
            raise KubeError("namespace not found", 404)
        self.applied.append(path)
        old = self.objects.get(path)
        given = copy.deepcopy(dict(body))
        if old and old["given"] == given:
            return {"metadata": old["metadata"]}
        self.clock += 1
        metadata = {**given["metadata"], "uid": path, "resourceVersion": str(self.clock)}
        if "binding" not in path and "account" not in path:
            metadata["generation"] = self.clock
        if not dry_run:
            self.objects[path] = given | {"metadata": metadata, "given": given}
        return {"metadata": metadata}

    def touch(self, path: str) -> None:
        """Change an object, as another program does."""
        self.objects[path] |= {"spec": {"replicas": 7}, "given": {}}
        self.objects[path]["metadata"]["generation"] += 1


def manifest() -> list[dict[str, Any]]:
    return objects(MANIFEST, "", "tools")


def applied(api: Api, wanted: str = "one", dry_run: bool = False) -> list[str]:
    return Release(api, "operator", "tools").apply(manifest(), wanted, dry_run, lambda _path: None)


def test_manifest_is_moved_to_the_namespace() -> None:
    account, binding = (
        next(item for item in manifest() if item["kind"] == kind)
        for kind in ("ServiceAccount", "ClusterRoleBinding")
    )
    assert account["metadata"]["namespace"] == "tools"
    assert "namespace" not in binding["metadata"]
    assert binding["subjects"][0]["namespace"] == "tools"
    assert "namespace" not in binding["subjects"][1]


def test_what_is_the_systems_stays_there() -> None:
    def moved(subject: dict[str, str], **metadata: str) -> dict[str, Any]:
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding"}
        [item] = in_namespace([kind | {"metadata": metadata, "subjects": [subject]}], "tools")
        return item

    reader = moved({"name": "operator", "namespace": "default"}, namespace="kube-system")
    assert reader["metadata"]["namespace"] == "kube-system"
    assert reader["subjects"][0]["namespace"] == "tools"
    scaler = moved({"name": "pod-autoscaler", "namespace": "kube-system"}, namespace="default")
    assert scaler["metadata"]["namespace"] == "tools"
    assert scaler["subjects"][0]["namespace"] == "kube-system"


def test_namespace_of_the_manifest_is_applied_once() -> None:
    api = Api()
    metadata = {"name": "tools", "labels": {"a": "b"}}
    own = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    for _unused in range(2):
        changed = Release(api, "operator", "tools").apply([own], "1", False, lambda _path: None)
    assert changed == []
    assert api.applied.count("/api/v1/namespaces/tools") == 2, "once each time"
    labels = {"a": "b", "app.kubernetes.io/managed-by": "baremetal.sonic"}
    assert api.objects["/api/v1/namespaces/tools"]["metadata"]["labels"] == labels


def test_manifest_is_read_as_kubernetes_reads_it() -> None:
    [crd] = [item for item in manifest() if item["kind"] == "CustomResourceDefinition"]
    assert crd["spec"]["enum"] == ["a", "=", "2024-01-01"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not YAML"),
        (b"--- 5\n", "not a Kubernetes object"),
        (b"---\n", "no objects"),
    ],
)
def test_a_file_that_is_no_manifest_is_reported(content: bytes, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        objects(content, "", "tools")


def test_wrong_sum_is_reported() -> None:
    with pytest.raises(ReleaseError, match="not the file that was pinned"):
        objects(MANIFEST, "00", "tools")


def test_second_run_applies_nothing() -> None:
    api = Api()
    assert not Release(api, "operator", "tools").current("one")
    assert "Deployment operator" in applied(api)
    assert Release(api, "operator", "tools").current("one")
    assert not Release(api, "operator", "tools").current("two"), "another source"
    assert applied(api) == [], "applied again, nothing is changed"


def test_changed_objects_are_repaired() -> None:
    api = Api()
    applied(api)
    api.touch(DEPLOYMENT)
    assert not Release(api, "operator", "tools").current("one")
    assert applied(api) == ["Deployment operator"]
    assert api.objects[DEPLOYMENT]["spec"] == {"replicas": 1}
    assert Release(api, "operator", "tools").current("one")


def test_removed_objects_come_back() -> None:
    api = Api()
    applied(api)
    del api.objects[CRD]
    assert not Release(api, "operator", "tools").current("one")
    assert applied(api) == ["CustomResourceDefinition things.example.com"]


def test_kinds_come_before_those_who_need_them() -> None:
    api = Api()
    applied(api)
    order = [path.rsplit("/", 2)[1] for path in api.applied]
    assert order == [
        "namespaces",
        "customresourcedefinitions",
        "serviceaccounts",
        "clusterrolebindings",
        "deployments",
        "configmaps",
    ]


def served_by(namespace: str) -> dict[str, Any]:
    service = {"name": "adapter", "namespace": namespace}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.metrics"},
        "spec": {"service": service},
    }


def test_part_of_the_api_that_something_else_serves_is_not_taken_over() -> None:
    api = Api()
    path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.metrics"
    api.objects[path] = served_by("theirs")
    with pytest.raises(ReleaseError, match=r"v1\.metrics .* by the Service theirs/adapter already"):
        Release(api, "adapter", "tools").apply([served_by("tools")], "1", False, lambda _path: None)
    assert api.applied == []
    del api.objects[path]
    Release(api, "adapter", "tools").apply([served_by("tools")], "1", False, lambda _path: None)
    assert path in api.applied


def test_check_mode_changes_nothing_and_predicts_all() -> None:
    api = Api()
    predicted = applied(api, dry_run=True)
    assert len(predicted) == 5, predicted
    assert api.objects == {}
    applied(api)
    api.touch(DEPLOYMENT)
    before = copy.deepcopy(api.objects)
    assert applied(api, dry_run=True) == ["Deployment operator"]
    assert api.objects == before


def test_unknown_kind_is_reported() -> None:
    strange = {"apiVersion": "apps/v1", "kind": "Strange", "metadata": {"name": "x"}}
    with pytest.raises(KubeError, match="does not know Strange of apps/v1"):
        Release(Api(), "operator", "tools").apply([strange], "one", False, lambda _path: None)


def test_versions_tell_a_change_from_a_report() -> None:
    metadata = {"uid": "1", "generation": 3, "resourceVersion": "10", "labels": {"a": "b"}}
    version = version_of({"metadata": metadata})
    counted = {"deployment.kubernetes.io/revision": "2"}
    reported = metadata | {"resourceVersion": "11", "annotations": counted}
    assert version_of({"metadata": reported}) == version
    assert version_of({"metadata": metadata | {"labels": {"a": "c"}}}) != version
    assert version_of({"metadata": metadata | {"generation": 4}}) != version
    plain = {"uid": "1", "resourceVersion": "10"}
    assert version_of({"metadata": plain}) != version_of(
        {"metadata": plain | {"resourceVersion": "11"}}
    )


def test_fingerprint_keeps_its_parts_apart() -> None:
    assert fingerprint("a", "b") != fingerprint("ab", "")


def test_definition_is_established_when_the_server_says_so() -> None:
    assert not established({})
    assert established({"status": {"conditions": [{"type": "Established", "status": "True"}]}})


def test_namespace_of_what_has_none_is_left_alone() -> None:
    [item] = in_namespace([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}], "x")
    assert "namespace" not in item["metadata"]
