#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Roll a change out over many sites, each in a process of its own
description:
  - Runs playbooks at the sites of the inventory, wave by wave, as docs/many-sites.md describes.
  - Each site has its own ansible-playbook, with the inventory sources, extra variables, vault and become options of this run.
  - Passwords that were typed at a prompt are refused, since several processes cannot ask.
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
extends_documentation_fragment:
  - baremetal.sonic.attributes
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details: Runs the playbooks at all sites in check mode, and writes their logs.
  diff_mode:
    support: partial
    details: The diffs are in the logs of the sites.
  idempotent:
    support: full
    details: A site at which the same change has ended is not started again.
options:
  folder:
    description:
      - Folder on the controller for the state, the logs of the sites (C(<site>.log)) and the result (C(rollout.json)).
      - Keep it between runs. Only one run at a time can use it.
    type: path
    required: true
  playbooks:
    description:
      - What is applied at each site, in this order. Names of this collection's playbooks, or paths.
    type: list
    elements: str
    required: true
  sites:
    description:
      - The sites to change. All sites of the inventory by default.
    type: list
    elements: str
    default: []
  waves:
    description:
      - The waves, each a list of sites or a share of all sites (C(25%), rounded up). Sites in no wave form the last one.
      - By default the first site of the inventory is alone in the first wave, and all others are in the second.
    type: list
    elements: raw
    default: []
  parallel:
    description:
      - Most sites of a wave that are changed at the same time.
    type: int
    default: 4
  max_failures:
    description:
      - How many sites may fail or be set aside in all before no other site is started.
    type: int
    default: 0
  max_failures_wave:
    description:
      - The same for the sites of one wave.
    type: int
    default: 0
  soak:
    description:
      - Seconds between a site's verification and the comparison of its figures.
    type: int
    default: 60
  stagger:
    description:
      - Seconds between the starts of the first sites of a wave, so that not all pull images at the same time.
    type: int
    default: 0
  window_wait:
    description:
      - Seconds to wait for a site's window. A site whose window opens later is left for a later run.
    type: int
    default: 0
  step_timeout:
    description:
      - Seconds after which a step of a site is killed and counts as failed. A dead run's lock expires a little later.
    type: int
    default: 3600
  rollback:
    description:
      - Whether a site that fails is rolled back.
      - The objects of playbooks/stack.yml are. What other playbooks have changed stays, and the reason names them.
    type: bool
    default: true
  restart:
    description:
      - Whether to forget the earlier run that the folder holds, also one that is not over, and begin again at all sites.
    type: bool
    default: false
  release:
    description:
      - Name of the change. It makes two changes different that have the same playbooks and variables.
      - Set it when only the content of a file has changed.
    type: str
    default: ""
  reason:
    description:
      - Why the sites are locked, for people.
    type: str
    default: ""
  webhook:
    description:
      - URL to which each event is posted once, as JSON. A failure to post is a warning.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Roll the stack out, with a canary
  baremetal.sonic.rollout:
    folder: /srv/rollouts/2026-12
    playbooks: [baremetal.sonic.stack]
    waves: [[oslo], "25%"]
"""

RETURN = r"""
release:
  description: The name of the change, a digest of its variables and playbooks.
  returned: unless it is refused, or in check mode
  type: str
halted:
  description: Why no other site was started. Empty if all were.
  returned: unless it is refused, or in check mode
  type: str
results:
  description: Each site's result, one of passed, failed, rolled back, rollback failed, set aside, left for later, not started.
  returned: unless it is refused, or in check mode
  type: dict
plans:
  description: For each site the tasks that would change a host.
  returned: in check mode
  type: dict
problems:
  description: What is wrong with the variables, one line each.
  returned: when it is refused
  type: list
  elements: str
table:
  description: One line for each site.
  returned: unless it is refused
  type: list
  elements: str
"""
