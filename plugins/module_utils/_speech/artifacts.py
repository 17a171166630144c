# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the pods of a site have what was put into its bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._kube.pods import Object

COMPONENT = "app.kubernetes.io/component"
FOLLOWERS = f"{COMPONENT} in (api,worker)"


class RefusedError(Exception):
    """The artifact sync cannot use what is in the bucket; waiting would not help."""


def following(pods: Iterable[Object]) -> list[str]:
    """Names under which the artifact sync knows those of the pods that ask it for artifacts."""
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


def waits_for(told: Mapping[str, Any], pods: Iterable[Object], wanted: Mapping[str, str]) -> str:
    """What is still missing until every pod has the wanted files; empty when nothing is.

    Args:
        told: what the artifact sync answered to GET /followers.
        pods: the pods of API and workers.
        wanted: version of each file in the bucket, empty for one that is to be gone.

    Raises:
        RefusedError: the sync has looked at these very files and cannot use them.
    """
    have = told["files"]
    behind = sorted(name for name, version in wanted.items() if have.get(name, "") != version)
    if behind:
        # What it refused may have been replaced or removed since: that is for its next look.
        examined = all(told["examined"].get(name, "") == wanted[name] for name in wanted)
        if examined and any(f"{name}:" in told["refused"] for name in wanted):
            raise RefusedError(told["refused"])
        said = told["failure"]
        return f"the artifact sync has not taken up {', '.join(behind)}" + (
            f"; it says: {said}" if said else ""
        )
    names = following(pods)
    late = [name for name in names if told["followers"].get(name) != told["generation"]]
    if late:
        return f"{len(late)} of {len(names)} pods do not have it yet: {', '.join(late[:5])}"
    return ""
