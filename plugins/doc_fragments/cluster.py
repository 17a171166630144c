# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that every module shares which speaks to a cluster."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path, on the host that runs the module, of the kubeconfig to use. The module fails without it.
      - Set it once for all modules, by C(module_defaults) of C(group/baremetal.sonic.cluster).
    type: path
  context:
    description: Context of the kubeconfig; its current one by default.
    type: str
requirements:
  - kubernetes (Python package) on the host that runs the module
"""
