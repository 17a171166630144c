# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encode certificates and keys for the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_secrets
short_description: The entries of the Secrets that an ingress serves
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - For each certificate the shortest chain that clients accept, without the root, and its key as PKCS 8. Both are encoded again, so that
    no byte order mark, other text or other key of the given texts reaches the cluster.
  - P(baremetal.sonic.certificate_problems#filter) must find nothing wrong with the certificates.
  - Works on the controller, with the Python library cryptography.
extends_documentation_fragment:
  - baremetal.sonic.certificates
  - baremetal.sonic.authorities
positional: roots, intermediates
"""

EXAMPLES = r"""
- name: Name the entries of the first Secret
  ansible.builtin.debug:
    msg: "{{ (ingress_certificates | baremetal.sonic.certificate_secrets(ingress_root_certificates) | first).keys() | list }}"
"""

RETURN = r"""
_value:
  description: For each certificate its Secret's entries, PEM texts by the names C(tls.crt) and C(tls.key).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"certificate_secrets": certificates.certificate_secrets}
