# SPDX-License-Identifier: Apache-2.0
"""The rights of the Prometheus operator after the role has reduced upstream's."""

from __future__ import annotations

from typing import Any

from ansible_collections.baremetal.sonic.plugins.module_utils._kube.manifest_changes import changed

from tests.unit.rendering import render

Object = dict[str, Any]
SITE: Object = {"site_versions": {"prometheus_operator": "0.93.0"}}


def upstream(namespace: str) -> list[Object]:
    """As much of the manifest as is changed, moved to its namespace."""
    everything = [{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["*"]}]
    container = {
        "name": "prometheus-operator",
        "image": "quay.io/prometheus-operator/prometheus-operator:v0.93.0",
        "args": ["--watch-referenced-objects-in-all-namespaces=true"],
        "resources": {"limits": {"memory": "200Mi"}},
    }
    return [
        {"kind": "ClusterRole", "metadata": {"name": "prometheus-operator"}, "rules": everything},
        {
            "kind": "Deployment",
            "metadata": {"name": "prometheus-operator", "namespace": namespace},
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
    ]


def applied(namespace: str = "monitoring", **variables: Any) -> list[Object]:
    given = SITE | {"prometheus_namespace": namespace} | variables
    patches = [item for item in render("prometheus", "operator-patches.yml.j2", **given) if item]
    additions = [
        item for item in render("prometheus", "operator-additions.yml.j2", **given) if item
    ]
    return changed(upstream(namespace), patches, additions)


def rules(objects: list[Object], kind: str, namespace: str | None = None) -> list[Object]:
    result: list[Object] = []
    for item in objects:
        if item["kind"] == kind and item["metadata"].get("namespace") == namespace:
            result += item["rules"]
    return result


def test_secrets_are_its_own_namespaces_only() -> None:
    objects = applied("tools")
    everywhere = rules(objects, "ClusterRole")
    assert everywhere
    assert not [rule for rule in everywhere if "secrets" in rule["resources"]]
    assert not [rule for rule in rules(objects, "Role", "kube-system")
                if "secrets" in rule["resources"]]  # fmt: skip
    assert [rule for rule in rules(objects, "Role", "tools") if "secrets" in rule["resources"]]
    for rule in everywhere + rules(objects, "Role", "tools"):
        assert "*" not in rule["resources"] + rule["verbs"]


def test_it_watches_where_it_may() -> None:
    """An operator that lists what it may not waits for ever."""
    [pods] = [item for item in applied("tools") if item["kind"] == "Deployment"]
    [container] = pods["spec"]["template"]["spec"]["containers"]
    assert "--watch-referenced-objects-in-all-namespaces=false" in container["args"]
    limited = [word for word in container["args"] if word.endswith("-namespaces=tools")]
    assert len(limited) == 4
    assert container["resources"] == {"limits": {"memory": "200Mi"}}


def test_its_images_are_pulled_by_the_sites_digests() -> None:
    digest = f"sha256:{'0a' * 32}"
    names = [
        f"quay.io/prometheus-operator/{name}:v0.93.0"
        for name in ("prometheus-operator", "prometheus-config-reloader")
    ]
    objects = applied(site_image_digests=dict.fromkeys(names, digest))
    [pods] = [item for item in objects if item["kind"] == "Deployment"]
    [container] = pods["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{names[0]}@{digest}"
    assert f"--prometheus-config-reloader={names[1]}@{digest}" in container["args"]
