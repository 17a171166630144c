# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory sets for a site, without its secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: support_inventory
short_description: What an inventory sets for a site, without its secrets
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the variables of the collection's roles that the inventory sets for these hosts. Values of options with C(no_log), and
    values whose name contains C(password), C(key), C(token), C(secret) or C(pem), are replaced.
positional: hostvars, groups
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
  groups:
    description: The magic variable C(groups).
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
  description: Has C(variables) with those of all hosts, and C(hosts) with groups, address and further variables of each host.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils.support_inventory import (
    site_inventory,
)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"support_inventory": site_inventory}
