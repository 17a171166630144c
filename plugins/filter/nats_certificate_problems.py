# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges NATS' certificate on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_certificate_problems
short_description: What is wrong with the certificate of a site's NATS servers
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Judges the certificate before servers show it, and tells everything that is wrong at once. A text that is no certificate, another
    key, an authority that did not issue it, an expired one, names that are missing, and a use (extended key usage) that is.
  - Works on the controller, with the Python library cryptography.
positional: key, ca, servers
options:
  _input:
    description: The certificate with its chain, PEM text.
    type: str
    required: true
  key:
    description: Its private key, PEM text.
    type: str
    required: true
  ca:
    description: Certificates of the authorities that clients and servers trust, PEM text.
    type: str
    required: true
  servers:
    description: How many servers share the certificate; several show it to each other.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Judge the certificate
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    problems: "{{ nats_certificate | baremetal.sonic.nats_certificate_problems(nats_key, nats_ca, 3) }}"
"""

RETURN = r"""
_value:
  description: Everything that is wrong, one line each; empty when nothing is.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import certificates


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"nats_certificate_problems": certificates.nats_problems}
