# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the disk space that the images of workers need."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_space
short_description: Disk space for the images of workers
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Returns how much space, in GiB, the images of workers need on a GPU host.
  - Each image counts twice, because a rollout has two versions on a host. Workers with the same image share it.
options:
  _input:
    description: The workers, as the inventory has them.
    type: list
    elements: dict
    required: true
  sizes:
    description:
      - Sizes of images on the disk, in GiB, by name or pattern (C(*) for any text). The longest pattern that fits counts.
      - An image that none fits counts as 30.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the space that the images need
  ansible.builtin.debug:
    msg: "{{ workers | baremetal.sonic.image_space({'*/worker:*': 25}) }}"
"""

RETURN = r"""
_value:
  description: Space in GiB.
  type: float
  sample: 50.0
"""

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DEFAULT_GIB = 30
VERSIONS = 2


def image_space(workers: Any, sizes: Mapping[str, Any]) -> float:
    """Return the space in GiB; workers of the wrong form need none, because preflight refuses them.

    Raises:
        AnsibleFilterError: a size is no number.
    """
    images = set()
    for worker in workers if isinstance(workers, list) else ():
        arguments = worker.get("workerArgs") if isinstance(worker, Mapping) else None
        if isinstance(arguments, Mapping) and arguments.get("image"):
            images.add(str(arguments["image"]))
    return VERSIONS * sum(_size(image, sizes) for image in images)


def _size(image: str, sizes: Mapping[str, Any]) -> float:
    fitting = [pattern for pattern in sizes if fnmatch.fnmatchcase(image, pattern)]
    if not fitting:
        return DEFAULT_GIB
    pattern = max(fitting, key=len)
    try:
        return float(sizes[pattern])
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"preflight_image_gib: {pattern}: {sizes[pattern]!r} is no number of GiB"
        ) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"image_space": image_space}
