# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of nodes, workloads and images."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from .._kube.pods import (
    condition,
    matches,
    name_of,
    node_use,
    pod_ready,
    quantity,
    terminating,
    when,
)
from .._kube.types import Object
from .checks import FAIL, PASS, SKIPPED, WARN
from .site import Result, Seen, Wanted

# Other checks look at these: autoscaling at KEDA, workers and nats at theirs.
KEDA = "keda"
DAMAGE = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
# Prometheus learns of a new pod, and asks it, within this time.
NEW = timedelta(minutes=1)


def verdict(problems: list[str], good: str, bad: str = FAIL) -> Result:
    """Return the problems as evidence, or what is good."""
    return Result(bad, "; ".join(problems)) if problems else Result(PASS, good)


def replicas_of(item: Object) -> int:
    """Return how many pods a Deployment or StatefulSet shall have; without a number it is one."""
    replicas = item["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def is_new(pod: Object, now: datetime) -> bool:
    """Whether a ready pod became ready so recently that Prometheus may not have asked it since."""
    since = str(condition(pod, "Ready").get("lastTransitionTime") or "")
    return since != "" and now - when(since) < NEW


def nodes(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Every host of the inventory is a Ready node that takes pods."""
    live = {name_of(node): node for node in seen.items("nodes")}
    problems = [f"{name} is not in the cluster" for name in sorted(set(wanted.nodes) - set(live))]
    for name, node in sorted(live.items()):
        ready = condition(node, "Ready")
        if ready.get("status") != "True":
            problems.append(f"{name} is not Ready: {ready.get('message') or 'no status'}")
        if (node.get("spec") or {}).get("unschedulable"):
            problems.append(f"{name} is cordoned")
        problems += [
            f"{name} has {kind}" for kind in DAMAGE if condition(node, kind).get("status") == "True"
        ]
    return verdict(problems, f"{len(live)} nodes are Ready and take pods")


def gpus(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Each node offers as many GPUs as the inventory says, or more."""
    live = {name_of(node): node for node in seen.items("nodes")}
    kinds = sorted({worker.gpu_type for worker in wanted.workers}) or ["nvidia.com/gpu"]
    problems, total = [], 0
    for name, count in sorted(wanted.gpus.items()):
        offered = (live.get(name, {}).get("status") or {}).get("allocatable") or {}
        there = sum(int(quantity(offered.get(kind, 0))) for kind in kinds)
        total += there
        if there < count:
            problems.append(f"{name} offers {there} of {count} GPUs")
    held = 0
    for kind in kinds:
        for use in node_use(seen.items("nodes"), seen.items("pods"), kind):
            held += use.used
    return verdict(problems, f"{total} GPUs are offered, pods hold {held}")


def versions(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Each kubelet has the version of the inventory."""
    running = {
        name_of(node): str(node["status"]["nodeInfo"]["kubeletVersion"]).lstrip("v")
        for node in seen.items("nodes")
    }
    problems = [
        f"the kubelet of {name} is {version}, {wanted.kubernetes} is wanted"
        for name, version in sorted(running.items())
        if version != wanted.kubernetes
    ]
    return verdict(problems, f"Kubernetes {wanted.kubernetes} on {len(running)} nodes")


def rollouts(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Each workload besides workers, NATS and KEDA runs what was applied, with all its pods."""
    special = {("Deployment", worker.name) for worker in wanted.workers}
    problems, count = [], 0
    for kind, name in (("Deployment", "deployments"), ("StatefulSet", "statefulsets")):
        for item in seen.items(name):
            place = item["metadata"]["namespace"]
            own = place == wanted.namespace and (kind, name_of(item)) in special
            if own or place == KEDA or (place == wanted.namespace and name_of(item) == "nats"):
                continue
            count += 1
            replicas, label = replicas_of(item), f"{place}/{name_of(item)}"
            if not replicas and place == wanted.namespace:
                problems.append(f"{label} is scaled to no pods")
            problems += _incomplete(item, label, replicas, "readyReplicas")
    for item in seen.items("daemonsets"):
        count += 1
        label = f"{item['metadata']['namespace']}/{name_of(item)}"
        pods = (item.get("status") or {}).get("desiredNumberScheduled", 0)
        problems += _incomplete(item, label, pods, "numberReady")
    return verdict(problems, f"{count} workloads are complete")


def _incomplete(item: Object, label: str, replicas: int, ready: str) -> list[str]:
    status = item.get("status") or {}
    if status.get("observedGeneration", 0) < item["metadata"].get("generation", 0):
        return [f"{label}: its controller has not seen the last change"]
    there = status.get(ready, 0)
    if there < replicas:
        return [f"{label} has {there} of {replicas} pods ready"]
    # The API leaves a number out when it is 0.
    updated = status.get("updatedReplicas", status.get("updatedNumberScheduled", 0))
    if updated < replicas:
        return [f"{label} has {updated} of {replicas} pods of its last revision"]
    return []


def workers(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Each worker has its pods, and each ready pod reports the capacity of the inventory."""
    live = {name_of(item): item for item in seen.items("deployments", wanted.namespace)}
    capacity: dict[str, float] = {}
    for sample in seen.samples("capacity"):
        if sample.labels.get("namespace") == wanted.namespace:
            capacity[sample.labels.get("pod", "")] = sample.value
    problems, streams = [], 0.0
    for worker in wanted.workers:
        item = live.get(worker.name)
        if item is None:
            problems.append(f"{worker.name} does not exist")
            continue
        replicas = replicas_of(item)
        if replicas < worker.min_replicas:
            problems.append(
                f"{worker.name} is scaled to {replicas} pods, {worker.min_replicas} are wanted"
            )
        problems += _incomplete(item, worker.name, replicas, "readyReplicas")
        for pod in _pods_of(seen, wanted.namespace, item):
            if not pod_ready(pod):
                continue
            # A pod that Prometheus has not asked yet is the check scrape's.
            offered = capacity.get(name_of(pod))
            streams += offered or 0
            if is_new(pod, wanted.now):
                continue
            if offered is not None and offered != worker.capacity:
                problems.append(
                    f"pod {name_of(pod)} serves {offered:g} streams, {worker.capacity} are wanted"
                )
    return verdict(problems, f"{len(wanted.workers)} workers serve {streams:g} streams")


def _pods_of(seen: Seen, namespace: str, workload: Object) -> list[Object]:
    selector = workload["spec"].get("selector")
    return [
        pod
        for pod in seen.items("pods", namespace)
        if matches(selector, pod["metadata"].get("labels") or {})
    ]


def restarts(seen: Seen, _wanted: Wanted, limit: float) -> Result:
    """No container restarted more than limit times within the last hour."""
    often = [
        (sample.value, f"{sample.labels.get('namespace')}/{sample.labels.get('pod')}")
        for sample in seen.samples("restarts")
        if sample.value > limit
    ]
    problems = [f"{pod} restarted {count:.0f} times" for count, pod in sorted(often, reverse=True)]
    return verdict(problems, f"no container restarted more than {limit:.0f} times in an hour", WARN)


def images(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Workers run the inventory's images, and pods the digests of site_image_digests."""
    problems = []
    live = {name_of(item): item for item in seen.items("deployments", wanted.namespace)}
    for worker in wanted.workers:
        if worker.name not in live:
            continue
        digest = wanted.digests.get(worker.image)
        image = f"{worker.image}@{digest}" if digest else worker.image
        given = [c["image"] for c in live[worker.name]["spec"]["template"]["spec"]["containers"]]
        if not {image, worker.image} & set(given):
            problems.append(f"{worker.name} has {', '.join(given)}, {image} is wanted")
    running: dict[str, set[str]] = {}
    wrong = set()
    for pod in seen.items("pods", wanted.namespace):
        for image, digest in _digests(pod):
            right = image.rpartition("@")[2] if "@" in image else wanted.digests.get(image, "")
            running.setdefault(image, set()).add(digest)
            if right and digest != right:
                wrong.add(image)
                problems.append(f"pod {name_of(pod)} runs {digest} of {image}, not {right}")
    problems += [
        f"pods run {len(digests)} different images of {image}: {', '.join(sorted(digests))}"
        for image, digests in sorted(running.items())
        if len(digests) > 1 and image not in wrong
    ]
    return verdict(problems, f"{len(running)} images run as wanted")


def _digests(pod: Object) -> Iterable[tuple[str, str]]:
    """Image as the pod names it, and the digest that runs, of each running container.

    A pod that is being deleted runs what was there before.
    """
    if terminating(pod):
        return
    names = {item["name"]: item["image"] for item in pod["spec"]["containers"]}
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if "running" in (status.get("state") or {}) and "@" in str(status.get("imageID")):
            yield names[status["name"]], str(status["imageID"]).rpartition("@")[2]


def disruption(seen: Seen, _wanted: Wanted, _limit: float) -> Result:
    """No budget refuses every drain while all its pods are healthy."""
    problems = []
    budgets = seen.items("budgets")
    for item in budgets:
        status = item.get("status") or {}
        healthy = status.get("currentHealthy", 0) >= status.get("expectedPods", 0) > 0
        if healthy and not status.get("disruptionsAllowed", 0):
            label = f"{item['metadata']['namespace']}/{name_of(item)}"
            problems.append(f"{label} allows no pod to be evicted, so a drain never ends")
    if not budgets:
        return Result(SKIPPED, "the cluster has no disruption budget")
    return verdict(problems, f"{len(budgets)} budgets allow a drain when their pods are healthy")
