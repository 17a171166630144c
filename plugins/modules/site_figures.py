#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a site's speech figures and images, and compare them with former ones."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_figures
short_description: Read a site's speech figures and images, and compare them with former ones
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Reads requests, error rate, time to first audio, capacity and restarts from the site's Prometheus, through the API server.
  - Checks that every pod of the collection's workloads runs the images that its workload wants, by digest where one is given.
  - Reports as RV(problems) what is worse than O(before) by more than O(limits). It does not fail for them.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
options:
  namespace:
    description: Namespace of the stack.
    type: str
    required: true
  prometheus_namespace:
    description: Namespace of Prometheus. Empty to read no figures.
    type: str
    default: monitoring
  prometheus_service:
    description: Service of Prometheus, as C(NAME:PORT).
    type: str
    default: prometheus-operated:9090
  seconds:
    description: How far to look back.
    type: int
    default: 300
  before:
    description: RV(figures) of a former call. Empty to compare with nothing.
    type: dict
    default: {}
  limits:
    description:
      - How much worse than O(before) a figure may be.
      - C(error_rate) is added to the former rate. C(ttfa) and C(capacity) are factors. C(ttfa_floor) is a time in seconds that is always
        accepted. C(restarts) is a number of containers.
    type: dict
    default: {error_rate: 0.01, ttfa: 2.0, ttfa_floor: 0.5, capacity: 0.9, restarts: 0}
  images:
    description: Image that each of these Deployments must want, by its name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Read the figures of the last five minutes
  baremetal.sonic.site_figures:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
  register: figures
"""

RETURN = r"""
figures:
  description: Each figure by its name. A figure without measurements is null.
  type: dict
  returned: always
images:
  description: The images of each workload, by its name.
  type: dict
  returned: always
problems:
  description: What is worse than before, and which pods run other images.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._site.figures import (
    QUERIES,
    compare,
    figures,
    images,
)

LIMITS = {"error_rate": 0.01, "ttfa": 2.0, "ttfa_floor": 0.5, "capacity": 0.9, "restarts": 0}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "prometheus_namespace": {"type": "str", "default": "monitoring"},
            "prometheus_service": {"type": "str", "default": "prometheus-operated:9090"},
            "seconds": {"type": "int", "default": 300},
            "before": {"type": "dict", "default": {}},
            "limits": {"type": "dict", "default": LIMITS},
            "images": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    if unknown := params["limits"].keys() - LIMITS.keys():
        module.fail_json(
            msg=f"limits: {', '.join(sorted(unknown))} is unknown: use {', '.join(LIMITS)}"
        )
    limits = {name: float(value) for name, value in (LIMITS | params["limits"]).items()}
    client = client_of(module, "read the site's figures", figures={}, images={}, problems=[])
    measured: dict[str, Any] = dict.fromkeys(QUERIES)
    problems: list[str] = []
    if params["prometheus_namespace"]:
        service = (params["prometheus_namespace"], params["prometheus_service"])
        try:
            measured = figures(client, service, params["namespace"], params["seconds"])
        except KubeError as error:
            problems.append(
                f"Prometheus ({service[1]} in {service[0]}) cannot be asked: {error}. Install it by"
                " playbooks/platform.yml, or set rollout_figures to false"
            )
        else:
            problems += compare(params["before"], measured, limits) if params["before"] else []
    try:
        wanted, wrong = images(client, params["namespace"], params["images"])
    except KubeError as error:
        module.fail_json(msg=f"the Kubernetes API cannot be asked: {error}")
        raise
    module.exit_json(changed=False, figures=measured, images=wanted, problems=problems + wrong)


if __name__ == "__main__":
    main()
