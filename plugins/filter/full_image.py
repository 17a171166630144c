# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image with its registry and tag."""

from __future__ import annotations

DOCUMENTATION = r"""
name: full_image
short_description: An image with its registry and tag
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Completes the name of an image without a registry. Does not change an image with a registry.
  - Adds no tag to a digest.
positional: registry, tag
options:
  _input:
    description: The image, in full or its name alone.
    type: str
    required: true
  registry:
    description: Registry, with the path below which the images are.
    type: str
    required: true
  tag:
    description: Tag of the release.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Name the image
  ansible.builtin.debug:
    msg: "{{ 'worker' | baremetal.sonic.full_image('registry.example.com/speech', 'sonic-1') }}"
"""

RETURN = r"""
_value:
  description: The image.
  type: str
  sample: registry.example.com/speech/worker:sonic-1
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import images


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"full_image": images.full_image}
