# SPDX-License-Identifier: Apache-2.0
"""The rights of KEDA after the role has reduced those of upstream's manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest_changes import changed

from tests.unit.rendering import render

Object = dict[str, Any]
SHARED = [{"kind": "ServiceAccount", "name": "keda-operator", "namespace": "keda"}]
PROGRAMS = {
    "keda-operator": "keda-operator",
    "keda-metrics-apiserver": "keda-metrics-apiserver",
    "keda-admission": "keda-admission-webhooks",
}


def rbac(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
    } | fields


def binding(kind: str, name: str, role: tuple[str, str], namespace: str = "") -> Object:
    return rbac(
        kind, name, namespace, roleRef=dict(zip(("kind", "name"), role, strict=True)),
        subjects=SHARED,
    )  # fmt: skip


def upstream() -> list[Object]:
    """As much of KEDA 2.21.0's manifest as is about rights."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}]
    secrets = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "delete"]}]
    external = [{"apiGroups": ["external.metrics.k8s.io"], "resources": ["*"], "verbs": ["*"]}]
    webhooks = [
        {"name": f"{name}.kb.io", "namespaceSelector": {}, "failurePolicy": "Ignore"}
        for name in (
            "vscaledobject", "vscaledjob", "vstriggerauthentication", "vcloudeventsource",
            "vsclustertriggerauthentication", "vclustercloudeventsource",
        )
    ]  # fmt: skip
    pods = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "keda"},
            "spec": {
                "template": {
                    "spec": {
                        "serviceAccountName": "keda-operator",
                        "containers": [
                            {
                                "name": container,
                                "image": "i",
                                "env": [{"name": "WATCH_NAMESPACE", "value": ""}],
                            }
                        ],
                    }
                }
            },
        }
        for name, container in PROGRAMS.items()
    ]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}}
    return [
        namespace,
        rbac("ClusterRole", "keda-operator", rules=everything),
        rbac("Role", "keda-operator", "keda", rules=secrets),
        rbac("ClusterRole", "keda-external-metrics-reader", rules=external),
        binding("ClusterRoleBinding", "keda-operator", ("ClusterRole", "keda-operator")),
        binding("RoleBinding", "keda-operator", ("Role", "keda-operator"), "keda"),
        binding(
            "ClusterRoleBinding", "keda-system-auth-delegator",
            ("ClusterRole", "system:auth-delegator"),
        ),
        binding(
            "RoleBinding", "keda-auth-reader",
            ("Role", "extension-apiserver-authentication-reader"), "kube-system",
        ),
        rbac(
            "ValidatingWebhookConfiguration", "keda-admission",
        ) | {"webhooks": webhooks},
        *pods,
    ]  # fmt: skip


def applied(**variables: Any) -> list[Object]:
    variables = {"site_versions": {"keda": "2.21.0"}} | variables
    patches = [item for item in render("keda", "patches.yml.j2", **variables) if item]
    additions = [item for item in render("keda", "additions.yml.j2", **variables) if item]
    return changed(upstream(), patches, additions)


def rights(objects: list[Object], account: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield the namespace (empty for all) and the rules that an account has there."""
    rules = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
        for item in objects
        if item["kind"] in ("Role", "ClusterRole")
    }
    for item in objects:
        if account not in [subject["name"] for subject in item.get("subjects", [])]:
            continue
        namespace = item["metadata"].get("namespace", "")
        role = item["roleRef"]
        key = (role["kind"], namespace if role["kind"] == "Role" else "", role["name"])
        # Kubernetes' own roles are not in the manifest.
        for rule in rules.get(key, {"rules": []})["rules"]:
            yield namespace, rule


@pytest.mark.parametrize("account", sorted(PROGRAMS))
def test_no_account_may_read_everything(account: str) -> None:
    for _namespace, rule in rights(applied(), account):
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


def test_secrets_are_read_in_kedas_own_namespace_only() -> None:
    objects = applied()
    actual = {
        (account, namespace)
        for account in PROGRAMS
        for namespace, rule in rights(objects, account)
        if "secrets" in rule["resources"]
    }
    assert actual == {("keda-operator", "keda")}
    writable = [
        rule.get("resourceNames")
        for _namespace, rule in rights(objects, "keda-operator")
        if "secrets" in rule["resources"] and {"update", "patch", "delete"} & {*rule["verbs"]}
    ]
    assert writable == [["kedaorg-certs"]]


def test_every_program_has_an_account_of_its_own() -> None:
    objects = applied()
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["serviceAccountName"]
        for item in objects
        if item["kind"] == "Deployment"
    }
    assert pods == {name: name for name in PROGRAMS}
    made = {item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"}
    assert made == {"keda-metrics-apiserver", "keda-admission"}
    bound = {
        item["metadata"]["name"]: [subject["name"] for subject in item["subjects"]]
        for item in objects
        if "subjects" in item and item["metadata"].get("namespace") != "cartesia"
    }
    assert bound == {
        "keda-operator": ["keda-operator"],
        "keda-system-auth-delegator": ["keda-metrics-apiserver"],
        "keda-auth-reader": ["keda-metrics-apiserver"],
        "keda-admission": ["keda-admission"],
    }


def test_what_scaling_needs_is_there_in_the_stacks_namespace_and_nowhere_else() -> None:
    objects = applied()
    needed = {
        ("keda.sh", "scaledobjects/status"): {"patch", "update"},
        ("autoscaling", "horizontalpodautoscalers"): {"create", "delete", "update", "watch"},
        ("apps", "deployments/scale"): {"get", "update", "patch"},
        ("apps", "deployments"): {"get", "list", "watch"},
        ("events.k8s.io", "events"): {"create", "patch"},
    }
    for (group, resource), verbs in needed.items():
        there = {
            namespace: set(rule["verbs"])
            for namespace, rule in rights(objects, "keda-operator")
            if group in rule["apiGroups"] and resource in rule["resources"]
        }
        assert there["cartesia"] >= verbs
        assert "" not in there


def test_programs_watch_the_same_namespaces_and_read_no_secrets_there() -> None:
    objects = applied(keda_namespaces=["cartesia", "tools"])
    for item in objects:
        if item["kind"] != "Deployment":
            continue
        [container] = item["spec"]["template"]["spec"]["containers"]
        values = {entry["name"]: entry["value"] for entry in container["env"]}
        assert values["WATCH_NAMESPACE"] == "cartesia,tools"
        assert values["KEDA_RESTRICT_SECRET_ACCESS"] == "true"
        assert container["image"] == "i"
    roles = {
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in objects
        if item["kind"] == "Role" and item["metadata"]["namespace"] != "keda"
    }
    assert roles == {
        (namespace, name)
        for namespace in ("cartesia", "tools")
        for name in ("keda-operator", "keda-admission")
    }


def test_its_namespace_is_restricted() -> None:
    [namespace] = [item for item in applied() if item["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_images_are_pulled_by_the_sites_digests() -> None:
    digest = f"sha256:{'0a' * 32}"
    image = "ghcr.io/kedacore/keda:2.21.0"
    actual = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["containers"][0]["image"]
        for item in applied(site_image_digests={image: digest})
        if item["kind"] == "Deployment"
    }
    assert actual == {
        "keda-operator": f"{image}@{digest}",
        "keda-metrics-apiserver": "i",
        "keda-admission": "i",
    }


def test_webhooks_have_no_say_in_other_namespaces() -> None:
    [hooks] = [item for item in applied() if item["kind"] == "ValidatingWebhookConfiguration"]
    limited = {
        item["name"]: item["namespaceSelector"]["matchExpressions"][0]["values"]
        for item in hooks["webhooks"]
        if item["namespaceSelector"]
    }
    assert limited == {
        f"{name}.kb.io": ["cartesia"]
        for name in ("vscaledobject", "vscaledjob", "vstriggerauthentication", "vcloudeventsource")
    }
    assert len(hooks["webhooks"]) == 6
    assert all(item["failurePolicy"] == "Ignore" for item in hooks["webhooks"])
