# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A set of objects in a cluster that holds what it should and nothing else.

Every object of the set carries the set's label. An object with the label that is no longer
wanted is removed. Objects without the label stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .client import NOT_FOUND, KubeError
from .fields import is_applied
from .objects import (
    PARALLEL,
    ApplyApi,
    Kinds,
    UnknownKindError,
    batches,
    called,
    essence,
    look_up,
)
from .types import Object

LABEL = "baremetal.sonic/set"
# Removing one of these removes what others have put into it. They are applied and never removed.
KEPT = ("CustomResourceDefinition", "Namespace", "Node")
# An object with this annotation (any value) is not removed either: something that stays needs it.
NEEDED = "baremetal.sonic/needed-by"


class SetApi(ApplyApi, Protocol):
    """What a set needs of the API."""

    def delete(self, path: str) -> None:
        """Delete an object. Raises KubeError."""


@dataclass(frozen=True)
class Change:
    """One object that differs, as it was and as it is; None where there was or is none."""

    called: str
    before: Object | None
    after: Object | None


class AppliedSet:
    """One set of objects in a cluster."""

    def __init__(self, api: SetApi, name: str, manager: str, namespace: str = "") -> None:
        """A set.

        Args:
            api: the cluster's API.
            name: tells sets apart; it is the label's value.
            manager: the field manager under which the objects are applied.
            namespace: of the objects that name none and need one.
        """
        self._api = api
        self._name = name
        self._manager = manager
        self._namespace = namespace
        self._kinds = Kinds(api)
        # Each object of the last sync() by its path, as the API server has it afterwards.
        self.live: dict[str, Object] = {}
        # Names of the Nodes that do not exist, and so got no labels.
        self.absent_nodes: list[str] = []

    def sync(
        self,
        items: Sequence[Object],
        kinds: Iterable[tuple[str, str]],
        dry_run: bool,
        *,
        prune: bool = True,
    ) -> list[Change]:
        """Apply the items, then remove what else is of the set; returns what differs.

        Args:
            items: the objects. Kinds are applied in the order in which they come, after those that
                others need (namespaces and the like); objects of a kind at the same time.
            kinds: apiVersion and kind of whatever the set may hold left over from before.
            dry_run: whether only to tell what would be done.
            prune: whether to remove what else is of the set.

        Raises:
            KubeError: the API refused something; what came before it is done.
        """
        self.live = {}
        there = dict(self._members([*kinds, *((i["apiVersion"], i["kind"]) for i in items)]))
        changes: list[Change] = []
        for batch in batches(items):
            with ThreadPoolExecutor(PARALLEL) as pool:
                jobs = [
                    pool.submit(self._apply, item, path, there.pop(path, None), dry_run)
                    for item, path in self._paths(batch, dry_run)
                ]
            changes += [change for change in _results(jobs) if change]
        for path, item in there.items() if prune else ():
            if not dry_run:
                self._api.delete(path)
            changes.append(Change(called(item), item, None))
        return changes

    def _members(self, kinds: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Object]]:
        """What carries the set's label, by its path."""
        paths = {}
        for version, kind in dict.fromkeys(kinds):
            if kind in KEPT:
                continue
            with suppress(UnknownKindError):
                paths[version, kind] = self._kinds.collection(version, kind)
        with ThreadPoolExecutor(PARALLEL) as pool:
            lists = list(pool.map(self._labelled, paths.values()))
        for (version, kind), items in zip(paths, lists, strict=True):
            for item in items:
                if NEEDED in (item["metadata"].get("annotations") or {}):
                    continue
                # In a list they say neither.
                whole = {"apiVersion": version, "kind": kind, **item}
                yield self._kinds.path(whole), whole

    def _labelled(self, path: str) -> list[Object]:
        listed = self._api.get(path, labelSelector=f"{LABEL}={self._name}")
        return listed.get("items") or []

    def _paths(self, batch: Iterable[Object], dry_run: bool) -> Iterator[tuple[Object, str]]:
        for item in batch:
            try:
                yield item, self._kinds.path(item, self._namespace)
            except UnknownKindError:
                if not dry_run:
                    raise
                # What defines it is only tried as well.
                yield item, ""

    def _apply(
        self, item: Object, path: str, before: Object | None, dry_run: bool
    ) -> Change | None:
        if not path:
            return Change(called(item), None, item)
        before = before or look_up(self._api, path)
        if before is None and item["kind"] == "Node":
            # Only a kubelet makes one: applied, it would be a node without a host.
            self.absent_nodes.append(item["metadata"]["name"])
            return None
        wanted = self._marked(item)
        if before is not None and is_applied(wanted, before, self._manager):
            self.live[path] = before
            return None
        try:
            after: Object = self._api.apply(path, wanted, self._manager, dry_run=dry_run)
        except KubeError as error:
            if not (dry_run and error.status == NOT_FOUND):
                raise KubeError(f"{called(item)}: {error}", error.status) from error
            # Its namespace is yet to be made.
            after = item
        self.live[path] = after
        if before is not None and essence(before) == essence(after):
            return None
        return Change(called(item), before, after)

    def _marked(self, item: Object) -> Object:
        if item["kind"] in KEPT:
            return item
        labels = (item["metadata"].get("labels") or {}) | {LABEL: self._name}
        return dict(item) | {"metadata": dict(item["metadata"]) | {"labels": labels}}


def _results(jobs: Iterable[Future[Change | None]]) -> list[Change | None]:
    """What the jobs returned. Raises KubeError with what all that failed had to say."""
    results, errors = [], []
    for job in jobs:
        try:
            results.append(job.result())
        except KubeError as error:
            errors.append(error)
    if errors:
        raise KubeError("; ".join(map(str, errors)), errors[0].status)
    return results
