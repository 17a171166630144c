# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret texts that an inventory sets for a site."""

from __future__ import annotations

DOCUMENTATION = r"""
name: support_secrets
short_description: The secret texts that an inventory sets for a site
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the values that P(baremetal.sonic.support_inventory#filter) replaces, and the passwords with which Ansible logs in. Use
    it only in tasks with C(no_log).
positional: hostvars
options:
  _input:
    description: Inventory names of the site's hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the archive
  baremetal.sonic.support_bundle:
    dest: /root/rack1.tar.gz
    site: rack1
    namespace: cartesia
    inventory: "{{ site_nodes | baremetal.sonic.support_inventory(hostvars, groups) }}"
    secrets: "{{ site_nodes | baremetal.sonic.support_secrets(hostvars) }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: Texts, each once.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils.support_inventory import site_secrets


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"support_secrets": site_secrets}
