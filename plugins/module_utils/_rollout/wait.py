# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Wait until workloads complete their rollout, or fail early when they cannot.

One pass lists the objects. Watches start only if something is missing. A trouble is fatal once it
lasts longer than its grace. The grace starts when this wait first sees the trouble: so clocks need
not agree, and a trouble from before the wait has time to go away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._kube.client import KubeApi, KubeError
from .._kube.pods import (
    Trouble,
    being_freed,
    condition,
    describe_pod,
    describe_use,
    name_of,
    node_use,
    pod_ready,
    quantity,
    unsettled,
)
from .._kube.store import Store, collection
from .._kube.types import Object
from . import phases
from .aside import MISSING, nodes_aside, pass_over
from .progress import KINDS, Assessment, Target, assess

TICK_S = 1.0
# The shortest part of a wait, in seconds: a host is not asked more often.
PART_LEAST_S = 1.0
# A restarted container must run this long before its pod counts as ready.
SETTLED_S = 10.0
LOG_LINES = 8
HINTS = {
    "image": "Check the image's name and that every host can reach the registry; the kubelet asks"
    " again at most every 5 minutes, or at once when the pod is deleted.",
    "crash": "Fix what its last log lines report and run again.",
    "config": "A Secret, ConfigMap, volume or device that the container needs does not exist.",
    "refused": "The node has less than the scheduler assumed; see its kubelet's log.",
    "unschedulable": "Add hosts or GPUs, free what is held, or set fewer replicas.",
    "quota": "Raise the quota, or fix the admission rule or service account that it names.",
    "missing": "Apply it first.",
    "paused": "Resume it with: kubectl rollout resume.",
}

# Called for a workload whose rollout is complete. Returns what is still missing; empty for nothing.
Check = Callable[[Assessment], str]


@dataclass(frozen=True)
class Graces:
    """How many seconds each kind of trouble may last.

    crash_restarts: a crash after so many restarts is a crash loop.
    """

    image_pull: float = 15
    unschedulable: float = 15
    error: float = 10
    crash_restarts: int = 2

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Graces:
        """Read the options of a module (see module.WAIT_OPTIONS)."""
        return cls(
            params["image_pull_grace"],
            params["unschedulable_grace"],
            params["error_grace"],
            params["crash_restarts"],
        )

    def seconds(self, cause: str) -> float:
        """Return the grace of one cause, in seconds.

        A crash loop has none: the restarts were its chances. A paused workload never recovers.
        """
        return {
            "image": self.image_pull,
            "unschedulable": self.unschedulable,
            "crash": 0.0,
            "paused": 0.0,
        }.get(cause, self.error)


@dataclass(frozen=True)
class NodeResources:
    """How much of an extended resource each named node must offer."""

    resource: str
    nodes: Mapping[str, int]


@dataclass(frozen=True)
class Waited:
    """What earlier parts of a wait have seen.

    elapsed_s: seconds since the wait began. troubles: seconds since each trouble was first seen, by
    its workload and cause (key_of).
    """

    elapsed_s: float = 0.0
    troubles: Mapping[str, float] = field(default_factory=dict)


def key_of(target: Target, cause: str) -> str:
    """Return the name of a trouble between the parts of a wait."""
    return f"{target}: {cause}"


@dataclass
class Outcome:
    """The outcome of a wait. failure: why it failed; empty when everything is ready.

    pending: what is still missing. cause: of a failure, a Trouble's cause or "timeout".
    waited: for the next part, where this part ended before the wait; otherwise None.
    """

    assessments: list[Assessment]
    elapsed_s: float
    pending: list[str] = field(default_factory=list)
    failure: str = ""
    cause: str = ""
    # Nodes that were not waited for, with the reason.
    passed_over: dict[str, str] = field(default_factory=dict)
    waited: Waited | None = None


def node_shortfalls(wanted: NodeResources, nodes: Sequence[Object]) -> list[str]:
    """Name the nodes that offer less of the resource than wanted, in one sentence each."""
    by_name = {name_of(node): node for node in nodes}
    shortfalls = []
    for name, count in sorted(wanted.nodes.items()):
        if name not in by_name:
            shortfalls.append(f"Node {name} does not exist")
            continue
        status = by_name[name].get("status") or {}
        offered = int(quantity((status.get("allocatable") or {}).get(wanted.resource, 0)))
        if offered < count:
            ready = condition(by_name[name], "Ready").get("status") == "True"
            shortfalls.append(
                f"Node {name} offers {offered} of {count} {wanted.resource}"
                + ("" if ready else " and is not Ready")
            )
    return shortfalls


def api_service_troubles(names: Sequence[str], live: Sequence[Object]) -> dict[str, str]:
    """Say why each APIService is not Available; "" for one that does not exist."""
    services = {name_of(service): service for service in live}
    troubles = {}
    for name in names:
        if name not in services:
            troubles[name] = ""
            continue
        available = condition(services[name], "Available")
        if available.get("status") != "True":
            troubles[name] = str(available.get("message") or "the API server has not tried it yet")
    return troubles


class Wait:
    """A wait for workloads and, if wanted, for resources of nodes and for APIServices."""

    def __init__(
        self,
        api: KubeApi,
        targets: Sequence[Target],
        graces: Graces,
        timeout_s: float,
        node_resources: NodeResources | None = None,
        api_services: Sequence[str] = (),
        check: Check | None = None,
        min_replicas: Mapping[Target, int] | None = None,
        first: Collection[Target] = (),
        waited: Waited | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._api = api
        self._targets = list(targets)
        self._graces = graces
        self._timeout_s = timeout_s
        self._node_resources = node_resources
        self._api_services = api_services
        self._check = check
        self._min_replicas = min_replicas or {}
        self._first = first
        self._clock = clock
        self._today = today
        self._waited = waited or Waited()
        self._since: dict[tuple[Target, str], float] = {}
        paths = [collection(KINDS[t.kind], t.namespace) for t in self._targets]
        paths += [collection("pods", t.namespace) for t in self._targets]
        paths += [
            collection("replicasets", t.namespace) for t in self._targets if t.kind == "Deployment"
        ]
        self._needs_nodes = bool(node_resources) or any(t.kind != "Deployment" for t in targets)
        self._passed_over: dict[str, str] = {}
        if self._needs_nodes:
            paths.append(collection("nodes"))
        if api_services:
            paths.append(collection("apiservices"))
        self._store = Store(api, paths, int(timeout_s) + 1)

    def run(self, once: bool = False, part_s: float = 0.0) -> Outcome:
        """Wait.

        Args:
            once: look only once, and neither wait nor fail (check mode).
            part_s: end after so many seconds, or when the pods' phases change, with what the next
                part of the wait needs. 0: wait to the end.

        Raises KubeError when the first listing fails. Later failures are retried.
        """
        began = self._clock()
        started = began - self._waited.elapsed_s
        self._store.load()
        following = False
        first: list[Assessment] | None = None
        while True:
            now = self._clock()
            self._passed_over.clear()
            assessments = [self._pass_over(self._assess(target)) for target in self._targets]
            pending = self._pending(assessments)
            outcome = Outcome(assessments, round(now - started, 1), pending)
            outcome.passed_over = dict(self._passed_over)
            if not pending or once:
                break
            outcome.cause, outcome.failure = self._fatal(assessments, now)
            if not outcome.failure and now - started >= self._timeout_s:
                outcome.cause, outcome.failure = "timeout", self._timed_out(outcome)
            if outcome.failure:
                break
            first = first or assessments
            if part_s and self._part_ends(first, assessments, now - began, part_s):
                outcome.waited = self._so_far(now, started)
                break
            if not following:
                self._store.follow()
                following = True
            self._store.update(min(TICK_S, max(self._timeout_s - (now - started), 0.05)))
        self._store.close()
        return outcome

    def _part_ends(
        self, first: list[Assessment], last: list[Assessment], seconds: float, part_s: float
    ) -> bool:
        if seconds >= part_s:
            return True
        return seconds >= PART_LEAST_S and phases.changed(first, last, self._today())

    def _so_far(self, now: float, started: float) -> Waited:
        ages = {key_of(*key): now - since for key, since in self._since.items()}
        return Waited(now - started, ages)

    def _assess(self, target: Target) -> Assessment:
        matching = [
            obj
            for obj in self._store.items(collection(KINDS[target.kind], target.namespace))
            if name_of(obj) == target.name
        ]
        return assess(
            target,
            matching[0] if matching else None,
            self._store.items(collection("pods", target.namespace)),
            self._store.items(collection("replicasets", target.namespace))
            if target.kind == "Deployment"
            else [],
            self._graces.crash_restarts,
            self._min_replicas.get(target),
            target in self._first,
            self._today(),
        )

    def _nodes(self) -> list[Object]:
        return self._store.items(collection("nodes")) if self._needs_nodes else []

    def _pass_over(self, assessment: Assessment) -> Assessment:
        """An assessment without lost pods on nodes that do not answer or are cordoned."""
        aside, target = nodes_aside(self._nodes()), assessment.target
        workloads = self._store.items(collection(KINDS[target.kind], target.namespace))
        workload = next((obj for obj in workloads if name_of(obj) == target.name), None)
        passed = pass_over(assessment, workload, aside)
        left = {name_of(pod) for pod in passed.pods}
        for pod in assessment.pods:
            if name_of(pod) not in left:
                node = pod["spec"]["nodeName"]
                self._passed_over[node] = aside[node]
        return passed

    def _awaited(self, wanted: NodeResources) -> NodeResources:
        """The nodes that exist, answer and take pods; of the others nothing is expected."""
        nodes = self._nodes()
        aside = dict.fromkeys(wanted.nodes.keys() - {name_of(node) for node in nodes}, MISSING)
        aside |= nodes_aside(nodes)
        self._passed_over |= {name: aside[name] for name in wanted.nodes if name in aside}
        return NodeResources(
            wanted.resource, {name: n for name, n in wanted.nodes.items() if name not in aside}
        )

    def _service_troubles(self) -> dict[str, str]:
        if not self._api_services:
            return {}
        live = self._store.items(collection("apiservices"))
        return api_service_troubles(self._api_services, live)

    def _pending(self, assessments: Sequence[Assessment]) -> list[str]:
        """Describe everything that is still missing, in one sentence each."""
        pending = []
        for assessment in assessments:
            missing = "" if assessment.progress.done else assessment.progress.message
            for pod in assessment.pods:
                missing = missing or unsettled(pod, self._today(), SETTLED_S)
            if not missing and self._check:
                missing = self._check(assessment)
            if missing:
                pending.append(f"{assessment.target}: {missing}")
        if self._node_resources:
            pending += node_shortfalls(self._awaited(self._node_resources), self._nodes())
        for name, why in self._service_troubles().items():
            pending.append(f"APIService {name}: {why or 'does not exist'}")
        return pending

    def _fatal(self, assessments: Sequence[Assessment], now: float) -> tuple[str, str]:
        """Return cause and message of the first trouble that outlasted its grace; else empty."""
        seen: dict[tuple[Target, str], Trouble] = {}
        for name, why in self._service_troubles().items():
            if not why:
                key = (Target("APIService", "", name), "missing")
                seen[key] = Trouble("missing", "it does not exist")
        for assessment in assessments:
            for trouble in assessment.troubles:
                seen.setdefault((assessment.target, trouble.cause), trouble)
        earlier = self._waited.troubles
        self._since = {
            key: self._since.get(key, now - earlier.get(key_of(*key), 0.0)) for key in seen
        }
        for key, trouble in seen.items():
            if now - self._since[key] < self._graces.seconds(trouble.cause):
                continue
            more = ""
            if trouble.resources:
                uses = self._uses(trouble.resources)
                if uses is None:
                    # A pod that holds the resource is being deleted: it will soon be free.
                    self._since[key] = now
                    continue
                more = f" {uses}."
            elif trouble.pod:
                more = self._log(key[0].namespace, trouble)
            message = trouble.message.rstrip(". \n")
            text = f"{key[0]} cannot become ready: {message}.{more} {HINTS[trouble.cause]}"
            return trouble.cause, text
        return "", ""

    def _uses(self, resources: Sequence[str]) -> str | None:
        """Say which pods hold the extended resources; None while some are being freed."""
        try:
            nodes = self._api.get(collection("nodes")).get("items") or []
            pods = self._api.get(collection("pods")).get("items") or []
        except KubeError as error:
            return f"(what the nodes hold could not be read: {error})"
        lines = []
        for resource in resources:
            if "/" in resource:
                uses = node_use(nodes, pods, resource)
                if being_freed(uses):
                    return None
                lines.append(describe_use(resource, uses))
        return ". ".join(lines)

    def _log(self, namespace: str, trouble: Trouble) -> str:
        """Return the last log lines of a crashed container."""
        path = f"{collection('pods', namespace)}/{trouble.pod}/log"
        try:
            text = self._api.text(
                path, container=trouble.container, previous="true", tailLines=str(LOG_LINES)
            )
        except KubeError as error:
            return f" Its log could not be read: {error}."
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f" Last log lines: {' | '.join(lines)}." if lines else " It wrote no log."

    def _timed_out(self, outcome: Outcome) -> str:
        """Describe what was missing at the timeout, with the state of every unready pod."""
        parts = [f"not ready after {self._timeout_s:.0f} s: " + "; ".join(outcome.pending)]
        for assessment in outcome.assessments:
            unready = [pod for pod in assessment.pods if not pod_ready(pod)]
            parts += [f"pod {name_of(pod)}: {describe_pod(pod)}" for pod in unready]
            if not assessment.progress.done:
                parts += self._warnings(assessment, unready)
        return ". ".join(parts)

    def _warnings(self, assessment: Assessment, pods: Sequence[Object]) -> list[str]:
        """Return the newest warning event of a workload and of each of its unready pods."""
        try:
            events = (
                self._api.get(
                    collection("events", assessment.target.namespace), fieldSelector="type=Warning"
                ).get("items")
                or []
            )
        except KubeError:
            return []
        names = {assessment.target.name, *(name_of(pod) for pod in pods)}
        newest: dict[str, Object] = {}
        for event in sorted(events, key=_event_time):
            about = str((event.get("involvedObject") or {}).get("name"))
            if about in names:
                newest[about] = event
        return [
            f"event on {about}: {event.get('reason')}: {event.get('message')}"
            for about, event in sorted(newest.items())
        ]


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
