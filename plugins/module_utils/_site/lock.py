# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A site's lock: a Lease with an owner and a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from .._kube.client import KubeError
from .._kube.objects import LABELS, look_up
from .._kube.types import Object, ReadApi

REASON = "baremetal.sonic/reason"
NOT_FOUND, CONFLICT = 404, 409
NAMESPACES = "/api/v1/namespaces"
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseApi(ReadApi, Protocol):
    """The calls of the API that a lock makes."""

    def create(self, path: str, body: Object) -> dict[str, Any]:
        """Create an object in a collection. Raises KubeError."""

    def replace(self, path: str, body: Object) -> dict[str, Any]:
        """Replace an object of the same resourceVersion. Raises KubeError."""

    def delete(self, path: str, version: str = "") -> None:
        """Delete an object of this resourceVersion. Raises KubeError."""


class HeldError(Exception):
    """Another owner holds the lock. The message has the owner, the reason and the age."""


@dataclass(frozen=True)
class Held:
    """A lock as it is. since and renewed: when the owner took it, and last renewed it."""

    holder: str
    reason: str
    since: datetime | None
    renewed: datetime | None
    duration: int
    version: str

    def expired(self, now: datetime) -> bool:
        """Whether the owner has not renewed it in time."""
        if not self.holder or self.renewed is None:
            return True
        return now > self.renewed + timedelta(seconds=self.duration)

    def described(self, now: datetime) -> str:
        """Return owner, reason and age in words."""
        words = f"{self.holder} ({self.reason or 'no reason given'})"
        if self.since and self.renewed:
            words += f", for {age(now - self.since)}, renewed {age(now - self.renewed)} ago"
            words += f", expires after {age(timedelta(seconds=self.duration))} without a renewal"
        return words


def age(span: timedelta) -> str:
    """Return a span in words."""
    minutes, seconds = divmod(max(int(span.total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def held(lease: Object) -> Held:
    """Return the lock in a Lease."""
    spec: Mapping[str, Any] = lease.get("spec") or {}
    return Held(
        holder=str(spec.get("holderIdentity") or ""),
        reason=str((lease["metadata"].get("annotations") or {}).get(REASON, "")),
        since=_time(spec.get("acquireTime")),
        renewed=_time(spec.get("renewTime")),
        duration=int(spec.get("leaseDurationSeconds") or 0),
        version=str(lease["metadata"].get("resourceVersion", "")),
    )


def _time(text: Any) -> datetime | None:
    if not text:
        return None
    return datetime.fromisoformat(str(text).replace("Z", "+00:00"))


class SiteLock:
    """The lock of one site. Each change names the version that it replaces."""

    def __init__(self, api: LeaseApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._all = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._all}/{name}"

    def read(self) -> Held | None:
        """Return the lock, or None if there is none. Raises KubeError."""
        lease = look_up(self._api, self._path)
        return None if lease is None else held(lease)

    def take(
        self, holder: str, reason: str, duration: int, now: datetime, *, dry_run: bool = False
    ) -> Held | None:
        """Take the lock, or renew the own one; return an expired lock that was taken over.

        Raises:
            HeldError: another owner holds it.
            KubeError: the API refused something.
        """
        former = self.read()
        taken_over = None
        since = now
        if former and former.holder == holder and not former.expired(now):
            since = former.since or now
        elif former and not former.expired(now):
            raise HeldError(former.described(now))
        elif former and former.holder != holder:
            taken_over = former
        if dry_run:
            return taken_over
        lease = self._lease(holder, reason, duration, since, now)
        try:
            if former is None:
                self._create(lease)
            else:
                metadata = {**lease["metadata"], "resourceVersion": former.version}
                self._api.replace(self._path, {**lease, "metadata": metadata})
        except KubeError as error:
            if error.status != CONFLICT:
                raise
            other = self.read()
            words = other.described(now) if other else "another run, which has just released it"
            raise HeldError(words) from error
        return taken_over

    def release(self, holder: str, now: datetime, *, dry_run: bool = False) -> bool:
        """Release the lock; return whether there was one. An empty holder stands for any.

        Raises:
            HeldError: another owner holds it.
            KubeError: the API refused something.
        """
        former = self.read()
        if former is None:
            return False
        if holder and former.holder != holder:
            if former.expired(now):
                return False
            raise HeldError(former.described(now))
        if not dry_run:
            self._api.delete(self._path, former.version)
        return True

    def _create(self, lease: Object) -> None:
        try:
            self._api.create(self._all, lease)
        except KubeError as error:
            if error.status != NOT_FOUND:
                raise
            # The first rollout of a site. Its roles set the namespace's labels.
            self._create_namespace()
            self._api.create(self._all, lease)

    def _create_namespace(self) -> None:
        metadata = {"name": self._namespace}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        try:
            self._api.create(NAMESPACES, body)
        except KubeError as error:
            # Another controller was faster.
            if error.status != CONFLICT:
                raise

    def _lease(
        self, holder: str, reason: str, duration: int, since: datetime, now: datetime
    ) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": LABELS,
                "annotations": {REASON: reason},
            },
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": duration,
                "acquireTime": since.strftime(STAMP),
                "renewTime": now.strftime(STAMP),
            },
        }


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(timezone.utc)
