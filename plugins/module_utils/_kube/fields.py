# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Read from an object which of its fields a manager has applied.

The API server notes in ``metadata.managedFields`` which fields each manager owns. The format is
FieldsV1, the sets of paths of structured-merge-diff. In it ``f:NAME`` is a field, ``k:KEYS`` the
item of a list with these keys, ``v:VALUE`` an item of a set, and ``.`` the thing itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .types import Object

FIELD, KEYS, VALUE = "f:", "k:", "v:"
ITSELF = "."
# These fields name an object. No manager owns them.
NAMING = ("apiVersion", "kind")
NAMED = ("name", "namespace")


class Owned(NamedTuple):
    """A part that a manager owns: its value, and which fields in it the manager owns.

    key: the name of a field, or the number of an item in its list.
    """

    key: Any
    value: Any
    fields: Object


def walk(value: Any, fields: Object) -> Iterator[Owned]:
    """The parts of a map or list that fields name, in the order of the value.

    What is not in the value is left out: another manager may have removed it.
    """
    paths = {path: inner for path, inner in fields.items() if path != ITSELF}
    if isinstance(value, Mapping):
        for name, part in value.items():
            if (path := f"{FIELD}{name}") in paths:
                yield Owned(name, part, paths[path])
    elif isinstance(value, list):
        items = [
            (path[: len(KEYS)], json.loads(path[len(KEYS) :]), inner)
            for path, inner in paths.items()
            if path.startswith((KEYS, VALUE))
        ]
        for place, item in enumerate(value):
            for kind, name, inner in items:
                if name == item if kind == VALUE else _has_keys(item, name):
                    yield Owned(place, item, inner)


def _has_keys(item: Any, keys: Object) -> bool:
    return isinstance(item, Mapping) and keys.items() <= item.items()


def is_whole(fields: Object) -> bool:
    """Whether a value is owned as a whole: a scalar, an atomic list or map, or an empty one."""
    return not fields.keys() - {ITSELF}


def fields_of(live: Object, manager: str, version: str = "") -> Object | None:
    """The fields that a manager has applied; None if it has applied nothing.

    Args:
        live: the object, with managedFields.
        manager: the field manager.
        version: the apiVersion in which it applied them; empty for any.
    """
    for entry in live["metadata"].get("managedFields") or []:
        if (
            entry["manager"] == manager
            and entry["operation"] == "Apply"
            and not entry.get("subresource")
            and version in ("", entry.get("apiVersion"))
        ):
            fields: Object = entry.get("fieldsV1") or {}
            return fields
    return None


def applied(live: Object, manager: str) -> dict[str, Any]:
    """The part of an object that a manager has applied; empty if it has applied nothing."""
    fields = fields_of(live, manager)
    return _part(live, fields) if fields else {}


def _part(value: Any, fields: Object) -> Any:
    if is_whole(fields):
        return value
    parts = {owned.key: _part(owned.value, owned.fields) for owned in walk(value, fields)}
    # A list keeps the order of the object: another order would be another template.
    return parts if isinstance(value, Mapping) else list(parts.values())


def is_applied(wanted: Object, live: Object, manager: str) -> bool:
    """Whether applying an object would change neither it nor the owners of its fields.

    When in doubt the answer is no: quantities, for example, may be written in several ways.

    Args:
        wanted: what would be applied.
        live: the object as it is, with managedFields.
        manager: the field manager that would apply it.
    """
    fields = fields_of(live, manager, wanted["apiVersion"])
    if fields is None:
        return False
    metadata = {k: v for k, v in wanted["metadata"].items() if k not in NAMED}
    body = {k: v for k, v in wanted.items() if k not in NAMING} | {"metadata": metadata}
    return _same(body, live, fields)


def _same(wanted: Any, live: Any, fields: Object) -> bool:
    """Whether a wanted value is there, and exactly its parts are owned."""
    if type(wanted) is not type(live):
        return False
    if not isinstance(wanted, dict | list) or (wanted and is_whole(fields)):
        return bool(wanted == live) and is_whole(fields)
    parts = list(walk(live, fields))
    if len(parts) != len(fields.keys() - {ITSELF}) or len(parts) != len(wanted):
        return False
    if isinstance(wanted, dict):
        return all(
            part.key in wanted and _same(wanted[part.key], part.value, part.fields)
            for part in parts
        )
    # Another manager's item, or another order, is for the API server to merge.
    return len(wanted) == len(live) and all(
        _same(wanted[part.key], part.value, part.fields) for part in parts
    )
