#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a site's cluster, platform and stack against its inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_checks
short_description: Check a site's cluster, platform and stack against its inventory
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Lists each kind of object once, asks Prometheus through the Kubernetes API, and compares both with what the inventory wants.
  - Returns a result for every check, also for those whose input cannot be read. These fail.
  - A check that fails because another one failed is skipped, and names that one.
  - Does not fail itself. M(baremetal.sonic.verify) does, with the results of this and other modules.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
options:
  namespace:
    description: Namespace of the speech stack.
    type: str
    required: true
  workers:
    description: The workers, as the filter P(baremetal.sonic.worker_specs#filter) returns them.
    type: list
    elements: dict
    required: true
  nodes:
    description: Names of the nodes that the cluster must have.
    type: list
    elements: str
    required: true
  gpus:
    description: Number of GPUs that each node must offer, by its name.
    type: dict
    required: true
  kubernetes:
    description: Version of Kubernetes, without a leading v.
    type: str
    required: true
  image_digests:
    description: Digests of images by their names with tag, as site_image_digests has them.
    type: dict
    default: {}
  policies:
    description: Network policies that must exist, each as NAMESPACE/NAME.
    type: list
    elements: str
    default: []
  encryption:
    description: Whether Secrets must be encrypted in etcd.
    type: bool
    default: true
  prometheus_namespace:
    description: Namespace of Prometheus.
    type: str
    default: monitoring
  prometheus_service:
    description: Name of its Service and the Service's port.
    type: str
    default: prometheus-operated:9090
  limits:
    description: Limits by the id of their check, in place of the defaults. An id without a limit is an error.
    type: dict
    default: {}
  skip:
    description: Ids of checks that M(baremetal.sonic.verify) skips. Their failures explain no other one.
    type: list
    elements: str
    default: []
  retries:
    description:
      - How often to check again after 15 seconds, while a check fails. Right after a deployment, some things need a moment. KEDA's first poll
        may fail, for example.
    type: int
    default: 0
seealso:
  - module: baremetal.sonic.verify
"""

EXAMPLES = r"""
- name: Check the site
  baremetal.sonic.site_checks:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    workers: "{{ site_workers }}"
    nodes: [cp1, gpu1]
    gpus:
      gpu1: 8
    kubernetes: "{{ site_versions.kubernetes }}"
    limits:
      certificates: 30
  register: site
"""

RETURN = r"""
checks:
  description: The results.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Id of the check.
      type: str
    title:
      description: What it checks.
      type: str
    verdict:
      description: C(pass), C(warn), C(fail) or C(skipped).
      type: str
    evidence:
      description: What was seen, or why the check was skipped.
      type: str
    remedy:
      description: What to do. Empty when there is nothing to do.
      type: str
    runbook:
      description: A page below docs, or empty.
      type: str
    figures:
      description: Measurements for plots.
      type: list
      elements: dict
    ends:
      description: Dates on which something ends.
      type: list
      elements: dict
verdict:
  description: The worst verdict.
  type: str
  returned: success
versions:
  description: Versions that run.
  type: dict
  returned: success
"""

import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.catalogue import (
    LimitsError,
    limits_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import (
    FAIL,
    Check,
    overall,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.definitions import (
    DEFINITIONS,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.site import (
    Seen,
    SiteApi,
    UnreadableError,
    Wanted,
    Worker,
    gather,
    run,
)

# Between two looks at a site.
PAUSE_S = 15.0


def workers_of(specs: list[dict[str, Any]]) -> list[Worker]:
    """Return the workers of the option. Raises ValueError with a message."""
    workers = []
    for number, spec in enumerate(specs):
        try:
            workers.append(Worker.of(spec))
        except (KeyError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"workers[{number}]: {what}: give the list that the filter"
                " baremetal.sonic.worker_specs returns"
            ) from error
    return workers


def gpus_of(given: dict[str, Any]) -> dict[str, int]:
    """Return the GPUs of the option. Raises ValueError with a message."""
    counts = {}
    for name, count in given.items():
        try:
            counts[name] = int(count)
        except (TypeError, ValueError) as error:
            raise ValueError(f"gpus: {name}: {count!r} is not a whole number") from error
    return counts


def versions_of(seen: Seen) -> dict[str, str]:
    """Return the versions that nodes report; empty when they cannot be read."""
    try:
        infos = [(node.get("status") or {}).get("nodeInfo") or {} for node in seen.items("nodes")]
    except UnreadableError:
        return {}
    names = {
        "kubernetes": "kubeletVersion",
        "containerd": "containerRuntimeVersion",
        "kernel": "kernelVersion",
        "system": "osImage",
    }
    return {
        name: ", ".join(
            sorted({str(info[key]).rpartition("//")[2] for info in infos if key in info})
        )
        for name, key in names.items()
    }


def checked(
    api: SiteApi, prometheus: tuple[str, str], wanted: Wanted, retries: int
) -> tuple[Seen, list[Check]]:
    """Return what was read, and the checks' results: the first without a failure, or the last."""
    while True:
        wanted = replace(wanted, now=datetime.now(timezone.utc))
        seen = gather(api, prometheus)
        checks = run(DEFINITIONS, seen, wanted)
        failed = [c.id for c in checks if c.verdict == FAIL and c.id not in wanted.skip]
        if not failed or retries < 1:
            return seen, checks
        retries -= 1
        time.sleep(PAUSE_S)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "dict", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "gpus": {"type": "dict", "required": True},
            "kubernetes": {"type": "str", "required": True},
            "image_digests": {"type": "dict", "default": {}},
            "policies": {"type": "list", "elements": "str", "default": []},
            "encryption": {"type": "bool", "default": True},
            "prometheus_namespace": {"type": "str", "default": "monitoring"},
            "prometheus_service": {"type": "str", "default": "prometheus-operated:9090"},
            "limits": {"type": "dict", "default": {}},
            "skip": {"type": "list", "elements": "str", "default": []},
            "retries": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        limits = limits_of(params["limits"])
    except LimitsError as error:
        module.fail_json(msg=f"limits: {error}")
        raise
    try:
        workers = workers_of(params["workers"])
        gpus = gpus_of(params["gpus"])
    except ValueError as error:
        module.fail_json(msg=str(error))
        raise
    client = client_of(module, "check the site", checks=[], verdict="skipped", versions={})
    wanted = Wanted(
        namespace=params["namespace"],
        workers=workers,
        gpus=gpus,
        nodes=params["nodes"],
        kubernetes=params["kubernetes"],
        digests=params["image_digests"],
        policies=params["policies"],
        encryption=params["encryption"],
        now=datetime.now(timezone.utc),
        limits=limits,
        skip=params["skip"],
    )
    prometheus = (params["prometheus_namespace"], params["prometheus_service"])
    seen, checks = checked(client, prometheus, wanted, params["retries"])
    module.exit_json(
        changed=False,
        checks=[check.as_dict() for check in checks],
        verdict=overall(checks),
        versions=versions_of(seen),
    )


if __name__ == "__main__":
    main()
