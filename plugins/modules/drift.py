#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift
short_description: Compare sites with their inventories
description:
  - Runs playbooks in check mode at each site of the inventory, and lists what they would change, object by object and field by field.
  - Fails if a site differs, or cannot be compared.
  - Each site has its own ansible-playbook, with the inventory sources, extra variables, vault and become options of this run.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes.reads
options:
  folder:
    description:
      - Folder on the controller for the result, C(drift.json). Only one run at a time can use it.
      - The output of a run at a site that could not be compared is in C(<site>.log).
    type: path
    required: true
  playbooks:
    description: What is compared. Names of this collection's playbooks, or paths.
    type: list
    elements: str
    required: true
  sites:
    description: The sites to compare. All sites of the inventory by default.
    type: list
    elements: str
    default: []
  parallel:
    description: Most sites that are compared at the same time.
    type: int
    default: 4
  timeout:
    description: Most seconds for a site.
    type: int
    default: 1800
seealso:
  - module: baremetal.sonic.rollout
"""

EXAMPLES = r"""
- name: Compare the sites
  baremetal.sonic.drift:
    folder: /var/lib/drift
    playbooks: [baremetal.sonic.platform, baremetal.sonic.stack]
"""

RETURN = r"""
path:
  description: The report.
  type: str
  returned: always
results:
  description: For each site, V(same), V(drift) or V(unknown).
  type: dict
  returned: always
"""
