# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the host of each site from which the site's Kubernetes API is spoken to."""

from __future__ import annotations

DOCUMENTATION = r"""
name: site_leaders
short_description: The first control plane of each site
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Given the inventory's groups, returns the first host of the group C(control_plane) of each C(site_name), in the inventory's order.
positional: hostvars, site
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  site:
    description: Only the leader of this site; all sites' leaders when left out.
    type: str
"""

EXAMPLES = r"""
- name: Name the host that speaks to this site's API
  ansible.builtin.set_fact:
    leader: "{{ (groups | baremetal.sonic.site_leaders(hostvars, 'berlin'))[0] }}"
"""

RETURN = r"""
_value:
  description: Inventory names of the leaders; empty where there is no control plane.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

DEFAULT_SITE = "default"


def site_leaders(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    site: str | None = None,
) -> list[str]:
    """The first control plane of each site, or of one site."""
    leaders: dict[str, str] = {}
    for host in groups.get("control_plane", []):
        leaders.setdefault(str(hostvars[host].get("site_name", DEFAULT_SITE)), host)
    return [host for name, host in leaders.items() if site is None or name == site]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"site_leaders": site_leaders}
