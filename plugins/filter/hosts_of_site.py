# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select the hosts of one site from an inventory with several."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts_of_site
short_description: The hosts of one site
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Selects from a list the hosts with the given C(site_name), in the list's order.
positional: hostvars, site
options:
  _input:
    description: Inventory names, a group's for example.
    type: list
    elements: str
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  site:
    description: Name of the site. A host without C(site_name) belongs to the site C(default).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Name the GPU hosts of this site
  ansible.builtin.debug:
    msg: "{{ groups.gpu_workers | baremetal.sonic.hosts_of_site(hostvars, site_name) }}"
"""

RETURN = r"""
_value:
  description: Inventory names.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import (
    role_defaults,
)


def site_of(hostvars: Mapping[str, Any]) -> str:
    """Return the name of a host's site: site_name, or the role's default."""
    return str(hostvars.get("site_name", role_defaults("site")["site_name"]))


def hosts_of_site(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], site: str
) -> list[str]:
    """The hosts whose site_name is `site`."""
    return [host for host in hosts if site_of(hostvars[host]) == site]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"hosts_of_site": hosts_of_site}
