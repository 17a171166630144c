#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until speech workers report capacity, or fail with the reason."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_capacity
short_description: Wait until speech workers report capacity, or fail with the reason
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Waits until the rollout of every named worker is complete and each of its ready pods reports
    C(inferno_worker_capacity) above 0, that is, has its model loaded.
  - Waits for O(workloads) and O(api_services) in the same watch.
  - The metrics are read from the pods through the API server, so nothing needs to be exposed.
  - Fails at once with the reason when a pod cannot get there, as
    M(baremetal.sonic.workloads_ready) does.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
  - baremetal.sonic.rollout
  - baremetal.sonic.waiting
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Looks once, reports what it would wait for, and does not fail for what is missing.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing.
options:
  namespace:
    description: Namespace of the workers.
    type: str
    required: true
  workers:
    description:
      - The workers, each a Deployment, as the filter P(baremetal.sonic.worker_specs#filter) returns them.
      - Each needs C(name), C(autoscaled) and C(min_replicas). Other keys are ignored.
      - An autoscaled worker is also ready while nodes have no room for more than C(min_replicas) pods, and with 0 while it
        is scaled to no pods.
    type: list
    elements: dict
    required: true
  min_capacity:
    description:
      - Least capacity of each worker, summed over its ready pods, in streams at once.
      - With V(0) a worker that is scaled to no pods passes.
    type: int
    default: 1
  metrics_port:
    description: Port on which the pods serve C(/metrics).
    type: int
    default: 8080
seealso:
  - module: baremetal.sonic.workloads_ready
"""

EXAMPLES = r"""
- name: Wait until the worker can speak
  baremetal.sonic.worker_capacity:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    workers:
      - name: tts-worker
        autoscaled: true
        min_replicas: 1
    timeout: 900
"""

RETURN = r"""
cause:
  description:
    - What kind of failure it is, V(image), V(crash), V(config), V(refused), V(unschedulable),
      V(quota), V(missing), V(paused) or V(timeout).
  type: str
  returned: on failure
elapsed_s:
  description: Seconds that the wait took.
  type: float
  returned: always
progress:
  description: Where this part of the wait ended, what the pods are doing.
  type: list
  elements: str
  returned: with O(part_s), while it is not the end
waited:
  description: The same option for the next part.
  type: dict
  returned: with O(part_s), while it is not the end
msg:
  description: Why it failed; in check mode, what it would wait for.
  type: str
  returned: on failure, and in check mode when something is not ready
workers:
  description: For each worker's name, what it offers.
  type: dict
  returned: always
  contains:
    replicas:
      description: Pods wanted.
      type: int
    ready:
      description: Pods ready.
      type: int
    capacity:
      description: Streams at once over all ready pods, by inferno_worker_capacity.
      type: float
    load:
      description: Streams running over all ready pods, by inferno_worker_load.
      type: float
    pods:
      description: For each ready pod, its capacity, load, and what was wrong with its metrics.
      type: dict
workloads:
  description: The state of each workload at the end, as M(baremetal.sonic.workloads_ready) has it.
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.metrics import (
    CapacityCheck,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.module import (
    PART_OPTIONS,
    WAIT_OPTIONS,
    finish,
    run_wait,
    wait_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.progress import (
    Target,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **WAIT_OPTIONS,
            **PART_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "dict", "required": True},
            "min_capacity": {"type": "int", "default": 1},
            "metrics_port": {"type": "int", "default": 8080},
        },
        supports_check_mode=True,
    )
    namespace = module.params["namespace"]
    specs = module.params["workers"]
    try:
        workers = [Target("Deployment", namespace, spec["name"]) for spec in specs]
        min_replicas = {
            worker: int(spec["min_replicas"])
            for worker, spec in zip(workers, specs, strict=True)
            if spec["autoscaled"]
        }
    except (KeyError, TypeError, ValueError) as error:
        module.fail_json(
            msg=f"workers: {error}: give each worker name, autoscaled and min_replicas, as the"
            " filter baremetal.sonic.worker_specs does"
        )
        raise
    would = "wait for " + ", ".join(map(str, workers))
    client = client_of(module, would, workers={}, workloads=[], elapsed_s=0.0)
    check = CapacityCheck(
        client,
        workers,
        module.params["min_capacity"],
        module.params["metrics_port"],
        min_replicas,
    )
    wait = wait_of(module, client, workers, check=check, min_replicas=min_replicas)
    outcome = run_wait(module, wait)
    finish(module, outcome, workers=check.summary(outcome.assessments))


if __name__ == "__main__":
    main()
