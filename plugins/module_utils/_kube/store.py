# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""A local copy of API collections, kept fresh by one watch for each."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from typing import Any

from .client import KubeApi, KubeError
from .pods import Object

RETRY_S = 1.0
GONE = 410


GROUPS = {
    "pods": "/api/v1",
    "nodes": "/api/v1",
    "events": "/api/v1",
    "services": "/api/v1",
    "apiservices": "/apis/apiregistration.k8s.io/v1",
}


def collection(resource: str, namespace: str = "") -> str:
    """The API path of a collection; one that GROUPS does not name is of apps/v1."""
    group = GROUPS.get(resource, "/apis/apps/v1")
    return f"{group}/namespaces/{namespace}/{resource}" if namespace else f"{group}/{resource}"


def service_proxy(namespace: str, service: str) -> str:
    """The API path that leads to a Service, NAME:PORT, through the API server."""
    return f"{collection('services', namespace)}/{service}/proxy"


def pod_metrics(namespace: str, pod: str, port: int) -> str:
    """The API path that leads to a pod's metrics through the API server."""
    return f"{collection('pods', namespace)}/{pod}:{port}/proxy/metrics"


class Store:
    """Lists collections once, then follows them in threads after `follow`.

    The threads only put events into a queue; the copy is changed by `update`, in the caller's
    thread, so that readers need no lock.
    """

    def __init__(self, api: KubeApi, paths: Iterable[str], watch_s: int) -> None:
        """watch_s: for how long the watches are wanted at most, in seconds."""
        self._api = api
        self._watch_s = watch_s
        self._objects: dict[str, dict[str, Object]] = {path: {} for path in sorted(set(paths))}
        self._versions: dict[str, str] = {}
        self._events: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        self._stop = threading.Event()

    def load(self) -> None:
        """Lists every collection. Raises KubeError."""
        for path in self._objects:
            self._put_list(path, self._api.get(path))

    def _put_list(self, path: str, listed: Object) -> None:
        self._objects[path] = {item["metadata"]["uid"]: item for item in listed.get("items") or []}
        self._versions[path] = str((listed.get("metadata") or {}).get("resourceVersion", ""))

    def items(self, path: str) -> list[Object]:
        """The objects of one collection, as last seen."""
        return list(self._objects[path].values())

    def follow(self) -> None:
        """Starts one watch for each collection; call `update` to take in what they saw."""
        for path in self._objects:
            threading.Thread(
                target=self._follow, args=(path, self._versions[path]), daemon=True
            ).start()

    def close(self) -> None:
        """Lets the watches end at their next event; being daemons, they hold nothing up."""
        self._stop.set()

    def _follow(self, path: str, version: str) -> None:
        while not self._stop.is_set():
            try:
                for event in self._api.watch(path, self._watch_s, resourceVersion=version):
                    version = str(event["object"]["metadata"].get("resourceVersion", version))
                    self._events.put((path, str(event["type"]), event["object"]))
                    if self._stop.is_set():
                        return
            except KubeError as error:
                if error.status != GONE:
                    time.sleep(RETRY_S)
            # After a break the watch may have missed something: list again.
            try:
                listed = self._api.get(path)
            except KubeError:
                time.sleep(RETRY_S)
                continue
            version = str((listed.get("metadata") or {}).get("resourceVersion", ""))
            self._events.put((path, "LIST", listed))

    def update(self, wait_s: float) -> bool:
        """Takes in all events that came, waiting for the first at most wait_s seconds."""
        try:
            event = self._events.get(timeout=wait_s)
        except queue.Empty:
            return False
        while True:
            self._take(*event)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return True

    def _take(self, path: str, kind: str, obj: Any) -> None:
        if kind == "LIST":
            self._put_list(path, obj)
        elif kind == "DELETED":
            self._objects[path].pop(obj["metadata"]["uid"], None)
        elif kind in ("ADDED", "MODIFIED"):
            self._objects[path][obj["metadata"]["uid"]] = obj
