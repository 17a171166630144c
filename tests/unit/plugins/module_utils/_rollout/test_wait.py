# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import queue
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import collection
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.metrics import CapacityCheck
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.progress import (
    REVISION,
    Target,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.wait import (
    Graces,
    NodeResources,
    Wait,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CASES: dict[str, Any] = yaml.safe_load((FIXTURES / "workloads.yml").read_text(encoding="utf-8"))
PODS: dict[str, Any] = yaml.safe_load((FIXTURES / "pods.yml").read_text(encoding="utf-8"))
WORKER = Target("Deployment", "cartesia", "tts-worker")
DEPLOYMENTS = collection("deployments", "cartesia")
PODS_PATH = collection("pods", "cartesia")
SHORT = Graces(image_pull=0.15, unschedulable=0.15, error=0.15)


class FakeApi:
    """An API server of dictionaries; what `send` is given goes to the watches."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Any]] = {}
        self.texts: dict[str, str] = {}
        self.asked: list[str] = []
        self.watches: dict[str, queue.Queue[Any]] = {}
        # What later listings of a path bring, where that differs from the first.
        self.listings: dict[str, list[list[Any]]] = {}

    def get(self, path: str, **query: str) -> dict[str, Any]:
        self.asked.append(path)
        items = list(self.objects.get(path, []))
        if self.listings.get(path):
            self.objects[path] = self.listings[path].pop(0)
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    def text(self, path: str, **query: str) -> str:
        self.asked.append(path)
        if path not in self.texts:
            raise KubeError("not found", 404)
        return self.texts[path]

    def watch(self, path: str, timeout_s: int, **query: str) -> Iterator[dict[str, Any]]:
        events = self.watches.setdefault(path, queue.Queue())
        while True:
            event = events.get()
            if isinstance(event, KubeError):
                raise event
            yield event

    def send(self, path: str, kind: str, obj: Any) -> None:
        self.watches.setdefault(path, queue.Queue()).put({"type": kind, "object": obj})


def pod(name: str) -> dict[str, Any]:
    item: dict[str, Any] = copy.deepcopy(PODS[name])
    item["metadata"] |= {
        "uid": name,
        "ownerReferences": [{"uid": "rs-2", "controller": True}],
        "labels": {"app.kubernetes.io/name": "tts-worker"},
    }
    return item


@pytest.fixture
def api() -> FakeApi:
    fake = FakeApi()
    fake.objects[DEPLOYMENTS] = [copy.deepcopy(CASES["deployment_loading"]["object"])]
    fake.objects[collection("replicasets", "cartesia")] = [
        {
            "metadata": {
                "name": "rs-2",
                "uid": "rs-2",
                "annotations": {REVISION: "2"},
                "ownerReferences": [{"uid": "d-1", "controller": True}],
            }
        }
    ]
    return fake


def wait(api: FakeApi, timeout_s: float = 5, **more: Any) -> Wait:
    return Wait(api, [WORKER], more.pop("graces", SHORT), timeout_s, **more)


def test_all_ready_needs_no_watch(api: FakeApi) -> None:
    api.objects[DEPLOYMENTS] = [CASES["deployment_done"]["object"]]
    outcome = wait(api).run()
    assert (outcome.failure, outcome.pending) == ("", [])
    assert api.watches == {}
    assert len(api.asked) == 3


def test_ends_when_the_watch_says_so(api: FakeApi) -> None:
    api.send(DEPLOYMENTS, "MODIFIED", CASES["deployment_done"]["object"])
    outcome = wait(api).run()
    assert outcome.failure == ""
    assert outcome.elapsed_s < 1


def test_broken_watch_is_listed_again(api: FakeApi) -> None:
    api.listings[DEPLOYMENTS] = [[CASES["deployment_done"]["object"]]]
    api.watches[DEPLOYMENTS] = queue.Queue()
    api.watches[DEPLOYMENTS].put(KubeError("too old resource version", 410))
    assert wait(api).run().failure == ""
    assert api.asked.count(DEPLOYMENTS) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("image_back_off", "worker:nope: not found. Check the image's name"),
        ("no_secret", 'secret "api-key-secret" not found. A Secret'),
        ("refused", "no healthy devices present"),
    ],
)
def test_fails_early(api: FakeApi, name: str, says: str) -> None:
    api.objects[PODS_PATH] = [pod(name)]
    outcome = wait(api).run()
    assert outcome.failure.startswith("Deployment cartesia/tts-worker cannot become ready: pod ")
    assert says in outcome.failure
    assert 0.1 <= outcome.elapsed_s < 2


def test_crash_loop_shows_the_log(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("crash_loop")]
    path = f"{PODS_PATH}/license-proxy-5c-ddddd/log"
    api.texts[path] = "starting\n\nERROR neither key is set\n"
    failure = wait(api).run().failure
    assert "Last log lines: starting | ERROR neither key is set." in failure


def test_crash_loop_without_a_log(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("crash_loop")]
    assert "Its log could not be read: not found." in wait(api).run().failure


def test_no_gpu_free_says_who_holds_them(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("no_gpu")]
    api.objects[collection("nodes")] = [
        {"metadata": {"name": "gpu1"}, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}
    ]
    api.objects[collection("pods")] = [pod("ready")]
    failure = wait(api).run().failure
    assert "gpu1: 0 of 1 free, not schedulable, held by tts-worker-7d9f-aaaaa." in failure


def test_gpu_that_is_being_freed_is_waited_for(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("no_gpu")]
    api.objects[collection("nodes")] = [
        {"metadata": {"name": "gpu2"}, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}
    ]
    api.objects[collection("pods")] = [pod("leaving")]
    outcome = wait(api, timeout_s=1).run()
    assert outcome.failure.startswith("not ready after 1 s")


def test_trouble_that_passes_is_forgiven(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("image_back_off")]
    api.send(DEPLOYMENTS, "MODIFIED", CASES["deployment_done"]["object"])
    api.send(PODS_PATH, "DELETED", pod("image_back_off"))
    assert wait(api, graces=Graces(image_pull=30)).run().failure == ""


def test_pod_between_two_crashes_does_not_count(api: FakeApi) -> None:
    started = datetime.fromisoformat("2026-11-21T08:00:00Z")
    api.objects[DEPLOYMENTS] = [CASES["deployment_done"]["object"]]
    crashed = pod("ready")
    crashed["status"]["containerStatuses"][0]["restartCount"] = 3
    api.objects[PODS_PATH] = [crashed]
    young = wait(api, timeout_s=0.1, today=lambda: started + timedelta(seconds=2)).run()
    assert "container worker restarted 2 s ago, 3 times in all" in young.failure
    assert wait(api, today=lambda: started + timedelta(seconds=11)).run().failure == ""
    crashed["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 2}}
    assert "is not running, after 3 restarts" in wait(api, timeout_s=0.1).run().failure
    crashed["status"]["phase"] = "Failed"
    assert wait(api).run().failure == ""
    api.objects[PODS_PATH] = [pod("ready")]
    assert wait(api, today=lambda: started).run().failure == ""


def test_timeout_tells_every_pod_and_its_event(api: FakeApi) -> None:
    api.objects[PODS_PATH] = [pod("loading")]
    api.objects[collection("events", "cartesia")] = [
        {
            "metadata": {"creationTimestamp": f"2026-11-21T08:0{minute}:00Z"},
            "involvedObject": {"name": "tts-worker-7d9f-bbbbb"},
            "reason": "Unhealthy",
            "message": message,
        }
        for minute, message in ((2, "Startup probe failed: newest"), (1, "older"))
    ]
    failure = wait(api, timeout_s=0.2).run().failure
    assert "Deployment cartesia/tts-worker: 0 of 2 pods available" in failure
    assert "pod tts-worker-7d9f-bbbbb: Running, on gpu1, worker starting" in failure
    assert "Unhealthy: Startup probe failed: newest" in failure
    assert "older" not in failure


def test_missing_workload(api: FakeApi) -> None:
    api.objects[DEPLOYMENTS] = []
    assert "it does not exist. Apply it first." in wait(api).run().failure


def test_check_mode_looks_once_and_never_fails(api: FakeApi) -> None:
    api.objects[DEPLOYMENTS] = []
    outcome = wait(api).run(once=True)
    assert outcome.failure == ""
    assert outcome.pending == ["Deployment cartesia/tts-worker: does not exist"]


def test_nodes_must_offer_what_is_wanted(api: FakeApi) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    api.objects[collection("nodes")] = [
        {
            "metadata": {"name": "gpu1", "uid": "1"},
            "status": {"allocatable": {"nvidia.com/gpu": "2"}, **ready},
        },
        {"metadata": {"name": "gpu2", "uid": "2"}, "status": {"allocatable": {}}},
    ]
    wanted = NodeResources("nvidia.com/gpu", {"gpu1": 2, "gpu2": 4, "gpu3": 1})
    outcome = Wait(api, [], SHORT, 0.1, node_resources=wanted).run()
    assert outcome.pending == ["Node gpu2 offers 0 of 4 nvidia.com/gpu and is not Ready"]
    # Its host has not joined: the run of the others goes on.
    assert outcome.passed_over == {"gpu3": "does not exist"}
    assert "Node gpu2 offers 0 of 4" in outcome.failure


def api_service(status: str, message: str = "") -> dict[str, Any]:
    available = {"type": "Available", "status": status, "message": message}
    return {
        "metadata": {"name": "v1beta1.external.metrics.k8s.io", "uid": "a"},
        "status": {"conditions": [available]},
    }


SERVICES = ["v1beta1.external.metrics.k8s.io"]


def test_api_service_is_waited_for(api: FakeApi) -> None:
    api.objects[collection("apiservices")] = [api_service("False", "no endpoints")]
    outcome = Wait(api, [], SHORT, 0.1, api_services=SERVICES).run()
    assert outcome.pending == ["APIService v1beta1.external.metrics.k8s.io: no endpoints"]
    assert outcome.cause == "timeout"


def test_api_service_that_becomes_available(api: FakeApi) -> None:
    api.objects[collection("apiservices")] = [api_service("False", "no endpoints")]
    api.send(collection("apiservices"), "MODIFIED", api_service("True"))
    assert Wait(api, [], SHORT, 5, api_services=SERVICES).run().failure == ""


def test_missing_api_service_is_reported_early(api: FakeApi) -> None:
    outcome = Wait(api, [], SHORT, 30, api_services=SERVICES).run()
    assert outcome.failure.startswith("APIService v1beta1.external.metrics.k8s.io cannot become")
    assert outcome.cause == "missing"
    assert outcome.elapsed_s < 2


def capacity(api: FakeApi, text: str | None, least: int = 1) -> tuple[CapacityCheck, str]:
    api.objects[DEPLOYMENTS] = [CASES["deployment_done"]["object"]]
    api.objects[PODS_PATH] = [pod("ready"), pod("leaving")]
    if text is not None:
        api.texts[f"{PODS_PATH}/tts-worker-7d9f-aaaaa:8080/proxy/metrics"] = text
    check = CapacityCheck(api, [WORKER], least, 8080)
    outcome = wait(api, timeout_s=0.1, check=check).run()
    summary = check.summary(outcome.assessments)
    assert summary["tts-worker"]["replicas"] == 2
    return check, outcome.failure


def test_capacity_is_read_from_ready_pods(api: FakeApi) -> None:
    check, failure = capacity(api, "inferno_worker_capacity 4\ninferno_worker_load 1.5\n")
    assert failure == ""
    assert check.summary(wait(api).run().assessments) == {
        "tts-worker": {
            "replicas": 2,
            "ready": 2,
            "capacity": 4.0,
            "load": 1.5,
            "pods": {"tts-worker-7d9f-aaaaa": {"capacity": 4.0, "load": 1.5, "problem": ""}},
        }
    }


@pytest.mark.parametrize(
    ("text", "least", "says"),
    [
        ("inferno_worker_capacity 0\n", 1, "is 0: its model is not loaded"),
        ("inferno_worker_capacity 4\n", 8, "its capacity is 4, 8 is wanted"),
        ("other 1\n", 1, "lack inferno_worker_capacity"),
        ("<html>", 1, "not a Prometheus metric line"),
        (None, 1, "its metrics cannot be read: not found"),
    ],
)
def test_capacity_that_is_missing(api: FakeApi, text: str | None, least: int, says: str) -> None:
    _unused, failure = capacity(api, text, least)
    assert says in failure


def test_worker_scaled_to_none(api: FakeApi) -> None:
    api.objects[DEPLOYMENTS] = [CASES["deployment_scaled_to_none"]["object"]]
    check = CapacityCheck(api, [WORKER], 1, 8080)
    assert "it is scaled to no pods" in wait(api, timeout_s=0.1, check=check).run().failure
    check = CapacityCheck(api, [WORKER], 0, 8080)
    assert wait(api, check=check).run().failure == ""
    check = CapacityCheck(api, [WORKER], 1, 8080, min_replicas={WORKER: 0})
    assert wait(api, check=check, min_replicas={WORKER: 0}).run().failure == ""
