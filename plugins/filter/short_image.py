# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the parts of an image's name that the vendor's chart adds."""

from __future__ import annotations

DOCUMENTATION = r"""
name: short_image
short_description: An image without the registry and tag that the vendor's chart adds
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Removes registry and tag from the name of an image if they are the given ones.
  - Keeps a digest.
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
    msg: "{{ 'registry.example.com/speech/worker:sonic-1' | baremetal.sonic.short_image('registry.example.com/speech', 'sonic-1') }}"
"""

RETURN = r"""
_value:
  description: The image.
  type: str
  sample: worker
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import images


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"short_image": images.short_image}
