# SPDX-License-Identifier: Apache-2.0
"""Workers follow the load, and nothing but the load, and are replaced without a stream cut.

The windows of the site are 30 s and 900 s. They are shortened here, by the role's variables, and
put back afterwards; the other numbers are the lab's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from lab.waiting import wait_while
from tests.playbooks import ROOT, on_lab
from tests.testinfra.crowd import Crowd, Heard

STACK = "cartesia"
WORKER = "tts-worker"
GPU = "nvidia.com/gpu"
UP_S, DOWN_S = 10, 15
SHORT = {"workers_scale_up_window": UP_S, "workers_scale_down_window": DOWN_S}


def deploy(**variables: Any) -> None:
    """Run stack.yml with these variables over the inventory's. Fails with what Ansible said."""
    on_lab("stack.yml", **variables)


class Worker:
    """The lab's worker, as the cluster has it."""

    def __init__(self, apps: client.AppsV1Api) -> None:
        self._apps = apps

    def read(self) -> Any:
        """The Deployment."""
        return self._apps.read_namespaced_deployment(WORKER, STACK)

    def fewer_than(self, pods: int) -> str:
        """Say how many pods are ready while there are fewer than that."""
        state = self.read()
        ready = state.status.ready_replicas or 0
        return "" if ready >= pods else f"{ready} pods ready, {state.spec.replicas} wanted"

    def other_than(self, pods: int) -> str:
        """Say how many pods are wanted while that is another number."""
        wanted = self.read().spec.replicas
        return "" if wanted == pods else f"{wanted} pods wanted"

    def keeps(self, pods: int, done: Callable[[], bool], seconds: float) -> None:
        """Look on until ``done``; fails when fewer pods are wanted meanwhile, or it lasts."""
        limit = time.monotonic() + seconds
        while not done():
            assert self.read().spec.replicas >= pods, "scaled down without knowing the load"
            assert time.monotonic() < limit, f"not done after {seconds:.0f} s"
            time.sleep(0.5)

    def environment(self) -> dict[str, str]:
        """The environment that its template gives to new pods."""
        return {item.name: item.value for item in self.read().spec.template.spec.containers[0].env}


@pytest.fixture
def worker(apps: client.AppsV1Api) -> Worker:
    """The lab's worker."""
    return Worker(apps)


@pytest.fixture(scope="module")
def rehearsal(info: dict[str, Any]) -> Iterator[Heard]:
    """The lab with short windows, put back at the end; and what listeners heard of that rollout."""
    with Crowd(info, 2, sentences=1) as crowd:
        deploy(**SHORT, workers_environment={"REHEARSAL": "1"})
        heard = crowd.leave()
    try:
        yield heard
    finally:
        deploy()


@pytest.fixture
def gpus(info: dict[str, Any], core: client.CoreV1Api) -> int:
    """How many GPUs the worker may have: all that no other pod holds."""
    total: int = sum(host["gpus"] for host in info["hosts"].values())
    others = [
        pod
        for pod in core.list_namespaced_pod(STACK, field_selector="status.phase!=Failed").items
        if pod.metadata.labels.get("app.kubernetes.io/component") == "worker"
        and pod.metadata.labels["app.kubernetes.io/name"] != WORKER
    ]
    return total - len(others)


@pytest.fixture
def custom(api: client.ApiClient) -> client.CustomObjectsApi:
    """The API of kinds that KEDA and Prometheus bring."""
    return client.CustomObjectsApi(api)


def metric(custom: client.CustomObjectsApi, name: str) -> float:
    """The value of one of the worker's metrics, as its autoscaler gets it."""
    answer = custom.list_namespaced_custom_object(
        "external.metrics.k8s.io", "v1beta1", STACK, name,
        label_selector=f"scaledobject.keda.sh/name={WORKER}",
    )  # fmt: skip
    return quantity(answer["items"][0]["value"])


def quantity(text: str) -> float:
    """A quantity of Kubernetes: whole, or in thousandths."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def test_autoscaler_has_the_numbers_of_the_inventory(api: client.ApiClient) -> None:
    [hpa] = client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler(STACK).items
    assert (hpa.spec.scale_target_ref.name, hpa.spec.min_replicas) == (WORKER, 1)
    assert hpa.spec.max_replicas == 5
    assert hpa.spec.behavior.scale_up.stabilization_window_seconds == 30
    assert hpa.spec.behavior.scale_down.stabilization_window_seconds == 900
    targets = [item.external.target.average_value for item in hpa.spec.metrics]
    assert targets == ["600m", "1", "1"]


def test_every_metric_has_a_value(custom: client.CustomObjectsApi) -> None:
    scaled = custom.get_namespaced_custom_object(
        "keda.sh", "v1alpha1", STACK, "scaledobjects", WORKER
    )
    names = scaled["status"]["externalMetricNames"]
    assert len(names) == 3

    def busy() -> str:
        # Another test's listeners may have just left.
        return ", ".join(f"{name} is {value}" for name in names if (value := metric(custom, name)))

    wait_while(busy, 60)


def test_rollout_beside_a_free_gpu_refuses_no_request(rehearsal: Heard, worker: Worker) -> None:
    assert worker.environment()["REHEARSAL"] == "1"
    assert rehearsal.broken == []
    assert rehearsal.refused == 0
    assert rehearsal.whole > 2
    at_rest = worker.read().spec.strategy.rolling_update
    assert (at_rest.max_surge, at_rest.max_unavailable) == (0, 1)


@contextmanager
def no_prometheus(core: client.CoreV1Api, custom: client.CustomObjectsApi) -> Iterator[None]:
    """Take Prometheus away, and bring it back."""
    where = ("monitoring.coreos.com", "v1", "monitoring", "prometheuses")
    [items] = custom.list_namespaced_custom_object(*where)["items"]
    name, replicas = items["metadata"]["name"], items["spec"].get("replicas", 1)
    selector = f"prometheus={name}"
    custom.patch_namespaced_custom_object(*where, name, {"spec": {"replicas": 0}})
    core.delete_collection_namespaced_pod(
        "monitoring", label_selector=selector, grace_period_seconds=0
    )
    try:
        yield
    finally:
        custom.patch_namespaced_custom_object(*where, name, {"spec": {"replicas": replicas}})


def test_workers_follow_the_load_and_only_the_load(
    rehearsal: Heard,
    info: dict[str, Any],
    gpus: int,
    core: client.CoreV1Api,
    custom: client.CustomObjectsApi,
    worker: Worker,
    record_property: Callable[[str, object], None],
) -> None:
    wait_while(lambda: worker.other_than(1), 30)
    with Crowd(info, 4 * gpus, sentences=36) as crowd:
        record_property("second_pod_s", wait_while(lambda: worker.fewer_than(2), 60))
        # One that was taken away on the way up holds its GPU until its streams end.
        record_property("all_gpus_s", wait_while(lambda: worker.fewer_than(gpus), 150))
        with no_prometheus(core, custom):
            heard = crowd.leave()
            # No client speaks, and for two windows there are no metrics.
            seen = time.monotonic() + 2 * DOWN_S
            worker.keeps(gpus, lambda: time.monotonic() > seen, 60)
    assert heard.broken == []
    assert heard.refused > 0, "that was no overload"
    assert heard.whole >= 2 * gpus
    core.delete_collection_namespaced_pod("keda", grace_period_seconds=0)
    worker.keeps(gpus, lambda: not answers(custom), 30)
    worker.keeps(gpus, lambda: answers(custom), 120)
    # A few speak on while their workers are taken away.
    with Crowd(info, 2) as crowd:
        record_property("back_to_one_s", wait_while(lambda: worker.other_than(1), 180))
        heard = crowd.leave()
    assert heard.broken == []


def answers(custom: client.CustomObjectsApi) -> bool:
    """Whether the worker's load can be asked."""
    try:
        return metric(custom, "s0-prometheus") >= 0
    except (ApiException, KeyError, IndexError):
        return False


@contextmanager
def taken(core: client.CoreV1Api, count: int) -> Iterator[None]:
    """So many GPUs held by pods that do nothing; given back at the end."""
    name = "gpu-holders"
    [image] = {
        image
        for node in core.list_node().items
        for images in node.status.images or []
        for image in images.names or []
        if image.startswith("registry.k8s.io/pause:")
    }
    core.create_namespace({"metadata": {"name": name}})
    try:
        for number in range(count):
            container = {"name": "holder", "image": image, "resources": {"limits": {GPU: "1"}}}
            spec = {
                "containers": [container],
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{"key": GPU, "operator": "Exists"}],
            }
            pod = {"metadata": {"name": f"holder-{number}"}, "spec": spec}
            core.create_namespaced_pod(name, pod)
        wait_while(lambda: not_running(core, name), 60)
        yield
    finally:
        core.delete_namespace(name)
        wait_while(lambda: still_there(core, name), 60)


def not_running(core: client.CoreV1Api, namespace: str) -> str:
    """Name the pods that do not run yet."""
    pods = core.list_namespaced_pod(namespace).items
    return ", ".join(f"{p.metadata.name} is {p.status.phase}" for p in pods
                     if p.status.phase != "Running")  # fmt: skip


def still_there(core: client.CoreV1Api, namespace: str) -> str:
    """Say so while a namespace is there."""
    namespaces = core.list_namespace(field_selector=f"metadata.name={namespace}").items
    return f"namespace {namespace} is there" if namespaces else ""


def test_rollout_without_a_spare_gpu_ends_and_cuts_no_stream(
    rehearsal: Heard, info: dict[str, Any], gpus: int, core: client.CoreV1Api, worker: Worker
) -> None:
    wait_while(lambda: worker.other_than(1), 120)
    with taken(core, gpus - 1), Crowd(info, 2, sentences=3) as crowd:
        deploy(**SHORT, workers_environment={"REHEARSAL": "2"})
        heard = crowd.leave()
    assert worker.environment()["REHEARSAL"] == "2"
    assert heard.broken == []
    assert heard.whole >= 2


def worker_with(**scaling: Any) -> dict[str, Any]:
    """The inventory's workers, as extra variables, with another autoscaling of the lab's worker."""
    stack = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/stack.yml").read_text())
    [mine, *others] = stack["workers"]
    assert mine["name"] == WORKER
    return {"workers": [mine | scaling, *others]}


@pytest.mark.soak
def test_autoscaling_takes_over_the_pods_that_there_are(rehearsal: Heard, worker: Worker) -> None:
    deploy(**SHORT, **worker_with(autoscaling={"enabled": False}, replicas=3))
    wait_while(lambda: worker.fewer_than(3), 30)
    with ThreadPoolExecutor(1) as pool:
        # A window in which nothing is scaled down: only the playbook removes pods.
        job = pool.submit(deploy, workers_scale_up_window=UP_S)
        worker.keeps(3, job.done, 180)
        job.result()
    assert worker.read().spec.replicas == 3


def test_worker_is_given_up_and_comes_back_for_the_first_who_asks(
    rehearsal: Heard, info: dict[str, Any], worker: Worker
) -> None:
    scaling = {"enabled": True, "threshold": 0.6, "minReplicas": 0, "maxReplicas": 5}
    deploy(**SHORT, **worker_with(autoscaling=scaling))
    wait_while(lambda: worker.other_than(0), 180)
    # A run without pods is no failure, and brings none.
    deploy(**SHORT, **worker_with(autoscaling=scaling))
    assert worker.read().spec.replicas == 0
    with Crowd(info, 1, sentences=1, limit_s=120) as crowd:
        wait_while(lambda: worker.fewer_than(1), 90)
        wait_while(lambda: "" if crowd.heard.whole else "nothing heard yet", 60)
        heard = crowd.leave()
    assert heard.broken == []
    assert heard.refused > 0, "a request succeeded without a worker"
