# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return the host names that clients ask for."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_names
short_description: Host names that a client can ask for
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - As P(baremetal.sonic.host_names#filter), with a name in place of each wildcard that the wildcard covers. For C(*.example.com) that
    is C(speech.example.com).
extends_documentation_fragment:
  - baremetal.sonic.certificates.names
"""

EXAMPLES = r"""
- name: Show the address of the API
  ansible.builtin.debug:
    msg: "https://{{ (ingress_hosts | baremetal.sonic.client_names) | first }}"
"""

RETURN = r"""
_value:
  description: Host names.
  type: list
  elements: str
  sample: [speech.example.com]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"client_names": certificates.reachable_hosts}
