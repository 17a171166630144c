# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate certificates on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_problems
short_description: What is wrong with the certificates of an ingress
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Validates certificates as clients do, and lists all problems at once. These are a text that is no
    certificate, a key with a passphrase or of another certificate, a chain with a gap or one that clients refuse
    (dates, constraints, usages, signatures, unusual keys), hosts without a certificate, and names that are no hosts.
  - Ignores the order of the certificates, and certificates that no client needs.
  - Works on the controller, with the Python library cryptography.
extends_documentation_fragment:
  - baremetal.sonic.certificates
  - baremetal.sonic.certificates.hosts
  - baremetal.sonic.authorities
positional: hosts, roots, intermediates
"""

EXAMPLES = r"""
- name: Validate the certificates
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    problems: "{{ ingress_certificates | baremetal.sonic.certificate_problems(ingress_hosts, ['/etc/ssl/certs/ca-certificates.crt']) }}"
"""

RETURN = r"""
_value:
  description: All problems, one line each; empty without problems.
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
        return {"certificate_problems": certificates.problems}
