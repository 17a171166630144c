#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Validate an inventory and its hosts
description:
  - Checks every site of a play before the first change, and fails once, with all problems numbered.
  - Warns where autoscaling may ask for more GPUs than the inventory has.
  - Lists hosts that cannot be reached as problems, or with C(site_tolerate_unreachable) as warnings. A control plane is never left out.
  - With C(--limit) only the limited hosts are checked, together with groups and variables of the whole site.
  - Checks names, addresses and networks of the hosts and the clusters that they belong to, groups, the variables of roles
    against the roles' own argument specs, the ingress certificate against its key and host,
    the GPUs that workers ask for against those of the inventory, the numbers of autoscaling, hosts that share a machine-id, and
    what M(baremetal.sonic.host_check) found.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  roles:
    description: Roles of this collection whose variables are checked.
    type: list
    elements: str
    required: true
  report:
    description: Name of the variable in which each host's result of M(baremetal.sonic.host_check) is registered.
    type: str
    required: true
  leader_report:
    description:
      - Name of the variable with the result of M(baremetal.sonic.host_check) of the site's first control plane, where that is not among the
        play's hosts (with C(--limit)).
    type: str
    default: ""
  disk_report:
    description: Name of the variable with the result of M(baremetal.sonic.disks_ready) of each host that has data disks.
    type: str
    default: ""
  others_report:
    description:
      - Name of the variable with the results of M(baremetal.sonic.host_check), in a loop over hosts, of hosts that are not among the play's.
      - By them a run for a new control plane alone recognises a living cluster.
    type: str
    default: ""
  file:
    description: File on the controller to which the result is written as JSON; empty for none.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Validate the inventory and the hosts' facts
  baremetal.sonic.preflight:
    roles: [ingress, license_proxy, api, workers]
    report: preflight_host
  run_once: true
"""

RETURN = r"""
problems:
  description: All problems, one line each.
  returned: always
  type: list
  elements: str
  sample: ["gpu1: port 10250 is taken: stop what listens there"]
left_out:
  description: Hosts that cannot be reached and that the run goes on without.
  returned: always
  type: list
  elements: str
table:
  description: One line for each host with the checks that failed.
  returned: always
  type: list
  elements: str
  sample: ["SITE   HOST  RESULT", "rack1  cp1   ok", "rack1  gpu1  clock, disk"]
"""
