# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add the collection's versions to those that an inventory gives."""

from __future__ import annotations

DOCUMENTATION = r"""
name: complete_versions
short_description: The table of versions, with the inventory's changes
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns the collection's table of versions, with the given ones in place of its own.
  - With it an inventory may give one version without the others.
options:
  _input:
    description: Versions by component; may be empty.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the version of containerd where only Kubernetes' is given
  ansible.builtin.debug:
    msg: "{{ ({'kubernetes': '1.36.2'} | baremetal.sonic.complete_versions).containerd }}"
"""

RETURN = r"""
_value:
  description: Versions by component.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils.role_defaults import (
    role_defaults,
)


def default_versions() -> dict[str, str]:
    """Return the collection's own table: site_versions of the role site's defaults."""
    table: dict[str, str] = role_defaults("site")["site_versions"]
    return table


def complete_versions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the collection's table with the given versions in place of its own."""
    return {**default_versions(), **given}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"complete_versions": complete_versions}
