# SPDX-License-Identifier: Apache-2.0
"""The canary of an upgrade, and the objects that it needs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._helm.canary import (
    LABEL,
    Canary,
    plan,
    references,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._helm.client import Release

NAMESPACE = "cartesia"
POD = """
serviceAccountName: account
imagePullSecrets: [{name: pull}]
volumes:
  - {name: tmp, emptyDir: {}}
  - {name: a, configMap: {name: files}}
  - {name: b, secret: {secretName: key}}
  - {name: c, persistentVolumeClaim: {claimName: models}}
  - name: d
    projected:
      sources: [{configMap: {name: part}}, {secret: {name: key-part}}]
initContainers:
  - name: first
    envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: token}}]
containers:
  - name: worker
    env:
      - {name: PLAIN, value: text}
      - {name: ONE, valueFrom: {configMapKeyRef: {name: one, key: x}}}
      - {name: TWO, valueFrom: {secretKeyRef: {name: two, key: x}}}
"""
NAMED = {
    ("ServiceAccount", "account"),
    ("Secret", "pull"),
    ("ConfigMap", "files"),
    ("Secret", "key"),
    ("PersistentVolumeClaim", "models"),
    ("ConfigMap", "part"),
    ("Secret", "key-part"),
    ("ConfigMap", "settings"),
    ("Secret", "token"),
    ("ConfigMap", "one"),
    ("Secret", "two"),
}


def worker(name: str, image: str = "worker:1", replicas: int = 3) -> dict[str, Any]:
    spec = yaml.safe_load(POD)
    spec["containers"][0]["image"] = image
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": {**labels, "tier": "gpu"}}, "spec": spec},
        },
    }


def other(kind: str, name: str, text: str = "1") -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"x": text}}


def release(*objects: dict[str, Any], status: str = "deployed") -> Release:
    return Release(3, status, "speech-1.0.0", {}, yaml.safe_dump_all(objects))


def planned(before: Release, after: Release, *workers: str) -> Canary:
    return plan(before, after, workers or ("tts", "stt"), NAMESPACE)


def test_every_reference_of_a_pod_is_found() -> None:
    names = {(r.kind, r.name) for r in references(yaml.safe_load(POD))}
    assert names == NAMED


def test_one_pod_of_the_new_version_under_a_name_of_its_own() -> None:
    canary = planned(release(worker("tts")), release(worker("tts", "worker:2")))
    [made] = canary.objects
    new = worker("tts", "worker:2")["spec"]
    assert (canary.worker, canary.deployment) == ("tts", "tts-canary")
    assert made["metadata"] == {"name": "tts-canary", "namespace": NAMESPACE}
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["template"]["spec"] == new["template"]["spec"]
    # Policies and monitors of the worker's pods hold for it; its Deployment sees no other pod.
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "tts", "tier": "gpu", LABEL: "tts"}
    assert made["spec"]["selector"] == {"matchLabels": {"app": "tts", LABEL: "tts"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((worker("tts"),), (worker("tts"), other("ConfigMap", "another"))),
        # Only the number of pods.
        ((worker("tts"),), (worker("tts", replicas=5),)),
        # A worker that is added, and one that goes, replace no pods.
        ((), (worker("tts"),)),
        ((worker("tts"),), ()),
        # Not a worker.
        ((worker("api"),), (worker("api", "api:2"),)),
    ],
    ids=["other-object", "replicas", "added", "removed", "api"],
)
def test_none_where_no_pod_of_a_worker_is_replaced(before: Any, after: Any) -> None:
    assert planned(release(*before), release(*after)) == Canary()


def test_first_of_the_workers_that_are_replaced() -> None:
    before = release(worker("stt"), worker("tts"))
    assert planned(before, release(worker("stt"), worker("tts", "2"))).worker == "tts"
    assert planned(before, release(worker("stt", "2"), worker("tts"))).worker == "stt"
    assert planned(before, release(worker("stt", "2"), worker("tts", "2"))).worker == "tts"


def test_what_a_failed_revision_left_is_not_trusted() -> None:
    objects = worker("tts")
    assert planned(release(objects, status="failed"), release(objects)).worker == "tts"


def test_changed_and_new_objects_are_copied_for_it() -> None:
    same = other("ConfigMap", "files")
    changed = {**other("Secret", "key", "2"), "immutable": True, "type": "Opaque"}
    before = release(worker("tts"), same, other("Secret", "key"))
    after = release(worker("tts", "2"), same, changed, other("ConfigMap", "one"))
    *copies, made = planned(before, after).objects
    assert [(c["kind"], c["metadata"]["name"]) for c in copies] == [
        ("Secret", "key-canary"),
        ("ConfigMap", "one-canary"),
    ]
    # A later run may replace it, and it does not look like Helm's.
    assert copies[0] == {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"x": "2"},
        "metadata": {"name": "key-canary", "namespace": NAMESPACE},
    }  # fmt: skip
    spec = made["spec"]["template"]["spec"]
    names = {(r.kind, r.name) for r in references(spec)}
    assert names ^ NAMED == {
        ("Secret", "key"),
        ("Secret", "key-canary"),
        ("ConfigMap", "one"),
        ("ConfigMap", "one-canary"),
    }


@pytest.mark.parametrize("kind", ["ServiceAccount", "PersistentVolumeClaim"])
def test_none_where_it_could_not_be_given_what_it_needs(kind: str) -> None:
    [name] = [name for objects, name in NAMED if objects == kind]
    before = release(worker("tts"))
    canary = planned(before, release(worker("tts", "2"), other(kind, name)))
    assert canary == Canary(why=canary.why)
    assert f"{kind} {name}" in canary.why


def test_a_deployment_of_the_charts_is_not_taken() -> None:
    before = release(worker("tts"), worker("tts-canary"))
    canary = planned(before, release(worker("tts", "2"), worker("tts-canary")))
    assert canary.objects == ()
    assert "tts-canary of its own" in canary.why


def test_the_release_is_left_as_it_is() -> None:
    before, after = release(worker("tts")), release(worker("tts", "2"), other("Secret", "key"))
    kept = copy.deepcopy(after.objects)
    planned(before, after)
    assert after.objects == kept
