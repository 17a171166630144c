# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a server-side apply would change anything, told from the object as it is.

The API server notes in ``metadata.managedFields`` which fields each manager has applied (FieldsV1,
structured-merge-diff's sets of paths). A manager that owns exactly what it is about to apply, with
the values that are there already, has nothing to apply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .pods import Object

# A field has its name behind this, an item of a list its keys, its value or its place.
FIELD, KEYS, VALUE = "f:", "k:", "v:"
# Says that the thing itself is owned, beside what is in it.
ITSELF = "."
# What names an object is nobody's.
NAMING = ("apiVersion", "kind")
NAMED = ("name", "namespace")


def is_applied(wanted: Object, there: Object, manager: str) -> bool:
    """Whether applying an object would change neither it nor who owns its fields.

    When in doubt the answer is no: quantities, for example, may be written in several ways.

    Args:
        wanted: what would be applied.
        there: the object as it is, with managedFields.
        manager: the field manager that would apply it.
    """
    owned = _owned(there, manager, wanted["apiVersion"])
    if owned is None:
        return False
    metadata = {k: v for k, v in wanted["metadata"].items() if k not in NAMED}
    body = {k: v for k, v in wanted.items() if k not in NAMING} | {"metadata": metadata}
    return _same(owned, body, there)


def _owned(there: Object, manager: str, version: str) -> Object | None:
    """The fields that a manager has applied in a version; None when it applied nothing."""
    mine = {"manager": manager, "operation": "Apply", "apiVersion": version}
    for entry in there["metadata"].get("managedFields") or []:
        if not entry.get("subresource") and mine.items() <= entry.items():
            fields: Object = entry.get("fieldsV1") or {}
            return fields
    return None


def _same(owned: Object, wanted: Any, there: Any) -> bool:
    inside = {path for path in owned if path != ITSELF}
    if isinstance(wanted, Mapping):
        if not isinstance(there, Mapping):
            return False
        if wanted and not inside:
            # Owned as a whole: an atomic map.
            return dict(wanted) == dict(there)
        return inside == {FIELD + key for key in wanted} and all(
            key in there and _same(owned[FIELD + key], value, there[key])
            for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if not isinstance(there, Sequence) or len(wanted) != len(there):
            return False
        if wanted and not inside:
            return list(wanted) == list(there)
        return len(inside) == len(wanted) and all(
            _same_item(owned, item, other) for item, other in zip(wanted, there, strict=True)
        )
    return not inside and type(wanted) is type(there) and wanted == there


def _same_item(owned: Object, wanted: Any, there: Any) -> bool:
    """Whether an item of a list is owned as it is wanted, and there."""
    for path, fields in owned.items():
        kind, told = path[: len(KEYS)], path[len(KEYS) :]
        if kind == VALUE and json.loads(told) == wanted:
            return bool(wanted == there)
        if kind == KEYS and isinstance(wanted, Mapping):
            keys = json.loads(told)
            # A key may have a default: a port's protocol.
            if all(wanted.get(key, there.get(key)) == value for key, value in keys.items()):
                return _same(fields, wanted, there)
    return False
