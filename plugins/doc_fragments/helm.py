# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that every module shares which speaks to helm."""

from __future__ import annotations


class ModuleDocFragment:
    """Which release, from which chart, with which values."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path, on the host that runs the module, of the kubeconfig to use. The module fails without it.
      - Set it once for all modules, by C(module_defaults) of C(group/baremetal.sonic.cluster).
    type: path
  name:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release. It must exist.
    type: str
    required: true
  chart:
    description: Folder or archive of the chart, on the host that runs the module.
    type: path
  values:
    description: Values of the chart.
    type: dict
    default: {}
  secret_values:
    description: More values, merged over O(values). No log and no diff shows them.
    type: dict
    default: {}
requirements:
  - helm 3.17 or later on the host that runs the module
  - kubernetes (Python package), which brings PyYAML, on the host that runs the module
"""
