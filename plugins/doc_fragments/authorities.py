# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the filters share which follow certificates to those whom clients trust."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the certificates of authorities are."""

    DOCUMENTATION = r"""
options:
  roots:
    description: Files on the controller with the CA certificates that clients trust, PEM.
    type: list
    elements: path
    required: true
  intermediates:
    description: Files on the controller with certificates that may complete a chain, PEM.
    type: list
    elements: path
    default: []
"""
