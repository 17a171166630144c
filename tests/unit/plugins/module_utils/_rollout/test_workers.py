# SPDX-License-Identifier: Apache-2.0
"""The plan of a rollout: surge or not, from the free GPUs and the running pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.fields import applied
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import collection
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import workers
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.workers import REST

NAMESPACE = "cartesia"
MANAGER = "baremetal.sonic.workers"
DEPLOYMENTS = collection("deployments", NAMESPACE)
SCALED = workers.SCALED_OBJECTS.format(namespace=NAMESPACE)
SURGE = {"maxSurge": 1, "maxUnavailable": 0}


def deployment(name: str, replicas: int | None, image: str = "worker:1") -> dict[str, Any]:
    limits = {"cpu": "1", "nvidia.com/gpu": "1"}
    container = {"name": "worker", "image": image, "resources": {"limits": limits}}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def scaled_object(name: str, min_replicas: int = 1) -> dict[str, Any]:
    spec = {"scaleTargetRef": {"name": name}, "minReplicaCount": min_replicas}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(workers.LABELS)}
    return {"kind": "ScaledObject", "metadata": metadata, "spec": spec}


class Cluster:
    """An API server with one node; what is applied replaces spec.template and owned replicas."""

    def __init__(self, gpus: int, *, keda: bool = True) -> None:
        self.gpus = gpus
        self.keda = keda
        self.deployments: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.scaled: list[dict[str, Any]] = []
        # Deployments whose number of pods is in what was applied before.
        self.owned: set[str] = set()

    def run(
        self, name: str, replicas: int, *, ready: int | None = None, pods: int | None = None
    ) -> None:
        """Add a worker as it runs after a rollout, or in the middle of one."""
        available = replicas if ready is None else ready
        live = deployment(name, replicas)
        live["metadata"] |= {"generation": 3, "uid": name}
        live["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": dict(REST)}
        live["status"] = {
            "observedGeneration": 3,
            "replicas": replicas if pods is None else pods,
            "updatedReplicas": replicas,
            "readyReplicas": available,
            "availableReplicas": available,
        }
        self.deployments[name] = live
        for number in range(replicas if pods is None else pods):
            self.pod(f"{name}-{number}", name, node="gpu1" if number < available else None)

    def pod(
        self, name: str, worker: str, *, node: str | None = "gpu1", going: bool = False
    ) -> None:
        """Add a pod that holds a GPU of the node, or waits for one."""
        metadata: dict[str, Any] = {"name": name, "labels": {"app": worker}}
        if going:
            metadata["deletionTimestamp"] = "2026-11-21T08:00:00Z"
        spec = copy.deepcopy(deployment(worker, 1)["spec"]["template"]["spec"])
        self.pods.append({"metadata": metadata, "spec": spec | {"nodeName": node}, "status": {}})

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path == SCALED and not self.keda:
            raise KubeError("the server could not find the requested resource", 404)
        node = {
            "metadata": {"name": "gpu1"},
            "status": {
                "allocatable": {"nvidia.com/gpu": str(self.gpus)},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        return {
            "items": {
                DEPLOYMENTS: list(self.deployments.values()),
                collection("pods", NAMESPACE): self.pods,
                collection("pods"): self.pods,
                collection("nodes"): [node],
                SCALED: self.scaled,
            }[path]
        }

    def apply(
        self, path: str, body: Any, manager: str, *, dry_run: bool, whole: bool = True
    ) -> dict[str, Any]:
        assert (manager, dry_run, whole) == (MANAGER, True, True)
        name = path.rsplit("/", 1)[1]
        tried = copy.deepcopy(self.deployments[name])
        tried["spec"]["template"] = copy.deepcopy(body["spec"]["template"])
        if "replicas" in body["spec"]:
            tried["spec"]["replicas"] = body["spec"]["replicas"]
        elif name in self.owned:
            tried["spec"]["replicas"] = 1
        return tried


def plan(cluster: Cluster, *definitions: Any, step: int = 1) -> workers.Plan:
    return workers.make(cluster, definitions, NAMESPACE, step, MANAGER)


def test_first_apply_is_at_rest() -> None:
    made = plan(Cluster(6), deployment("tts", 2))
    assert made.strategies == {"tts": REST}
    assert (made.waves, made.surging, made.replaced) == (0, False, [])


def test_new_pods_come_first_while_a_gpu_is_free() -> None:
    cluster = Cluster(6)
    cluster.run("tts", 2)
    made = plan(cluster, deployment("tts", 2, "worker:2"))
    assert made.strategies == {"tts": SURGE}
    assert (made.waves, made.surging, made.replaced) == (2, True, ["tts"])


def test_old_pods_go_first_while_none_is_free() -> None:
    cluster = Cluster(2)
    cluster.run("tts", 2)
    made = plan(cluster, deployment("tts", 2, "worker:2"))
    assert made.strategies == {"tts": REST}
    assert (made.waves, made.surging, made.replaced) == (2, False, ["tts"])


@pytest.mark.parametrize("gpus", [2, 3, 6])
def test_nothing_flips_when_nothing_changes(gpus: int) -> None:
    cluster = Cluster(gpus)
    cluster.run("tts", 2)
    made = plan(cluster, deployment("tts", 2))
    assert made.strategies == {"tts": REST}
    assert (made.waves, made.surging) == (0, False)


def test_gpu_of_a_pod_that_goes_is_not_free_yet() -> None:
    cluster = Cluster(3)
    cluster.run("tts", 2)
    cluster.pod("tts-old", "tts", going=True)
    assert plan(cluster, deployment("tts", 2, "worker:2")).strategies == {"tts": REST}


def test_last_free_gpu_is_given_once() -> None:
    cluster = Cluster(3)
    cluster.run("tts", 1)
    cluster.run("stt", 1)
    made = plan(cluster, deployment("tts", 1, "worker:2"), deployment("stt", 1, "worker:2"))
    assert made.strategies == {"tts": SURGE, "stt": REST}


def test_what_the_same_apply_adds_comes_before_a_surge() -> None:
    cluster = Cluster(3)
    cluster.run("tts", 2)
    more = deployment("tts", 3, "worker:2")
    assert plan(cluster, more).strategies == {"tts": {"maxSurge": 0, "maxUnavailable": 2}}
    new = deployment("stt", 1)
    assert plan(cluster, deployment("tts", 2, "worker:2"), new).strategies["tts"] == REST


def test_step_is_split_between_free_gpus_and_old_pods() -> None:
    cluster = Cluster(5)
    cluster.run("tts", 4)
    made = plan(cluster, deployment("tts", 4, "worker:2"), step=3)
    assert made.strategies == {"tts": {"maxSurge": 1, "maxUnavailable": 2}}
    assert made.waves == 2


def test_step_never_takes_the_last_pod() -> None:
    cluster = Cluster(2)
    cluster.run("tts", 2)
    made = plan(cluster, deployment("tts", 2, "worker:2"), step=4)
    assert made.strategies == {"tts": {"maxSurge": 0, "maxUnavailable": 1}}


def test_pods_without_a_gpu_do_not_hold_up_the_others() -> None:
    cluster = Cluster(4)
    cluster.run("tts", 6, ready=4)
    made = plan(cluster, deployment("tts", None, "worker:2"), scaled_object("tts"))
    assert made.strategies == {"tts": {"maxSurge": 0, "maxUnavailable": 3}}


def test_rollout_under_way_keeps_its_numbers() -> None:
    cluster = Cluster(3)
    cluster.run("tts", 2, ready=2, pods=3)
    cluster.deployments["tts"]["spec"]["strategy"]["rollingUpdate"] = dict(SURGE)
    made = plan(cluster, deployment("tts", 2))
    assert made.strategies == {"tts": SURGE}
    assert (made.surging, made.replaced) == (True, [])


def test_repaired_rollout_takes_over_its_own_spare_pod() -> None:
    cluster = Cluster(3)
    cluster.run("tts", 2, ready=2, pods=3)
    cluster.pods[-1]["spec"]["nodeName"] = "gpu1"
    assert plan(cluster, deployment("tts", 2, "worker:3")).strategies == {"tts": SURGE}


def test_autoscaled_worker_counts_the_pods_that_it_has() -> None:
    cluster = Cluster(5)
    cluster.run("tts", 4)
    made = plan(cluster, deployment("tts", None, "worker:2"), scaled_object("tts"))
    assert made.strategies == {"tts": SURGE}
    assert (made.waves, made.handover) == (4, [])


def test_worker_scaled_to_none_is_at_rest() -> None:
    cluster = Cluster(5)
    cluster.run("tts", 0)
    made = plan(cluster, deployment("tts", None, "worker:2"), scaled_object("tts", 0))
    assert (made.strategies, made.waves) == ({"tts": REST}, 0)


def test_number_of_pods_is_handed_over_when_autoscaling_is_turned_on() -> None:
    cluster = Cluster(5)
    cluster.run("tts", 4)
    cluster.owned = {"tts"}
    made = plan(cluster, deployment("tts", None), scaled_object("tts"))
    assert [item["spec"] for item in made.handover] == [{"replicas": 4}]
    cluster.owned = set()
    assert plan(cluster, deployment("tts", None), scaled_object("tts")).handover == []


def test_scaled_objects_of_workers_without_autoscaling_are_stale() -> None:
    cluster = Cluster(5)
    cluster.run("tts", 1)
    foreign = scaled_object("api")
    foreign["metadata"]["labels"] = {}
    cluster.scaled = [scaled_object("tts"), scaled_object("stt"), foreign]
    made = plan(cluster, deployment("tts", None), scaled_object("tts"))
    assert [item["metadata"] for item in made.stale] == [{"name": "stt", "namespace": NAMESPACE}]


def test_cluster_without_keda() -> None:
    made = plan(Cluster(5, keda=False), deployment("tts", 1))
    assert (made.keda, made.stale) == (False, [])
    assert plan(Cluster(5), deployment("tts", 1)).keda


def test_cordoned_node_has_nothing_free() -> None:
    nodes = [
        {
            "metadata": {"name": "gpu1"},
            "spec": {"unschedulable": unschedulable},
            "status": {
                "allocatable": {"nvidia.com/gpu": "2"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for unschedulable in (True, False)
    ]
    assert workers.free(nodes[:1], [], "nvidia.com/gpu") == 0
    assert workers.free(nodes, [], "nvidia.com/gpu") == 2


# As the API server keeps it of an apply: the manager owns these fields and items, and no others.
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"worker"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:env": {
                            'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
                            'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
                        },
                        "f:volumeMounts": {'k:{"mountPath":"/tmp"}': {".": {}, "f:mountPath": {}}},
                    }
                },
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        }
    },
}


def live_with_owners() -> dict[str, Any]:
    container = {
        "name": "worker",
        "image": "worker:1",
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "B", "value": "2"},
            {"name": "mine", "value": "by hand"},
            {"name": "A", "value": "1"},
        ],
        "volumeMounts": [{"mountPath": "/tmp", "readOnly": False}],
    }
    volumes = [{"name": "tmp", "emptyDir": {}}]
    return {
        "metadata": {
            "name": "tts",
            "labels": {"app": "tts", "other": "x"},
            "managedFields": [
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}},
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": OWNED},
            ],
        },
        "spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}},
    }


def test_what_was_applied_is_read_from_the_object() -> None:
    made = applied(live_with_owners(), MANAGER)
    # The live order stays: another one would be another template.
    env = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    container = {"name": "worker", "image": "worker:1", "env": env}
    container["volumeMounts"] = [{"mountPath": "/tmp"}]
    volumes = [{"name": "tmp", "emptyDir": {}}]
    assert made == {
        "metadata": {"labels": {"app": "tts"}},
        "spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}},
    }
    assert applied(live_with_owners(), "another") == {}


def test_what_ran_before_is_kept_where_it_ran() -> None:
    cluster = Cluster(6)
    cluster.run("tts", 2)
    cluster.run("stt", 2)
    cluster.run("loading", 2, ready=1)
    for live in cluster.deployments.values():
        live["metadata"]["managedFields"] = live_with_owners()["metadata"]["managedFields"]
    made = plan(
        cluster,
        deployment("tts", 2, "worker:2"),
        deployment("stt", 2),
        deployment("loading", 2, "worker:2"),
    )
    assert made.replaced == ["tts", "loading"]
    [before] = made.before
    assert before["metadata"]["name"] == "tts"
    assert before["metadata"]["namespace"] == NAMESPACE
    assert before["spec"]["template"]["spec"]["containers"][0]["image"] == "worker:1"
