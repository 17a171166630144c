# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Plan how workers are rolled out with the GPUs that are free.

A rollout has two ways. It can start a new pod beside the old ones: that needs a free GPU and costs
no capacity. Or it can remove an old pod first. Without a free GPU the first way would never end.
So the strategy is planned from the GPUs that are free when pods are about to be replaced.

Between rollouts every worker has the strategy REST, which ends on any cluster. So a run that
changes nothing has nothing to change, however many GPUs are free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .._kube.fields import applied
from .._kube.objects import LABELS as OURS
from .._kube.objects import ApplyApi, look_up
from .._kube.pods import matches, name_of, node_use, terminating
from .._kube.store import collection
from .._kube.types import Object
from .progress import deployment_progress

LABELS = OURS | {"app.kubernetes.io/part-of": "cartesia"}
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"
REST = {"maxSurge": 0, "maxUnavailable": 1}


@dataclass(frozen=True)
class Worker:
    """One worker, as wanted and as it is.

    wanted: the Deployment that will be applied. live: the Deployment as it is; None for a new one.
    tried: the result of a dry run of the apply. present: pods that are not being deleted.
    scaled: whether an autoscaler sets the number of pods. min_replicas: how many it keeps.
    """

    wanted: Object
    live: Object | None
    tried: Object | None
    present: int = 0
    scaled: bool = False
    min_replicas: int = 1

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return name_of(self.wanted)

    @property
    def resource(self) -> str:
        """The extended resource that each pod takes; empty for none."""
        for container in self.wanted["spec"]["template"]["spec"]["containers"]:
            for resource in (container.get("resources") or {}).get("limits") or {}:
                if "/" in resource:
                    return str(resource)
        return ""

    @property
    def replicas(self) -> int:
        """Number of pods after the apply."""
        if not self.scaled:
            return int(self.wanted["spec"].get("replicas", 1))
        return self.min_replicas if self.live is None else int(self.live["spec"].get("replicas", 1))

    @property
    def replaced(self) -> bool:
        """Whether the apply replaces all pods."""
        if self.live is None or self.tried is None or not self.replicas:
            return False
        same: bool = self.live["spec"]["template"] == self.tried["spec"]["template"]
        return not same


@dataclass(frozen=True)
class Plan:
    """What the role workers has to do besides its one apply.

    strategies: each worker's rollingUpdate.
    waves: number of batches of the longest rollout; 0 when no pod is replaced.
    handover: Deployments with `replicas` alone, for workers that become autoscaled. Without it the
        apply, which no longer names the number, would scale them to 1 pod.
    stale: ScaledObjects of workers that are no longer autoscaled.
    replaced: workers whose pods are replaced.
    before: of the replaced workers with a complete rollout, the Deployments as applied before.
    keda: whether the API has ScaledObjects.
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
        """Whether a worker's strategy must be set back to REST after the rollout."""
        return any(strategy != REST for strategy in self.strategies.values())


def kinds(definitions: Iterable[Object], kind: str) -> dict[str, Object]:
    """Return the definitions of a kind by name."""
    return {name_of(item): item for item in definitions if item["kind"] == kind}


def read_workers(
    api: ApplyApi, definitions: Sequence[Object], namespace: str, manager: str
) -> list[Worker]:
    """Return the workers of the definitions as wanted and as they are. Raises KubeError.

    manager: the field manager of the apply. Only under its name does a dry run remove fields that
    the definitions no longer have.
    """
    deployments = api.get(collection("deployments", namespace)).get("items") or []
    live = {name_of(item): item for item in deployments}
    pods = api.get(collection("pods", namespace)).get("items") or []
    scaled = {
        item["spec"]["scaleTargetRef"]["name"]: int(item["spec"].get("minReplicaCount", 0))
        for item in kinds(definitions, "ScaledObject").values()
    }
    workers = []
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
        workers.append(
            Worker(
                wanted=wanted,
                live=live.get(name),
                tried=tried,
                present=len(mine),
                scaled=name in scaled,
                min_replicas=scaled.get(name, 1),
            )
        )
    return workers


def free(nodes: Sequence[Object], pods: Sequence[Object], resource: str) -> int:
    """Return how much of an extended resource is free, over all schedulable nodes."""
    uses = node_use(nodes, pods, resource)
    return sum(max(use.allocatable - use.used, 0) for use in uses if use.schedulable)


def strategies(
    workers: Sequence[Worker], spare: Mapping[str, int], step: int
) -> dict[str, dict[str, int]]:
    """Return each worker's rollingUpdate.

    Args:
        workers: the workers. The first ones get free resources first.
        spare: how much of each extended resource is free.
        step: how many pods of a worker are replaced at a time.
    """
    left = dict(spare)
    for worker in workers:
        # Pods that the same apply adds get their GPUs first.
        left[worker.resource] = left.get(worker.resource, 0) - max(
            worker.replicas - worker.present, 0
        )
    planned = {}
    for worker in workers:
        if worker.replaced:
            # Pods above the wanted number are left from an earlier rollout: this one replaces them.
            own = left[worker.resource] + max(worker.present - worker.replicas, 0)
            planned[worker.name] = strategy(worker, own, step)
            left[worker.resource] -= planned[worker.name]["maxSurge"]
        elif worker.live and not deployment_progress(worker.live).done:
            # A rollout is under way: keep its strategy.
            rolling = (worker.live["spec"].get("strategy") or {}).get("rollingUpdate")
            planned[worker.name] = {k: rolling[k] for k in REST} if rolling else dict(REST)
        else:
            planned[worker.name] = dict(REST)
    return planned


def strategy(worker: Worker, spare: int, step: int) -> dict[str, int]:
    """Return the rollingUpdate of a worker whose pods are replaced while `spare` GPUs are free."""
    surge = max(min(step, worker.replicas, spare), 0)
    if surge == min(step, worker.replicas):
        return {"maxSurge": surge, "maxUnavailable": 0}
    status = (worker.live or {}).get("status") or {}
    # Pods without a GPU are unavailable anyway: if they counted, no other pod could be replaced.
    missing = max(worker.replicas - int(status.get("availableReplicas") or 0), 0)
    fewer = min(step - surge, max(worker.replicas - 1, 1))
    return {"maxSurge": surge, "maxUnavailable": min(fewer + missing, worker.replicas)}


def waves(workers: Iterable[Worker], planned: Mapping[str, Mapping[str, int]]) -> int:
    """Return the number of batches of the longest rollout; 0 when no pod is replaced."""
    counts = [
        math.ceil(worker.replicas / sum(planned[worker.name].values()))
        for worker in workers
        if worker.replaced
    ]
    return max(counts, default=0)


def handover(workers: Iterable[Worker], namespace: str) -> list[Object]:
    """Return Deployments with `replicas` alone, where the apply would change that number.

    When a worker becomes autoscaled, its definition loses `replicas`. The apply would then reset
    the number to the API server's default, 1, until the autoscaler sets it.
    """
    deployments: list[Object] = []
    for worker in workers:
        if not worker.scaled or worker.live is None or worker.tried is None:
            continue
        replicas = worker.live["spec"].get("replicas", 1)
        if worker.tried["spec"].get("replicas", 1) != replicas:
            deployments.append(
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": worker.name, "namespace": namespace},
                    "spec": {"replicas": replicas},
                }
            )
    return deployments


def before(workers: Iterable[Worker], namespace: str, manager: str) -> list[Object]:
    """Return the replaced Deployments as last applied, of those with a complete rollout."""
    deployments: list[Object] = []
    for worker in workers:
        if not worker.replaced or not worker.live or not deployment_progress(worker.live).done:
            continue
        made = applied(worker.live, manager)
        if made:
            head = {"apiVersion": "apps/v1", "kind": "Deployment"}
            metadata = {**made.get("metadata", {}), "name": worker.name, "namespace": namespace}
            deployments.append({**made, **head, "metadata": metadata})
    return deployments


def stale(definitions: Sequence[Object], there: Iterable[Object]) -> list[Object]:
    """Return, by name alone, this collection's ScaledObjects that the definitions lack."""
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
    """Return the namespace's ScaledObjects; None if the API lacks the kind. Raises KubeError."""
    listed = look_up(api, SCALED_OBJECTS.format(namespace=namespace))
    return None if listed is None else listed.get("items") or []


def make(
    api: ApplyApi, definitions: Sequence[Object], namespace: str, step: int, manager: str
) -> Plan:
    """Plan the apply of the definitions under a field manager's name. Raises KubeError."""
    workers = read_workers(api, definitions, namespace, manager)
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
