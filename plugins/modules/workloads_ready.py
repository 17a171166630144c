#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until workloads have completed their rollout, or fail with the reason."""

from __future__ import annotations

DOCUMENTATION = r"""
module: workloads_ready
short_description: Wait until workloads have completed their rollout, or fail with the reason
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Waits, in one call and by watching, until every listed Deployment, DaemonSet and StatefulSet
    runs only pods of its newest revision, all of them available.
  - Fails at once with the reason when a workload cannot get there. An image cannot
    be pulled, a container crashes repeatedly (with its last log lines), no node has room
    (with the pods that hold the GPUs), a container cannot be created, the API server refuses its pods, or
    the workload does not exist.
  - Passes over nodes that do not answer (their Ready condition is Unknown) or are cordoned, and warns. Of these no pod of a DaemonSet is
    expected and no resource, and of a StatefulSet's pods more than half suffice then. So is a node of O(node_resources) that does not exist.
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
  node_resources:
    description: Also wait until nodes offer at least this much of an extended resource.
    type: dict
    suboptions:
      resource:
        description: Name of the resource, for example V(nvidia.com/gpu).
        type: str
        required: true
      nodes:
        description: For each node's name, the least count.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Wait for the device plugin and the GPUs it announces
  baremetal.sonic.workloads_ready:
    kubeconfig: /etc/kubernetes/admin.conf
    workloads:
      - kind: DaemonSet
        namespace: kube-system
        name: nvidia-device-plugin
    node_resources:
      resource: nvidia.com/gpu
      nodes:
        gpu1: 2
        gpu2: 4
    timeout: 120
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
passed_over:
  description: Nodes that were not waited for, with the reason.
  type: dict
  returned: always
  sample: {gpu2: does not answer}
workloads:
  description: The state of each workload at the end.
  type: list
  elements: dict
  returned: always
  contains:
    kind:
      description: Kind of the workload.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    exists:
      description: Whether it exists.
      type: bool
    complete:
      description: Whether its rollout is complete.
      type: bool
    message:
      description: Progress, in words.
      type: str
    desired:
      description: Pods wanted.
      type: int
    ready:
      description: Pods ready.
      type: int
    pods:
      description: State of each of its pods, in words.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.module import (
    PART_OPTIONS,
    WAIT_OPTIONS,
    finish,
    run_wait,
    targets_of,
    wait_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.wait import (
    NodeResources,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **WAIT_OPTIONS,
            **PART_OPTIONS,
            "node_resources": {
                "type": "dict",
                "options": {
                    "resource": {"type": "str", "required": True},
                    "nodes": {"type": "dict", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    node_resources = None
    if module.params["node_resources"]:
        wanted = module.params["node_resources"]
        try:
            nodes = {str(node): int(count) for node, count in wanted["nodes"].items()}
        except (TypeError, ValueError):
            module.fail_json(msg="node_resources.nodes: every node needs a whole number")
            raise
        node_resources = NodeResources(wanted["resource"], nodes)
    targets = ", ".join(map(str, targets_of(module.params)))
    client = client_of(module, f"wait for {targets or 'nodes'}", workloads=[], elapsed_s=0.0)
    finish(module, run_wait(module, wait_of(module, client, node_resources=node_resources)))


if __name__ == "__main__":
    main()
