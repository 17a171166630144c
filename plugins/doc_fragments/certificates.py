# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the filters that take certificates or host names."""

from __future__ import annotations


class ModuleDocFragment:
    """Certificates, the hosts they are for, and host names as input."""

    DOCUMENTATION = r"""
options:
  _input:
    description: Certificates with their keys, in the form of the variable C(ingress_certificates).
    type: list
    elements: dict
    required: true
"""
    HOSTS = r"""
options:
  hosts:
    description: Names that clients use.
    type: list
    elements: str
    required: true
"""
    NAMES = r"""
options:
  _input:
    description: Host names, in the form of the variable C(ingress_hosts).
    type: list
    elements: str
    required: true
"""
