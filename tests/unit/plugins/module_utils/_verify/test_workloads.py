# SPDX-License-Identifier: Apache-2.0
"""Checks of nodes, workloads and images, in the cases that a site in order does not show."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify import workloads
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import Worker

from tests.healthy_site import (
    API_IMAGE,
    GPU,
    NOW,
    OTHER_DIGEST,
    WORKER_DIGEST,
    WORKER_IMAGE,
    Site,
    at,
    daemonset,
    sample,
    workload,
)

STT = "stt-7f6b-ccccc"


def result(check: str, site: Site) -> tuple[str, str]:
    """The verdict and evidence of one check, without what other checks say."""
    made = getattr(workloads, check)(site.seen, site.wanted, 3.0)
    return made.verdict, made.evidence


@pytest.mark.parametrize("kind", workloads.DAMAGE)
def test_each_pressure_of_a_node_is_named(kind: str) -> None:
    site = Site()
    site.set_condition("nodes", "gpu1", kind, "True", "")
    assert result("nodes", site) == (FAIL, f"gpu1 has {kind}")


def test_a_node_without_status_is_not_ready() -> None:
    site = Site()
    site.get("nodes", "gpu1").pop("status")
    site.get("nodes", "gpu1").pop("spec")
    assert result("nodes", site) == (FAIL, "gpu1 is not Ready: no status")


def test_a_node_beyond_the_inventory_must_be_ready_too() -> None:
    site = Site()
    site.want(nodes=["cp1", "gpu1"])
    assert result("nodes", site)[0] == PASS
    site.set_condition("nodes", "gpu2", "Ready", "False", "no network")
    assert result("nodes", site) == (FAIL, "gpu2 is not Ready: no network")


def test_all_problems_are_evidence() -> None:
    site = Site()
    site.drop("nodes", "gpu2")
    site.get("nodes", "gpu1")["spec"]["unschedulable"] = True
    assert result("nodes", site)[1] == "gpu2 is not in the cluster; gpu1 is cordoned"


def test_more_gpus_than_in_the_inventory_are_good() -> None:
    """Without a number in the inventory the role asks for one."""
    site = Site()
    site.want(gpus={"gpu1": 1, "gpu2": 2})
    assert result("gpus", site) == (PASS, "4 GPUs are offered, pods hold 3")


def test_gpus_of_an_absent_node_are_missing() -> None:
    site = Site()
    site.drop("nodes", "gpu2")
    assert result("gpus", site) == (FAIL, "gpu2 offers 0 of 2 GPUs")


def test_gpus_of_all_the_workers_kinds_count() -> None:
    site = Site()
    mig = "nvidia.com/mig-3g.40gb"
    site.get("nodes", "gpu1")["status"]["allocatable"] = {GPU: "1", mig: "1"}
    assert result("gpus", site) == (FAIL, "gpu1 offers 1 of 2 GPUs")
    more = Worker("mig", WORKER_IMAGE, 4, mig, autoscaled=False, min_replicas=0)
    site.want(workers=[*site.wanted.workers, more])
    assert result("gpus", site)[0] == PASS


def test_without_workers_the_usual_gpus_count() -> None:
    site = Site()
    site.want(workers=[])
    assert result("gpus", site)[0] == PASS
    site.get("nodes", "gpu1")["status"]["allocatable"] = {}
    assert result("gpus", site) == (FAIL, "gpu1 offers 0 of 2 GPUs")


def test_pods_that_ended_hold_no_gpu() -> None:
    site = Site()
    site.get("pods", STT)["status"]["phase"] = "Succeeded"
    assert result("gpus", site)[1] == "4 GPUs are offered, pods hold 2"


def test_a_daemonset_without_nodes_is_complete() -> None:
    site = Site()
    empty = daemonset("dcgm", "monitoring", 0)
    # The API leaves updatedNumberScheduled out when it is 0.
    del empty["status"]["updatedNumberScheduled"]
    site.listed("daemonsets").append(empty)
    assert result("rollouts", site) == (PASS, "7 workloads are complete")


def test_a_daemonset_whose_controller_has_not_seen_it_is_incomplete() -> None:
    site = Site()
    site.listed("daemonsets").append(daemonset("dcgm", "monitoring", 0) | {"status": None})
    assert result("rollouts", site) == (
        FAIL, "monitoring/dcgm: its controller has not seen the last change"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("deployments", "api", "updatedReplicas"),
        ("statefulsets", "prometheus-site", "updatedReplicas"),
        ("daemonsets", "nvidia-device-plugin", "updatedNumberScheduled"),
    ],
)
def test_no_pod_of_the_last_revision_is_incomplete(kind: str, name: str, field: str) -> None:
    """The API leaves the number out when it is 0."""
    site = Site()
    del site.get(kind, name)["status"][field]
    verdict, evidence = result("rollouts", site)
    assert verdict == FAIL
    assert f"{name} has 0 of " in evidence
    assert evidence.endswith(" pods of its last revision")


@pytest.mark.parametrize("spec", [{}, {"replicas": None}])
def test_a_workload_without_a_number_has_one_pod(spec: dict[str, Any]) -> None:
    site = Site()
    site.get("deployments", "license-proxy")["spec"] = spec
    assert result("rollouts", site)[0] == PASS
    site.get("deployments", "license-proxy")["status"]["readyReplicas"] = 0
    assert result("rollouts", site) == (FAIL, "cartesia/license-proxy has 0 of 1 pods ready")


@pytest.mark.parametrize(
    ("name", "verdict", "evidence"),
    [
        ("license-proxy", FAIL, "cartesia/license-proxy is scaled to no pods"),
        ("coredns", PASS, "6 workloads are complete"),
    ],
)
def test_only_the_stack_needs_pods(name: str, verdict: str, evidence: str) -> None:
    site = Site()
    item = site.get("deployments", name)
    item["spec"]["replicas"], item["status"] = 0, {"observedGeneration": 3}
    assert result("rollouts", site) == (verdict, evidence)


def test_workers_nats_and_keda_have_checks_of_their_own() -> None:
    site = Site()
    for kind, name in (
        ("deployments", "tts"), ("deployments", "keda-operator"), ("statefulsets", "nats"),
    ):  # fmt: skip
        site.get(kind, name)["status"]["readyReplicas"] = 0
    assert result("rollouts", site)[0] == PASS
    # Only there: a Deployment of another namespace may have a worker's name.
    site.listed("deployments").append(workload("tts", {}, 2, "other") | {"status": {}})
    assert result("rollouts", site) == (
        FAIL, "other/tts: its controller has not seen the last change"
    )  # fmt: skip


def test_an_autoscaled_worker_may_have_no_pods() -> None:
    site = Site()
    tts, stt = site.wanted.workers
    site.want(workers=[Worker("tts", tts.image, 4, GPU, autoscaled=True, min_replicas=0), stt])
    item = site.get("deployments", "tts")
    item["spec"]["replicas"], item["status"] = 0, {"observedGeneration": 3}
    for name in ("tts-5d9c-aaaaa", "tts-5d9c-bbbbb"):
        site.drop("pods", name)
        site.answer("capacity", without=name)
        site.answer("up", without=name)
    assert result("workers", site) == (PASS, "2 workers serve 8 streams")
    assert {check.verdict for check in site.checks().values()} == {PASS}


def test_an_autoscaled_worker_may_have_more_pods_than_least() -> None:
    site = Site()
    site.get("deployments", "tts")["spec"]["replicas"] = 3
    assert result("workers", site) == (FAIL, "tts has 2 of 3 pods ready")
    site.get("deployments", "tts")["status"].update(readyReplicas=3, updatedReplicas=3)
    assert result("workers", site)[0] == PASS


@pytest.mark.parametrize("streams", [0, 3, 16])
def test_another_capacity_than_that_of_the_inventory_is_named(streams: int) -> None:
    site = Site()
    site.answer("capacity", sample(streams, pod=STT), without=STT)
    assert result("workers", site) == (FAIL, f"pod {STT} serves {streams} streams, 8 are wanted")


def test_the_capacity_of_pods_that_prometheus_may_not_have_asked_is_left_out() -> None:
    site = Site()
    site.answer("capacity", sample(0, pod=STT), without=STT)
    site.set_condition("pods", STT, "Ready", "True", "")
    site.get("pods", STT)["status"]["conditions"][-1]["lastTransitionTime"] = at(seconds=59)
    assert result("workers", site)[0] == PASS
    site.get("pods", STT)["status"]["conditions"][-1]["lastTransitionTime"] = at(seconds=60)
    assert result("workers", site)[0] == FAIL


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"deletionTimestamp": at(minutes=1)}},
        {"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}},
    ],
)
def test_the_capacity_of_pods_that_leave_or_ended_does_not_count(change: Any) -> None:
    site = Site()
    site.answer("capacity", sample(0, pod=STT), without=STT)
    for part, more in change.items():
        site.get("pods", STT)[part].update(more)
    assert result("workers", site) == (PASS, "2 workers serve 8 streams")


def test_capacity_of_another_namespace_does_not_count() -> None:
    site = Site()
    site.answer("capacity", sample(99, pod=STT, namespace="other"))
    assert result("workers", site)[0] == PASS


def test_the_pods_of_a_worker_are_those_of_its_selector() -> None:
    site = Site()
    site.answer("capacity", sample(0, pod=STT), without=STT)
    rule = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["stt"]}
    site.get("deployments", "stt")["spec"]["selector"] = {"matchExpressions": [rule]}
    assert result("workers", site)[1] == f"pod {STT} serves 0 streams, 8 are wanted"
    del site.get("pods", STT)["metadata"]["labels"]
    assert result("workers", site)[0] == PASS


def test_restarts_are_ordered_and_have_a_limit() -> None:
    site = Site()
    site.answer("restarts", sample(4.02, pod="a"), sample(9.1, pod="b"), sample(3.0, pod="c"))
    assert (
        result("restarts", site)[1] == "cartesia/b restarted 9 times; cartesia/a restarted 4 times"
    )


def test_a_worker_may_have_its_image_with_or_without_the_pinned_digest() -> None:
    site = Site()
    [container] = site.get("deployments", "stt")["spec"]["template"]["spec"]["containers"]
    container["image"] = WORKER_IMAGE
    assert result("images", site)[0] == PASS
    site.want(digests={WORKER_IMAGE: OTHER_DIGEST})
    container["image"] = f"{WORKER_IMAGE}@{WORKER_DIGEST}"
    verdict, evidence = result("images", site)
    assert verdict == FAIL
    assert f"stt has {WORKER_IMAGE}@{WORKER_DIGEST}, {WORKER_IMAGE}@{OTHER_DIGEST} is wanted" in (
        evidence.split("; ")
    )


def test_a_digest_of_the_inventory_counts_for_every_image_of_the_stack() -> None:
    site = Site()
    site.want(digests={API_IMAGE: OTHER_DIGEST})
    verdict, evidence = result("images", site)
    assert verdict == FAIL
    assert evidence.count(f" of {API_IMAGE}, not {OTHER_DIGEST}") == 2
    # Said once: not also that pods run different images.
    assert "different images" not in evidence


def test_an_image_whose_name_is_the_start_of_another_is_not_taken_for_it() -> None:
    site = Site()
    [container] = site.get("pods", "api-6b8d-ddddd")["spec"]["containers"]
    container["image"] = f"{API_IMAGE}0"
    site.want(digests={f"{API_IMAGE}0": OTHER_DIGEST})
    other = site.get("pods", "license-proxy-5c-fffff")
    other["spec"]["containers"][0]["image"] = API_IMAGE
    other["status"]["containerStatuses"][0]["imageID"] = f"x@{OTHER_DIGEST}"
    evidence = result("images", site)[1]
    assert f"of {API_IMAGE}0, not {OTHER_DIGEST}" in evidence
    assert f"pods run 2 different images of {API_IMAGE}: " in evidence


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"deletionTimestamp": at(minutes=1)}},
        {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": {}}}]}},
        {"status": {"containerStatuses": None}},
    ],
)
def test_what_pods_that_leave_or_ended_ran_does_not_count(change: Any) -> None:
    site = Site()
    pod = site.get("pods", "api-6b8d-ddddd")
    pod["status"]["containerStatuses"][0]["imageID"] = f"x@{OTHER_DIGEST}"
    assert result("images", site)[0] == FAIL
    for part, more in change.items():
        pod[part].update(more)
    assert result("images", site)[0] == PASS


def test_an_image_without_a_digest_proves_nothing() -> None:
    """One that was imported, and not pulled, has only the id of its configuration."""
    site = Site()
    pod = site.get("pods", "api-6b8d-ddddd")
    pod["status"]["containerStatuses"][0]["imageID"] = OTHER_DIGEST
    assert result("images", site)[0] == PASS


def test_images_of_an_absent_worker_are_not_its_problem() -> None:
    site = Site()
    site.drop("deployments", "tts")
    assert result("images", site)[0] == PASS


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"expectedPods": 0, "currentHealthy": 0, "disruptionsAllowed": 0},
        {"expectedPods": 2, "currentHealthy": 1, "disruptionsAllowed": 0},
    ],
)
def test_a_budget_of_no_or_unhealthy_pods_is_no_problem(status: Any) -> None:
    site = Site()
    site.get("budgets", "tts")["status"] = status
    assert result("disruption", site) == (
        PASS, "3 budgets allow a drain when their pods are healthy"
    )  # fmt: skip


def test_the_api_leaves_0_allowed_disruptions_out() -> None:
    site = Site()
    del site.get("budgets", "tts")["status"]["disruptionsAllowed"]
    assert result("disruption", site)[0] == FAIL


def test_without_budgets_a_drain_is_not_checked() -> None:
    site = Site()
    site.objects["budgets"] = []
    assert result("disruption", site) == (SKIPPED, "the cluster has no disruption budget")


def test_a_pod_is_new_for_a_minute() -> None:
    pod: dict[str, Any] = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert not workloads.is_new(pod, NOW)
    assert not workloads.is_new({}, NOW)
    pod["status"]["conditions"][0]["lastTransitionTime"] = at(seconds=5)
    assert workloads.is_new(pod, NOW)
