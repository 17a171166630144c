# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the variables of the role nats on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_problems
short_description: Problems of the given passwords and certificate for NATS
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Validates them and returns all problems at once. These are passwords of unknown users or too short ones, a text that is no certificate,
    another key, an authority that did not issue it, an expired certificate, missing names, and a missing use (extended key usage).
  - Works on the controller, with the Python library cryptography.
positional: servers
options:
  _input:
    description: The variables C(nats_access), C(nats_users), C(nats_certificate), C(nats_key) and C(nats_ca) by name.
    type: dict
    required: true
  servers:
    description: Number of servers that share the certificate. Several servers show it to each other.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Validate the certificate
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    given: {nats_certificate: "{{ nats_certificate }}", nats_key: "{{ nats_key }}", nats_ca: "{{ nats_ca }}"}
    problems: "{{ given | baremetal.sonic.nats_problems(3) }}"
"""

RETURN = r"""
_value:
  description: All problems, one line each; empty without problems.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import preflight


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"nats_problems": preflight.nats_problems}
