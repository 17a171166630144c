# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A project's release manifest in a cluster: applied whole, and compared at little cost.

Such manifests hold megabytes of CustomResourceDefinitions. What was applied is therefore noted in
a ConfigMap, object by object with the version that the API server gave it. A later run reads only
the objects' metadata: an object that anybody has touched since has another version, and then
everything is applied again.
"""

from __future__ import annotations

import hashlib
import json
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from .kube import KubeError
from .pods import Object

MANAGER = "baremetal.sonic"
LABELS = {"app.kubernetes.io/managed-by": MANAGER}
NOT_FOUND = 404
SYSTEM = "kube-system"
# Requests at once: more would only queue at the API server.
PARALLEL = 4
# Kinds that others cannot be created without.
FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")


class ReleaseError(Exception):
    """The manifest cannot be used; the message says why."""


class WriteApi(Protocol):
    """What a release needs of the API."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object. Raises KubeError."""

    def metadata(self, path: str) -> dict[str, Any]:
        """One object without anything but its metadata. Raises KubeError."""

    def apply(self, path: str, body: Object, manager: str, dry_run: bool) -> dict[str, Any]:
        """Apply an object on the server's side, conflicts forced. Raises KubeError."""


@dataclass(frozen=True)
class Kind:
    """How the API serves a kind: the last part of its path, and whether it has a namespace."""

    plural: str
    namespaced: bool


def in_namespace(documents: Iterable[Any], namespace: str) -> list[dict[str, Any]]:
    """The manifest's objects, moved to a namespace.

    Upstream's manifests name the namespace that suits upstream: in metadata (where there is one)
    and in the subjects of bindings. What they put into the system's own stays there. Raises
    ReleaseError for what is not an object.
    """
    moved = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= set(
            document
        ):
            raise ReleaseError("it holds a document that is not a Kubernetes object")
        item = dict(document)
        metadata = dict(item["metadata"])
        if metadata.get("namespace", SYSTEM) != SYSTEM:
            metadata["namespace"] = namespace
        item["metadata"] = metadata
        if "subjects" in item:
            item["subjects"] = [
                subject
                | ({"namespace": namespace} if subject.get("namespace", SYSTEM) != SYSTEM else {})
                for subject in item["subjects"]
            ]
        moved.append(item)
    if not moved:
        raise ReleaseError("it holds no objects")
    return sorted(moved, key=_rank)


def _rank(item: Object) -> int:
    return FIRST.index(item["kind"]) if item["kind"] in FIRST else len(FIRST)


def fingerprint(*parts: str) -> str:
    """A digest of what decides about the applied objects."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def version_of(item: Object) -> str:
    """What changes when somebody changes an object, and not when its controller reports on it."""
    metadata = item["metadata"]
    counted = metadata.get("generation")
    if counted is None:
        return f"{metadata['uid']}/{metadata['resourceVersion']}"
    marks = json.dumps([metadata.get("labels"), _annotations(metadata)], sort_keys=True)
    return f"{metadata['uid']}/{counted}/{hashlib.sha256(marks.encode()).hexdigest()[:12]}"


def _annotations(metadata: Object) -> dict[str, str]:
    # A Deployment's controller counts its revisions there.
    found: Mapping[str, str] = metadata.get("annotations") or {}
    return {k: v for k, v in found.items() if not k.startswith("deployment.kubernetes.io/")}


class Release:
    """One release in one namespace of a cluster."""

    def __init__(self, api: WriteApi, name: str, namespace: str) -> None:
        """`name` tells releases in the same namespace apart."""
        self._api = api
        self._namespace = namespace
        self._note = f"/api/v1/namespaces/{namespace}/configmaps/release-{name}"
        self._name = f"release-{name}"
        self._kinds: dict[str, dict[str, Kind]] = {}

    def current(self, wanted: str) -> bool:
        """Whether exactly this was applied, and nobody has touched it since. Raises KubeError."""
        try:
            note = self._api.get(self._note)["data"]
        except KubeError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        if note.get("fingerprint") != wanted:
            return False
        noted: dict[str, str] = json.loads(note["objects"])
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = pool.map(self._version_at, noted)
            return all(version == noted[path] for path, version in zip(noted, found, strict=True))

    def _version_at(self, path: str) -> str:
        try:
            return version_of(self._api.metadata(path))
        except KubeError as error:
            if error.status == NOT_FOUND:
                return ""
            raise

    def apply(
        self, items: Iterable[Object], wanted: str, dry_run: bool, wait: Callable[[str], None]
    ) -> list[str]:
        """Apply the objects and note it; returns `KIND NAME` of each that was changed.

        `wait` is called with the path of every CustomResourceDefinition after it was applied.
        Raises KubeError.
        """
        items = list(items)
        # The manifest may describe the namespace itself.
        own = [item for item in items if _called(item) == f"Namespace {self._namespace}"]
        items = [item for item in items if item not in own]
        labels = [item["metadata"].get("labels") or {} for item in own]
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self._namespace,
                "labels": dict(ChainMap(LABELS, *labels)),
            },
        }
        new = not self._version_at(f"/api/v1/namespaces/{self._namespace}")
        changed = ["Namespace " + self._namespace] if self._put(namespace, dry_run)[1] else []
        # Nothing can be tried in a namespace that is not there.
        absent = new and dry_run
        noted: dict[str, str] = {}
        for rank in sorted({_rank(item) for item in items}):
            batch = [item for item in items if _rank(item) == rank]
            if absent:
                tried = [item for item in batch if "namespace" not in item["metadata"]]
                changed += [_called(item) for item in batch if "namespace" in item["metadata"]]
                batch = tried
            with ThreadPoolExecutor(PARALLEL) as pool:
                done = list(pool.map(lambda item: self._put(item, dry_run), batch))
            for item, (path, differs) in zip(batch, done, strict=True):
                changed += [_called(item)] if differs else []
                if item["kind"] == "CustomResourceDefinition" and not dry_run:
                    wait(path)
            noted |= {path: "" for path, _differs in done}
        if not dry_run:
            with ThreadPoolExecutor(PARALLEL) as pool:
                noted = dict(zip(noted, pool.map(self._version_at, noted), strict=True))
            note = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": self._name,
                    "namespace": self._namespace,
                    "labels": LABELS,
                },
                "data": {"fingerprint": wanted, "objects": json.dumps(noted, indent=0)},
            }
            self._api.apply(self._note, note, MANAGER, False)
        return changed

    def _put(self, item: Object, dry_run: bool) -> tuple[str, bool]:
        """Apply one object; returns its path and whether that changed it."""
        path = self._path(item)
        before = self._version_at(path)
        if dry_run and not before:
            return path, True
        after = self._api.apply(path, item, MANAGER, dry_run)
        return path, version_of(after) != before

    def _path(self, item: Object) -> str:
        version = item["apiVersion"]
        group = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if group not in self._kinds:
            listed = self._api.get(group)["resources"]
            self._kinds[group] = {
                entry["kind"]: Kind(entry["name"], entry["namespaced"])
                for entry in listed
                if "/" not in entry["name"]
            }
        kind = self._kinds[group].get(item["kind"])
        if kind is None:
            raise KubeError(f"the cluster does not know {item['kind']} of {version}")
        name = quote(item["metadata"]["name"])
        if not kind.namespaced:
            return f"{group}/{kind.plural}/{name}"
        namespace = item["metadata"].get("namespace", self._namespace)
        return f"{group}/namespaces/{namespace}/{kind.plural}/{name}"


def _called(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def established(crd: Object) -> bool:
    """Whether the API server serves a CustomResourceDefinition's kind."""
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
