# SPDX-License-Identifier: Apache-2.0
"""The role prometheus' objects as Ansible renders them, and what a Prometheus answers."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.playbooks import ROOT, offline

ROLE = ROOT / "roles/prometheus"
INVENTORY = {
    "all": {
        "children": {
            "control_plane": {"hosts": {"cp1": {"ansible_host": "192.0.2.11"}}},
            "ingress": {"hosts": {"cp1": {}}},
            "gpu_workers": {
                "hosts": {
                    "gpu1": {"ansible_host": "192.0.2.21", "nvidia_driver_gpu_count": 2},
                    "gpu2": {"ansible_host": "192.0.2.22"},
                }
            },
        }
    }
}


def render(folder: Path, **variables: Any) -> dict[str, Any]:
    """Return the role's alerts, records, dashboards, workloads and objects, as JSON has them.

    The folder takes the files that this needs. `variables` are a site's.
    """
    result = folder / "rendered.json"
    objects = "lookup('ansible.builtin.template', template) | from_yaml_all | select | list"
    templates = {
        "alerts": "{{ prometheus_alerts }}",
        "records": "{{ prometheus_records }}",
        "dashboards": "{{ prometheus_dashboards }}",
        "workloads": "{{ prometheus_workloads }}",
        "objects": "{{ " + objects + " }}",
    }
    play = {
        "hosts": "control_plane",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [
            str(path)
            for path in (
                ROOT / "roles/site/defaults/main.yml",
                ROOT / "roles/site/vars/main.yml",
                ROLE / "defaults/main.yml",
                *sorted((ROLE / "vars/main").glob("*.yml")),
            )
        ],
        "tasks": [
            {
                "ansible.builtin.copy": {"content": templates, "dest": str(result), "mode": "0600"},
                "vars": {"ansible_python_interpreter": sys.executable},
            }
        ],
    }
    site = {
        "prometheus_workers": ["tts-worker"],
        "prometheus_ingress_names": ["speech.example.com", "voice.example.com"],
    }
    extra = site | {"template": str(ROLE / "templates/objects.yml.j2")} | variables
    offline(folder, INVENTORY, play, extra)
    rendered: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return rendered


def rules(rendered: dict[str, Any]) -> dict[str, Any]:
    """The rule file that the operator makes of the PrometheusRule."""
    [spec] = [item["spec"] for item in rendered["objects"] if item["kind"] == "PrometheusRule"]
    groups: dict[str, Any] = spec
    return groups


def write_rules(rendered: dict[str, Any], path: Path) -> None:
    """Write that rule file."""
    path.write_text(yaml.safe_dump(rules(rendered), sort_keys=False), encoding="utf-8")


def queries(rendered: dict[str, Any]) -> dict[str, str]:
    """Every query of every rule and dashboard, by where it is; of an alert, what it compares."""
    expressions = {f"record {item['record']}": item["expr"] for item in rendered["records"]}
    expressions |= {f"alert {item['alert']}": item["value"] for item in rendered["alerts"]}
    for dashboard in rendered["dashboards"]:
        for panel in dashboard["panels"]:
            for query in panel["queries"]:
                name = f"{dashboard['title']}: {panel['title']} ({query['legend']})"
                expressions[name] = query["expr"]
    return expressions


class Prometheus:
    """Prometheus' HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **query: str) -> Any:
        """Return the data of an answer."""
        address = f"{self._url}/api/v1/{path}?{urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        return content["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return an instant query's series."""
        items: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return items

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Return an instant query's values by a label."""
        return {
            item["metric"].get(label, ""): float(item["value"][1])
            for item in self.query(expression)
        }
