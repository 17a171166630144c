# SPDX-License-Identifier: Apache-2.0
"""The stack's pods keep to the pod security standard that their namespace enforces, restricted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.rendering import ROOT, render, templated
from tests.unit.test_nats import SECRETS

Object = dict[str, Any]
PODS = ("DaemonSet", "Deployment", "StatefulSet")
# https://kubernetes.io/docs/concepts/security/pod-security-standards/, and image volumes, which
# Kubernetes' own check knows (pod-security-admission, check_restrictedVolumes.go).
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip
SITE: Object = {
    "site_leader": "cp1",
    "license_proxy_api_key": "sk_test",
    "site_versions": yaml.safe_load(
        (ROOT / "roles/site/defaults/main.yml").read_text(encoding="utf-8")
    )["site_versions"],
}
WORKER = {
    "name": "tts",
    "workerArgs": {"model": "m", "image": "registry.example.com/w:1", "capacity": 4},
}
AUTOSCALED = WORKER | {"name": "stt", "autoscaling": {"enabled": True}}
# What each role may apply to the stack's namespace, by the settings that change its pods.
CASES: dict[str, tuple[str, str, Object]] = {
    "api": ("api", "api.yml.j2", {}),
    "license proxy": ("license_proxy", "license-proxy.yml.j2", {}),
    "license proxy, folder": (
        "license_proxy",
        "license-proxy.yml.j2",
        {"license_proxy_persistence": {"enabled": True, "hostPath": "/srv/license"}},
    ),
    "license proxy, claim": (
        "license_proxy",
        "license-proxy.yml.j2",
        {"license_proxy_persistence": {"enabled": True, "storageClass": "fast"}},
    ),
    "workers": ("workers", "workers.yml.j2", {"workers": [WORKER, AUTOSCALED]}),
    "workers, folder": (
        "workers",
        "workers.yml.j2",
        {"workers": [WORKER], "workers_cache_path": "/data/models"},
    ),
    "workers, claim": (
        "workers",
        "workers.yml.j2",
        {"workers": [WORKER], "workers_cache_class": "fast"},
    ),
    "workers, the first of a rollout": (
        "workers",
        "workers.yml.j2",
        {"workers": [WORKER], "canary": "tts"},
    ),
    "artifact sync, bucket": (
        "artifact_sync",
        "artifact-sync.yml.j2",
        {"artifact_sync_bucket": "b"},
    ),
    "artifact sync, claim": (
        "artifact_sync",
        "artifact-sync.yml.j2",
        {"artifact_sync_volume": {"persistentVolumeClaim": {"claimName": "files"}}},
    ),
    "artifact sync, NFS": (
        "artifact_sync",
        "artifact-sync.yml.j2",
        {"artifact_sync_volume": {"nfs": {"server": "192.0.2.9", "path": "/files"}}},
    ),
    "artifact sync, folder": (
        "artifact_sync",
        "artifact-sync.yml.j2",
        {"artifact_sync_volume": {"hostPath": {"path": "/srv/files"}}},
    ),
    "images": ("stack", "images.yml.j2", {"stack_images": ["registry.example.com/w:1"]}),
    "nats": ("nats", "nats.yml.j2", {"nats_replicas": 3, "nats_secrets": SECRETS}),
}


def allowed(container: Object, pod: Object) -> Iterator[str]:
    """Yield what "restricted" has against a container."""
    own, shared = container.get("securityContext") or {}, pod.get("securityContext") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities.drop"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if not own.get("runAsNonRoot", shared.get("runAsNonRoot")):
        yield "runAsNonRoot"
    if own.get("runAsUser", shared.get("runAsUser")) == 0:
        yield "runAsUser"
    profile = own.get("seccompProfile") or shared.get("seccompProfile") or {}
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield "hostPort"


def refused(pod: Object) -> list[str]:
    """What "restricted" has against a pod."""
    items = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes") or []:
        items += [f"{volume['name']}: {kind}" for kind in volume.keys() - VOLUMES - {"name"}]
    for container in (pod.get("initContainers") or []) + pod["containers"]:
        items += [f"{container['name']}: {what}" for what in allowed(container, pod)]
    return items


def pods(name: str) -> list[Object]:
    role, template, variables = CASES[name]
    documents = [item for item in render(role, template, **SITE, **variables) if item]
    return [item["spec"]["template"]["spec"] for item in documents if item["kind"] in PODS]


@pytest.mark.parametrize("name", CASES)
def test_the_stacks_pods_are_restricted(name: str) -> None:
    present = pods(name)
    assert present
    assert [refused(pod) for pod in present] == [[]] * len(present)


def test_the_check_finds_what_is_not() -> None:
    """The pods of before: a root container that owns a folder, and the folder itself."""
    own = {"name": "own", "securityContext": {"runAsUser": 0, "capabilities": {"add": ["CHOWN"]}}}
    folder = {"name": "state", "hostPath": {"path": "/srv"}}
    pod = {"containers": [own], "volumes": [folder], "hostNetwork": True}
    assert set(refused(pod)) == {
        "hostNetwork",
        "state: hostPath",
        "own: allowPrivilegeEscalation",
        "own: capabilities.drop",
        "own: capabilities.add",
        "own: runAsNonRoot",
        "own: runAsUser",
        "own: seccompProfile",
    }


@pytest.mark.parametrize("name", ["license proxy, folder", "workers, folder"])
def test_a_hosts_folder_is_an_administrators_volume(name: str) -> None:
    role, template, variables = CASES[name]
    documents = [item for item in render(role, template, **SITE, **variables) if item]
    [volume] = [item for item in documents if item["kind"] == "PersistentVolume"]
    [claim] = [item for item in documents if item["kind"] == "PersistentVolumeClaim"]
    [pod] = pods(name)
    claimed = [item["persistentVolumeClaim"] for item in pod["volumes"] if len(item) > 1
               and "persistentVolumeClaim" in item]  # fmt: skip
    assert claimed == [{"claimName": claim["metadata"]["name"]}]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == ""
    assert volume["spec"]["claimRef"] == {
        "namespace": "cartesia",
        "name": claim["metadata"]["name"],
    }
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    path = (volume["spec"].get("local") or volume["spec"].get("hostPath"))["path"]
    assert path in ("/srv/license", "/data/models")


def test_another_folder_is_another_volume() -> None:
    """A volume that is there cannot be changed."""
    names = set()
    for folder, host in (("/a", ""), ("/b", ""), ("/a", "cp2"), ("/a", "")):
        kept = {"enabled": True, "hostPath": folder, "host": host}
        documents = render(
            "license_proxy", "license-proxy.yml.j2", **SITE, license_proxy_persistence=kept
        )
        names |= {item["metadata"]["name"] for item in documents
                  if item["kind"] == "PersistentVolume"}  # fmt: skip
    assert len(names) == 3


def test_a_source_that_a_pod_may_not_mount_is_a_volume() -> None:
    for name, kind in (("artifact sync, NFS", "nfs"), ("artifact sync, folder", "hostPath")):
        role, template, variables = CASES[name]
        documents = [item for item in render(role, template, **SITE, **variables) if item]
        [volume] = [item for item in documents if item["kind"] == "PersistentVolume"]
        assert volume["spec"][kind] == variables["artifact_sync_volume"][kind]
    documents = render("artifact_sync", "artifact-sync.yml.j2", **SITE,
                       **CASES["artifact sync, claim"][2])  # fmt: skip
    assert not [item for item in documents if item and item["kind"].startswith("Persistent")]


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "restricted"),
        ({"stack_source": "manifests"}, "restricted"),
        ({"stack_source": "chart"}, "baseline"),
        ({"site_pod_security": "privileged"}, "privileged"),
    ],
)
def test_the_namespace_enforces_what_the_site_says(variables: Object, level: str) -> None:
    folder = ROOT / "roles/site"
    default = yaml.safe_load((folder / "defaults/main.yml").read_text(encoding="utf-8"))
    labels = yaml.safe_load((folder / "vars/main.yml").read_text(encoding="utf-8"))
    wanted = labels["site_namespace_labels"]["pod-security.kubernetes.io/enforce"]
    chosen = variables.get("site_pod_security") or templated(
        default["site_pod_security"], variables
    )
    assert templated(wanted, variables | {"site_pod_security": chosen}) == level


def test_each_namespace_is_made_in_one_place() -> None:
    """Two places could give it different labels, and each would take those of the other away."""
    actual = [
        str(path.relative_to(ROOT / "roles"))
        for path in sorted((ROOT / "roles").rglob("*"))
        if path.suffix in (".j2", ".yml")
        for _made in range(path.read_text(encoding="utf-8").count("kind: Namespace\n"))
    ]
    assert actual == [
        "ingress/templates/controller.yml.j2",
        # The namespace of the manifest that the role downloads.
        "keda/templates/patches.yml.j2",
        "prometheus/templates/probes.yml.j2",
        "site/vars/main.yml",
    ]


@pytest.mark.parametrize("playbook", ["platform.yml", "stack.yml"])
def test_the_first_set_of_a_playbook_has_the_stacks_namespace(playbook: str) -> None:
    text = (ROOT / "playbooks" / playbook).read_text(encoding="utf-8")
    roles = re.findall(r"^    - role: baremetal\.sonic\.(\w+)$", text, re.MULTILINE)
    tasks = (ROOT / "roles" / roles[0] / "tasks/main.yml").read_text(encoding="utf-8")
    assert "{{ [site_namespace_object] + " in tasks
