# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose which host is served with which certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_hosts
short_description: The hosts that each certificate serves
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - For each certificate, in the list's order, the hosts that are served with it. A host gets the first certificate that is for it, by
    its subject alternative names; a wildcard stands for one label.
extends_documentation_fragment:
  - baremetal.sonic.certificates
  - baremetal.sonic.certificates.hosts
positional: hosts
"""

EXAMPLES = r"""
- name: Show which certificate serves which host
  ansible.builtin.debug:
    msg: "{{ ingress_certificates | baremetal.sonic.certificate_hosts(ingress_hosts) }}"
"""

RETURN = r"""
_value:
  description: A list of hosts for each certificate.
  type: list
  elements: list
  sample: [["speech.example.com"], []]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"certificate_hosts": certificates.certificate_hosts}
