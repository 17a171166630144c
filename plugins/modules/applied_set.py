#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies a set of objects, and removes what was in it before and is not any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: applied_set
short_description: Applies a set of objects, and removes what was in it before and is not any more
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Applies objects to one namespace (server-side), in one call, and labels them with the set's name (C(baremetal.sonic/set)).
  - Objects in that namespace that carry the label and are not among them are removed. Nothing else is touched.
  - Makes the namespace if it is not there.
extends_documentation_fragment:
  - baremetal.sonic.attributes
options:
  kubeconfig:
    description: Path, on the host that runs the module, of the kubeconfig to use.
    type: path
    required: true
  context:
    description: Context of the kubeconfig; its current one by default.
    type: str
  name:
    description: Name of the set, a valid label value.
    type: str
    required: true
  namespace:
    description: Namespace of the set's objects.
    type: str
    required: true
  definitions:
    description: The objects, in the order in which they are applied. They are put into O(namespace), whatever they say.
    type: list
    elements: dict
    required: true
  kinds:
    description: Kinds of which objects may be left over from before, beside those of O(definitions).
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
requirements:
  - kubernetes (Python package) on the host that runs the module
"""

EXAMPLES = r"""
- name: Have these policies in the namespace, and no other ones of ours
  baremetal.sonic.applied_set:
    kubeconfig: /etc/kubernetes/admin.conf
    name: egress
    namespace: cartesia
    definitions: "{{ policies }}"
    kinds:
      - {api_version: networking.k8s.io/v1, kind: NetworkPolicy}
"""

RETURN = r"""
objects:
  description: Kind and name of each object that was made, changed or removed (in check mode, that would be).
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils.applied_set import (
    AppliedSet,
    essence,
)
from ansible_collections.baremetal.sonic.plugins.module_utils.kube import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils.rollout_module import client_of


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "context": {"type": "str"},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "definitions": {"type": "list", "elements": "dict", "required": True},
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
    client = client_of(module, f"the set {params['name']}", objects=[])
    kinds = [(item["api_version"], item["kind"]) for item in params["kinds"]]
    wanted = AppliedSet(client, params["name"], params["namespace"])
    try:
        changes = wanted.sync(params["definitions"], kinds, module.check_mode)
    except KubeError as error:
        module.fail_json(msg=f"the set {params['name']} cannot be applied: {error}")
        raise
    result: dict[str, Any] = {
        "changed": bool(changes),
        "objects": [change.called for change in changes],
    }
    if module._diff:
        result["diff"] = [
            {
                "before_header": change.called,
                "after_header": change.called,
                "before": essence(change.before) if change.before else "",
                "after": essence(change.after) if change.after else "",
            }
            for change in changes
        ]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
