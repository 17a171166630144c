# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Completes the workers of an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: worker_specs
short_description: Complete the workers of an inventory
version_added: "0.1.0"
author:
  - baremetal.sonic authors (@baremetal-sonic)
description:
  - Reads workers in the form of the vendor's Terraform and Helm chart, fills every default, and gives each value one name.
  - Fails with every problem when an entry is incomplete or mistyped.
positional: registry, tag
options:
  _input:
    description: The variable C(workers).
    type: list
    elements: dict
    required: true
  registry:
    description: Registry of images that are given without one, with the path below which they are.
    type: str
    required: true
  tag:
    description: Tag of images that are given without registry and tag.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the smallest number of pods of each worker
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.min_replicas }}"
  loop: "{{ workers | baremetal.sonic.worker_specs('registry.example.com/speech', 'sonic-1') }}"
"""

RETURN = r"""
_value:
  description: The workers, complete.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the worker and its Deployment.
      type: str
    model:
      description: The model, as clients ask for it.
      type: str
    image:
      description: The image in full.
      type: str
    capacity:
      description: Streams that a pod serves at once.
      type: int
    gpu_type:
      description: Extended resource of which each pod takes one.
      type: str
    operation:
      description: V(TTS) or V(STT).
      type: str
    speaks:
      description: Whether C(operation) is V(TTS).
      type: bool
    use_cb:
      description: Whether it batches continuously.
      type: bool
    use_lora:
      description: Whether it loads LoRA adapters.
      type: bool
    autoscaled:
      description: Whether the load sets the number of pods.
      type: bool
    threshold:
      description: Share of the streams in use above which pods are added.
      type: float
    min_replicas:
      description: Smallest number of pods.
      type: int
    max_replicas:
      description: Largest number of pods. Without autoscaling the same as C(min_replicas).
      type: int
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.sonic.plugins.plugin_utils import worker_specs as model


def worker_specs(workers: object, registry: str, tag: str) -> list[dict[str, Any]]:
    """See DOCUMENTATION. Raises AnsibleFilterError with every problem."""
    try:
        return [spec.as_dict() for spec in model.worker_specs(workers, registry, tag)]
    except model.InvalidWorkersError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"worker_specs": worker_specs}
