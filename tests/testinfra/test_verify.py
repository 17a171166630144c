# SPDX-License-Identifier: Apache-2.0
"""verify.yml on the lab: in order, it passes and changes nothing; each fault has one line.

Faults are made in the cluster and taken back, or in the inventory: verify compares both.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config

from tests.playbooks import tried_on_lab

NAMESPACE = "cartesia"
# Seconds for a controller to notice a change, or for Prometheus: its operator writes a Secret,
# which the kubelet mounts and Prometheus' reloader sees.
NOTICE = 240
Result = dict[str, tuple[str, str]]
Break = Callable[["Cluster"], contextlib.AbstractContextManager[None]]


class Cluster:
    """Changes objects of the lab, and restores them."""

    def __init__(self, kubeconfig: str) -> None:
        self.api = config.new_client_from_config(config_file=kubeconfig)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request; returns the answer."""
        merge = "application/merge-patch+json"
        answer = self.api.call_api(
            method,
            f"{self.api.configuration.host}{path}",
            {"Content-Type": merge if method == "PATCH" else "application/json"},
            body,
        )
        content = answer.read()
        assert 200 <= answer.status < 300, content
        return json.loads(content)

    @contextlib.contextmanager
    def patched(self, path: str, change: Any, restore: Any) -> Iterator[None]:
        """Merge a change into an object, and then its counterpart."""
        self.call("PATCH", path, change)
        try:
            yield
        finally:
            self.call("PATCH", path, restore)

    @contextlib.contextmanager
    def deleted(self, path: str) -> Iterator[None]:
        """Delete an object, and create it again."""
        item = self.call("GET", path)
        self.call("DELETE", path)
        for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
            item["metadata"].pop(key, None)
        item.pop("status", None)
        try:
            yield
        finally:
            self.call("POST", path.rpartition("/")[0], item)

    @contextlib.contextmanager
    def created(self, path: str, item: Any) -> Iterator[None]:
        """Create an object, and delete it."""
        self.call("POST", path, item)
        try:
            yield
        finally:
            self.call("DELETE", f"{path}/{item['metadata']['name']}")


@pytest.fixture(scope="module")
def cluster(info: dict[str, Any]) -> Cluster:
    return Cluster(info["kubeconfig"])


def verified(folder: Path, **variables: Any) -> Result:
    """Run verify.yml; returns verdict and evidence of each check."""
    done = tried_on_lab("verify.yml", verify_folder=str(folder), verify_retries=0, **variables)
    files = list(folder.glob("*.json"))
    reports = [path for path in files if path.name != "calendar.json"]
    assert len(reports) == 1, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads(reports[0].read_text("utf-8"))
    reports[0].unlink()
    assert (done.returncode == 0) == (report["verdict"] != "fail"), done.stdout[-4000:]
    return {check["id"]: (check["verdict"], check["evidence"]) for check in report["checks"]}


def bad(result: Result) -> set[str]:
    return {name for name, (verdict, _text) in result.items() if verdict in ("fail", "warn")}


@pytest.fixture(scope="module", autouse=True)
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """Lines that warn already. The lab is in order before and after this file."""
    yield in_order(tmp_path_factory.mktemp("before"))
    in_order(tmp_path_factory.mktemp("after"))


def in_order(folder: Path) -> set[str]:
    """Wait until nothing fails; returns what still warns after another test."""
    end = time.monotonic() + 2 * NOTICE
    while bad(seen := verified(folder)):
        lines = {name: seen[name] for name in bad(seen)}
        # An alert keeps firing for a while, and restarts count for an hour.
        if lines.keys() <= {"alerts", "restarts"} and all(v == "warn" for v, _t in lines.values()):
            return set(lines)
        assert time.monotonic() < end, lines
    return set()


def deployment(name: str, namespace: str = NAMESPACE) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def replicas(path: str, count: int, before: int = 1) -> Break:
    return lambda cluster: cluster.patched(
        path, {"spec": {"replicas": count}}, {"spec": {"replicas": before}}
    )


POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
BUDGETS = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
SCALED = f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects/tts-worker"
PAUSED = "autoscaling.keda.sh/paused"
LOCKED = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "locked"},
    "spec": {
        "maxUnavailable": 0,
        "selector": {"matchLabels": {"app.kubernetes.io/component": "license-proxy"}},
    },
}
FIRING = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": {"name": "drill", "labels": {"release": "prometheus"}},
    "spec": {
        "groups": [
            {
                "name": "drill",
                "interval": "5s",
                "rules": [
                    {"alert": "Drill", "expr": "vector(1)", "labels": {"severity": "critical"}}
                ],
            }
        ]
    },
}
RULES = f"/apis/monitoring.coreos.com/v1/namespaces/{NAMESPACE}/prometheusrules"
MONITORS = f"/apis/monitoring.coreos.com/v1/namespaces/{NAMESPACE}/podmonitors"
# The check, what its evidence holds, and the fault.
FAULTS: dict[str, tuple[str, str, Break]] = {
    "a cordoned node": (
        "nodes", "gpu2 is cordoned",
        lambda c: c.patched(
            "/api/v1/nodes/gpu2", {"spec": {"unschedulable": True}},
            {"spec": {"unschedulable": None}},
        ),
    ),
    "a worker scaled to more GPUs than there are": (
        "workers", r"stt-worker has 1 of 9 pods ready", replicas(deployment("stt-worker"), 9),
    ),
    "a worker scaled to nothing": (
        "workers", "stt-worker is scaled to 0 pods, 1 are wanted",
        replicas(deployment("stt-worker"), 0),
    ),
    "a network policy that is gone": (
        "policies", f"the network policy {NAMESPACE}/strict-worker is missing",
        lambda c: c.deleted(f"{POLICIES}/strict-worker"),
    ),
    "KEDA's metrics server down": (
        "autoscaling", r"keda/keda-metrics-apiserver has 0 of 1 pods",
        replicas(deployment("keda-metrics-apiserver", "keda"), 0),
    ),
    "a budget that forbids a drain": (
        "disruption", f"{NAMESPACE}/locked allows no pod", lambda c: c.created(BUDGETS, LOCKED),
    ),
    "a paused ScaledObject": (
        "autoscaling", "the ScaledObject tts-worker is in the state Paused",
        lambda c: c.patched(
            SCALED, {"metadata": {"annotations": {PAUSED: "true"}}},
            {"metadata": {"annotations": {PAUSED: None}}},
        ),
    ),
}  # fmt: skip
SLOW_FAULTS: dict[str, tuple[str, str, Break]] = {
    "NATS stopped": (
        "nats", "0 of 1 NATS servers are ready",
        replicas(f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/nats", 0, before=3),
    ),
    "the license proxy stopped": (
        "rollouts", "license-proxy is scaled to no pods", replicas(deployment("license-proxy"), 0),
    ),
    "an image that does not exist": (
        "rollouts", r"license-proxy has . of 1 pods",
        lambda c: c.patched(
            deployment("license-proxy"), *(
                {"spec": {"template": {"spec": {"nodeSelector": {"no/such": label}}}}}
                for label in ("host", None)
            )
        ),
    ),
    "a PodMonitor that is gone": (
        "scrape", r"Prometheus does not ask (tts|stt)-worker",
        lambda c: c.deleted(f"{MONITORS}/cartesia-monitor"),
    ),
    "an alert that fires": ("alerts", "Drill", lambda c: c.created(RULES, FIRING)),
    "Prometheus stopped": (
        "metrics", "Prometheus cannot be asked",
        lambda c: c.patched(
            "/apis/monitoring.coreos.com/v1/namespaces/monitoring/prometheuses/prometheus",
            {"spec": {"replicas": 0}}, {"spec": {"replicas": 1}},
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [*FAULTS, *(pytest.param(name, marks=pytest.mark.soak) for name in SLOW_FAULTS)],
)
def test_a_fault_in_the_cluster_has_its_line_and_no_other(
    cluster: Cluster, tmp_path: Path, before: set[str], name: str
) -> None:
    check, evidence, broken = (FAULTS | SLOW_FAULTS)[name]
    end = time.monotonic() + NOTICE
    with broken(cluster):
        while True:
            result = verified(tmp_path)
            if check in bad(result) or time.monotonic() > end:
                break
    assert bad(result) - before == {check}, {line: result[line] for line in bad(result)}
    assert re.search(evidence, result[check][1]), result[check]
    in_order(tmp_path)


SHA = "sha256:" + "0" * 64


def test_a_fault_of_the_inventory_has_its_line(tmp_path: Path, before: set[str]) -> None:
    """Faults that have nothing to do with each other, in one run."""
    result = verified(
        tmp_path,
        nvidia_driver_gpu_count=5,
        site_versions={"kubernetes": "1.35.9"},
        verify_limits={"disk": 99999, "certificates": 9999, "clocks": 0},
        verify_skip=["alerts"],
    )
    evidence = {
        "gpus": "gpu1 offers 2 of 5 GPUs; gpu2 offers 4 of 5 GPUs",
        "versions": r"the kubelet of cp1 is 1\.36\.\d+, 1\.35\.9 is wanted",
        "disk": "GiB free for images, 99999 are wanted",
        "certificates": "the certificate of .* ends in",
        "clocks": "the clock of",
    }
    assert bad(result) - before == evidence.keys(), result
    for name, text in evidence.items():
        assert re.search(text, result[name][1]), result[name]
    assert result["alerts"] == ("skipped", "skipped by verify_skip")


def test_a_wrong_key_is_one_line(tmp_path: Path, before: set[str]) -> None:
    result = verified(tmp_path, license_proxy_api_key="sk-nobody")
    assert bad(result) - before == {"speech"}
    assert "HTTP 401" in result["speech"][1]
    assert "speech failed: repair that first" in result["speech-websocket"][1]


def test_a_client_that_does_not_trust_the_site(tmp_path: Path, before: set[str]) -> None:
    result = verified(tmp_path, site_ca_file="")
    assert bad(result) - before == {"speech-certificate"}
    assert "the certificate is not accepted" in result["speech-certificate"][1]


# Objects that no controller of a quiet lab writes. Others (leases, the status of nodes) change.
QUIET = (
    "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/services", "/api/v1/serviceaccounts",
    "/api/v1/namespaces", "/apis/apps/v1/deployments", "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets", "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/networking.k8s.io/v1/ingresses", "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings", "/apis/policy/v1/poddisruptionbudgets",
    "/apis/monitoring.coreos.com/v1/podmonitors", "/apis/monitoring.coreos.com/v1/prometheusrules",
    "/api/v1/pods",
)  # fmt: skip


def test_verify_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    def versions() -> dict[str, str]:
        return {
            item["metadata"]["uid"]: item["metadata"]["resourceVersion"]
            for path in QUIET
            for item in cluster.call("GET", path)["items"]
        }

    before = versions()
    assert len(before) > 100
    for _twice in range(2):
        verified(tmp_path)
    assert versions() == before


def test_all_reports_are_written(tmp_path: Path) -> None:
    done = tried_on_lab("verify.yml", verify_folder=str(tmp_path), verify_skip=["alerts"])
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"^pass +speech-websocket +\d", done.stdout, re.MULTILINE)
    assert "changed=0" in done.stdout
    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert {
        "index.html",
        "calendar.json",
        "calendar.ics",
        "lab.json",
        "lab.html",
        "lab.xml",
    } == names
    kinds = {line["kind"] for line in json.loads((tmp_path / "calendar.json").read_text())["ends"]}
    assert {"licence", "certificate", "support"} <= kinds
