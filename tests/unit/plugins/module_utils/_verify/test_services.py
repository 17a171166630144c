# SPDX-License-Identifier: Apache-2.0
"""Checks of metrics, autoscaling, NATS, the licence, clocks and disks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baremetal.sonic.plugins.module_utils._verify import services
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.catalogue import LIMITS
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    PASS,
    SKIPPED,
    WARN,
    End,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import (
    Result,
    Sample,
    UnreadableError,
    Worker,
)

from tests.healthy_site import EXTERNAL_METRICS, GPU, NOW, Site, at, sample, seconds

GIB = 2.0**30


def check(name: str, site: Site) -> Result:
    made: Result = getattr(services, name)(site.seen, site.wanted, LIMITS.get(name, 0.0))
    return made


def result(name: str, site: Site) -> tuple[str, str]:
    made = check(name, site)
    return made.verdict, made.evidence


def test_a_prometheus_without_targets_fails() -> None:
    site = Site()
    site.series["up"] = []
    assert result("metrics", site) == (FAIL, "Prometheus answers, but asks no target")


def test_a_pod_that_is_asked_twice_answers_twice() -> None:
    for values in ((1, 0), (0, 1)):
        site = Site()
        more = [sample(value, pod="nats-1", instance=str(n)) for n, value in enumerate(values)]
        site.answer("up", *more, without="nats-1")
        assert result("scrape", site) == (FAIL, "nats-1 does not answer Prometheus")


def test_a_pod_of_the_same_name_in_another_namespace_is_another() -> None:
    site = Site()
    site.answer("up", sample(1, pod="nats-1", namespace="other"), without="nats-1")
    assert result("scrape", site) == (FAIL, "Prometheus does not ask nats-1")


@pytest.mark.parametrize("value", [None, 0])
def test_a_new_pod_gets_a_minute(value: int | None) -> None:
    site = Site()
    site.answer("up", *([] if value is None else [sample(value, pod="nats-1")]), without="nats-1")
    site.set_condition("pods", "nats-1", "Ready", "True", "")
    entry = site.get("pods", "nats-1")["status"]["conditions"][-1]
    entry["lastTransitionTime"] = at(seconds=59)
    assert result("scrape", site) == (
        PASS, "7 pods of the stack answer Prometheus, 1 became ready just now"
    )  # fmt: skip
    entry["lastTransitionTime"] = at(seconds=61)
    assert result("scrape", site)[0] == FAIL


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"deletionTimestamp": at(minutes=1)}},
        {"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}},
        {"spec": {"containers": [{"name": "main", "image": "x", "ports": None}]}},
    ],
)
def test_pods_that_leave_or_ended_or_have_no_metrics_need_not_answer(change: Any) -> None:
    site = Site()
    site.answer("up", without="nats-1")
    for part, more in change.items():
        site.get("pods", "nats-1")[part].update(more)
    assert result("scrape", site) == (PASS, "7 pods of the stack answer Prometheus")


def test_a_stack_without_pods_proves_nothing() -> None:
    site = Site()
    site.objects["pods"] = []
    assert result("scrape", site) == (FAIL, "no ready pod of the stack has a metrics port")


def test_without_autoscaled_workers_keda_is_not_needed() -> None:
    site = Site()
    site.want(workers=[Worker("stt", "x/y:1", 8, GPU, autoscaled=False, min_replicas=1)])
    for kind in ("apiservices", "scaledobjects", "deployments"):
        site.objects[kind] = "the server could not find the requested resource"
    assert result("autoscaling", site) == (SKIPPED, "no worker is autoscaled")


def test_keda_in_another_namespace_is_known_by_its_api() -> None:
    site = Site()
    for name in ("keda-operator", "keda-operator-metrics-apiserver"):
        site.drop("deployments", name)
    assert result("autoscaling", site) == (PASS, "KEDA scales tts")


@pytest.mark.parametrize("spec", [{"replicas": None}, {"replicas": 0}, {}])
def test_keda_needs_a_pod_whatever_its_deployment_says(spec: dict[str, Any]) -> None:
    site = Site()
    item = site.get("deployments", "keda-operator")
    item["spec"] = spec
    assert result("autoscaling", site)[0] == PASS
    item["status"] = None
    assert result("autoscaling", site) == (FAIL, "keda/keda-operator has 0 of 1 pods ready")


def test_an_object_without_status_is_not_ready() -> None:
    site = Site()
    site.get("apiservices", EXTERNAL_METRICS)["status"] = None
    site.get("scaledobjects", "tts")["status"] = None
    verdict, evidence = result("autoscaling", site)
    assert verdict == FAIL
    assert evidence.split("; ") == [
        f"{EXTERNAL_METRICS} is not available: it has no status yet",
        "the ScaledObject tts is not ready: it has no status yet",
    ]


def test_an_idle_worker_and_a_trigger_without_state_are_good() -> None:
    site = Site()
    site.set_condition("scaledobjects", "tts", "Active", "False", "")
    site.get("scaledobjects", "tts")["status"]["health"] = {"s0-load": {}}
    assert result("autoscaling", site)[0] == PASS


def test_a_fallback_is_named() -> None:
    site = Site()
    site.set_condition("scaledobjects", "tts", "Fallback", "True", "")
    assert result("autoscaling", site) == (FAIL, "the ScaledObject tts is in the state Fallback")


@pytest.mark.parametrize(
    ("spec", "status", "verdict", "evidence"),
    [
        ({"replicas": None}, {"readyReplicas": 1}, PASS, "1 servers are ready"),
        ({"replicas": 0}, {}, FAIL, "0 of 1 NATS servers are ready"),
        ({"replicas": 3}, None, FAIL, "0 of 3 NATS servers are ready"),
    ],
)
def test_nats_needs_its_servers(spec: Any, status: Any, verdict: str, evidence: str) -> None:
    site = Site()
    site.get("statefulsets", "nats").update(spec=spec, status=status)
    assert result("nats", site)[0] == verdict
    assert result("nats", site)[1].startswith(evidence)


def test_missing_servers_of_nats_are_named_also_without_prometheus() -> None:
    site = Site()
    site.get("statefulsets", "nats")["status"]["readyReplicas"] = 2
    site.series["nats"] = "no endpoints"
    assert result("nats", site) == (FAIL, "2 of 3 NATS servers are ready")


def test_a_nats_that_prometheus_does_not_ask_may_have_clients() -> None:
    site = Site()
    site.series["nats"] = [sample(0, pod="nats-0", namespace="other")]
    assert result("nats", site) == (
        PASS, "3 servers are ready, Prometheus has no count of their clients"
    )  # fmt: skip


def test_slow_clients_of_another_nats_do_not_count_and_a_part_of_one_is_one() -> None:
    site = Site()
    site.series["slow"] = [sample(3, pod="nats-0", namespace="other")]
    assert result("nats", site)[0] == PASS
    site.answer("slow", sample(0.3, pod="nats-0"))
    verdict, evidence = result("nats", site)
    assert verdict == WARN
    assert evidence.endswith("NATS has cut off 1 slow clients within an hour")


def test_an_alert_is_critical_also_when_it_fires_as_a_warning() -> None:
    site = Site()
    for order in (["critical", "warning"], ["warning", "critical"]):
        site.series["alerts"] = [sample(1, alertname="A", severity=each) for each in order]
        assert result("alerts", site) == (FAIL, "A (critical), A (warning)")


def test_alerts_are_named_once_and_may_lack_a_severity() -> None:
    site = Site()
    site.series["alerts"] = [sample(1, alertname="A", pod=pod) for pod in ("a", "b")]
    assert result("alerts", site) == (WARN, "A (no severity)")


def licence(state: str, *ends: float) -> Result:
    site = Site()
    site.series["licence"] = [sample(1, state=state)]
    site.series["licence_end"] = [sample(end) for end in ends]
    return check("licence", site)


@pytest.mark.parametrize(
    ("state", "ends", "verdict", "evidence"),
    [
        ("connected", (), PASS, "the license proxy is in the state connected"),
        ("grace", (), WARN, "the license proxy is in the state grace"),
        ("grace", (-1,), WARN, "in the state grace; the licence ended 1 day ago"),
        ("airgapped", (13,), WARN, "in the state airgapped; the licence ends in 13 days"),
        ("airgapped", (15,), PASS, "in the state airgapped; the licence ends in 15 days"),
        ("airgapped", (40, 15), PASS, "in the state airgapped; the licence ends in 15 days"),
        ("expired", (-4,), FAIL, "the license proxy is in the state expired"),
        ("revoked", (40,), FAIL, "the license proxy is in the state revoked"),
    ],
)
def test_states_and_ends_of_a_licence(
    state: str, ends: tuple[float, ...], verdict: str, evidence: str
) -> None:
    checked = licence(state, *(seconds(days=days) for days in ends))
    assert checked.verdict == verdict
    assert checked.evidence.endswith(evidence)
    assert len(checked.ends) == (1 if ends else 0)


def test_the_earliest_end_of_a_licence_is_in_the_calendar() -> None:
    checked = licence("airgapped", seconds(days=40), seconds(days=15), 0.0)
    assert checked.ends == (End("licence", "licence", "2026-12-14T12:00:00Z", "docs/license.md"),)
    assert checked.figures[0].points == (15.0,)


def test_one_of_two_proxies_in_a_bad_state_fails() -> None:
    site = Site()
    site.answer("licence", sample(1, state="expired", pod="other"))
    assert result("licence", site) == (FAIL, "the license proxy is in the state expired")
    site.series["licence"] = [sample(1, state="expired", namespace="other")]
    with pytest.raises(UnreadableError, match="Prometheus knows the state of no license proxy"):
        result("licence", site)


@pytest.mark.parametrize(
    ("offset", "verdict", "evidence"),
    [
        (4.9, PASS, "3 clocks differ by 4.90 s at most"),
        (600.0, FAIL, "the clock of gpu1 is 600 s ahead"),
        (-6.0, FAIL, "the clock of gpu1 is 6 s behind"),
    ],
)
def test_clocks(offset: float, verdict: str, evidence: str) -> None:
    site = Site()
    site.answer("clocks", Sample({"node": "gpu1"}, offset), without="gpu1")
    assert result("clocks", site) == (verdict, evidence)
    assert offset in check("clocks", site).figures[0].points


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clocks", "no node exporter reports its clock"),
        ("disk", "no node exporter reports its file systems"),
    ],
)
def test_without_node_exporters_nothing_is_proved(name: str, reason: str) -> None:
    site = Site()
    site.series[name] = []
    with pytest.raises(UnreadableError, match=reason):
        result(name, site)


def test_hosts_without_a_label_of_their_node_are_known_by_their_address() -> None:
    """A kube-prometheus-stack that was there before labels them so."""
    site = Site()
    hosts = [{"instance": f"192.0.2.{n}:9100"} for n in (1, 2)]
    site.series["clocks"] = [Sample(host, 9.0) for host in hosts]
    site.series["disk"] = [Sample(host | {"mountpoint": "/"}, 7 * GIB) for host in hosts]
    assert result("clocks", site)[1] == (
        "the clock of 192.0.2.1:9100 is 9 s ahead; the clock of 192.0.2.2:9100 is 9 s ahead"
    )
    assert result("disk", site)[1].count("has 7 GiB free") == 2


def test_the_file_system_that_holds_the_images_counts() -> None:
    site = Site()
    site.series["disk"] = [
        Sample({"node": "gpu1", "mountpoint": "/var/lib/containerd"}, 50 * GIB),
        Sample({"node": "gpu1", "mountpoint": "/"}, 1 * GIB),
    ]
    assert result("disk", site) == (PASS, "gpu1 has least, 50 GiB for images")
    site.answer("disk", without="/var/lib/containerd")
    assert result("disk", site) == (FAIL, "gpu1 has 1 GiB free for images, 20 are wanted")


def test_the_end_of_support() -> None:
    site = Site()
    assert check("support", site).ends[0].at == "2027-06-28T00:00:00Z"
    site.want(now=NOW.replace(year=2027, month=5, day=15))
    assert result("support", site) == (WARN, "Kubernetes 1.36 is maintained until 2027-06-28")
    site.want(kubernetes="1.99.0")
    assert result("support", site) == (
        SKIPPED, "the end of support of Kubernetes 1.99 is not known here"
    )  # fmt: skip
