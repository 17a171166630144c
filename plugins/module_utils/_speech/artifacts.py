# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""See whether the pods of a site have the files of its bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._kube.types import Object

COMPONENT = "app.kubernetes.io/component"
FOLLOWERS = f"{COMPONENT} in (api,worker)"


class RefusedError(Exception):
    """The artifact sync cannot use a file of the bucket; a wait would not help."""


def following(pods: Iterable[Object]) -> list[str]:
    """Return the pods that ask the artifact sync for files, by the names that it uses."""
    return sorted(
        f"{pod['metadata']['labels'][COMPONENT]}/{pod['metadata']['name']}"
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp")
        and pod.get("status", {}).get("phase") == "Running"
        and any(
            item["name"] == "SONIC_ARTIFACTS_URL"
            for container in pod["spec"]["containers"]
            for item in container.get("env") or []
        )
    )


def waits_for(status: Mapping[str, Any], pods: Iterable[Object], wanted: Mapping[str, str]) -> str:
    """Say which pods lack the wanted files; empty if all have them.

    Args:
        status: the artifact sync's answer to GET /followers.
        pods: the pods of API and workers.
        wanted: the version of each file in the bucket; empty for a removed file.

    Raises:
        RefusedError: the artifact sync has read these versions and cannot use them.
    """
    have = status["files"]
    behind = sorted(name for name, version in wanted.items() if have.get(name, "") != version)
    if behind:
        # A refused file may have been replaced or removed since. Then its next look decides.
        examined = all(status["examined"].get(name, "") == wanted[name] for name in wanted)
        if examined and any(f"{name}:" in status["refused"] for name in wanted):
            raise RefusedError(status["refused"])
        failure = status["failure"]
        return f"the artifact sync has not taken up {', '.join(behind)}" + (
            f"; it says: {failure}" if failure else ""
        )
    names = following(pods)
    late = [name for name in names if status["followers"].get(name) != status["generation"]]
    if late:
        return f"{len(late)} of {len(names)} pods do not have it yet: {', '.join(late[:5])}"
    return ""
