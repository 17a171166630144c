# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive the key of one offering's workers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nats_offering_key
short_description: The key with which workers prove their offering
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Derives a key (HMAC-SHA256) from the API pods' key. A worker with the key of its own offering cannot get the
    jobs of another offering.
positional: operation, model
options:
  _input:
    description: The key that the API pods have.
    type: str
    required: true
  operation:
    description: TTS or STT.
    type: str
    required: true
  model:
    description: The model's name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Derive a key
  ansible.builtin.set_fact:
    key: "{{ nats_secrets.offerings | baremetal.sonic.nats_offering_key('TTS', 'sonic-reference') }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: The key, 64 hexadecimal digits.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import nats_secrets


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"nats_offering_key": nats_secrets.offering_key}
