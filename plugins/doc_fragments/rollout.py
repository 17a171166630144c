# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that every module shares which waits for workloads."""

from __future__ import annotations


class ModuleDocFragment:
    """What to wait for, how long, and how long to tolerate failures."""

    DOCUMENTATION = r"""
options:
  workloads:
    description: The workloads to wait for.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the workload.
        type: str
        required: true
        choices: [DaemonSet, Deployment, StatefulSet]
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  api_services:
    description: Also wait until these APIServices, with which a workload extends the API, are Available.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - Seconds to wait at most. A slow start is not a failure. The states below end
        the wait earlier.
    type: int
    default: 600
  image_pull_grace:
    description:
      - Seconds for which the pull of an image may fail.
      - The kubelet tries again by itself, so a registry that is starting has time.
    type: int
    default: 15
  unschedulable_grace:
    description:
      - Seconds for which a pod may fit on no node.
      - While a pod that holds the missing resource is terminating, the time does not count.
    type: int
    default: 15
  error_grace:
    description:
      - Seconds for which any other state may last that does not end by itself. These are a missing
        workload, a container that cannot be created (a missing Secret, ConfigMap or device), a
        pod that its node refuses, and pods that the API server refuses to create (quota,
        admission).
    type: int
    default: 10
  crash_restarts:
    description:
      - A container that waits in back-off after at least this many restarts is in a crash loop,
        which ends the wait. With V(2) this is the third crash, after about half a minute.
    type: int
    default: 2
"""
