# SPDX-License-Identifier: Apache-2.0
"""Prometheus' metrics of the lab under load, and which of them can be read from outside."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from kubernetes import client

from lab.waiting import wait, wait_while
from tests.monitoring import Prometheus, queries, render
from tests.playbooks import on_lab
from tests.testinfra.conftest import connect

STACK = "cartesia"
COMPONENT = "app.kubernetes.io/component"
# For as long as the longest range that a rate needs to have two samples in, and the rules to be
# evaluated after that.
LOAD_S = 75
SPEECH = {
    "model_id": "sonic-reference",
    "transcript": "The lab speaks, and goes on speaking for a little while.",
    "voice": {"mode": "id", "id": "en-us"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 22050},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Rules and dashboards as the role has them."""
    return render(tmp_path_factory.mktemp("monitoring"))


@pytest.fixture(scope="module")
def load(info: dict[str, Any]) -> Iterator[None]:
    """Speech in two connections all the while, begun long enough ago for every rate to show."""
    host = urlsplit(info["ingress_url"]).hostname or ""
    headers = {
        "Host": host,
        "Cartesia-Version": "2026-03-01",
        "Content-Type": "application/json",
        "X-API-Key": info["api_key"],
    }
    stop = threading.Event()

    def speak() -> int:
        done = 0
        with urllib3.HTTPSConnectionPool(
            info["ingress_address"], 443, ca_certs=info["ca_file"], server_hostname=host,
            assert_hostname=host, headers=headers, timeout=30, retries=False,
        ) as pool:  # fmt: skip
            while not stop.is_set():
                answer = pool.request("POST", "/tts/bytes", body=json.dumps(SPEECH))
                done += answer.status == 200
                stop.wait(0.2)
        return done

    with ThreadPoolExecutor(2) as workers:
        jobs = [workers.submit(speak) for _unused in range(2)]
        try:
            time.sleep(LOAD_S)
            yield
        finally:
            stop.set()
        assert sum(job.result() for job in jobs) > 0, "nothing was spoken"


def test_every_pod_of_the_stack_is_read(prometheus: Prometheus, core: client.CoreV1Api) -> None:
    def missing() -> set[str]:
        # The pods that only hold images on their hosts measure nothing.
        present = core.list_namespaced_pod(STACK, label_selector=f"{COMPONENT}!=images").items
        pods = {pod.metadata.name for pod in present}
        assert pods
        up = prometheus.values(f'min by (pod) (up{{namespace="{STACK}"}})', "pod")
        return {pod for pod in pods if up.get(pod) != 1}

    wait_while(missing)


def test_workers_and_api_are_read_every_five_seconds(prometheus: Prometheus) -> None:
    pools = prometheus.get("targets", state="active")["activeTargets"]
    ours = [item for item in pools if "cartesia-monitor" in item["scrapePool"]]
    assert {item["labels"]["container"] for item in ours} == {
        "api",
        "worker",
        "artifact-sync",
        "haproxy",
    }
    assert {item["scrapeInterval"] for item in ours} == {"5s"}


def test_every_target_answers(prometheus: Prometheus) -> None:
    def broken() -> dict[str, str]:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        return {item["scrapeUrl"]: item["lastError"] for item in targets if item["health"] != "up"}

    wait_while(broken)


def test_cluster_and_platform_are_read(prometheus: Prometheus) -> None:
    jobs = set(prometheus.values("count by (job) (up == 1)", "job"))
    assert jobs >= {
        "coredns", "etcd-metrics", "kube-controller-manager", "kube-scheduler",
        "kube-state-metrics", "kubelet", "kubernetes", "node-metrics", "prometheus-operator",
        "monitoring/ingress", "probe-ingress", "probe-control-plane",
    } - {"coredns"}, sorted(jobs)  # fmt: skip
    assert any("coredns" in job for job in jobs)


def test_every_query_has_series_under_load(
    prometheus: Prometheus, rendered: dict[str, Any], api: client.ApiClient, load: None
) -> None:
    scaled = client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler(STACK).items

    def empty() -> list[str]:
        return [
            f"{name}: {query}"
            for name, query in queries(rendered).items()
            # Where nothing is scaled there is no such series, and nothing that could be at its end.
            if ("horizontalpodautoscaler" not in query or scaled) and not prometheus.query(query)
        ]

    wait_while(empty)


def test_first_audio_is_measured_where_clients_wait(prometheus: Prometheus, load: None) -> None:
    measured = prometheus.values("offering:api_ttfa_seconds:p50", "offering")
    assert 0 < measured["tts/sonic-reference"] < 5


def test_rules_are_evaluated_without_an_error(prometheus: Prometheus) -> None:
    groups = [
        group
        for group in prometheus.get("rules")["groups"]
        if group["name"].startswith("baremetal-sonic")
    ]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


@pytest.mark.parametrize("path", ["/-/quit", "/-/reload", "/api/v1/admin/tsdb/snapshot"])
def test_prometheus_cannot_be_changed_by_its_port(info: dict[str, Any], path: str) -> None:
    asked = urllib.request.Request(info["prometheus_url"] + path, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)
    assert refused.value.code in (403, 500)
    actual = refused.value.read().decode()
    assert "not enabled" in actual or "disabled" in actual


def test_a_new_rule_is_loaded_without_that(prometheus: Prometheus, api: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(api)
    where = ("monitoring.coreos.com", "v1", "monitoring", "prometheusrules")
    name = "reload-test"
    labels = {"release": "prometheus"}
    group = {"name": name, "rules": [{"record": "reload_test", "expr": "vector(1)"}]}
    body: dict[str, Any] = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    body |= {"metadata": {"name": name, "labels": labels}, "spec": {"groups": [group]}}
    custom.create_namespaced_custom_object(*where, body)
    try:
        wait(
            "the new rule",
            lambda: name in {item["name"] for item in prometheus.get("rules")["groups"]},
            240,
        )
    finally:
        custom.delete_namespaced_custom_object(*where, name)


def test_watchdog_fires_and_nothing_critical_does(prometheus: Prometheus) -> None:
    def wrong() -> str:
        alerts = prometheus.get("alerts")["alerts"]
        firing = {item["labels"]["alertname"] for item in alerts if item["state"] == "firing"}
        critical = {
            item["labels"]["alertname"]
            for item in alerts
            if item["state"] == "firing" and item["labels"]["severity"] == "critical"
        }
        return "" if "SpeechWatchdog" in firing and not critical else f"firing: {sorted(firing)}"

    wait_while(wrong)


def test_gpus_are_counted_against_the_inventory(
    prometheus: Prometheus, info: dict[str, Any]
) -> None:
    wanted = {name: host["gpus"] for name, host in info["hosts"].items() if host["gpus"]}
    for record in ("node:gpu_expected:count", "node:gpu_capacity:sum", "node:gpu_allocatable:sum"):
        counts = prometheus.values(f"{record} > 0", "node")
        assert counts == wanted, record


@pytest.mark.soak
def test_failed_gpu_raises_its_alert_until_it_is_back(
    prometheus: Prometheus, core: client.CoreV1Api, info: dict[str, Any]
) -> None:
    node = max(info["hosts"], key=lambda name: int(info["hosts"][name]["gpus"]))
    host = connect(node)

    def alerts() -> set[str]:
        firing = prometheus.get("alerts")["alerts"]
        return {
            item["labels"]["alertname"]
            for item in firing
            if item["state"] == "firing" and item["labels"].get("node") == node
        }

    # The stand-in driver reports a critical fault of its first GPU: "fallen off the bus".
    fault = "/run/nvidia-mock/xid/monitoring-test"
    made = host.run(f"mkdir -p /run/nvidia-mock/xid && echo '0 79' > {fault}.new")
    assert made.rc == 0, made.stderr
    try:
        host.run(f"mv {fault}.new /run/nvidia-mock/.new && mv /run/nvidia-mock/.new {fault}")
        wait("the alert of a failed GPU, and no other", lambda: alerts() == {"GpuUnhealthy"}, 200)
    finally:
        host.run(f"rm -f {fault} {fault}.new")
        # As in the runbook: a new pod of the plugin checks its GPUs.
        [plugin] = core.list_namespaced_pod(
            "kube-system",
            label_selector="app.kubernetes.io/name=nvidia-device-plugin",
            field_selector=f"spec.nodeName={node}",
        ).items
        core.delete_namespaced_pod(plugin.metadata.name, "kube-system")
    wait_while(alerts, 200)


def test_certificates_of_ingress_and_cluster_are_watched(
    prometheus: Prometheus, info: dict[str, Any]
) -> None:
    def unanswered() -> set[str]:
        asked = prometheus.values('min by (host) (probe_success{job="probe-ingress"})', "host")
        return {name for name in info["ingress_hosts"] if asked.get(name) != 1}

    wait_while(unanswered)
    left = prometheus.values("probe_ssl_earliest_cert_expiry - time()", "job")
    assert left.keys() == {"probe-ingress", "probe-control-plane"}
    assert all(seconds > 86400 for seconds in left.values())


@pytest.mark.parametrize("port", [9100, 9379, 10250, 10257, 10259])
def test_hosts_metrics_want_a_token(info: dict[str, Any], port: int) -> None:
    address = info["hosts"]["cp1"]["address"]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"https://{address}:{port}/metrics", timeout=10, context=context)
    assert refused.value.code in {401, 403}


@pytest.mark.parametrize("port", [9101, 2381, 10254, 1936])
def test_what_is_not_protected_stays_on_the_loopback(info: dict[str, Any], port: int) -> None:
    address = info["hosts"]["cp1"]["address"]
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((address, port), 5)


def test_report_shows_what_was_measured(load: None, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    on_lab("report.yml", prometheus_report_file=str(file))
    page = file.read_text(encoding="utf-8")
    assert page.count("<svg") > 20
    assert "Speech on site lab" in page
    assert "Prometheus did not answer" not in page
    assert "<script" not in page
