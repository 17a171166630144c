# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert host names to one form."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_names
short_description: Host names in the form that Kubernetes accepts
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Host names in lower case, without a final dot, in ASCII, each once. A wildcard C(*.example.com) stays.
  - Fails for what is no host name.
extends_documentation_fragment:
  - baremetal.sonic.certificates.names
"""

EXAMPLES = r"""
- name: Show the names that the cluster gets
  ansible.builtin.debug:
    msg: "{{ ['Speech.Example.com.'] | baremetal.sonic.host_names }}"
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
        return {"host_names": certificates.canonical_hosts}
