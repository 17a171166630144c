# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert addresses and networks to one form."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ip_networks
short_description: Addresses and networks in CIDR form
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns addresses and networks with the length of their prefix, each once. Fails for other texts.
options:
  _input:
    description: Addresses, and networks in CIDR form.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the networks
  ansible.builtin.debug:
    msg: "{{ ['192.0.2.7', '198.51.100.0/24'] | baremetal.sonic.ip_networks }}"
"""

RETURN = r"""
_value:
  description: Networks.
  type: list
  elements: str
  sample: [192.0.2.7/32, 198.51.100.0/24]
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


def ip_networks(values: Sequence[str]) -> list[str]:
    """Return addresses and networks in CIDR form, each once.

    Raises:
        AnsibleFilterError: one is neither, or has bits beyond its prefix.
    """
    networks: dict[str, None] = {}
    for value in values:
        try:
            networks[str(ipaddress.ip_network(str(value).strip()))] = None
        except ValueError as error:
            raise AnsibleFilterError(
                f"{value!r} is no address and no network: {error}. Give one like 192.0.2.7 or"
                " 192.0.2.0/24"
            ) from error
    return list(networks)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"ip_networks": ip_networks}
