# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Complete the passwords, keys and certificates of NATS on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_secrets
short_description: Passwords, keys and certificates for a site's NATS servers and clients
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Keeps the secrets of the cluster, uses the given ones, and makes the missing ones. These are random, so store the result
    in a fact and do not evaluate it twice.
  - Renews a certificate when less than a third of its 825 days is left, when it is for other names, or when its authority changed.
    The authority is valid for ten years. A new authority comes before the former one, so that both are trusted.
  - Works on the controller, with the Python library cryptography.
positional: given, names
options:
  _input:
    description: The cluster's Secrets nats-users, nats-authority and nats-tls, without those that do not exist.
    type: list
    elements: dict
    required: true
  given:
    description: The operator's own C(users) (passwords by user), C(certificate), C(key) and C(ca) (PEM texts, empty or all three).
    type: dict
    required: true
  names:
    description: DNS names that the certificate is for.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Complete the passwords, keys and certificates
  ansible.builtin.set_fact:
    nats_secrets: "{{ found.resources | baremetal.sonic.nats_secrets(given, ['nats', '*.nats-headless']) }}"
  vars:
    given: {users: {}, certificate: "", key: "", ca: ""}
  no_log: true
"""

RETURN = r"""
_value:
  description:
    - C(users) (passwords by user), C(offerings) (what the keys of offerings are derived from), C(certificate), C(key), C(ca), and
      C(authority), the entries of the Secret of the role's own authority.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import nats_secrets


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"nats_secrets": nats_secrets.complete}
