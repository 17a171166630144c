# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.applyset import (
    AppliedSet,
    Change,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.objects import (
    batches,
    essence,
)
from ansible_collections.baremetal.sonic.plugins.modules.k8s_applyset import shown

KINDS = {
    "/api/v1": [
        ("Namespace", "namespaces", False),
        ("Node", "nodes", False),
        ("Service", "services", True),
    ],
    "/apis/networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies", True)],
}
SERVICES = "/api/v1/namespaces/stack/services"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/stack/networkpolicies"
LEFT_OVER = [("v1", "Service"), ("networking.k8s.io/v1", "NetworkPolicy")]


class Api:
    """As much of an API server as a set needs."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {"/api/v1/namespaces/stack": {}}
        self.clock = 0
        self.sent: list[str] = []

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path.startswith("/apis/") and path.count("/") == 3 and path not in KINDS:
            raise KubeError("the server could not find the requested resource", 404)
        if path in KINDS:
            keys = ("kind", "name", "namespaced")
            return {"resources": [dict(zip(keys, kind, strict=True)) for kind in KINDS[path]]}
        if "labelSelector" in query:
            label, _equals, value = query["labelSelector"].partition("=")
            group, _slash, plural = path.rpartition("/")
            items = [
                item
                for name, item in self.objects.items()
                if name.startswith(f"{group}/namespaces/") and f"/{plural}/" in name
            ]
            # Items of a list have neither apiVersion nor kind.
            return {
                "items": [
                    {
                        k: v
                        for k, v in copy.deepcopy(item).items()
                        if k not in ("kind", "apiVersion")
                    }
                    for item in items
                    if item["metadata"]["labels"].get(label) == value
                ]
            }
        if path not in self.objects:
            raise KubeError("not found", 404)
        return copy.deepcopy(self.objects[path])

    def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        manager: str,
        *,
        dry_run: bool,
        whole: bool = True,
    ) -> dict[str, Any]:
        assert (manager, whole) == ("me", True)
        self.sent.append(path)
        if body.get("spec") == {"port": 0}:
            raise KubeError("a port cannot be 0", 422)
        if "/stack/" in path and "/api/v1/namespaces/stack" not in self.objects:
            raise KubeError("namespace not found", 404)
        before = self.objects.get(path, {"metadata": {}})
        made: dict[str, Any] = copy.deepcopy(before) | copy.deepcopy(dict(body))
        made["metadata"] = before["metadata"] | copy.deepcopy(body["metadata"])
        if path.count("/") > 5:
            made["metadata"]["namespace"] = path.split("/namespaces/")[1].split("/")[0]
        if essence(made) != essence(before):
            self.clock += 1
            made["metadata"]["resourceVersion"] = str(self.clock)
        if not dry_run:
            self.objects[path] = made
        return copy.deepcopy(made)

    def delete(self, path: str) -> None:
        del self.objects[path]


def service(name: str, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"port": port},
    }


def policy(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}},
    }


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def called(changes: list[Change]) -> list[str]:
    return [change.called for change in changes]


@pytest.fixture
def api() -> Api:
    return Api()


def sync(api: Api, *items: dict[str, Any], dry_run: bool = False) -> list[Change]:
    return AppliedSet(api, "mine", "me", "stack").sync(items, LEFT_OVER, dry_run)


def test_objects_get_the_sets_label_and_namespace(api: Api) -> None:
    assert called(sync(api, service("a"), policy("p"))) == ["Service a", "NetworkPolicy p"]
    metadata = api.objects[f"{SERVICES}/a"]["metadata"]
    assert metadata["labels"] == {"app": "a", "baremetal.sonic/set": "mine"}


def test_a_set_is_in_as_many_namespaces_as_it_likes(api: Api) -> None:
    other = "/api/v1/namespaces/other/services/b"
    there = service("b") | {"metadata": {"name": "b", "namespace": "other", "labels": {}}}
    sync(api, service("a"), there)
    assert f"{SERVICES}/a" in api.objects
    assert other in api.objects
    assert called(sync(api, service("a"))) == ["Service b"]
    assert other not in api.objects


def test_what_others_put_things_into_is_neither_labelled_nor_removed(api: Api) -> None:
    api.objects["/api/v1/nodes/gpu1"] = node("gpu1")
    sync(api, namespace("new"), node("gpu1"))
    assert api.objects["/api/v1/namespaces/new"]["metadata"].get("labels") is None
    assert sync(api) == []
    assert "/api/v1/namespaces/new" in api.objects
    assert "/api/v1/nodes/gpu1" in api.objects


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_node_without_a_host_is_never_made(api: Api, dry_run: bool) -> None:
    api.objects["/api/v1/nodes/gpu1"] = node("gpu1") | {"status": {"phase": "x"}}
    labelled = [node(name) for name in ("gpu1", "gpu2")]
    for item in labelled:
        item["metadata"]["labels"] = {"baremetal.sonic/gpu": "true"}
    wanted = AppliedSet(api, "mine", "me", "stack")
    assert called(wanted.sync(labelled, LEFT_OVER, dry_run)) == ["Node gpu1"]
    assert wanted.absent_nodes == ["gpu2"]
    assert "/api/v1/nodes/gpu2" not in api.sent


def test_all_refusals_are_reported(api: Api) -> None:
    with pytest.raises(KubeError, match="Service a: a port cannot be 0; Service b: a port"):
        sync(api, service("a", 0), service("b", 0))


def test_an_object_without_a_namespace_is_refused(api: Api) -> None:
    with pytest.raises(KubeError, match="Service a names no namespace"):
        AppliedSet(api, "mine", "me").sync([service("a")], [], False)


def test_the_second_time_changes_nothing(api: Api) -> None:
    sync(api, service("a"), policy("p"))
    assert sync(api, service("a"), policy("p")) == []


def test_what_is_applied_already_is_not_sent_again(api: Api) -> None:
    sync(api, service("a"), service("b"))
    there = api.objects[f"{SERVICES}/a"]
    labels: dict[str, Any] = {"f:app": {}, "f:baremetal.sonic/set": {}}
    there["metadata"]["managedFields"] = [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "fieldsV1": {"f:metadata": {"f:labels": labels}, "f:spec": {"f:port": {}}},
        }
    ]
    api.sent.clear()
    assert sync(api, service("a"), service("b")) == []
    assert api.sent == [f"{SERVICES}/b"]


def test_what_is_not_wanted_any_more_goes(api: Api) -> None:
    sync(api, service("a"), service("b"), policy("p"))
    assert called(sync(api, service("b"))) == ["Service a", "NetworkPolicy p"]
    assert f"{SERVICES}/b" in api.objects
    assert f"{SERVICES}/a" not in api.objects
    assert f"{POLICIES}/p" not in api.objects


def test_what_something_needs_that_stays_does_not_go(api: Api) -> None:
    needed = service("needed")
    needed["metadata"]["annotations"] = {"baremetal.sonic/needed-by": "Prometheus/prometheus"}
    sync(api, needed, service("b"))
    assert called(sync(api)) == ["Service b"]
    assert f"{SERVICES}/needed" in api.objects


def test_without_prune_nothing_goes(api: Api) -> None:
    sync(api, service("a"), service("b"))
    mine = AppliedSet(api, "mine", "me", "stack")
    changes = mine.sync([service("b", 81), service("c")], LEFT_OVER, False, prune=False)
    assert called(changes) == ["Service b", "Service c"]
    assert f"{SERVICES}/a" in api.objects
    # What was applied so belongs to the set, too.
    assert called(sync(api, service("a"))) == ["Service b", "Service c"]


def test_objects_are_kept_as_they_are_afterwards(api: Api) -> None:
    sync(api, service("a"))
    api.objects[f"{SERVICES}/a"]["status"] = {"ready": 1}
    mine = AppliedSet(api, "mine", "me", "stack")
    assert called(mine.sync([service("a"), service("b")], [], False)) == ["Service b"]
    assert list(mine.live) == [f"{SERVICES}/a", f"{SERVICES}/b"]
    assert mine.live[f"{SERVICES}/a"]["status"] == {"ready": 1}


def test_nothing_else_goes(api: Api) -> None:
    AppliedSet(api, "other", "me", "stack").sync([service("theirs")], [], False)
    api.objects[f"{POLICIES}/yours"] = policy("yours") | {
        "metadata": {
            "name": "yours",
            "namespace": "stack",
            "labels": {"app.kubernetes.io/managed-by": "baremetal.sonic"},
        }
    }
    sync(api, policy("p"))
    sync(api)
    assert f"{SERVICES}/theirs" in api.objects
    assert f"{POLICIES}/yours" in api.objects


def test_a_change_is_returned_with_before_and_after(api: Api) -> None:
    sync(api, service("a"))
    [change] = sync(api, service("a", 81))
    assert change.before is not None
    assert change.after is not None
    assert (change.before["spec"], change.after["spec"]) == ({"port": 80}, {"port": 81})
    assert "resourceVersion" not in essence(change.after)["metadata"]


def test_what_was_there_without_the_label_is_taken_over(api: Api) -> None:
    present = service("a")
    present["metadata"]["namespace"] = "stack"
    api.objects[f"{SERVICES}/a"] = present
    [change] = sync(api, service("a"))
    assert change.before is not None
    assert api.objects[f"{SERVICES}/a"]["metadata"]["labels"]["baremetal.sonic/set"] == "mine"


def test_check_mode_predicts_the_same_and_changes_nothing(api: Api) -> None:
    sync(api, service("a"))
    before = copy.deepcopy(api.objects)
    actual = called(sync(api, service("b"), dry_run=True))
    assert actual == ["Service b", "Service a"]
    assert api.objects == before
    assert called(sync(api, service("b"))) == actual


def test_the_namespace_is_made_first(api: Api) -> None:
    del api.objects["/api/v1/namespaces/stack"]
    wanted = ["Namespace stack", "Service a"]
    objects = (service("a"), namespace("stack"))
    assert called(sync(api, *objects, dry_run=True)) == wanted
    assert api.objects == {}
    assert called(sync(api, *objects)) == wanted
    assert f"{SERVICES}/a" in api.objects


def test_kinds_keep_their_order_after_those_that_others_need() -> None:
    items = [service("a"), policy("p"), service("b"), namespace("n")]
    assert [[item["metadata"]["name"] for item in batch] for batch in batches(items)] == [
        ["n"],
        ["a", "b"],
        ["p"],
    ]


def test_secrets_are_not_shown() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "c2VjcmV0"}}
    assert shown(secret) == secret | {"data": {"key": "(not shown)"}}
    assert shown(None) == ""


def test_status_and_counters_are_no_change() -> None:
    bare = service("a")
    noted = copy.deepcopy(bare) | {"status": {"ready": 1}}
    noted["metadata"] |= {
        "uid": "1",
        "generation": 2,
        "annotations": {"deployment.kubernetes.io/revision": "3"},
    }
    assert essence(noted) == essence(bare)


def test_a_kind_that_the_cluster_does_not_know(api: Api) -> None:
    gateway = {"apiVersion": "v1", "kind": "Gateway", "metadata": {"name": "g"}}
    with pytest.raises(KubeError, match="does not know Gateway"):
        sync(api, gateway)
    # Before the first run its definition is only tried as well.
    assert called(sync(api, gateway, dry_run=True)) == ["Gateway g"]


def test_left_over_kinds_that_the_cluster_does_not_know_have_no_objects(api: Api) -> None:
    kinds = [("monitoring.coreos.com/v1", "Probe")]
    assert AppliedSet(api, "mine", "me", "stack").sync([], kinds, False) == []
