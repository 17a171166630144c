#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage a Helm release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Manage a Helm release
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Deploys a release from a chart with exactly the given values.
  - Renders the chart with a server-side dry run first, and makes a new revision only when values, chart or
    rendered objects differ from those of the deployed revision. M(kubernetes.core.helm) needs
    the plugin helm-diff to notice a chart that changed without its version, or to show a diff.
  - Helm reads the values from its standard input. They are in no file and in no command line.
  - Does not wait for the workloads; M(baremetal.sonic.worker_capacity) does, and reports why they fail.
  - As Helm, keeps changes that other programs made to the release's objects.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.helm
options:
  state:
    description:
      - V(rolled_back) deploys revision O(revision) again, as a new revision.
      - V(absent) removes the release with its objects and its history.
    type: str
    choices: [absent, present, rolled_back]
    default: present
  replacing:
    description:
      - Check mode only. Accept existing objects with the chart's names that are not the release's, because
        earlier tasks would remove them outside check mode.
    type: bool
    default: false
  revision:
    description: The revision to roll back to.
    type: int
  history:
    description: Revisions that Helm keeps.
    type: int
    default: 10
  timeout:
    description: Seconds that a removal may take.
    type: int
    default: 120
seealso:
  - module: baremetal.sonic.helm_canary
  - module: kubernetes.core.helm
"""

EXAMPLES = r"""
- name: Deploy the vendor's chart
  baremetal.sonic.helm_release:
    kubeconfig: /etc/kubernetes/admin.conf
    name: cartesia
    namespace: cartesia
    chart: /opt/baremetal-sonic/charts/cartesia-1.0.0.tgz
    values:
      clusterName: rack1
"""

RETURN = r"""
revision:
  description: The release's revision at the end; 0 when there is none.
  type: int
  returned: success
previous:
  description: The revision that was deployed before, for a rollback; 0 when there was none.
  type: int
  returned: success
workloads:
  description: The release's Deployments, StatefulSets and DaemonSets (kind, namespace, name).
  type: list
  elements: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._helm import client as helm
from ansible_collections.baremetal.sonic.plugins.module_utils._helm.module import (
    HELM_OPTIONS,
    helm_of,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **HELM_OPTIONS,
            "state": {
                "type": "str",
                "choices": ["absent", "present", "rolled_back"],
                "default": "present",
            },
            "replacing": {"type": "bool", "default": False},
            "revision": {"type": "int"},
            "history": {"type": "int", "default": helm.HISTORY},
            "timeout": {"type": "int", "default": 120},
        },
        required_if=[("state", "present", ["chart"]), ("state", "rolled_back", ["revision"])],
        supports_check_mode=True,
    )
    changed = module.params["state"] == "present"
    api = helm_of(module, changed=changed, revision=0, previous=0, workloads=[])
    try:
        module.exit_json(**_do(module, api))
    except helm.HelmError as error:
        module.fail_json(msg=f"release {module.params['name']}: {error}")


def _do(module: AnsibleModule, api: helm.Helm) -> dict[str, Any]:
    params, namespace = module.params, module.params["namespace"]
    before = api.current()
    after = helm.Release()
    if params["state"] == "absent":
        changed = before.revision > 0
        if changed and not module.check_mode:
            api.removed(params["timeout"])
    elif params["state"] == "rolled_back":
        changed = before.revision != params["revision"]
        after = before
        if changed and not module.check_mode:
            api.rolled_back(params["revision"])
            after = api.current()
    else:
        helm.refuse_pending(before)
        values = helm.merged(params["values"], params["secret_values"])
        args = (params["chart"], values, params["history"])
        after = api.tried(*args, replacing=params["replacing"] and module.check_mode)
        changed = not helm.same(before, after)
        if changed and not module.check_mode:
            after = api.upgraded(*args)
    secret = params["secret_values"]
    return {
        "changed": changed,
        "revision": (after if changed else before).revision,
        "previous": before.revision if before.status == helm.DEPLOYED else 0,
        "workloads": after.workloads(namespace),
        "diff": {
            "before": before.shown(secret),
            "after": (after if changed else before).shown(secret),
        },
    }


if __name__ == "__main__":
    main()
