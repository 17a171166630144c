#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store what runs at a site before a change, and restore it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_snapshot
short_description: Store what runs at a site before a change, and restore it
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Stores the objects of the stack's sets in a Secret of the site's own cluster, so that no value of a Secret leaves the cluster.
  - Each object is stored as its field managers have applied it (server-side), and is restored under the same managers. Fields and objects
    that were added since are removed.
  - Volumes are neither stored nor restored, since they hold data.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
attributes:
  diff_mode:
    support: none
    details: The snapshot holds the values of Secrets.
options:
  namespace:
    description: Namespace of the snapshot.
    type: str
    required: true
  name:
    description: Name of the Secret with the snapshot.
    type: str
    default: sonic-rollout-before
  release:
    description: Name of the change. A snapshot of the time before this change is kept as it is.
    type: str
    required: true
  state:
    description:
      - V(present) stores what runs, unless it is stored for this O(release).
      - V(restored) applies what is stored. It does not wait until it runs.
      - V(absent) removes the snapshot.
    type: str
    choices: [present, restored, absent]
    default: present
  sets:
    description: The sets of M(baremetal.sonic.k8s_applyset) whose objects are stored.
    type: list
    elements: str
    default: [stack, nats, license-proxy, artifact-sync, api, workers]
"""

EXAMPLES = r"""
- name: Store what runs before release 2026-12
  baremetal.sonic.site_snapshot:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    release: 2026-12

- name: Restore it
  baremetal.sonic.site_snapshot:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    release: 2026-12
    state: restored
"""

RETURN = r"""
objects:
  description: Kind and name of each object that was restored or removed, or would be in check mode.
  type: list
  elements: str
  returned: when O(state=restored)
workloads:
  description: The workloads of the snapshot, as M(baremetal.sonic.workloads_ready) takes them.
  type: list
  elements: dict
  returned: when O(state=restored)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._site.snapshot import Snapshot


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "default": "sonic-rollout-before"},
            "release": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["present", "restored", "absent"],
                "default": "present",
            },
            "sets": {
                "type": "list",
                "elements": "str",
                "default": ["stack", "nats", "license-proxy", "artifact-sync", "api", "workers"],
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    client = client_of(module, "store what runs", objects=[], workloads=[])
    snapshot = Snapshot(client, params["namespace"], params["name"], params["sets"])
    try:
        if params["state"] == "present":
            changed = snapshot.take(params["release"], dry_run=module.check_mode)
            module.exit_json(changed=changed)
        if params["state"] == "absent":
            module.exit_json(changed=snapshot.remove(dry_run=module.check_mode))
        objects, workloads = snapshot.restore(params["release"], dry_run=module.check_mode)
    except KubeError as error:
        module.fail_json(msg=f"the snapshot {params['name']} in {params['namespace']}: {error}")
        raise
    module.exit_json(changed=bool(objects), objects=objects, workloads=workloads)


if __name__ == "__main__":
    main()
