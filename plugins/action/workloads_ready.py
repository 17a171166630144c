# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run workloads_ready in parts and show its progress."""

from __future__ import annotations

from ansible_collections.baremetal.sonic.plugins.plugin_utils.waiting import WaitingAction


class ActionModule(WaitingAction):
    """See plugin_utils/waiting.py."""
