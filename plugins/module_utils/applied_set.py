# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A set of objects in a cluster that holds what it should and nothing else.

Every object of the set carries the set's label. Whatever carries it and is not wanted any more is
removed; nothing else is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from .kube import NOT_FOUND, KubeError
from .pods import Object

MANAGER = "baremetal.sonic"
LABEL = "baremetal.sonic/set"
# What the API server writes into every object.
NOTED = (
    "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip


class SetApi(Protocol):
    """What a set needs of the API."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object or list. Raises KubeError."""

    def put(self, path: str, body: Object, manager: str, dry_run: bool) -> dict[str, Any]:
        """Apply an object, conflicts forced; returns it. Raises KubeError."""

    def delete(self, path: str) -> None:
        """Delete an object. Raises KubeError."""


@dataclass(frozen=True)
class Change:
    """One object that differs, as it was and as it is; None where there was or is none."""

    called: str
    before: Object | None
    after: Object | None


def essence(item: Object) -> Object:
    """An object without its status and without what the API server counts and notes."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in NOTED}
    annotations = {
        key: value
        for key, value in (metadata.pop("annotations", None) or {}).items()
        # A Deployment's controller counts its revisions there.
        if not key.startswith("deployment.kubernetes.io/")
    }
    if annotations:
        metadata["annotations"] = annotations
    kept = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    return kept | {"metadata": metadata}


class AppliedSet:
    """One set of objects in one namespace."""

    def __init__(self, api: SetApi, name: str, namespace: str) -> None:
        """`name` tells sets apart: it is the label's value."""
        self._api = api
        self._name = name
        self._namespace = namespace
        self._plurals: dict[str, dict[str, str]] = {}

    def sync(
        self, items: Sequence[Object], kinds: Iterable[tuple[str, str]], dry_run: bool
    ) -> list[Change]:
        """Apply the items, then remove what else is of the set; returns what differs.

        Args:
            items: objects of the namespace, in the order in which they are applied.
            kinds: apiVersion and kind of whatever the set may hold left over from before.
            dry_run: whether only to tell what would be done.

        Raises:
            KubeError: the API refused something; what came before it is done.
        """
        present = self._namespace_is_there()
        changes = [] if present else [self._make_namespace(dry_run)]
        # Nothing can be tried in a namespace that is not there.
        absent = dry_run and not present
        there: dict[str, Object] = {}
        for version, kind in () if absent else dict.fromkeys([*kinds, *map(_kind, items)]):
            listed = self._api.get(self._path(version, kind), labelSelector=f"{LABEL}={self._name}")
            for item in listed.get("items") or []:
                whole = {"apiVersion": version, "kind": kind} | item
                there[self._path(version, kind, item["metadata"]["name"])] = whole
        for item in items:
            path = "" if absent else self._path(*_kind(item), item["metadata"]["name"])
            before = None if absent else there.pop(path, None) or self._read(path)
            after = item if absent else self._api.put(path, self._marked(item), MANAGER, dry_run)
            if before is None or essence(before) != essence(after):
                changes.append(Change(_called(item), before, after))
        for path, item in there.items():
            if not dry_run:
                self._api.delete(path)
            changes.append(Change(_called(item), item, None))
        return changes

    def _marked(self, item: Object) -> Object:
        labels = (item["metadata"].get("labels") or {}) | {LABEL: self._name}
        own = {"namespace": self._namespace, "labels": labels}
        return dict(item) | {"metadata": dict(item["metadata"]) | own}

    def _read(self, path: str) -> Object | None:
        try:
            return self._api.get(path)
        except KubeError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def _namespace_is_there(self) -> bool:
        return self._read(f"/api/v1/namespaces/{self._namespace}") is not None

    def _make_namespace(self, dry_run: bool) -> Change:
        wanted: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self._namespace,
                "labels": {"app.kubernetes.io/managed-by": MANAGER},
            },
        }
        self._api.put(f"/api/v1/namespaces/{self._namespace}", wanted, MANAGER, dry_run)
        return Change(_called(wanted), None, wanted)

    def _path(self, version: str, kind: str, name: str = "") -> str:
        group = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if group not in self._plurals:
            self._plurals[group] = {
                entry["kind"]: entry["name"]
                for entry in self._api.get(group)["resources"]
                if "/" not in entry["name"] and entry["namespaced"]
            }
        plural = self._plurals[group].get(kind)
        if plural is None:
            raise KubeError(f"the cluster knows no {kind} of {version} in namespaces")
        path = f"{group}/namespaces/{self._namespace}/{plural}"
        return f"{path}/{quote(name)}" if name else path


def _kind(item: Object) -> tuple[str, str]:
    return item["apiVersion"], item["kind"]


def _called(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"
