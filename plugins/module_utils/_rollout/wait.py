# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Waits until workloads have completed their rollout, or can be seen never to.

One pass lists what concerns the workloads; only when something is missing do watches start. A
trouble is fatal once it has been seen without a break for its grace. Graces count from when this
wait first saw the trouble, so that clocks need not agree and an old message gets its chance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .._kube.client import KubeApi, KubeError
from .._kube.pods import (
    Object,
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
from .progress import KINDS, Assessment, Target, assess

TICK_S = 1.0
# A container that crashed has to run for so long before its pod counts.
SETTLED_S = 10.0
LOG_LINES = 8
HINTS = {
    "image": "Check the image's name and that every host can reach the registry; the kubelet asks"
    " again at most every 5 minutes, or at once when the pod is deleted.",
    "crash": "Its last log lines say why; mend that and run again.",
    "config": "A Secret, ConfigMap, volume or device that the container asks for is not there.",
    "refused": "The node has less than the scheduler believed; see its kubelet's log.",
    "unschedulable": "Add hosts or GPUs, free what is held, or ask for fewer replicas.",
    "quota": "Raise the quota or mend the admission rule or service account it names.",
    "missing": "Apply it first.",
    "paused": "Resume it with: kubectl rollout resume.",
}

# Looks at a workload whose rollout is complete: what is still missing, empty when nothing is.
Check = Callable[[Assessment], str]


@dataclass(frozen=True)
class Graces:
    """For how many seconds a trouble may last.

    crash_restarts: after so many restarts another crash makes a crash loop.
    """

    image_pull: float = 15
    unschedulable: float = 15
    error: float = 10
    crash_restarts: int = 2

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Graces:
        """From the options of a module (see rollout_module.WAIT_OPTIONS)."""
        return cls(
            params["image_pull_grace"],
            params["unschedulable_grace"],
            params["error_grace"],
            params["crash_restarts"],
        )

    def seconds(self, cause: str) -> float:
        """The grace of one cause. A crash loop has had its chances, a paused workload has none."""
        return {
            "image": self.image_pull,
            "unschedulable": self.unschedulable,
            "crash": 0.0,
            "paused": 0.0,
        }.get(cause, self.error)


@dataclass(frozen=True)
class NodeResources:
    """How much of a resource each named node must offer."""

    resource: str
    nodes: Mapping[str, int]


@dataclass
class Outcome:
    """How a wait ended. failure: empty when everything is ready.

    cause: of a failure, a Trouble's cause or "timeout".
    """

    assessments: list[Assessment]
    elapsed_s: float
    pending: list[str] = field(default_factory=list)
    failure: str = ""
    cause: str = ""


def node_shortfalls(wanted: NodeResources, nodes: Sequence[Object]) -> list[str]:
    """Nodes that offer less of the resource than wanted, one sentence each."""
    found = {name_of(node): node for node in nodes}
    told = []
    for name, count in sorted(wanted.nodes.items()):
        if name not in found:
            told.append(f"Node {name} does not exist")
            continue
        status = found[name].get("status") or {}
        offered = int(quantity((status.get("allocatable") or {}).get(wanted.resource, 0)))
        if offered < count:
            ready = condition(found[name], "Ready").get("status") == "True"
            told.append(
                f"Node {name} offers {offered} of {count} {wanted.resource}"
                + ("" if ready else " and is not Ready")
            )
    return told


def api_service_troubles(names: Sequence[str], found: Sequence[Object]) -> dict[str, str]:
    """For each wanted APIService that is not Available, why; "" for one that does not exist."""
    services = {name_of(service): service for service in found}
    told = {}
    for name in names:
        if name not in services:
            told[name] = ""
            continue
        available = condition(services[name], "Available")
        if available.get("status") != "True":
            told[name] = str(available.get("message") or "it has not been asked yet")
    return told


class Wait:
    """One wait for a list of workloads and, if asked, for nodes' resources and APIServices."""

    def __init__(
        self,
        api: KubeApi,
        targets: Sequence[Target],
        graces: Graces,
        timeout_s: float,
        node_resources: NodeResources | None = None,
        api_services: Sequence[str] = (),
        check: Check | None = None,
        least: Mapping[Target, int] | None = None,
        first: Collection[Target] = (),
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._targets = list(targets)
        self._graces = graces
        self._timeout_s = timeout_s
        self._node_resources = node_resources
        self._api_services = api_services
        self._check = check
        self._least = least or {}
        self._first = first
        self._clock = clock
        self._today = today
        self._since: dict[tuple[Target, str], float] = {}
        paths = [collection(KINDS[t.kind], t.namespace) for t in self._targets]
        paths += [collection("pods", t.namespace) for t in self._targets]
        paths += [
            collection("replicasets", t.namespace) for t in self._targets if t.kind == "Deployment"
        ]
        if node_resources:
            paths.append(collection("nodes"))
        if api_services:
            paths.append(collection("apiservices"))
        self._store = Store(api, paths, int(timeout_s) + 1)

    def run(self, once: bool = False) -> Outcome:
        """Waits. once: looks a single time, and neither waits nor fails (check mode).

        Raises KubeError when the first listing fails; a break later is ridden out.
        """
        started = self._clock()
        self._store.load()
        following = False
        while True:
            now = self._clock()
            assessments = [self._assess(target) for target in self._targets]
            pending = self._pending(assessments)
            outcome = Outcome(assessments, round(now - started, 1), pending)
            if not pending or once:
                break
            outcome.cause, outcome.failure = self._fatal(assessments, now)
            if not outcome.failure and now - started >= self._timeout_s:
                outcome.cause, outcome.failure = "timeout", self._timed_out(outcome)
            if outcome.failure:
                break
            if not following:
                self._store.follow()
                following = True
            self._store.update(min(TICK_S, max(self._timeout_s - (now - started), 0.05)))
        self._store.close()
        return outcome

    def _assess(self, target: Target) -> Assessment:
        found = [
            obj
            for obj in self._store.items(collection(KINDS[target.kind], target.namespace))
            if name_of(obj) == target.name
        ]
        return assess(
            target,
            found[0] if found else None,
            self._store.items(collection("pods", target.namespace)),
            self._store.items(collection("replicasets", target.namespace))
            if target.kind == "Deployment"
            else [],
            self._graces.crash_restarts,
            self._least.get(target),
            target in self._first,
        )

    def _service_troubles(self) -> dict[str, str]:
        if not self._api_services:
            return {}
        found = self._store.items(collection("apiservices"))
        return api_service_troubles(self._api_services, found)

    def _pending(self, assessments: Sequence[Assessment]) -> list[str]:
        """Everything still waited for, one sentence each."""
        told = []
        for assessment in assessments:
            missing = "" if assessment.progress.done else assessment.progress.message
            for pod in assessment.pods:
                missing = missing or unsettled(pod, self._today(), SETTLED_S)
            if not missing and self._check:
                missing = self._check(assessment)
            if missing:
                told.append(f"{assessment.target}: {missing}")
        if self._node_resources:
            told += node_shortfalls(self._node_resources, self._store.items(collection("nodes")))
        for name, why in self._service_troubles().items():
            told.append(f"APIService {name}: {why or 'does not exist'}")
        return told

    def _fatal(self, assessments: Sequence[Assessment], now: float) -> tuple[str, str]:
        """Cause and full text of the first trouble that outlived its grace; empty without one."""
        seen: dict[tuple[Target, str], Trouble] = {}
        for name, why in self._service_troubles().items():
            if not why:
                key = (Target("APIService", "", name), "missing")
                seen[key] = Trouble("missing", "it does not exist")
        for assessment in assessments:
            for trouble in assessment.troubles:
                seen.setdefault((assessment.target, trouble.cause), trouble)
        self._since = {key: self._since.get(key, now) for key in seen}
        for key, trouble in seen.items():
            if now - self._since[key] < self._graces.seconds(trouble.cause):
                continue
            more = ""
            if trouble.resources:
                uses = self._uses(trouble.resources)
                if uses is None:
                    # A pod that holds the resource is going: it will be free in a while.
                    self._since[key] = now
                    continue
                more = f" {uses}."
            elif trouble.pod:
                more = self._log(key[0].namespace, trouble)
            told = trouble.message.rstrip(". \n")
            text = f"{key[0]} cannot become ready: {told}.{more} {HINTS[trouble.cause]}"
            return trouble.cause, text
        return "", ""

    def _uses(self, resources: Sequence[str]) -> str | None:
        """Who holds the extended resources that are short; None while some are being freed."""
        try:
            nodes = self._api.get(collection("nodes")).get("items") or []
            pods = self._api.get(collection("pods")).get("items") or []
        except KubeError as error:
            return f"(what the nodes hold could not be read: {error})"
        told = []
        for resource in resources:
            if "/" in resource:
                uses = node_use(nodes, pods, resource)
                if being_freed(uses):
                    return None
                told.append(describe_use(resource, uses))
        return ". ".join(told)

    def _log(self, namespace: str, trouble: Trouble) -> str:
        """The last lines that a crashed container wrote."""
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
        """What was still missing when the time ran out, with the state of every unready pod."""
        told = [f"not ready after {self._timeout_s:.0f} s: " + "; ".join(outcome.pending)]
        for assessment in outcome.assessments:
            unready = [pod for pod in assessment.pods if not pod_ready(pod)]
            told += [f"pod {name_of(pod)}: {describe_pod(pod)}" for pod in unready]
            if not assessment.progress.done:
                told += self._warnings(assessment, unready)
        return ". ".join(told)

    def _warnings(self, assessment: Assessment, pods: Sequence[Object]) -> list[str]:
        """The newest warning event of a workload and of each of its unready pods."""
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
