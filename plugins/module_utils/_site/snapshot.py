# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What ran at a site before a change, so that it can run again after it.

The snapshot has, of each object of the site's sets, the fields that each of our field managers has
applied. To restore it is to apply the same fields under the same managers, which also removes the
fields that the change added. Objects that the change added are removed.

It is a Secret in the cluster: it holds other Secrets' values, which so never leave the cluster.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

from .._kube.applyset import LABEL, NEEDED, SetApi
from .._kube.client import KubeError
from .._kube.fields import applied, is_applied
from .._kube.objects import LABELS, OWNER, Kinds, UnknownKindError, called, look_up
from .._kube.types import Object

# What the stack's roles apply, in the order of an apply. Volumes are not among it: they hold data.
KINDS = (
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
    ("keda.sh/v1alpha1", "ScaledObject"),
)
WORKLOADS = ("DaemonSet", "StatefulSet", "Deployment")
RELEASE = "baremetal.sonic/release"
DATA = "objects.json.gz"
# This manager sets the number of pods of a worker that becomes autoscaled, once.
HANDOVER = ".handover"
LIMIT = 1_000_000


class Snapshot:
    """The snapshot of one site."""

    def __init__(self, api: SetApi, namespace: str, name: str, sets: Sequence[str]) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._sets = sets
        self._kinds = Kinds(api)
        self._secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
        }

    def stored(self) -> Object | None:
        """Return the Secret with the snapshot, or None. Raises KubeError."""
        return look_up(self._api, self._kinds.path(self._secret))

    def take(self, release: str, *, dry_run: bool) -> bool:
        """Store what runs, unless it is stored for this release; return whether it was stored.

        Raises KubeError.
        """
        former = self.stored()
        if former and (former["metadata"].get("annotations") or {}).get(RELEASE) == release:
            # An interrupted run may have changed the site since.
            return False
        entries = [[manager, part] for item in self._members() for manager, part in parts_of(item)]
        data = base64.b64encode(gzip.compress(json.dumps(entries).encode(), mtime=0)).decode()
        if len(data) > LIMIT:
            raise KubeError(f"the snapshot has {len(data)} bytes, a Secret takes {LIMIT}")
        if not dry_run:
            metadata = {
                **self._secret["metadata"],
                "labels": LABELS,
                "annotations": {RELEASE: release},
            }
            body = {**self._secret, "metadata": metadata, "data": {DATA: data}}
            path = self._kinds.path(self._secret)
            self._api.apply(path, body, "baremetal.sonic.rollout", dry_run=False, whole=False)
        return True

    def restore(self, release: str, *, dry_run: bool) -> tuple[list[str], list[Object]]:
        """Apply the snapshot of a release; return what differed, and its workloads.

        Raises KubeError.
        """
        former = self.stored()
        if not former or (former["metadata"].get("annotations") or {}).get(RELEASE) != release:
            raise KubeError(f"there is no snapshot of the time before release {release}")
        entries: list[tuple[str, Object]] = json.loads(
            gzip.decompress(base64.b64decode(former["data"][DATA]))
        )
        if not entries:
            raise KubeError("nothing ran before this release, so there is nothing to roll back to")
        changed = []
        kept = set()
        for manager, part in entries:
            path = self._kinds.path(part)
            kept.add(path)
            live = look_up(self._api, path)
            if live is not None and is_applied(part, live, manager):
                continue
            changed.append(called(part))
            if not dry_run:
                try:
                    self._api.apply(path, part, manager, dry_run=False, whole=False)
                except KubeError as error:
                    raise KubeError(f"{called(part)}: {error}", error.status) from error
        for item in self._members():
            path = self._kinds.path(item)
            if path in kept or NEEDED in (item["metadata"].get("annotations") or {}):
                continue
            changed.append(called(item))
            if not dry_run:
                self._api.delete(path)
        workloads: list[Object] = [
            {
                "kind": part["kind"],
                "namespace": part["metadata"]["namespace"],
                "name": part["metadata"]["name"],
            }
            for part in unique(part for _manager, part in entries)
            if part["kind"] in WORKLOADS
        ]
        return list(dict.fromkeys(changed)), workloads

    def remove(self, *, dry_run: bool) -> bool:
        """Remove the snapshot; return whether there was one. Raises KubeError."""
        if self.stored() is None:
            return False
        if not dry_run:
            self._api.delete(self._kinds.path(self._secret))
        return True

    def _members(self) -> list[Object]:
        """Return the objects of the sets, in the order in which they are applied."""
        selector = f"{LABEL} in ({','.join(self._sets)})"
        members: list[Object] = []
        for version, kind in KINDS:
            try:
                path = self._kinds.collection(version, kind)
            except UnknownKindError:
                continue
            listed = self._api.get(path, labelSelector=selector).get("items") or []
            members += [{"apiVersion": version, "kind": kind, **item} for item in listed]
        return members


def parts_of(item: Object) -> list[tuple[str, Object]]:
    """Return each of our field managers with the part of an object that it has applied."""
    managers = dict.fromkeys(
        entry["manager"]
        for entry in item["metadata"].get("managedFields") or []
        if entry["operation"] == "Apply"
        and not entry.get("subresource")
        and entry["manager"].startswith(OWNER)
        and not entry["manager"].endswith(HANDOVER)
    )
    parts: list[tuple[str, Object]] = []
    for manager in managers:
        made: dict[str, Any] = applied(item, manager)
        if made:
            named = {k: item["metadata"][k] for k in ("name", "namespace")}
            metadata = {**made.get("metadata", {}), **named}
            head = {"apiVersion": item["apiVersion"], "kind": item["kind"]}
            parts.append((manager, {**made, **head, "metadata": metadata}))
    return parts


def unique(parts: Iterable[Object]) -> list[Object]:
    """Return the parts, one of each object."""
    return list({(part["kind"], part["metadata"]["name"]): part for part in parts}.values())
