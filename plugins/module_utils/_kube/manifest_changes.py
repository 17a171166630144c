# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Change the objects of a release's manifest for a site, and add others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .pods import Object

# Lists that Kubernetes merges by its items' names (patchMergeKey in its API); all others are
# replaced: subjects of a binding have names, too, and must not stay beside the given ones.
BY_NAME = frozenset({"containers", "env", "initContainers", "webhooks"})


class ChangeError(Exception):
    """The manifest is not what the changes were written for; the message says where."""


def changed(
    items: Sequence[Object], patches: Sequence[Object], additions: Sequence[Object]
) -> list[dict[str, Any]]:
    """The manifest's objects, patched, then the additions.

    Args:
        items: the manifest's objects.
        patches: parts of objects, which have the kind, name and namespace of one of the manifest.
        additions: whole objects that the manifest does not have.

    Raises:
        ChangeError: a patch fits none of the manifest's objects, so what it was to take away would
            stay; or the manifest has one of the additions itself.
    """
    found = {_identity(item): dict(item) for item in items}
    for patch in patches:
        key = _identity(patch)
        if key not in found:
            raise ChangeError(f"it has no {_named(key)}, which is to be changed")
        found[key] = merged(found[key], patch)
    for item in additions:
        if (key := _identity(item)) in found:
            raise ChangeError(f"it has {_named(key)} itself, which is to be added")
        found[key] = dict(item)
    return list(found.values())


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """An object after a strategic merge patch; null removes a field."""
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
