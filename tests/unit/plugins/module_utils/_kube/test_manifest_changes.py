# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest_changes import (
    ChangeError,
    changed,
    merged,
)


def thing(kind: str, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata} | fields


WIDE = thing("ClusterRole", "tool", rules=[{"resources": ["*"], "verbs": ["get"]}])
BINDING = thing("ClusterRoleBinding", "tool", subjects=[{"kind": "ServiceAccount", "name": "a"}])
PODS = thing(
    "Deployment",
    "tool",
    "tools",
    spec={
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {"name": "one", "image": "i", "env": [{"name": "A", "value": ""}]},
                    {"name": "two", "image": "j"},
                ]
            }
        },
    },
)


def test_rules_and_subjects_are_replaced_not_added_to() -> None:
    narrow = [{"resources": ["leases"], "verbs": ["get"]}]
    own = [{"kind": "ServiceAccount", "name": "b"}]
    before = copy.deepcopy([WIDE, BINDING])
    role, binding = changed(
        [WIDE, BINDING],
        [
            thing("ClusterRole", "tool", rules=narrow),
            thing("ClusterRoleBinding", "tool", subjects=own),
        ],
        [],
    )
    assert (role["rules"], binding["subjects"]) == (narrow, own)
    assert before == [WIDE, BINDING]


def test_containers_and_their_environment_are_merged_by_name() -> None:
    env = [{"name": "A", "value": "x"}, {"name": "B", "value": "y"}]
    spec = {"serviceAccountName": "own", "containers": [{"name": "one", "env": env}]}
    [actual] = changed(
        [PODS], [thing("Deployment", "tool", "tools", spec={"template": {"spec": spec}})], []
    )
    assert actual["spec"]["replicas"] == 1
    pod = actual["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "own"
    assert pod["containers"] == [
        {"name": "one", "image": "i", "env": env},
        {"name": "two", "image": "j"},
    ]


def test_null_takes_away() -> None:
    assert merged({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 3}}
    assert merged({"a": 1}, {"a": {"b": None}, "c": None}) == {"a": {}}


@pytest.mark.parametrize(
    "patch",
    [thing("ClusterRole", "other"), thing("Role", "tool"), thing("Deployment", "tool", "other")],
)
def test_a_patch_that_fits_nothing_is_refused(patch: dict[str, Any]) -> None:
    """Upstream renamed the role that is cut: it would be applied as it is."""
    with pytest.raises(ChangeError, match="to patch"):
        changed([WIDE, PODS], [patch], [])


def test_additions_come_after_the_manifests_own() -> None:
    added = thing("ServiceAccount", "own", "tools")
    assert changed([WIDE], [], [added]) == [WIDE, added]
    with pytest.raises(ChangeError, match="it has ClusterRole tool already"):
        changed([WIDE], [], [WIDE])
