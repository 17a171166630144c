# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image with its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pinned_image
short_description: An image with its digest
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Adds the table's digest to an image that is given by its tag.
  - Does not change an image that is not in the table or has a digest already.
positional: digests
options:
  _input:
    description: The image in full.
    type: str
    required: true
  digests:
    description: Digests by images in full, tags included, as in site_image_digests.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Name the image
  ansible.builtin.debug:
    msg: "{{ 'docker.io/library/nats:2.15.2' | baremetal.sonic.pinned_image(site_image_digests) }}"
"""

RETURN = r"""
_value:
  description: The image.
  type: str
  sample: docker.io/library/nats:2.15.2@sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.baremetal.sonic.plugins.plugin_utils import images


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"pinned_image": images.pinned_image}
