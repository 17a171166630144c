# SPDX-License-Identifier: Apache-2.0
"""A site in order, as its API and Prometheus show it, for tests that damage it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import Check
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.definitions import DEFINITIONS
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import (
    Sample,
    Seen,
    Wanted,
    Worker,
    run,
)

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SPEECH = "cartesia"
IDS = tuple(item.id for item in DEFINITIONS)
GPU = "nvidia.com/gpu"
KUBERNETES = "1.36.3"
WORKER_IMAGE = "registry.example.com/speech/worker:sonic-1"
API_IMAGE = "registry.example.com/speech/api:sonic-1"
NATS_IMAGE = "docker.io/library/nats:2.11"
WORKER_DIGEST = f"sha256:{'1' * 64}"
API_DIGEST = f"sha256:{'2' * 64}"
NATS_DIGEST = f"sha256:{'3' * 64}"
OTHER_DIGEST = f"sha256:{'9' * 64}"
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"

Item = dict[str, Any]


def at(**ago: float) -> str:
    """Return a time before NOW as the API server writes it."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(**ahead: float) -> float:
    """Return a time after NOW in seconds since 1970."""
    return (NOW + timedelta(**ahead)).timestamp()


def conditions(**states: bool) -> list[Item]:
    """Return conditions of a status, all since an hour."""
    return [
        {"type": kind, "status": str(state), "lastTransitionTime": at(hours=1)}
        for kind, state in states.items()
    ]


def node(name: str, gpus: int = 0) -> Item:
    """A Ready node."""
    pressures = {"MemoryPressure": False, "DiskPressure": False, "PIDPressure": False}
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "64", "memory": "256Gi"} | ({GPU: str(gpus)} if gpus else {}),
            "conditions": conditions(**pressures, Ready=True),
            "nodeInfo": {
                "kubeletVersion": f"v{KUBERNETES}",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.8.0-60-generic",
                "osImage": "Ubuntu 24.04.3 LTS",
            },
        },
    }


def container(image: str, port: str = "metrics", gpus: int = 0) -> Item:
    """A container with one port."""
    limits = {"limits": {GPU: str(gpus)}} if gpus else {}
    ports = [{"name": port, "containerPort": 8080}]
    return {"name": "main", "image": image, "ports": ports, "resources": limits}


def pod(name: str, app: str, on: str, runs: Item, digest: str, namespace: str = SPEECH) -> Item:
    """A pod that has been ready for an hour."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": app},
        },
        "spec": {"nodeName": on, "containers": [deepcopy(runs)]},
        "status": {
            "phase": "Running",
            "conditions": conditions(PodScheduled=True, Ready=True),
            "containerStatuses": [
                {
                    "name": runs["name"],
                    "imageID": f"{runs['image'].partition('@')[0].rpartition(':')[0]}@{digest}",
                    "state": {"running": {"startedAt": at(hours=1)}},
                }
            ],
        },
    }


def workload(name: str, runs: Item, replicas: int = 1, namespace: str = SPEECH) -> Item:
    """A Deployment or StatefulSet whose rollout is complete."""
    return {
        "metadata": {"name": name, "namespace": namespace, "generation": 3},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"spec": {"containers": [deepcopy(runs)]}},
        },
        "status": {
            "observedGeneration": 3,
            "replicas": replicas,
            "readyReplicas": replicas,
            "updatedReplicas": replicas,
        },
    }


def daemonset(name: str, namespace: str, pods: int) -> Item:
    """A DaemonSet whose rollout is complete."""
    return {
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {},
        "status": {
            "observedGeneration": 1,
            "desiredNumberScheduled": pods,
            "numberReady": pods,
            "updatedNumberScheduled": pods,
        },
    }


def budget(name: str, pods: int, allowed: int = 1) -> Item:
    """A PodDisruptionBudget whose pods are healthy."""
    status = {"expectedPods": pods, "currentHealthy": pods, "disruptionsAllowed": allowed}
    return {"metadata": {"name": name, "namespace": SPEECH}, "status": status}


def scaled_object(name: str) -> Item:
    """A ScaledObject whose triggers work."""
    happy = {"numberOfFailures": 0, "status": "Happy"}
    return {
        "metadata": {"name": name, "namespace": SPEECH},
        "spec": {"scaleTargetRef": {"name": name}},
        "status": {
            "conditions": conditions(Ready=True, Active=True, Fallback=False, Paused=False),
            "health": {"s0-load": happy, "s1-queue": happy},
        },
    }


def api_server(host: str) -> Item:
    """The pod of an API server that encrypts Secrets."""
    command = ["kube-apiserver", "--encryption-provider-config=/etc/kubernetes/encryption.yml"]
    runs = {"name": "kube-apiserver", "image": "kube-apiserver", "command": command}
    made = pod(f"kube-apiserver-{host}", "-", host, runs, API_DIGEST, "kube-system")
    made["metadata"]["labels"] = {"component": "kube-apiserver", "tier": "control-plane"}
    return made


def sample(value: float, **labels: str) -> Sample:
    """A sample of a pod of the stack, unless its labels say otherwise."""
    return Sample({"namespace": SPEECH} | labels, value)


def objects() -> dict[str, list[Item] | str]:
    """Return what the API lists."""
    tts = container(f"{WORKER_IMAGE}@{WORKER_DIGEST}", gpus=1)
    stt = container(f"{WORKER_IMAGE}@{WORKER_DIGEST}", gpus=1)
    api, nats = container(API_IMAGE), container(NATS_IMAGE, "monitoring")
    proxy = container("registry.example.com/speech/license-proxy:1", "http")
    prometheus = container("quay.io/prometheus/prometheus:v3.5.0", "web")
    operator = container("ghcr.io/kedacore/keda:2.18.0")
    return {
        "nodes": [node("cp1"), node("gpu1", 2), node("gpu2", 2)],
        "pods": [
            pod("tts-5d9c-aaaaa", "tts", "gpu1", tts, WORKER_DIGEST),
            pod("tts-5d9c-bbbbb", "tts", "gpu2", tts, WORKER_DIGEST),
            pod("stt-7f6b-ccccc", "stt", "gpu1", stt, WORKER_DIGEST),
            pod("api-6b8d-ddddd", "api", "gpu1", api, API_DIGEST),
            pod("api-6b8d-eeeee", "api", "gpu2", api, API_DIGEST),
            pod("license-proxy-5c-fffff", "license-proxy", "gpu2", proxy, API_DIGEST),
            *(pod(f"nats-{n}", "nats", on, nats, NATS_DIGEST)
              for n, on in enumerate(("cp1", "gpu1", "gpu2"))),
            api_server("cp1"),
        ],
        "deployments": [
            workload("tts", tts, 2),
            workload("stt", stt, 1),
            workload("api", api, 2),
            workload("license-proxy", proxy),
            workload("keda-operator", operator, 1, "keda"),
            workload("keda-operator-metrics-apiserver", operator, 1, "keda"),
            workload("coredns", container("registry.k8s.io/coredns:v1.13"), 2, "kube-system"),
        ],
        "statefulsets": [
            workload("nats", nats, 3),
            workload("prometheus-site", prometheus, 1, "monitoring"),
        ],
        "daemonsets": [
            daemonset("ingress", "ingress", 1),
            daemonset("nvidia-device-plugin", "kube-system", 2),
        ],
        "budgets": [budget("tts", 2), budget("stt", 1), budget("nats", 3)],
        "policies": [
            {"metadata": {"name": name, "namespace": SPEECH}} for name in ("default-deny", "nats")
        ],
        "apiservices": [
            {
                "metadata": {"name": EXTERNAL_METRICS},
                "status": {"conditions": conditions(Available=True)},
            }
        ],
        "scaledobjects": [scaled_object("tts")],
        "tokens": [
            {
                "metadata": {
                    "name": "bootstrap-token-abcdef",
                    "namespace": "kube-system",
                    "creationTimestamp": at(minutes=10),
                }
            }
        ],
    }  # fmt: skip


def series() -> dict[str, list[Sample] | str]:
    """Return what Prometheus answers."""
    asked = [
        "tts-5d9c-aaaaa", "tts-5d9c-bbbbb", "stt-7f6b-ccccc", "api-6b8d-ddddd", "api-6b8d-eeeee",
        "license-proxy-5c-fffff", "nats-0", "nats-1", "nats-2",
    ]  # fmt: skip
    hosts = ("cp1", "gpu1", "gpu2")
    gib = 2.0**30
    return {
        "up": [sample(1, pod=name) for name in asked] + [sample(1, namespace="kube-system")],
        "alerts": [],
        "capacity": [
            sample(4, pod="tts-5d9c-aaaaa"),
            sample(4, pod="tts-5d9c-bbbbb"),
            sample(8, pod="stt-7f6b-ccccc"),
        ],
        "clocks": [Sample({"node": name}, 0.02) for name in hosts],
        "disk": [Sample({"node": name, "mountpoint": "/"}, 5 * gib) for name in hosts]
        + [Sample({"node": name, "mountpoint": "/var/lib/containerd"}, 80 * gib) for name in hosts],
        "licence": [sample(1, mode="airgapped", state="airgapped", pod="license-proxy-5c-fffff")],
        "licence_end": [sample(seconds(days=200), pod="license-proxy-5c-fffff")],
        "certificates": [
            Sample({"host": "speech.example.com", "instance": "https://192.0.2.1/status"},
                   seconds(days=80)),
            Sample({"host": "speech.example.com", "instance": "https://192.0.2.2/status"},
                   seconds(days=80)),
            Sample({"domain": "voice.example.com"}, seconds(days=90)),
            Sample({"instance": "192.0.2.1:6443"}, seconds(days=300)),
        ],
        "nats": [sample(n, pod=f"nats-{n}") for n in range(3)],
        "slow": [],
        "restarts": [sample(1.01, pod="api-6b8d-ddddd", container="main")],
    }  # fmt: skip


def wanted() -> Wanted:
    """Return what the inventory wants."""
    return Wanted(
        namespace=SPEECH,
        workers=[
            Worker("tts", WORKER_IMAGE, 4, GPU, autoscaled=True, min_replicas=1),
            Worker("stt", WORKER_IMAGE, 8, GPU, autoscaled=False, min_replicas=1),
        ],
        gpus={"gpu1": 2, "gpu2": 2},
        nodes=["cp1", "gpu1", "gpu2"],
        kubernetes=KUBERNETES,
        digests={WORKER_IMAGE: WORKER_DIGEST},
        policies=[f"{SPEECH}/default-deny", f"{SPEECH}/nats"],
        encryption=True,
        now=NOW,
    )


@dataclass
class Site:
    """What was read of a site, and what is wanted of it. Tests change both."""

    objects: dict[str, list[Item] | str] = field(default_factory=lambda: deepcopy(objects()))
    series: dict[str, list[Sample] | str] = field(default_factory=series)
    storage: dict[str, float] | str = field(
        default_factory=lambda: {"k8s:enc:secretbox:v1:key1:": 42.0}
    )
    wanted: Wanted = field(default_factory=wanted)

    @property
    def seen(self) -> Seen:
        """All that was read."""
        return Seen(cast("dict[str, list[Any] | str]", self.objects), self.series, self.storage)

    def checks(self) -> dict[str, Check]:
        """Return the results of all checks by their ids."""
        return {check.id: check for check in run(DEFINITIONS, self.seen, self.wanted)}

    def listed(self, kind: str) -> list[Item]:
        """Return the objects of a kind."""
        items = self.objects[kind]
        assert not isinstance(items, str)
        return items

    def get(self, kind: str, name: str) -> Item:
        """Return an object."""
        [item] = [item for item in self.listed(kind) if item["metadata"]["name"] == name]
        return item

    def drop(self, kind: str, name: str) -> None:
        """Remove an object."""
        self.listed(kind).remove(self.get(kind, name))

    def set_condition(self, kind: str, name: str, type_: str, status: str, message: str) -> None:
        """Change a condition of an object."""
        entry = {"type": type_, "status": status, "message": message}
        status_of = self.get(kind, name)["status"]
        others = [c for c in status_of["conditions"] if c["type"] != type_]
        status_of["conditions"] = [*others, entry]

    def answer(self, query: str, *more: Sample, without: str = "") -> None:
        """Add samples to an answer, after removing those with a label of this value."""
        samples = self.series[query]
        assert not isinstance(samples, str)
        kept = [s for s in samples if not without or without not in s.labels.values()]
        self.series[query] = [*kept, *more]

    def want(self, **changes: Any) -> None:
        """Change what is wanted."""
        self.wanted = replace(self.wanted, **changes)
