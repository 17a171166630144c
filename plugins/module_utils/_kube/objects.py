# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""What applying objects to a cluster needs to know of them: where they are, what in them counts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol
from urllib.parse import quote

from .client import NOT_FOUND, KubeError
from .pods import Object

OWNER = "baremetal.sonic"
LABELS = {"app.kubernetes.io/managed-by": OWNER}
# Requests at once: more would only queue at the API server.
PARALLEL = 4
# Kinds that others cannot be created without.
FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
HIDDEN = "(not shown)"
# What the API server writes into every object.
NOTED = (
    "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip


class ReadApi(Protocol):
    """What reading objects needs of the API."""

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """One object or list. Raises KubeError."""


class ApplyApi(ReadApi, Protocol):
    """What applying objects needs of the API."""

    def apply(
        self, path: str, body: Object, manager: str, *, dry_run: bool, whole: bool = True
    ) -> dict[str, Any]:
        """Apply an object, conflicts forced; returns it, or its metadata. Raises KubeError."""


def called(item: Object) -> str:
    """An object's kind and name."""
    return f"{item['kind']} {item['metadata']['name']}"


def rank(item: Object) -> int:
    """Where among the FIRST an object's kind comes; whatever has no place there comes last."""
    return FIRST.index(item["kind"]) if item["kind"] in FIRST else len(FIRST)


def batches(items: Iterable[Object]) -> Iterator[list[Object]]:
    """The objects in an order that works, in batches of those that may come at the same time.

    Kinds keep the order in which they first come, after those of FIRST.
    """
    items = list(items)
    kinds = list(dict.fromkeys(item["kind"] for item in items))
    ordered = sorted(items, key=lambda item: (rank(item), kinds.index(item["kind"])))
    for _kind, batch in groupby(ordered, key=lambda item: item["kind"]):
        yield list(batch)


def own_annotations(metadata: Object) -> dict[str, str]:
    """An object's annotations but for those of its controller."""
    found = metadata.get("annotations") or {}
    # A Deployment's controller counts its revisions there.
    return {k: v for k, v in found.items() if not k.startswith("deployment.kubernetes.io/")}


def essence(item: Object) -> Object:
    """An object without its status and without what the API server counts and notes."""
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
    """An object in which a Secret's entries have their names, and not what is in them."""
    if item.get("kind") != "Secret":
        return item
    parts = [part for part in ("data", "stringData") if item.get(part)]
    return {**item, **{part: dict.fromkeys(item[part], HIDDEN) for part in parts}}


def with_secrets(
    items: Sequence[Object], data: Mapping[str, Mapping[str, str]]
) -> tuple[list[Object], set[str]]:
    """The objects, their Secrets filled; and all encoded entries, which nobody may see.

    Args:
        items: objects of any kind.
        data: the Secrets' entries as text, by the Secrets' names.

    Raises:
        LookupError: there are entries for a Secret that is not among the objects.
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
    """One object; None where there is none. Raises KubeError."""
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
    """How the API serves a kind: the last part of its path, and whether it has a namespace."""

    plural: str
    namespaced: bool


class Kinds:
    """The kinds that a cluster knows, asked for once for each group of the API."""

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
            # It may be defined in the next moment.
            del self._groups[group]
            raise UnknownKindError(f"the cluster does not know {kind} of {version}")
        return group, known

    def collection(self, version: str, kind: str) -> str:
        """The path of all objects of a kind, in whatever namespace. Raises KubeError."""
        group, known = self._kind(version, kind)
        return f"{group}/{known.plural}"

    def path(self, item: Object, namespace: str = "") -> str:
        """The path of an object; `namespace` is for one that names none. Raises KubeError."""
        group, known = self._kind(item["apiVersion"], item["kind"])
        name = quote(item["metadata"]["name"])
        if not known.namespaced:
            return f"{group}/{known.plural}/{name}"
        namespace = item["metadata"].get("namespace") or namespace
        if not namespace:
            raise KubeError(f"{called(item)} names no namespace")
        return f"{group}/namespaces/{namespace}/{known.plural}/{name}"
