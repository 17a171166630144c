# SPDX-License-Identifier: Apache-2.0
"""What a host's files say about its place in a cluster, its versions and its GPU pods."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._host import node_state

UID = "3f1c8a52-8a0e-4a3e-9a51-0c7f6d0c9b11"
MANIFEST = """\
apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.36.3
    name: kube-apiserver
"""


def put(root: Path, path: str, text: str = "") -> None:
    """Write a file below a root."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def checkpoint(*uids: str, resource: str = "nvidia.com/gpu") -> str:
    """The kubelet's record of the devices that it gave to pods."""
    entries = [{"PodUID": uid, "ContainerName": "tts", "ResourceName": resource} for uid in uids]
    return json.dumps({"Data": {"PodDeviceEntries": entries}, "Checksum": 1})


def test_a_bare_host(tmp_path: Path) -> None:
    assert node_state.read(tmp_path) == {
        "api_server": "",
        "control_plane": False,
        "gpu_pods": [],
        "joined": False,
        "reset": False,
    }


def test_a_control_plane_and_its_version(tmp_path: Path) -> None:
    put(tmp_path, "etc/kubernetes/kubelet.conf")
    put(tmp_path, "etc/kubernetes/manifests/kube-apiserver.yaml", MANIFEST)
    state = node_state.read(tmp_path)
    assert (state["joined"], state["control_plane"], state["api_server"]) == (True, True, "1.36.3")


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("harbor.example.com:5000/k8s/kube-apiserver:v1.35.0-rc.1", "1.35.0-rc.1"),
        ('"registry.k8s.io/kube-apiserver:v1.36.3"', "1.36.3"),
        ("registry.k8s.io/kube-apiserver@sha256:00ff", ""),
    ],
)
def test_the_api_servers_version_is_its_images_tag(image: str, version: str) -> None:
    assert node_state.api_server_version(f"    image: {image}\n") == version


def test_an_interrupted_init_is_a_control_plane_to_be(tmp_path: Path) -> None:
    """kubeadm init writes the administrator's kubeconfig before the kubelet's."""
    put(tmp_path, "etc/kubernetes/admin.conf")
    put(tmp_path, "etc/kubernetes/kubelet.conf")
    assert node_state.read(tmp_path)["control_plane"] is True


@pytest.mark.parametrize(
    ("left", "reset"),
    [
        ([], True),
        (["etc/kubernetes/pki/ca.crt"], False),
        (["etc/kubernetes/admin.conf"], False),
        (["etc/kubernetes/kubelet.conf"], False),
    ],
)
def test_a_reset_leaves_the_mark_only(tmp_path: Path, left: list[str], reset: bool) -> None:
    put(tmp_path, "etc/kubernetes/.baremetal-sonic-initialized")
    for path in left:
        put(tmp_path, path)
    assert node_state.read(tmp_path)["reset"] is reset


@pytest.mark.parametrize("form", [UID, UID.replace("-", "_")])
def test_pods_with_gpus_that_run(tmp_path: Path, form: str) -> None:
    put(tmp_path, node_state.CHECKPOINT, checkpoint(UID))
    put(tmp_path, f"var/log/pods/cartesia_tts-7f-x2_{UID}/tts/0.log")
    put(tmp_path, "proc/1/cgroup", "0::/init.scope\n")
    put(tmp_path, "proc/812/cgroup", f"0::/kubepods.slice/kubepods-pod{form}.slice/cri-1.scope\n")
    assert node_state.gpu_pods(tmp_path) == ["cartesia/tts-7f-x2"]


def test_pods_that_ended_hold_no_gpu(tmp_path: Path) -> None:
    """The kubelet's record has a pod that ended until a pod needs its device."""
    put(tmp_path, node_state.CHECKPOINT, checkpoint(UID))
    put(tmp_path, "proc/1/cgroup", "0::/init.scope\n")
    assert node_state.gpu_pods(tmp_path) == []


def test_a_pod_whose_log_is_gone_has_its_uid_for_a_name(tmp_path: Path) -> None:
    put(tmp_path, node_state.CHECKPOINT, checkpoint(UID))
    put(tmp_path, "proc/812/cgroup", f"0::/kubepods/pod{UID}/1\n")
    assert node_state.gpu_pods(tmp_path) == [UID]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"Data": null}', checkpoint(UID, resource="fpga")]
)
def test_a_record_without_gpus(tmp_path: Path, text: str) -> None:
    put(tmp_path, node_state.CHECKPOINT, text)
    put(tmp_path, "proc/812/cgroup", f"0::/kubepods/pod{UID}/1\n")
    assert node_state.gpu_pods(tmp_path) == []
