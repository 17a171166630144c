# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Compare objects, order them for an apply, and find their paths in the API."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import quote

from .client import NOT_FOUND, KubeError
from .types import Object, ReadApi

OWNER = "baremetal.sonic"
LABELS = {"app.kubernetes.io/managed-by": OWNER}
# Parallel requests. More would only queue at the API server.
PARALLEL = 4
# Kinds that must exist before objects of other kinds.
FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
HIDDEN = "(not shown)"
# Metadata that the API server writes itself.
NOTED = (
    "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip


class ApplyApi(ReadApi, Protocol):
    """The calls of the API that apply objects."""

    def apply(
        self, path: str, body: Object, manager: str, *, dry_run: bool, whole: bool = True
    ) -> dict[str, Any]:
        """Apply an object by force. Return it, or its metadata. Raises KubeError."""


def called(item: Object) -> str:
    """Return an object's kind and name, as messages name it."""
    return f"{item['kind']} {item['metadata']['name']}"


def rank(item: Object) -> int:
    """Return the place of an object's kind in FIRST. All other kinds come last."""
    return FIRST.index(item["kind"]) if item["kind"] in FIRST else len(FIRST)


def batches(items: Iterable[Object]) -> Iterator[list[Object]]:
    """Yield the objects in batches. A batch can be applied in parallel, after those before it.

    Each kind is a batch: first those of FIRST, then the others in the order of the objects.
    """
    items = list(items)
    kinds = list(dict.fromkeys(item["kind"] for item in items))
    ordered = sorted(items, key=lambda item: (rank(item), kinds.index(item["kind"])))
    for _kind, batch in groupby(ordered, key=lambda item: item["kind"]):
        yield list(batch)


def own_annotations(metadata: Object) -> dict[str, str]:
    """Return an object's annotations without those of its controller."""
    annotations = metadata.get("annotations") or {}
    # A Deployment's controller writes its revision there.
    return {k: v for k, v in annotations.items() if not k.startswith("deployment.kubernetes.io/")}


def essence(item: Object) -> Object:
    """Return an object without its status and without what the API server writes into it."""
    metadata = {
        key: value
        for key, value in item["metadata"].items()
        if key not in NOTED and key != "annotations"
    }
    if annotations := own_annotations(item["metadata"]):
        metadata["annotations"] = annotations
    kept = {key: value for key, value in item.items() if key not in ("status", "metadata")}
    return kept | {"metadata": metadata}


def without_secrets(item: Object) -> Object:
    """Return an object; of a Secret, hide the values of its entries."""
    if item.get("kind") != "Secret":
        return item
    parts = [part for part in ("data", "stringData") if item.get(part)]
    return {**item, **{part: dict.fromkeys(item[part], HIDDEN) for part in parts}}


def with_secrets(
    items: Sequence[Object], data: Mapping[str, Mapping[str, str]]
) -> tuple[list[Object], set[str]]:
    """Return the objects with their Secrets filled, and all encoded values, which are secret.

    Args:
        items: objects of any kind.
        data: the entries of each Secret as text, by the Secret's name.

    Raises:
        LookupError: `data` names a Secret that is not among the objects.
    """
    encoded = {
        name: {key: b64encode(text.encode()).decode() for key, text in entries.items()}
        for name, entries in data.items()
    }
    names = {item["metadata"]["name"] for item in items if item["kind"] == "Secret"}
    if left := encoded.keys() - names:
        raise LookupError(f"no Secret {', '.join(sorted(left))} is among the objects")
    filled = [
        {**item, "data": encoded[item["metadata"]["name"]]}
        if item["kind"] == "Secret" and item["metadata"]["name"] in encoded
        else item
        for item in items
    ]
    return filled, {text for entries in encoded.values() for text in entries.values()}


def look_up(api: ReadApi, path: str) -> Object | None:
    """Return one object, or None if it does not exist. Raises KubeError."""
    try:
        return api.get(path)
    except KubeError as error:
        if error.status == NOT_FOUND:
            return None
        raise


class UnknownKindError(KubeError):
    """The cluster has no such kind (yet)."""


@dataclass(frozen=True)
class Kind:
    """How the API serves a kind: the plural in its path, and whether it has a namespace."""

    plural: str
    namespaced: bool


class Kinds:
    """The kinds that a cluster serves. Each group of the API is read once."""

    def __init__(self, api: ReadApi) -> None:
        self._api = api
        self._groups: dict[str, dict[str, Kind]] = {}

    def _kind(self, version: str, kind: str) -> tuple[str, Kind]:
        group = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if group not in self._groups:
            listed = look_up(self._api, group) or {}
            self._groups[group] = {
                entry["kind"]: Kind(entry["name"], entry["namespaced"])
                for entry in listed.get("resources") or []
                if "/" not in entry["name"]
            }
        known = self._groups[group].get(kind)
        if known is None:
            # The caller may apply its CustomResourceDefinition next: read the group again then.
            del self._groups[group]
            raise UnknownKindError(f"the cluster does not know {kind} of {version}")
        return group, known

    def collection(self, version: str, kind: str) -> str:
        """Return the path of all objects of a kind, in all namespaces. Raises KubeError."""
        group, known = self._kind(version, kind)
        return f"{group}/{known.plural}"

    def path(self, item: Object, namespace: str = "") -> str:
        """Return the path of an object; `namespace` is its default. Raises KubeError."""
        group, known = self._kind(item["apiVersion"], item["kind"])
        name = quote(item["metadata"]["name"])
        if not known.namespaced:
            return f"{group}/{known.plural}/{name}"
        namespace = item["metadata"].get("namespace") or namespace
        if not namespace:
            raise KubeError(f"{called(item)} names no namespace")
        return f"{group}/namespaces/{namespace}/{known.plural}/{name}"
