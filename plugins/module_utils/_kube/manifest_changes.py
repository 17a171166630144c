# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Patch the objects of a release manifest for a site, and add objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .types import Object

# Lists that Kubernetes merges by the names of their items (patchMergeKey in its API). All others
# are replaced: of a binding, for example, no subject of the manifest must remain.
BY_NAME = frozenset({"containers", "env", "initContainers", "webhooks"})


class ChangeError(Exception):
    """A change does not fit the manifest; the message names the object."""


def changed(
    items: Sequence[Object], patches: Sequence[Object], additions: Sequence[Object]
) -> list[dict[str, Any]]:
    """Return the manifest's objects, patched, then the additions.

    Args:
        items: the manifest's objects.
        patches: parts of objects, each with the kind, name and namespace of one of the manifest.
        additions: whole objects that the manifest lacks.

    Raises:
        ChangeError: a patch fits no object of the manifest, or the manifest has an addition.
    """
    objects = {_identity(item): dict(item) for item in items}
    for patch in patches:
        key = _identity(patch)
        if key not in objects:
            raise ChangeError(f"it has no {_named(key)} to patch")
        objects[key] = merged(objects[key], patch)
    for item in additions:
        if (key := _identity(item)) in objects:
            raise ChangeError(f"it has {_named(key)} already, so that cannot be added")
        objects[key] = dict(item)
    return list(objects.values())


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object after a strategic merge patch; null removes a field."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merged(before if isinstance(before, Mapping) else {}, value)
        elif key in BY_NAME and isinstance(before, list):
            result[key] = _merged_by_name(before, value)
        else:
            result[key] = value
    return result


def _merged_by_name(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    result = {item["name"]: item for item in old}
    for item in new:
        result[item["name"]] = merged(result.get(item["name"], {}), item)
    return list(result.values())


def _identity(item: Object) -> tuple[str, str, str]:
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace") or "", metadata["name"]


def _named(key: tuple[str, str, str]) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
