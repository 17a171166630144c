# SPDX-License-Identifier: Apache-2.0
"""What one damage to a site changes in its checks, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import Sample

from tests.healthy_site import (
    API_IMAGE,
    EXTERNAL_METRICS,
    GPU,
    IDS,
    OTHER_DIGEST,
    Site,
    at,
    sample,
    seconds,
)

Damage = Callable[[Site], object]
GIB = 2.0**30
DOWN = "Prometheus cannot be asked: no endpoints"


def no_prometheus(site: Site) -> None:
    site.series = dict.fromkeys(site.series, "no endpoints")


def dead_host(site: Site) -> None:
    """What the API shows a minute after gpu2 lost its power."""
    site.set_condition("nodes", "gpu2", "Ready", "Unknown", "Kubelet stopped posting node status.")
    for pod in site.listed("pods"):
        if pod["spec"]["nodeName"] == "gpu2":
            site.set_condition("pods", pod["metadata"]["name"], "Ready", "False", "")
            site.answer("up", without=pod["metadata"]["name"])
            site.answer("capacity", without=pod["metadata"]["name"])
            site.answer("nats", without=pod["metadata"]["name"])
            site.answer("licence", without=pod["metadata"]["name"])
            site.answer("licence_end", without=pod["metadata"]["name"])
    for query in ("clocks", "disk"):
        site.answer(query, without="gpu2")
    for kind, name, ready in (
        ("deployments", "tts", 1), ("deployments", "api", 1), ("deployments", "license-proxy", 0),
        ("statefulsets", "nats", 2),
    ):  # fmt: skip
        site.get(kind, name)["status"]["readyReplicas"] = ready
    site.get("daemonsets", "nvidia-device-plugin")["status"]["numberReady"] = 1
    for name, healthy in (("tts", 1), ("nats", 2)):
        status = site.get("budgets", name)["status"]
        status.update(currentHealthy=healthy, disruptionsAllowed=0)


def no_nats(site: Site) -> None:
    """NATS is deleted, so the API is not ready, and workers offer nothing."""
    site.drop("statefulsets", "nats")
    site.drop("budgets", "nats")
    for number in range(3):
        site.drop("pods", f"nats-{number}")
        site.answer("up", without=f"nats-{number}")
    site.series["nats"] = []
    site.series["capacity"] = [Sample(s.labels, 0.0) for s in site.series["capacity"]]  # type: ignore[union-attr]
    site.get("deployments", "api")["status"]["readyReplicas"] = 0


def no_worker(site: Site) -> None:
    site.drop("deployments", "tts")
    site.drop("budgets", "tts")
    for name in ("tts-5d9c-aaaaa", "tts-5d9c-bbbbb"):
        site.drop("pods", name)
        site.answer("capacity", without=name)
        site.answer("up", without=name)
    message = "ScaledObject doesn't have correct scaleTargetRef specification"
    site.set_condition("scaledobjects", "tts", "Ready", "False", message)


def no_pod_monitor(site: Site) -> None:
    """Without it KEDA's query has no series of the worker."""
    for name in ("tts-5d9c-aaaaa", "tts-5d9c-bbbbb"):
        site.answer("up", without=name)
        site.answer("capacity", without=name)
    failing = {"numberOfFailures": 7, "status": "Failing"}
    site.get("scaledobjects", "tts")["status"]["health"]["s0-load"] = failing


def no_nats_monitor(site: Site) -> None:
    for number in range(3):
        site.answer("up", without=f"nats-{number}")
    site.series["nats"] = []


def keda_off(site: Site) -> None:
    item = site.get("deployments", "keda-operator-metrics-apiserver")
    item["spec"]["replicas"] = 0
    item["status"] = {"observedGeneration": 3}


def to_zero(site: Site) -> None:
    item = site.get("deployments", "stt")
    item["spec"]["replicas"] = 0
    item["status"] = {"observedGeneration": 3}
    site.drop("pods", "stt-7f6b-ccccc")
    site.answer("capacity", without="stt-7f6b-ccccc")


def gpu_gone(site: Site) -> None:
    """A GPU fails under a worker's pod."""
    site.get("nodes", "gpu1")["status"]["allocatable"][GPU] = "1"
    site.get("deployments", "stt")["status"]["readyReplicas"] = 0
    site.drop("pods", "stt-7f6b-ccccc")


def status(kind: str, name: str, **changes: Any) -> Damage:
    return lambda site: site.get(kind, name)["status"].update(changes)


def answers(query: str, *samples: Sample) -> Damage:
    return lambda site: site.series.update({query: list(samples)})


def alert(name: str, severity: str) -> Sample:
    return sample(1, alertname=name, severity=severity)


def node_pressure(kind: str) -> Damage:
    return lambda site: site.set_condition("nodes", "gpu1", kind, "True", "")


def scaled(kind: str, state: str, message: str = "") -> Damage:
    return lambda site: site.set_condition("scaledobjects", "tts", kind, state, message)


def runs(pod: str, digest: str) -> Damage:
    def change(site: Site) -> None:
        site.get("pods", pod)["status"]["containerStatuses"][0]["imageID"] = f"x@{digest}"

    return change


def has_image(site: Site) -> None:
    [container] = site.get("deployments", "stt")["spec"]["template"]["spec"]["containers"]
    container["image"] = "registry.example.com/speech/worker:sonic-0"


def no_flag(site: Site) -> None:
    site.storage = {}
    site.get("pods", "kube-apiserver-cp1")["spec"]["containers"][0]["command"] = ["kube-apiserver"]


def node_item(name: str, **changes: Any) -> Damage:
    return lambda site: site.get("nodes", name).update(changes)


def kubelet(site: Site) -> None:
    site.get("nodes", "gpu2")["status"]["nodeInfo"]["kubeletVersion"] = "v1.35.1"


def old_kubernetes(site: Site) -> None:
    site.want(kubernetes="1.34.9")
    for node in site.listed("nodes"):
        node["status"]["nodeInfo"]["kubeletVersion"] = "v1.34.9"


def old_token(site: Site) -> None:
    token = site.get("tokens", "bootstrap-token-abcdef")
    token["metadata"]["creationTimestamp"] = at(hours=3)


# Of each: the damage, the check that notices it, its result and a part of its evidence, and the
# checks that are skipped since they fail because of it. All others pass.
DAMAGES: dict[str, tuple[Damage, str, str, str, str]] = {
    "node missing": (
        lambda site: site.drop("nodes", "gpu2"),
        "nodes", FAIL, "gpu2 is not in the cluster", "gpus",
    ),
    "node cordoned": (
        node_item("gpu1", spec={"unschedulable": True}),
        "nodes", FAIL, "gpu1 is cordoned", "",
    ),
    "host dead": (
        dead_host,
        "nodes", FAIL, "gpu2 is not Ready: Kubelet stopped posting node status.",
        "nats workers rollouts licence",
    ),
    "disk pressure": (
        node_pressure("DiskPressure"),
        "nodes", FAIL, "gpu1 has DiskPressure", "",
    ),
    "GPU missing": (
        gpu_gone,
        "gpus", FAIL, "gpu1 offers 1 of 2 GPUs", "workers",
    ),
    "old kubelet": (
        kubelet,
        "versions", FAIL, "the kubelet of gpu2 is 1.35.1, 1.36.3 is wanted", "",
    ),
    "Kubernetes ended": (
        old_kubernetes,
        "support", WARN, "Kubernetes 1.34 was maintained until 2026-10-27", "",
    ),
    "worker absent": (
        no_worker,
        "workers", FAIL, "tts does not exist", "autoscaling",
    ),
    "worker at no pods": (
        to_zero,
        "workers", FAIL, "stt is scaled to 0 pods, 1 are wanted", "",
    ),
    "worker's pods not ready": (
        status("deployments", "tts", readyReplicas=1),
        "workers", FAIL, "tts has 1 of 2 pods ready", "",
    ),
    "worker's rollout stuck": (
        status("deployments", "tts", updatedReplicas=1),
        "workers", FAIL, "tts has 1 of 2 pods of its last revision", "",
    ),
    "worker changed just now": (
        status("deployments", "tts", observedGeneration=2),
        "workers", FAIL, "tts: its controller has not seen the last change", "",
    ),
    "capacity": (
        lambda site: site.answer(
            "capacity", sample(2, pod="tts-5d9c-aaaaa"), without="tts-5d9c-aaaaa"
        ),
        "workers", FAIL, "pod tts-5d9c-aaaaa serves 2 streams, 4 are wanted", "",
    ),
    "API not ready": (
        status("deployments", "api", readyReplicas=0),
        "rollouts", FAIL, "cartesia/api has 0 of 2 pods ready", "",
    ),
    "DaemonSet not ready": (
        status("daemonsets", "nvidia-device-plugin", numberReady=1),
        "rollouts", FAIL, "kube-system/nvidia-device-plugin has 1 of 2 pods ready", "",
    ),
    "wrong image": (
        has_image,
        "images", FAIL, "stt has registry.example.com/speech/worker:sonic-0, registry.example.com/",
        "",
    ),
    "wrong digest": (
        runs("stt-7f6b-ccccc", OTHER_DIGEST),
        "images", FAIL, f"pod stt-7f6b-ccccc runs {OTHER_DIGEST} of registry.example.com/", "",
    ),
    "two digests of a tag": (
        runs("api-6b8d-ddddd", OTHER_DIGEST),
        "images", FAIL, f"pods run 2 different images of {API_IMAGE}: sha256:222", "",
    ),
    "NATS server down": (
        status("statefulsets", "nats", readyReplicas=2),
        "nats", FAIL, "2 of 3 NATS servers are ready", "",
    ),
    "NATS absent": (
        no_nats,
        "nats", FAIL, "the StatefulSet cartesia/nats does not exist", "workers rollouts",
    ),
    "no client of NATS": (
        answers("nats", sample(0, pod="nats-0"), sample(0, pod="nats-1")),
        "nats", FAIL, "no client is connected to NATS", "",
    ),
    "slow clients of NATS": (
        answers("slow", sample(2.02, pod="nats-0")),
        "nats", WARN, "3 clients are connected. NATS has cut off 2 slow clients within an hour", "",
    ),
    "PodMonitor of workers deleted": (
        no_pod_monitor,
        "scrape", FAIL,
        "Prometheus does not ask tts-5d9c-aaaaa; Prometheus does not ask tts-5d9c-bbbbb",
        "autoscaling",
    ),
    "PodMonitor of NATS deleted": (
        no_nats_monitor,
        "scrape", FAIL, "Prometheus does not ask nats-0; Prometheus does not ask nats-1", "",
    ),
    "target down": (
        lambda site: site.answer("up", sample(0, pod="nats-1"), without="nats-1"),
        "scrape", FAIL, "nats-1 does not answer Prometheus", "",
    ),
    "Prometheus down": (
        no_prometheus,
        "metrics", FAIL, DOWN,
        "clocks disk nats workers restarts scrape alerts licence certificates",
    ),
    "KEDA's APIService unavailable": (
        lambda site: site.set_condition(
            "apiservices", EXTERNAL_METRICS, "Available", "False", "no endpoints"
        ),
        "autoscaling", FAIL, f"{EXTERNAL_METRICS} is not available: no endpoints", "",
    ),
    "KEDA's APIService absent": (
        lambda site: site.drop("apiservices", EXTERNAL_METRICS),
        "autoscaling", FAIL, f"the APIService {EXTERNAL_METRICS} does not exist", "",
    ),
    "KEDA at no pods": (
        keda_off,
        "autoscaling", FAIL, "keda/keda-operator-metrics-apiserver has 0 of 1 pods ready", "",
    ),
    "ScaledObject absent": (
        lambda site: site.drop("scaledobjects", "tts"),
        "autoscaling", FAIL, "the ScaledObject tts does not exist", "",
    ),
    "ScaledObject not ready": (
        scaled("Ready", "False", "no target"),
        "autoscaling", FAIL, "the ScaledObject tts is not ready: no target", "",
    ),
    "ScaledObject paused": (
        scaled("Paused", "True"),
        "autoscaling", FAIL, "the ScaledObject tts is in the state Paused", "",
    ),
    "trigger fails": (
        status(
            "scaledobjects", "tts",
            health={"s0-load": {"numberOfFailures": 4, "status": "Failing"}},
        ),
        "autoscaling", FAIL, "the trigger s0-load of tts failed 4 times in a row", "",
    ),
    "critical alert": (
        answers("alerts", alert("GpuUnhealthy", "critical"), alert("ArtifactsStale", "warning")),
        "alerts", FAIL, "ArtifactsStale (warning), GpuUnhealthy (critical)", "",
    ),
    "warning": (
        answers("alerts", alert("ArtifactsStale", "warning")),
        "alerts", WARN, "ArtifactsStale (warning)", "",
    ),
    "licence in grace": (
        answers("licence", sample(1, state="grace")),
        "licence", WARN, "the license proxy is in the state grace; the licence ends in 200 days",
        "",
    ),
    "licence expired": (
        answers("licence", sample(1, state="expired")),
        "licence", FAIL, "the license proxy is in the state expired", "",
    ),
    "licence ends soon": (
        answers("licence_end", sample(seconds(days=9))),
        "licence", WARN, "in the state airgapped; the licence ends in 9 days", "",
    ),
    "no license proxy in Prometheus": (
        answers("licence"),
        "licence", FAIL, "Prometheus knows the state of no license proxy", "",
    ),
    "certificate ends soon": (
        lambda site: site.answer(
            "certificates", Sample({"host": "speech.example.com"}, seconds(days=5))
        ),
        "certificates", WARN, "the certificate of speech.example.com ends in 5 days", "",
    ),
    "certificate ended": (
        lambda site: site.answer(
            "certificates", Sample({"instance": "192.0.2.1:2379"}, seconds(days=-2))
        ),
        "certificates", FAIL, "the certificate of 192.0.2.1:2379 ended 2 days ago", "",
    ),
    "old join token": (
        old_token,
        "join-tokens", FAIL, "the join token abcdef is older than an hour", "",
    ),
    "Secrets written plain": (
        lambda site: setattr(site, "storage", {"": 3.0, "k8s:enc:secretbox:v1:key1:": 40.0}),
        "encryption", FAIL, "the API server has written Secrets to etcd unencrypted, 3 times", "",
    ),
    "no encryption": (
        no_flag,
        "encryption", FAIL, "kube-apiserver-cp1 has no --encryption-provider-config", "",
    ),
    "policy missing": (
        lambda site: site.drop("policies", "default-deny"),
        "policies", FAIL, "the network policy cartesia/default-deny is missing", "",
    ),
    "budget forbids a drain": (
        status("budgets", "stt", disruptionsAllowed=0),
        "disruption", FAIL, "cartesia/stt allows no pod to be evicted, so a drain never ends", "",
    ),
    "clock": (
        lambda site: site.answer("clocks", Sample({"node": "gpu1"}, -600.0), without="gpu1"),
        "clocks", FAIL, "the clock of gpu1 is 600 s behind", "",
    ),
    "disk low": (
        lambda site: site.answer(
            "disk",
            Sample({"node": "gpu2", "mountpoint": "/"}, 900 * GIB),
            Sample({"node": "gpu2", "mountpoint": "/var/lib/containerd"}, 3 * GIB),
            without="gpu2",
        ),
        "disk", FAIL, "gpu2 has 3 GiB free for images, 20 are wanted", "",
    ),
    "restarts": (
        answers("restarts", sample(5.1, pod="api-6b8d-ddddd")),
        "restarts", WARN, "cartesia/api-6b8d-ddddd restarted 5 times", "",
    ),
}  # fmt: skip


def test_on_a_site_in_order_every_check_passes() -> None:
    checks = Site().checks()
    assert tuple(checks) == IDS
    assert {name: check.evidence for name, check in checks.items() if check.verdict != PASS} == {}
    assert all(not check.remedy and not check.runbook for check in checks.values())
    assert {check.verdict for check in checks.values()} == {PASS}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_changes_its_check_alone(name: str) -> None:
    damage, changed, verdict, evidence, follow = DAMAGES[name]
    site = Site()
    damage(site)
    checks = site.checks()
    assert evidence in checks[changed].evidence
    assert checks[changed].remedy
    others = {each: check.verdict for each, check in checks.items() if check.verdict != PASS}
    assert others == {changed: verdict} | dict.fromkeys(follow.split(), SKIPPED)
    for each in follow.split():
        assert checks[each].evidence.endswith(f". {changed} failed: repair that first")
        assert not checks[each].remedy


@pytest.mark.parametrize("damage", ["licence expired", "certificate ended"])
def test_what_ended_fails_whatever_else_does(damage: str) -> None:
    site = Site()
    for name in ("API not ready", damage):
        DAMAGES[name][0](site)
    verdicts = {each: check.verdict for each, check in site.checks().items()}
    bad = {each for each, verdict in verdicts.items() if verdict != PASS}
    assert bad == {"rollouts", DAMAGES[damage][1]}
    assert {verdicts[each] for each in bad} == {FAIL}


def test_the_table_damages_every_check() -> None:
    assert {changed for _damage, changed, *_rest in DAMAGES.values()} == set(IDS)
