# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Which objects of a cluster support needs, and what of them it must not see."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._kube.types import Object
from .transcripts import MARK

# Written whole, without literal values.
LISTS = {
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "events": "/api/v1/events",
    "persistentvolumes": "/api/v1/persistentvolumes",
    "persistentvolumeclaims": "/api/v1/persistentvolumeclaims",
    "deployments": "/apis/apps/v1/deployments",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "horizontalpodautoscalers": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "scaledobjects": "/apis/keda.sh/v1alpha1/scaledobjects",
}
# Only their names and the names of their keys are written.
NAMED = {"secrets": "/api/v1/secrets", "configmaps": "/api/v1/configmaps"}
# An annotation with a whole object in it, and fields that only say who wrote what.
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DROPPED = ("managedFields", APPLIED)


def trimmed(value: Any) -> Any:
    """Return an object without the literal values of its containers.

    Names of environment variables and of flags stay, and so do references to Secrets.
    """
    if isinstance(value, Mapping):
        return {name: _hidden(name, inner) for name, inner in value.items() if name not in DROPPED}
    return [trimmed(inner) for inner in value] if isinstance(value, list) else value


def _hidden(name: str, value: Any) -> Any:
    if isinstance(value, list):
        if name in ("env", "httpHeaders"):
            return [{**trimmed(one), "value": MARK} if "value" in one else one for one in value]
        if name == "args":
            return [_flag(str(one)) for one in value]
        if name == "command":
            # The first is the program.
            return [*value[:1], *(_flag(str(one)) for one in value[1:])]
    return trimmed(value)


def _flag(argument: str) -> str:
    name, equals, _value = argument.partition("=")
    if not argument.startswith("-") or any(character.isspace() for character in name):
        return MARK
    return f"{name}={MARK}" if equals else name


def names_of(items: Iterable[Object]) -> list[dict[str, Any]]:
    """Return of Secrets and ConfigMaps what they are called, and what they have, without data."""
    return [
        {
            "namespace": item["metadata"].get("namespace", ""),
            "name": item["metadata"]["name"],
            "type": item.get("type", ""),
            "created": item["metadata"].get("creationTimestamp", ""),
            "keys": sorted({**(item.get("data") or {}), **(item.get("binaryData") or {})}),
        }
        for item in items
    ]


def secret_values(items: Iterable[Object], namespace: str) -> Iterator[bytes]:
    """Yield the values of Secrets, only to remove them from texts.

    Outside the site's namespace, names of users and namespaces are left out: they are in each
    object, and no secret.
    """
    for item in items:
        ours = item["metadata"].get("namespace") == namespace
        for name, encoded in (item.get("data") or {}).items():
            if ours or name not in ("namespace", "username"):
                try:
                    yield base64.b64decode(encoded, validate=True)
                except binascii.Error:
                    yield str(encoded).encode()


def versions(server: Object, nodes: Iterable[Object], pods: Iterable[Object]) -> dict[str, Any]:
    """Return the versions of the API server and the nodes, and the images that run."""
    images: dict[tuple[str, str], int] = {}
    for pod in pods:
        for state in _states(pod):
            key = (str(state.get("image") or ""), str(state.get("imageID") or ""))
            images[key] = images.get(key, 0) + 1
    return {
        "api_server": dict(server),
        "nodes": {
            node["metadata"]["name"]: (node.get("status") or {}).get("nodeInfo") or {}
            for node in nodes
        },
        "images": [
            {"image": image, "digest": digest, "containers": count}
            for (image, digest), count in sorted(images.items())
        ],
    }


def _states(pod: Object) -> Sequence[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def containers(pods: Iterable[Object], namespace: str) -> list[tuple[str, str, str, bool]]:
    """Return namespace, pod, container and whether it restarted, of all containers that started.

    The site's namespace comes first, and in each namespace the containers that restarted.
    """
    rows = [
        (
            str(pod["metadata"]["namespace"]),
            str(pod["metadata"]["name"]),
            str(state["name"]),
            int(state.get("restartCount") or 0) > 0,
        )
        for pod in pods
        for state in _states(pod)
    ]
    return sorted(rows, key=lambda row: (row[0] != namespace, row[0], not row[3], row))
