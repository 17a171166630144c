#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a site's figures from its Prometheus as one HTML page."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_report
short_description: Write a site's figures from its Prometheus as one HTML page
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Queries Prometheus through the Kubernetes API, so that it need not be reachable from outside, and
    returns a page with the figures of the last minutes and the firing alerts.
  - The page is complete (inline SVG, no script), so that you can mail or keep it.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
options:
  namespace:
    description: Namespace of Prometheus.
    type: str
    default: monitoring
  service:
    description: Name of its Service and the Service's port.
    type: str
    default: prometheus-operated:9090
  title:
    description: Heading of the page.
    type: str
    required: true
  minutes:
    description: Minutes that the figures show.
    type: int
    default: 60
  sections:
    description: Sections of the page.
    type: list
    elements: dict
    required: true
    suboptions:
      title:
        description: Heading.
        type: str
        required: true
      panels:
        description:
          - Figures, each with C(title), C(unit) (as Grafana names it), C(queries) (a list of
            C(expr) and C(legend)), and optionally a C(description).
        type: list
        elements: dict
        required: true
"""

EXAMPLES = r"""
- name: Write the last hour
  baremetal.sonic.site_report:
    kubeconfig: /etc/kubernetes/admin.conf
    title: Site rack1
    sections:
      - title: Workers
        panels:
          - title: Streams
            unit: short
            queries:
              - expr: sum by (pod) (inferno_worker_load)
                legend: !unsafe "{{pod}}"
  register: report
"""

RETURN = r"""
html:
  description: The page.
  type: str
  returned: success
firing:
  description: Names of the alerts that fire.
  type: list
  elements: str
  returned: success
empty:
  description: Titles of the figures without a single measurement.
  type: list
  elements: str
  returned: success
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeApi, KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.store import service_proxy
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.report import (
    Panel,
    Section,
    Series,
    legend,
    page,
)

# Points of a line: about two for each that the page can show would be wasted.
POINTS = 240


class Prometheus:
    """Prometheus' HTTP API, through the Kubernetes API's proxy to its Service."""

    def __init__(self, api: KubeApi, namespace: str, service: str) -> None:
        self._api = api
        self._base = f"{service_proxy(namespace, service)}/api/v1"

    def _ask(self, what: str, **query: str) -> Any:
        """Raises KubeError, also for a query that Prometheus refuses."""
        answer = self._api.get(f"{self._base}/{what}", **query)
        if answer.get("status") != "success":
            raise KubeError(str(answer.get("error") or json.dumps(answer)[:200]))
        return answer["data"]

    def series(
        self, query: Mapping[str, str], start: float, end: float, step: float
    ) -> list[Series]:
        """Return a query's lines. Raises KubeError."""
        data = self._ask(
            "query_range",
            query=query["expr"], start=f"{start:.0f}", end=f"{end:.0f}", step=f"{step:.0f}",
        )  # fmt: skip
        return [
            Series(
                legend(query.get("legend", ""), item["metric"]),
                [(float(when), float(value)) for when, value in item["values"]],
            )
            for item in data["result"]
        ]

    def firing(self) -> list[tuple[str, str, str]]:
        """Severity, name and summary of each alert that fires and is meant for people."""
        alerts = [
            (alert["labels"].get("severity", ""), alert["labels"]["alertname"],
             alert["annotations"].get("summary", ""))
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing"
        ]  # fmt: skip
        return sorted(item for item in alerts if item[0] != "none")


def panel_of(prometheus: Prometheus, wanted: Mapping[str, Any], start: float, end: float) -> Panel:
    """Return a panel with its measurements, or with why there are none."""
    step = max(15.0, (end - start) / POINTS)
    series: list[Series] = []
    problem = ""
    try:
        for query in wanted["queries"]:
            series += prometheus.series(query, start, end, step)
    except KubeError as error:
        problem = f"Prometheus did not answer: {error}"
    return Panel(
        wanted["title"], wanted.get("unit", "short"), wanted.get("description", ""), series, problem
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "default": "monitoring"},
            "service": {"type": "str", "default": "prometheus-operated:9090"},
            "title": {"type": "str", "required": True},
            "minutes": {"type": "int", "default": 60},
            "sections": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "title": {"type": "str", "required": True},
                    "panels": {"type": "list", "elements": "dict", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    client = client_of(module, "ask Prometheus", html="", firing=[], empty=[])
    prometheus = Prometheus(client, params["namespace"], params["service"])
    end = time.time()
    start = end - params["minutes"] * 60
    try:
        alerts = prometheus.firing()
    except KubeError as error:
        module.fail_json(
            msg=f"Prometheus ({params['service']} in {params['namespace']}) cannot be asked:"
            f" {error}. Is it there? playbooks/platform.yml installs it"
        )
        raise
    with ThreadPoolExecutor(8) as pool:
        sections = [
            Section(
                section["title"],
                list(
                    pool.map(
                        lambda panel: panel_of(prometheus, panel, start, end), section["panels"]
                    )
                ),
            )
            for section in params["sections"]
        ]
    listed = [(severity, f"{name}: {summary}") for severity, name, summary in alerts]
    empty = [
        panel.title
        for section in sections
        for panel in section.panels
        if not any(line.values for line in panel.series)
    ]
    module.exit_json(
        changed=False,
        html=page(params["title"], sections, listed, start, end),
        firing=[name for _severity, name, _summary in alerts],
        empty=empty,
    )


if __name__ == "__main__":
    main()
