# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build certificates' chains on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_chains
short_description: The chains that an ingress shows for its certificates
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Builds the shortest path that clients accept from each certificate to a root that they trust, and leaves the root out, since a client
    has it already.
  - P(baremetal.sonic.certificate_problems#filter) must find nothing wrong with the certificates.
  - Works on the controller, with the Python library cryptography.
extends_documentation_fragment:
  - baremetal.sonic.certificates
  - baremetal.sonic.authorities
positional: roots, intermediates
"""

EXAMPLES = r"""
- name: Show the chain of the first certificate
  ansible.builtin.debug:
    msg: "{{ (ingress_certificates | baremetal.sonic.certificate_chains(ingress_root_certificates)) | first }}"
"""

RETURN = r"""
_value:
  description: For each certificate its chain, PEM text that begins with the host's own certificate.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"certificate_chains": certificates.certificate_chains}
