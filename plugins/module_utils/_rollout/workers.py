# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""How workers are rolled out with the GPUs that there are.

A rollout either starts a new pod beside the old ones, which takes a free GPU and costs no capacity,
or takes an old pod away first. With no GPU free the former would never end. The numbers therefore
follow the GPUs that are free when a worker's pods are about to be replaced. At rest every worker
has REST, which ends on any cluster, so that a run that changes nothing finds nothing to change
however many GPUs happen to be free.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._kube.objects import LABELS as OURS
from .._kube.objects import ApplyApi, look_up
from .._kube.pods import Object, matches, name_of, node_use, terminating
from .._kube.store import collection
from .progress import deployment_progress

LABELS = OURS | {"app.kubernetes.io/part-of": "cartesia"}
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"
REST = {"maxSurge": 0, "maxUnavailable": 1}


@dataclass(frozen=True)
class Worker:
    """One worker: what is wanted of it, and what there is.

    wanted: the Deployment as it will be applied. live: as it is, None when it is new. tried: as the
    API server says that it would be after the apply. present: its pods that are not going.
    scaled: whether an autoscaler sets the number of its pods, and least: how many it has to keep.
    """

    wanted: Object
    live: Object | None
    tried: Object | None
    present: int = 0
    scaled: bool = False
    least: int = 1

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return name_of(self.wanted)

    @property
    def resource(self) -> str:
        """The extended resource of which each pod takes one; empty when it takes none."""
        for container in self.wanted["spec"]["template"]["spec"]["containers"]:
            for resource in (container.get("resources") or {}).get("limits") or {}:
                if "/" in resource:
                    return str(resource)
        return ""

    @property
    def replicas(self) -> int:
        """Pods that it has when the apply is done."""
        if not self.scaled:
            return int(self.wanted["spec"].get("replicas", 1))
        return self.least if self.live is None else int(self.live["spec"].get("replicas", 1))

    @property
    def replaced(self) -> bool:
        """Whether the apply makes new pods of all that run."""
        if self.live is None or self.tried is None or not self.replicas:
            return False
        same: bool = self.live["spec"]["template"] == self.tried["spec"]["template"]
        return not same


@dataclass(frozen=True)
class Plan:
    """What the role workers has to do beside its one apply.

    strategies: each worker's rollingUpdate. waves: batches of the longest rollout, one after the
    other; 0 when no pod is replaced. handover: Deployments cut to the number of their pods, which
    would fall to 1 when the apply no longer names it. stale: ScaledObjects of workers without
    autoscaling. replaced: workers whose pods are replaced. before: of these, as they were applied
    before, those whose rollout was complete. keda: whether the API knows ScaledObjects.
    """

    strategies: Mapping[str, Mapping[str, int]]
    waves: int = 0
    handover: Sequence[Object] = ()
    stale: Sequence[Object] = ()
    replaced: Sequence[str] = ()
    before: Sequence[Object] = ()
    keda: bool = False

    @property
    def surging(self) -> bool:
        """Whether a worker is not at rest, so that its strategy has to be put back afterwards."""
        return any(strategy != REST for strategy in self.strategies.values())


def kinds(definitions: Iterable[Object], kind: str) -> dict[str, Object]:
    """The definitions of a kind by name."""
    return {name_of(item): item for item in definitions if item["kind"] == kind}


def look(
    api: ApplyApi, definitions: Sequence[Object], namespace: str, manager: str
) -> list[Worker]:
    """The workers of the definitions, with what the cluster has of them. Raises KubeError.

    `manager` is who will apply them: what goes away by an apply goes away only under that name.
    """
    deployments = api.get(collection("deployments", namespace)).get("items") or []
    live = {name_of(item): item for item in deployments}
    pods = api.get(collection("pods", namespace)).get("items") or []
    scaled = {
        item["spec"]["scaleTargetRef"]["name"]: int(item["spec"].get("minReplicaCount", 0))
        for item in kinds(definitions, "ScaledObject").values()
    }
    found = []
    for name, wanted in kinds(definitions, "Deployment").items():
        tried = None
        if name in live:
            path = f"{collection('deployments', namespace)}/{name}"
            tried = api.apply(path, wanted, manager, dry_run=True)
        mine = [
            pod
            for pod in pods
            if not terminating(pod)
            and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
            and matches(wanted["spec"]["selector"], pod["metadata"].get("labels") or {})
        ]
        found.append(
            Worker(
                wanted=wanted,
                live=live.get(name),
                tried=tried,
                present=len(mine),
                scaled=name in scaled,
                least=scaled.get(name, 1),
            )
        )
    return found


def free(nodes: Sequence[Object], pods: Sequence[Object], resource: str) -> int:
    """How much of an extended resource a new pod could get now, over all nodes."""
    uses = node_use(nodes, pods, resource)
    return sum(max(use.allocatable - use.used, 0) for use in uses if use.schedulable)


def strategies(
    workers: Sequence[Worker], spare: Mapping[str, int], step: int
) -> dict[str, dict[str, int]]:
    """Each worker's rollingUpdate.

    Args:
        workers: in the order in which they get what is free.
        spare: how much of each extended resource is free.
        step: pods of a worker that are replaced at a time.
    """
    left = dict(spare)
    for worker in workers:
        # What the same apply adds comes first: it must not find the GPUs taken.
        left[worker.resource] = left.get(worker.resource, 0) - max(
            worker.replicas - worker.present, 0
        )
    found = {}
    for worker in workers:
        if worker.replaced:
            # Pods above the wanted number are those of an earlier rollout: this one replaces them.
            own = left[worker.resource] + max(worker.present - worker.replicas, 0)
            found[worker.name] = strategy(worker, own, step)
            left[worker.resource] -= found[worker.name]["maxSurge"]
        elif worker.live and not deployment_progress(worker.live).done:
            # Under way: whoever started it had a reason for its numbers.
            rolling = (worker.live["spec"].get("strategy") or {}).get("rollingUpdate")
            found[worker.name] = {k: rolling[k] for k in REST} if rolling else dict(REST)
        else:
            found[worker.name] = dict(REST)
    return found


def strategy(worker: Worker, spare: int, step: int) -> dict[str, int]:
    """The rollingUpdate for a worker whose pods are replaced while so many GPUs are free."""
    surge = max(min(step, worker.replicas, spare), 0)
    if surge == min(step, worker.replicas):
        return {"maxSurge": surge, "maxUnavailable": 0}
    status = (worker.live or {}).get("status") or {}
    # Pods that find no GPU are not available anyhow: if they counted, no other could be replaced.
    missing = max(worker.replicas - int(status.get("availableReplicas") or 0), 0)
    fewer = min(step - surge, max(worker.replicas - 1, 1))
    return {"maxSurge": surge, "maxUnavailable": min(fewer + missing, worker.replicas)}


def waves(workers: Iterable[Worker], planned: Mapping[str, Mapping[str, int]]) -> int:
    """Batches of the longest rollout; 0 when no pod is replaced."""
    counts = [
        math.ceil(worker.replicas / sum(planned[worker.name].values()))
        for worker in workers
        if worker.replaced
    ]
    return max(counts, default=0)


def handover(workers: Iterable[Worker], namespace: str) -> list[Object]:
    """Deployments, cut to the number of pods, that would lose it by the apply.

    The number is this collection's as long as it is in what it applies; dropped from there, it
    would fall back to the API server's default, 1, until an autoscaler sets it.
    """
    found: list[Object] = []
    for worker in workers:
        if not worker.scaled or worker.live is None or worker.tried is None:
            continue
        replicas = worker.live["spec"].get("replicas", 1)
        if worker.tried["spec"].get("replicas", 1) != replicas:
            found.append(
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": worker.name, "namespace": namespace},
                    "spec": {"replicas": replicas},
                }
            )
    return found


def before(workers: Iterable[Worker], namespace: str, manager: str) -> list[Object]:
    """Deployments of workers that are replaced, as the manager applied them when they ran well."""
    found: list[Object] = []
    for worker in workers:
        if not worker.replaced or not worker.live or not deployment_progress(worker.live).done:
            continue
        made = applied(worker.live, manager)
        if made:
            head = {"apiVersion": "apps/v1", "kind": "Deployment"}
            metadata = {**made.get("metadata", {}), "name": worker.name, "namespace": namespace}
            found.append({**made, **head, "metadata": metadata})
    return found


def applied(live: Object, manager: str) -> dict[str, Any]:
    """What a manager applied to an object, by the API server's own notes; empty if nothing."""
    for entry in live["metadata"].get("managedFields") or []:
        if entry["manager"] == manager and entry["operation"] == "Apply":
            made: dict[str, Any] = _owned(live, entry["fieldsV1"])
            return made
    return {}


def _owned(value: Any, fields: Object) -> Any:
    """The part of a value that fields of the format FieldsV1 name.

    A key is f: and a field's name, k: and the keys of a list's item, or v: and an item of a set.
    """
    inner = {key: more for key, more in fields.items() if key != "."}
    if not inner:
        return value
    if isinstance(value, Mapping):
        names = {key.removeprefix("f:"): more for key, more in inner.items()}
        return {name: _owned(value[name], more) for name, more in names.items() if name in value}
    keys = [(key[0], json.loads(key[2:]), more) for key, more in inner.items()]
    # In the order of the object: another order would be another template, and make new pods.
    return [
        _owned(item, more) if kind == "k" else item
        for item in value
        for kind, wanted, more in keys
        if (item == wanted if kind == "v" else wanted.items() <= item.items())
    ]


def stale(definitions: Sequence[Object], there: Iterable[Object]) -> list[Object]:
    """This collection's ScaledObjects that are not among the definitions, cut to their names."""
    wanted = kinds(definitions, "ScaledObject")
    return [
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {k: item["metadata"][k] for k in ("name", "namespace")},
        }
        for item in there
        if name_of(item) not in wanted
        and LABELS.items() <= (item["metadata"].get("labels") or {}).items()
    ]


def scaled_objects(api: ApplyApi, namespace: str) -> list[Object] | None:
    """The namespace's ScaledObjects; None where the API has no such kind. Raises KubeError."""
    listed = look_up(api, SCALED_OBJECTS.format(namespace=namespace))
    return None if listed is None else listed.get("items") or []


def make(
    api: ApplyApi, definitions: Sequence[Object], namespace: str, step: int, manager: str
) -> Plan:
    """Plan the apply of the definitions under a field manager's name. Raises KubeError."""
    workers = look(api, definitions, namespace, manager)
    planned: dict[str, dict[str, int]] = {worker.name: dict(REST) for worker in workers}
    if any(worker.live for worker in workers):
        nodes = api.get(collection("nodes")).get("items") or []
        pods = api.get(collection("pods")).get("items") or []
        spare = {r: free(nodes, pods, r) for r in {worker.resource for worker in workers} if r}
        planned = strategies(workers, spare, step)
    there = scaled_objects(api, namespace)
    return Plan(
        strategies=planned,
        waves=waves(workers, planned),
        handover=handover(workers, namespace),
        stale=stale(definitions, there or ()),
        replaced=[worker.name for worker in workers if worker.replaced],
        before=before(workers, namespace, manager),
        keda=there is not None,
    )
