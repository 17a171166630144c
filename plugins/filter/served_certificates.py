# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the certificates that clients must get."""

from __future__ import annotations

DOCUMENTATION = r"""
name: served_certificates
short_description: The certificate that a client must get for each host
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns for each host a name to request and the SHA-256 of its certificate, for
    M(baremetal.sonic.certificates_served). For a wildcard it returns a name that the wildcard covers.
  - The first entry has an empty name. A client that names no host gets the first certificate of all.
extends_documentation_fragment:
  - baremetal.sonic.certificates
  - baremetal.sonic.certificates.hosts
positional: hosts
"""

EXAMPLES = r"""
- name: List the certificates
  ansible.builtin.debug:
    msg: "{{ ingress_certificates | baremetal.sonic.served_certificates(ingress_hosts) }}"
"""

RETURN = r"""
_value:
  description: Names, and SHA-256 sums of certificates (DER) in hexadecimal digits.
  type: list
  elements: dict
  sample:
    - {name: speech.example.com, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"served_certificates": certificates.served_certificates}
