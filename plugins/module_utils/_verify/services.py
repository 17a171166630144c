# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what runs on the cluster: metrics, autoscaling, NATS, the licence, clocks, disks."""

from __future__ import annotations

from .._kube.pods import condition, name_of, pod_ready, when
from .._kube.types import Object
from .checks import FAIL, PASS, SKIPPED, WARN, End, Figure
from .security import day_of, distance
from .site import Result, Sample, Seen, UnreadableError, Wanted
from .workloads import KEDA, is_new, replicas_of, verdict

EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"
# Ports by which the stack's pods are asked for metrics: the vendor's name, and NATS'.
METRICS_PORTS = ("metrics", "monitoring")
LICENCE_WARNS = ("grace",)
LICENCE_PASSES = ("connected", "airgapped")
# https://kubernetes.io/releases/patch-releases/: a minor version is maintained for 14 months.
KUBERNETES_SUPPORT = {
    "1.33": "2026-06-28T00:00:00Z",
    "1.34": "2026-10-27T00:00:00Z",
    "1.35": "2027-02-28T00:00:00Z",
    "1.36": "2027-06-28T00:00:00Z",
}


def metrics(seen: Seen, _wanted: Wanted, _limit: float) -> Result:
    """Prometheus answers, and asks some targets."""
    targets = len(seen.samples("up"))
    if not targets:
        return Result(FAIL, "Prometheus answers, but asks no target")
    return Result(PASS, f"Prometheus asks {targets} targets")


def _measured(pod: Object) -> bool:
    return any(
        port.get("name") in METRICS_PORTS
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
    )


def scrape(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """Prometheus asks each ready pod of the stack that has a metrics port, and each answers."""
    up: dict[str, float] = {}
    for sample in _own(seen, wanted, "up"):
        # A pod may be asked at several ports. Each has to answer.
        name = sample.labels.get("pod", "")
        up[name] = min(sample.value, up.get(name, sample.value))
    measured = [p for p in seen.items("pods", wanted.namespace) if pod_ready(p) and _measured(p)]
    if not measured:
        return Result(FAIL, "no ready pod of the stack has a metrics port")
    problems, new = [], 0
    for pod in sorted(measured, key=name_of):
        name = name_of(pod)
        if up.get(name):
            continue
        if is_new(pod, wanted.now):
            new += 1
        elif name in up:
            problems.append(f"{name} does not answer Prometheus")
        else:
            problems.append(f"Prometheus does not ask {name}")
    good = f"{len(measured) - new} pods of the stack answer Prometheus"
    return verdict(problems, good + (f", {new} became ready just now" if new else ""))


def _own(seen: Seen, wanted: Wanted, name: str) -> list[Sample]:
    """Return the answer to a query, as far as it is about the stack's namespace."""
    return [s for s in seen.samples(name) if s.labels.get("namespace") == wanted.namespace]


def autoscaling(seen: Seen, wanted: Wanted, limit: float) -> Result:
    """KEDA's metrics answer, and each autoscaled worker's ScaledObject is ready."""
    names = [worker.name for worker in wanted.workers if worker.autoscaled]
    if not names:
        return Result(SKIPPED, "no worker is autoscaled")
    services = {name_of(item): item for item in seen.items("apiservices")}
    problems = []
    if EXTERNAL_METRICS not in services:
        problems.append(f"the APIService {EXTERNAL_METRICS} does not exist")
    else:
        available = condition(services[EXTERNAL_METRICS], "Available")
        if available.get("status") != "True":
            problems.append(f"{EXTERNAL_METRICS} is not available: {_why(available)}")
    for item in seen.items("deployments", KEDA):
        replicas = max(replicas_of(item), 1)
        there = (item.get("status") or {}).get("readyReplicas", 0)
        if there < replicas:
            problems.append(f"{KEDA}/{name_of(item)} has {there} of {replicas} pods ready")
    live = {name_of(item): item for item in seen.items("scaledobjects", wanted.namespace)}
    for name in names:
        if name not in live:
            problems.append(f"the ScaledObject {name} does not exist")
            continue
        ready_now = condition(live[name], "Ready")
        if ready_now.get("status") != "True":
            problems.append(f"the ScaledObject {name} is not ready: {_why(ready_now)}")
        problems += [
            f"the ScaledObject {name} is in the state {kind}"
            for kind in ("Fallback", "Paused")
            if condition(live[name], kind).get("status") == "True"
        ]
        health = (live[name].get("status") or {}).get("health") or {}
        problems += [
            f"the trigger {trigger} of {name} failed {state['numberOfFailures']} times in a row"
            for trigger, state in sorted(health.items())
            # One failure is a poll in a busy moment. KEDA polls again.
            if int(state.get("numberOfFailures") or 0) > limit
        ]
    return verdict(problems, f"KEDA scales {', '.join(names)}")


def _why(entry: Object) -> str:
    return str(entry.get("message") or entry.get("reason") or "it has no status yet")


def nats(seen: Seen, wanted: Wanted, _limit: float) -> Result:
    """All NATS servers are ready, clients are connected, and none is slow."""
    sets = [i for i in seen.items("statefulsets", wanted.namespace) if name_of(i) == "nats"]
    if not sets:
        return Result(FAIL, f"the StatefulSet {wanted.namespace}/nats does not exist")
    ready = (sets[0].get("status") or {}).get("readyReplicas", 0)
    replicas = max(replicas_of(sets[0]), 1)
    if ready < replicas:
        return Result(FAIL, f"{ready} of {replicas} NATS servers are ready")
    connections = _own(seen, wanted, "nats")
    clients = sum(sample.value for sample in connections)
    if not connections:
        # That Prometheus does not ask NATS is the check scrape's.
        return Result(PASS, f"{ready} servers are ready, Prometheus has no count of their clients")
    if not clients:
        return Result(FAIL, "no client is connected to NATS")
    slow = sum(sample.value for sample in _own(seen, wanted, "slow"))
    good = f"{ready} servers are ready, {clients:.0f} clients are connected"
    if slow:
        count = max(round(slow), 1)
        return Result(WARN, f"{good}. NATS has cut off {count} slow clients within an hour")
    return Result(PASS, good)


def alerts(seen: Seen, _wanted: Wanted, _limit: float) -> Result:
    """No alert for people fires; a critical one fails."""
    firing = {
        (s.labels.get("alertname", "?"), s.labels.get("severity") or "no severity")
        for s in seen.samples("alerts")
    }
    if not firing:
        return Result(PASS, "no alert fires")
    bad = FAIL if "critical" in {severity for _name, severity in firing} else WARN
    return Result(bad, ", ".join(f"{name} ({severity})" for name, severity in sorted(firing)))


def licence(seen: Seen, wanted: Wanted, limit: float) -> Result:
    """The licence is in force, and ends in more than limit days where its end is known."""
    states = {sample.labels.get("state", "?") for sample in _own(seen, wanted, "licence")}
    if not states:
        raise UnreadableError(
            "Prometheus knows the state of no license proxy: run playbooks/platform.yml, and look"
            " at the proxy's pods"
        )
    seconds = [sample.value for sample in _own(seen, wanted, "licence_end") if sample.value > 0]
    ends = tuple(
        End("licence", "licence", day_of(end), "docs/license.md")
        for end in sorted(set(seconds))[:1]
    )
    bad = sorted(states - {*LICENCE_PASSES, *LICENCE_WARNS})
    if bad:
        text = f"the license proxy is in the state {', '.join(bad)}"
        return Result(FAIL, text, ends=ends, own=True)
    text = f"the license proxy is in the state {', '.join(sorted(states))}"
    if not seconds:
        verdict_now = WARN if states & {*LICENCE_WARNS} else PASS
        return Result(verdict_now, text)
    days = (min(seconds) - wanted.now.timestamp()) / 86400
    warn = bool(states & {*LICENCE_WARNS}) or days < limit
    figure = Figure("days left", "d", (round(days, 1),), limit)
    return Result(WARN if warn else PASS, f"{text}; the licence {distance(days)}", (figure,), ends)


def _node(sample: Sample) -> str:
    # A Prometheus that was there before may not label by node.
    return sample.labels.get("node") or sample.labels.get("instance") or "?"


def clocks(seen: Seen, _wanted: Wanted, limit: float) -> Result:
    """No host's clock differs from Prometheus' by more than limit seconds."""
    offsets = {_node(sample): sample.value for sample in seen.samples("clocks")}
    if not offsets:
        raise UnreadableError("no node exporter reports its clock")
    problems = [
        f"the clock of {node} is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
        for node, offset in sorted(offsets.items())
        if abs(offset) > limit
    ]
    worst = max(map(abs, offsets.values()))
    return Result(
        FAIL if problems else PASS,
        "; ".join(problems) or f"{len(offsets)} clocks differ by {worst:.2f} s at most",
        (Figure("offset", "s", tuple(round(v, 3) for v in offsets.values()), limit),),
    )


def disk(seen: Seen, _wanted: Wanted, limit: float) -> Result:
    """Each host has limit GiB free for the images of one more rollout."""
    free: dict[str, tuple[int, float]] = {}
    for sample in seen.samples("disk"):
        node, place = _node(sample), sample.labels.get("mountpoint", "")
        # The file system that holds /var/lib/containerd is the one with the longest path.
        free[node] = max(free.get(node, (-1, 0.0)), (len(place), sample.value / 2**30))
    if not free:
        raise UnreadableError("no node exporter reports its file systems")
    problems = [
        f"{node} has {gib:.0f} GiB free for images, {limit:.0f} are wanted"
        for node, (_length, gib) in sorted(free.items())
        if gib < limit
    ]
    least = min(free, key=lambda node: free[node][1])
    return verdict(problems, f"{least} has least, {free[least][1]:.0f} GiB for images")


def support(_seen: Seen, wanted: Wanted, limit: float) -> Result:
    """Kubernetes' version is maintained for more than limit days."""
    minor = ".".join(wanted.kubernetes.split(".")[:2])
    end = KUBERNETES_SUPPORT.get(minor)
    if not end:
        return Result(SKIPPED, f"the end of support of Kubernetes {minor} is not known here")
    days = (when(end) - wanted.now).total_seconds() / 86400
    ends = (End(f"support of Kubernetes {minor}", "support", end, "Upgrade Kubernetes"),)
    text = f"Kubernetes {minor} {'is' if days > 0 else 'was'} maintained until {end[:10]}"
    return Result(PASS if days > limit else WARN, text, ends=ends)
