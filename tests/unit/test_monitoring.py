# SPDX-License-Identifier: Apache-2.0
"""Rules, dashboards and monitors: Prometheus' own tool checks them; alerts have runbooks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring import queries, render, rules, write_rules
from tests.playbooks import ROOT

CASES = sorted((ROOT / "tests/rules").glob("*.yml"))
RUNBOOKS = ROOT / "docs/runbooks"


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' tool; skips where there is none."""
    items = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not items:
        pytest.skip("no promtool: set PROMTOOL to its path, or put it on the search path")
    return items


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is rendered."""
    return tmp_path_factory.mktemp("monitoring")


@pytest.fixture(scope="session")
def rendered(folder: Path) -> dict[str, Any]:
    """What the role applies on a site of two GPU hosts."""
    return render(folder)


def run(*command: str | Path) -> str:
    """Run a command; its output is the failure's text."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_rules(
    promtool: str, folder: Path, rendered: dict[str, Any]
) -> None:
    write_rules(rendered, folder / "rules.yml")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", folder / "rules.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alert_fires_when_it_should(
    promtool: str, folder: Path, rendered: dict[str, Any], case: Path
) -> None:
    write_rules(rendered, folder / "rules.yml")
    shutil.copyfile(case, folder / case.name)
    run(promtool, "test", "rules", folder / case.name)


def test_every_alert_is_tested_both_ways(rendered: dict[str, Any]) -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for case in CASES:
        for group in yaml.safe_load(case.read_text(encoding="utf-8"))["tests"]:
            for wanted in group.get("alert_rule_test") or []:
                (fires if wanted.get("exp_alerts") else quiet).add(wanted["alertname"])
    names = {item["alert"] for item in rendered["alerts"]}
    assert fires == names
    assert quiet == names - {"SpeechWatchdog"}


def test_prometheus_can_parse_every_query(promtool: str, rendered: dict[str, Any]) -> None:
    for name, query in queries(rendered).items():
        done = subprocess.run(
            [promtool, "--experimental", "promql", "format", query],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {query}\n{done.stderr}"


def test_every_alert_has_a_runbook_and_no_runbook_is_left_over(rendered: dict[str, Any]) -> None:
    alerts = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for group in rules(rendered)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(alerts)
    listed = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for name, address in alerts.items():
        assert address.endswith(f"/docs/runbooks/{name}.md")
        assert f"[{name}]({name}.md)" in listed
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["What it means", "What to look at", "What to do"], name


def test_thresholds_are_the_sites(tmp_path: Path) -> None:
    changed = render(tmp_path, prometheus_limits={"ttfa": 0.5, "certificate_days": 7})
    alerts = {item["alert"]: item["is"] for item in changed["alerts"]}
    assert alerts["SpeechSlowFirstAudio"] == "> 0.5"
    assert alerts["IngressCertificateExpires"] == "< 604800"
    assert alerts["SpeechQueueGrowing"] == "> 4", "what the site does not name stays"


def test_gpus_are_those_of_the_inventory(rendered: dict[str, Any]) -> None:
    expected = {
        rule["labels"]["node"]: rule["expr"]
        for group in rules(rendered)["groups"]
        for rule in group["rules"]
        if rule.get("record") == "node:gpu_expected:count"
    }
    assert expected == {"gpu1": "vector(2)", "gpu2": "vector(1)"}


def test_existing_prometheus_is_left_alone(tmp_path: Path) -> None:
    objects = render(tmp_path, prometheus_install=False)["objects"]
    kinds = {item["kind"] for item in objects}
    assert kinds >= {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"}
    assert "Prometheus" not in kinds
    names = {item["metadata"]["name"] for item in objects}
    assert names.isdisjoint({"kube-state-metrics", "node-metrics", "etcd-metrics", "kubelet"})


def test_every_workload_is_waited_for(rendered: dict[str, Any]) -> None:
    applied = {
        (item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
        for item in rendered["objects"]
        if item["kind"] in {"DaemonSet", "Deployment", "StatefulSet"}
    }
    # These two the operator's release and the operator bring.
    applied |= {
        ("Deployment", "monitoring", "prometheus-operator"),
        ("StatefulSet", "monitoring", "prometheus-prometheus"),
    }
    waited = {(item["kind"], item["namespace"], item["name"]) for item in rendered["workloads"]}
    assert waited == applied


def test_monitors_and_rules_are_found_by_their_label(tmp_path: Path) -> None:
    wanted = {"team": "speech"}
    objects = render(tmp_path, prometheus_labels=wanted)["objects"]
    actual = [item for item in objects if item["apiVersion"] == "monitoring.coreos.com/v1"]
    [prometheus] = [item for item in actual if item["kind"] == "Prometheus"]
    for kind in ("podMonitor", "serviceMonitor", "probe", "rule"):
        assert prometheus["spec"][f"{kind}Selector"] == {"matchLabels": wanted}
    for item in actual:
        if item["kind"] != "Prometheus":
            assert item["metadata"]["labels"].items() >= wanted.items(), item["metadata"]["name"]


def test_dashboards_are_grafanas(rendered: dict[str, Any]) -> None:
    boards = [
        json.loads(text)
        for item in rendered["objects"]
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get("grafana_dashboard")
        for text in item["data"].values()
    ]
    assert sorted(board["title"] for board in boards) == [
        "Speech: GPUs", "Speech: Ingress", "Speech: License", "Speech: Site overview",
        "Speech: Workers",
    ]  # fmt: skip
    assert len({board["uid"] for board in boards}) == len(boards)
    for board in boards:
        for panel in board["panels"]:
            assert panel["targets"], panel["title"]
            places = [target["refId"] for target in panel["targets"]]
            assert len(places) == len(set(places))


def test_secret_port_stays_closed_by_default(rendered: dict[str, Any], tmp_path: Path) -> None:
    def service(objects: list[dict[str, Any]]) -> dict[str, Any]:
        [items] = [
            item["spec"]
            for item in objects
            if item["kind"] == "Service" and item["metadata"]["name"] == "prometheus"
        ]
        spec: dict[str, Any] = items
        return spec

    assert service(rendered["objects"])["type"] == "ClusterIP"
    opened = service(render(tmp_path, prometheus_node_port=30090)["objects"])
    assert (opened["type"], opened["ports"][0]["nodePort"]) == ("NodePort", 30090)


def test_clients_of_prometheus_can_only_read(rendered: dict[str, Any]) -> None:
    [spec] = [item["spec"] for item in rendered["objects"] if item["kind"] == "Prometheus"]
    # By HTTP the operator starts it with --web.enable-lifecycle, which also lets any client end it.
    assert spec["reloadStrategy"] == "ProcessSignal"
    assert spec["enableAdminAPI"] is False
    assert not spec.get("enableRemoteWriteReceiver")
