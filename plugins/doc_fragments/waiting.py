# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that an action plugin runs in parts."""

from __future__ import annotations


class ModuleDocFragment:
    """How a wait is divided."""

    DOCUMENTATION = r"""
notes:
  - An action plugin of the same name runs the wait in parts and shows what the pods are doing, a line for each change. It shows nothing
    with a callback whose output programs read.
options:
  part_s:
    description:
      - Return after so many seconds, or when the pods' phases change. 0 waits to the end.
      - The action plugin sets it.
    type: float
    default: 0.0
  waited:
    description:
      - What earlier parts of the wait have seen, as the module returns it.
      - The action plugin sets it.
    type: dict
    default: {}
"""
