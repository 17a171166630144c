#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a set of objects and prune those that left it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_applyset
short_description: Apply a set of objects and prune those that left it
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Applies objects (server-side), in one call and several at a time, and labels them with the set's name (C(baremetal.sonic/set)).
  - Objects that carry the label and are not among them are removed (see O(prune)). Nothing else is touched.
  - Namespaces, CustomResourceDefinitions and Nodes are applied, but neither labelled nor removed, since others put things into them.
  - A Node that does not exist is not made, since only a kubelet makes one. A warning names it.
  - An object with the annotation C(baremetal.sonic/needed-by) is not removed either. The value names what stays and needs it.
  - Then waits until O(workloads) run what was applied, and fails at once, saying why, when they never will,
    as M(baremetal.sonic.workloads_ready) does.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
  - baremetal.sonic.rollout
attributes:
  diff_mode:
    details: For a Secret the diff shows the names of its entries, not their values.
options:
  name:
    description: Name of the set, a valid label value.
    type: str
    required: true
  namespace:
    description: Namespace of the objects that name none.
    type: str
    default: ""
  field_manager:
    description: Field manager that the API server records as owner of the objects' fields.
    type: str
    required: true
  definitions:
    description:
      - The objects. They are applied in this order, but kinds that others need (Namespaces, for example) first.
      - Put the values of Secrets into O(secret_data), which is never shown. Otherwise the task needs C(no_log).
    type: list
    elements: dict
    required: true
  prune:
    description:
      - Whether to remove the objects of the set that are not among O(definitions).
      - V(false) is for a part of a set, and for objects that are to stay when they are no longer wanted.
    type: bool
    default: true
  secret_data:
    description:
      - Values of the Secrets in O(definitions), by the Secret's name and then by the entry's name, as text.
      - They are never shown or logged.
    type: dict
    default: {}
  kinds:
    description: Kinds whose former objects are pruned, in addition to the kinds of O(definitions).
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: Version, for example V(apps/v1).
        type: str
        required: true
      kind:
        description: Kind, for example V(Deployment).
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Apply these policies and prune former ones
  baremetal.sonic.k8s_applyset:
    kubeconfig: /etc/kubernetes/admin.conf
    name: egress
    namespace: cartesia
    field_manager: baremetal.sonic.egress
    definitions: "{{ policies }}"
    kinds:
      - {api_version: networking.k8s.io/v1, kind: NetworkPolicy}
"""

RETURN = r"""
objects:
  description: Kind and name of each object that was made, changed or removed (or would be, in check mode).
  type: list
  elements: str
  returned: always
statuses:
  description: The C(status) of each of O(definitions) that has one, with its C(kind), C(namespace) and C(name).
  type: list
  elements: dict
  returned: success, but for a cluster that does not exist yet
absent_nodes:
  description: Nodes of O(definitions) that do not exist.
  type: list
  elements: str
  returned: success, but for a cluster that does not exist yet
passed_over:
  description: Nodes that were not waited for, with the reason, as M(baremetal.sonic.workloads_ready) returns them.
  type: dict
  returned: when something was waited for
cause:
  description: What kind of failure of O(workloads) it is, as M(baremetal.sonic.workloads_ready) returns it.
  type: str
  returned: when the wait failed
elapsed_s:
  description: Seconds that the wait took.
  type: float
  returned: when something was waited for
workloads:
  description: The state of each of O(workloads) at the end, as M(baremetal.sonic.workloads_ready) returns it.
  type: list
  elements: dict
  returned: when something was waited for
"""

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.applyset import (
    AppliedSet,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.objects import (
    essence,
    with_secrets,
    without_secrets,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.types import Object
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.module import (
    WAIT_OPTIONS,
    finish_applied,
)


def shown(item: Object | None) -> Object | str:
    """Return an object as a diff shows it: without noise and without secrets."""
    return "" if item is None else without_secrets(essence(item))


def statuses(items: Iterable[Object]) -> list[dict[str, Any]]:
    """What the objects that have a status say in it."""
    return [
        {
            "kind": item["kind"],
            "namespace": item["metadata"].get("namespace", ""),
            "name": item["metadata"]["name"],
            "status": item["status"],
        }
        for item in items
        if item.get("status")
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **WAIT_OPTIONS,
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": ""},
            "field_manager": {"type": "str", "required": True},
            "definitions": {"type": "list", "elements": "dict", "required": True},
            "prune": {"type": "bool", "default": True},
            "secret_data": {"type": "dict", "default": {}, "no_log": True},
            "kinds": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "api_version": {"type": "str", "required": True},
                    "kind": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    client = client_of(
        module, f"apply the set {params['name']}", changed=True, objects=[], statuses=[]
    )
    kinds = [(item["api_version"], item["kind"]) for item in params["kinds"]]
    wanted = AppliedSet(client, params["name"], params["field_manager"], params["namespace"])
    try:
        items, hidden = with_secrets(params["definitions"], params["secret_data"])
        module.no_log_values.update(hidden)
        changes = wanted.sync(items, kinds, module.check_mode, prune=params["prune"])
    except LookupError as error:
        module.fail_json(msg=f"secret_data: {error.args[0]}")
        raise
    except KubeError as error:
        module.fail_json(msg=f"the set {params['name']} cannot be applied: {error}")
        raise
    for name in sorted(wanted.absent_nodes):
        module.warn(
            f"Node {name} does not exist, so it got no labels: run again when its host has joined"
        )
    result: dict[str, Any] = {
        "changed": bool(changes),
        "objects": [change.called for change in changes],
        "statuses": statuses(wanted.live.values()),
        "absent_nodes": sorted(wanted.absent_nodes),
    }
    if module._diff:
        result["diff"] = [
            {
                "before_header": change.called,
                "after_header": change.called,
                "before": shown(change.before),
                "after": shown(change.after),
            }
            for change in changes
        ]
    finish_applied(module, client, **result)


if __name__ == "__main__":
    main()
