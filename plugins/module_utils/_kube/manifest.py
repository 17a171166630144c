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
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from .client import NOT_FOUND, KubeError
from .objects import (
    LABELS,
    OWNER,
    PARALLEL,
    ApplyApi,
    Kinds,
    batches,
    called,
    look_up,
    own_annotations,
)
from .pods import Object, condition

SYSTEM = "kube-system"


class ReleaseError(Exception):
    """The manifest cannot be used; the message says why."""


class ReleaseApi(ApplyApi, Protocol):
    """What a release needs of the API."""

    def metadata(self, path: str) -> dict[str, Any]:
        """One object without anything but its metadata. Raises KubeError."""


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
    return moved


def fingerprint(*parts: str) -> str:
    """A digest of what decides about the applied objects."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def version_of(item: Object) -> str:
    """What changes when somebody changes an object, and not when its controller reports on it."""
    metadata = item["metadata"]
    counted = metadata.get("generation")
    if counted is None:
        return f"{metadata['uid']}/{metadata['resourceVersion']}"
    marks = json.dumps([metadata.get("labels"), own_annotations(metadata)], sort_keys=True)
    return f"{metadata['uid']}/{counted}/{hashlib.sha256(marks.encode()).hexdigest()[:12]}"


class Release:
    """One release in one namespace of a cluster."""

    def __init__(self, api: ReleaseApi, name: str, namespace: str) -> None:
        """`name` tells releases in the same namespace apart."""
        self._api = api
        self._namespace = namespace
        self._note = f"/api/v1/namespaces/{namespace}/configmaps/release-{name}"
        self._name = f"release-{name}"
        self._kinds = Kinds(api)

    def current(self, wanted: str) -> bool:
        """Whether exactly this was applied, and nobody has touched it since. Raises KubeError."""
        note = (look_up(self._api, self._note) or {}).get("data") or {}
        if note.get("fingerprint") != wanted:
            return False
        noted: dict[str, str] = json.loads(note["objects"])
        with ThreadPoolExecutor(PARALLEL) as pool:
            versions = pool.map(self._version_at, noted)
            return all(now == noted[path] for path, now in zip(noted, versions, strict=True))

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
        Raises ReleaseError, before anything is changed, when it would take over what something else
        serves; KubeError when the API refuses something.
        """
        items = list(items)
        self._refuse_to_take_over(items)
        # The manifest may describe the namespace itself.
        own = [item for item in items if called(item) == f"Namespace {self._namespace}"]
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
        if absent:
            changed += [called(item) for item in items if "namespace" in item["metadata"]]
            items = [item for item in items if "namespace" not in item["metadata"]]
        for batch in batches(items):
            with ThreadPoolExecutor(PARALLEL) as pool:
                done = list(pool.map(lambda item: self._put(item, dry_run), batch))
            for item, (path, differs) in zip(batch, done, strict=True):
                changed += [called(item)] if differs else []
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
            self._api.apply(self._note, note, OWNER, dry_run=False, whole=False)
        return changed

    def _put(self, item: Object, dry_run: bool) -> tuple[str, bool]:
        """Apply one object; returns its path and whether that changed it."""
        path = self._kinds.path(item, self._namespace)
        before = self._version_at(path)
        if dry_run and not before:
            return path, True
        after = self._api.apply(path, item, OWNER, dry_run=dry_run, whole=False)
        return path, version_of(after) != before

    def _refuse_to_take_over(self, items: Iterable[Object]) -> None:
        """A part of the API is served by one Service, and what asks for it must not get another."""
        for item in items:
            if item["kind"] != "APIService":
                continue
            there = look_up(self._api, self._kinds.path(item)) or {}
            serving = (there.get("spec") or {}).get("service")
            wanted = item["spec"].get("service")
            if serving and wanted and _full_name(serving) != _full_name(wanted):
                raise ReleaseError(
                    f"{item['metadata']['name']} of this cluster's API is served by the Service"
                    f" {_full_name(serving)} already, and there can be only one: use that, or"
                    " remove it first"
                )


def _full_name(service: Object) -> str:
    return f"{service['namespace']}/{service['name']}"


def established(crd: Object) -> bool:
    """Whether the API server serves a CustomResourceDefinition's kind."""
    return condition(crd, "Established").get("status") == "True"
