#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the rollout of speech workers with the free GPUs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_rollout
short_description: Plan the rollout of speech workers with the free GPUs
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Finds out by a server-side dry run which running workers these objects would change, and
    returns a rollout strategy that keeps as much capacity as possible and always ends.
  - A worker whose pods are replaced gets new pods beside the old ones as far as GPUs are free. For
    the rest, old pods end first. Every other worker gets C(maxSurge) 0, C(maxUnavailable) 1.
  - Fails when the objects hold a ScaledObject and the cluster has no KEDA.
  - Reads only.
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
options:
  namespace:
    description: Namespace of the workers.
    type: str
    required: true
  definitions:
    description: The objects to apply. The module reads the Deployments and ScaledObjects.
    type: list
    elements: dict
    required: true
  field_manager:
    description:
      - Field manager of the later apply. Only with the same name does the
        dry run show the fields that the apply removes.
    type: str
    required: true
  step:
    description: Pods of a worker that are replaced at a time.
    type: int
    default: 1
seealso:
  - module: baremetal.sonic.worker_capacity
"""

EXAMPLES = r"""
- name: Plan the rollout
  baremetal.sonic.worker_rollout:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    definitions: "{{ lookup('ansible.builtin.template', 'workers.yml.j2') | from_yaml_all | list }}"
    field_manager: baremetal.sonic.workers
  register: workers_plan
"""

RETURN = r"""
strategies:
  description: For each worker's name, the C(rollingUpdate) to apply it with.
  type: dict
  returned: success
  sample: {"tts-worker": {"maxSurge": 1, "maxUnavailable": 0}}
surging:
  description: Whether a strategy is not the one at rest, which it should get back after the rollout.
  type: bool
  returned: success
waves:
  description: Batches of the longest rollout, one after the other; 0 when no pod is replaced.
  type: int
  returned: success
replaced:
  description: Names of the workers whose pods are replaced.
  type: list
  elements: str
  returned: success
before:
  description:
    - Of the workers whose pods are replaced, the Deployments as they were applied before. Applied
      again under the same field manager, they bring back what ran.
    - Without those whose rollout was not complete; it would not help to go back to them.
  type: list
  elements: dict
  returned: success
handover:
  description:
    - Deployments, cut to the number of their pods. An autoscaler is to set it from now on, and it
      would fall to 1 until then. Apply them first, under another field manager.
  type: list
  elements: dict
  returned: success
keda:
  description: Whether the cluster knows ScaledObjects.
  type: bool
  returned: success
stale:
  description: ScaledObjects, cut to their names, of workers that are no longer autoscaled.
  type: list
  elements: dict
  returned: success
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout import workers


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "definitions": {"type": "list", "elements": "dict", "required": True},
            "field_manager": {"type": "str", "required": True},
            "step": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    params = module.params
    definitions, namespace = params["definitions"], params["namespace"]
    if params["step"] < 1:
        module.fail_json(
            msg=f"step is {params['step']}: at least 1 pod has to be replaced at a time"
        )
    nothing = workers.Plan(strategies={})
    client = client_of(module, "plan the rollout of the workers", surging=False, **asdict(nothing))
    try:
        plan = workers.make(client, definitions, namespace, params["step"], params["field_manager"])
    except KubeError as error:
        module.fail_json(msg=f"the Kubernetes API cannot be asked: {error}")
        raise
    # In check mode the role keda has not installed KEDA either.
    scaled = workers.kinds(definitions, "ScaledObject")
    if scaled and not plan.keda and not module.check_mode:
        module.fail_json(
            msg=f"autoscaling is on for {', '.join(scaled)}, but the cluster has no KEDA (no kind"
            " ScaledObject of keda.sh/v1alpha1): run playbooks/platform.yml, or set"
            " autoscaling.enabled to false in workers"
        )
    module.exit_json(changed=False, surging=plan.surging, **asdict(plan))


if __name__ == "__main__":
    main()
