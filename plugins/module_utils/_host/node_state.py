# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What a host's own files say about its place in a cluster, without asking the API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import kubeadm

ROOT = Path("/")
# The kubelet's record of the devices that it gave to pods.
CHECKPOINT = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"
GPU = "nvidia.com/gpu"
API_SERVER = "manifests/kube-apiserver.yaml"
API_SERVER_IMAGE = re.compile(r"image: *\"?\S*kube-apiserver:v([^\s\"@]+)")
# A pod's UID in the name of its control group: with _ under systemd, with - otherwise.
POD_GROUP = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")


def read(root: Path = ROOT) -> dict[str, Any]:
    """The host as a node: plain values for a module's result.

    Returns:
        joined: whether its kubelet has an identity in a cluster.
        control_plane: whether kubeadm made it a control plane, or began to.
        api_server: version of its API server; empty for none, or for an image without a tag.
        reset: whether it was a control plane until `kubeadm reset`.
        gpu_pods: pods with GPUs that run on it, each as NAMESPACE/NAME.
    """
    etc = root / str(kubeadm.ETC).lstrip("/")
    admin, manifest = etc / kubeadm.ADMIN.name, etc / API_SERVER
    joined = (etc / "kubelet.conf").exists()
    left = joined or admin.exists() or (etc / "pki/ca.crt").exists()
    return {
        "joined": joined,
        "control_plane": admin.exists() or manifest.exists(),
        "api_server": api_server_version(_text(manifest)),
        # A reset passes over our mark.
        "reset": (etc / kubeadm.INITIALIZED.name).exists() and not left,
        "gpu_pods": gpu_pods(root),
    }


def api_server_version(manifest: str) -> str:
    """The version in the tag of the API server's image, without its v; empty when there is none."""
    match = API_SERVER_IMAGE.search(manifest)
    return match.group(1) if match else ""


def gpu_pods(root: Path = ROOT) -> list[str]:
    """Pods with GPUs that run now, each as NAMESPACE/NAME (its UID where no log has the name)."""
    uids = _with_gpus(_text(root / CHECKPOINT))
    # The record keeps a pod that ended until another one needs its device.
    uids &= _running(root / "proc") if uids else set()
    names = {}
    for folder in (root / "var/log/pods").glob("*_*_*") if uids else ():
        namespace, name, uid = folder.name.split("_", 2)
        names[uid] = f"{namespace}/{name}"
    return sorted(names.get(uid, uid) for uid in uids)


def _with_gpus(checkpoint: str) -> set[str]:
    try:
        entries = json.loads(checkpoint)["Data"]["PodDeviceEntries"] or []
    except (ValueError, KeyError, TypeError):
        return set()
    return {entry["PodUID"] for entry in entries if entry.get("ResourceName") == GPU}


def _running(proc: Path) -> set[str]:
    """UIDs of the pods that have a process."""
    return {
        uid.replace("_", "-")
        for path in proc.glob("[0-9]*/cgroup")
        for uid in POD_GROUP.findall(_text(path))
    }


def _text(path: Path) -> str:
    """A file's text; empty when it cannot be read, as of a process that has just ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
