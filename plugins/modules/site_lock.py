#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock a site against other changes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_lock
short_description: Lock a site against other changes
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Takes, renews or releases a lock that is a Lease in the site's cluster.
  - A lock that another owner holds is refused, with owner, reason and age, until it expires. An expired lock is taken over.
  - Every write names the version that it replaces, so of two owners at the same time one is refused.
extends_documentation_fragment:
  - baremetal.sonic.attributes
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
attributes:
  diff_mode:
    support: none
    details: The lock is no part of the site's configuration.
  idempotent:
    support: partial
    details: O(state=present) always renews the lock, which is its purpose. It reports a change when it takes the lock.
options:
  namespace:
    description: Namespace of the Lease. It must exist.
    type: str
    required: true
  name:
    description: Name of the Lease.
    type: str
    default: sonic-rollout
  state:
    description:
      - V(present) takes the lock, or renews it if O(holder) has it.
      - V(absent) releases it.
    type: str
    choices: [present, absent]
    default: present
  holder:
    description:
      - Who takes or releases the lock.
      - With O(state=absent), an empty holder releases the lock of any owner.
    type: str
    default: ""
  reason:
    description: Why the site is locked, for people.
    type: str
    default: ""
  duration:
    description: Seconds after which the lock expires unless it is renewed.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Lock the site
  baremetal.sonic.site_lock:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    holder: ada@controller
    reason: release 2026-12
"""

RETURN = r"""
taken_over:
  description: The expired lock of another owner that this call has replaced, in words. Empty if there was none.
  type: str
  returned: when O(state=present)
held_by:
  description: Owner, reason and age of the lock of another owner.
  type: str
  returned: when the lock is refused
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.client import KubeError
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._site.lock import (
    HeldError,
    SiteLock,
    utc_now,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "default": "sonic-rollout"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "holder": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
            "duration": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    params = module.params
    now = utc_now()
    present = params["state"] == "present"
    if present and not params["holder"]:
        module.fail_json(msg="holder is empty: name who takes the lock")
    if params["duration"] < 1:
        module.fail_json(msg=f"duration is {params['duration']}: give at least 1 second")
    client = client_of(module, "lock the site", taken_over="")
    lock = SiteLock(client, params["namespace"], params["name"])
    try:
        if not present:
            changed = lock.release(params["holder"], now, dry_run=module.check_mode)
            module.exit_json(changed=changed)
        former = lock.read()
        taken_over = lock.take(
            params["holder"], params["reason"], params["duration"], now, dry_run=module.check_mode
        )
    except HeldError as error:
        module.fail_json(
            msg=f"the site is locked by {error}. Wait for it, or run playbooks/rollout_unlock.yml"
            " when that run is dead",
            held_by=str(error),
        )
        raise
    except KubeError as error:
        module.fail_json(msg=f"the lock {params['name']} in {params['namespace']}: {error}")
        raise
    words = taken_over.described(now) if taken_over else ""
    if words:
        module.warn(f"took over an expired lock of {words}")
    own = former is not None and former.holder == params["holder"] and not former.expired(now)
    module.exit_json(changed=not own, taken_over=words)


if __name__ == "__main__":
    main()
