#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the first pod of a worker's new revision has capacity and has spoken."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_canary
short_description: Wait until the first pod of a worker's new revision has capacity and has spoken
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Waits until one pod of the newest revision of a worker is ready and reports
    C(inferno_worker_capacity) above 0. Other pods do not matter. Fails at once with the reason when the
    pod cannot get there, as M(baremetal.sonic.workloads_ready) does.
  - With O(url), then requests speech, as a client does, until the pod itself has answered. Its count
    of C(inferno_worker_ttfa) shows this. Every answer must be speech, from every pod; only an answer that
    all workers are busy is accepted too. If a worker has no such count, the module sends O(tries) requests.
  - Reads only, except for the speech.
extends_documentation_fragment:
  - baremetal.sonic.attributes.actiongroup_cluster
  - baremetal.sonic.cluster
  - baremetal.sonic.rollout
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Looks once, reports what it would wait for, and requests no speech.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing.
options:
  namespace:
    description: Namespace of the worker.
    type: str
    required: true
  worker:
    description: Name of the worker, which is a Deployment.
    type: str
    required: true
  metrics_port:
    description: Port on which the pods serve C(/metrics).
    type: int
    default: 8080
  url:
    description: Base URL of the API. Leave it out for a worker that only transcribes; then no speech is requested.
    type: str
  address:
    description: Address to connect to, where the URL's host does not resolve to the ingress.
    type: str
  ca_pem:
    description: CA certificates to trust, as PEM text. Those of the host's system by default.
    type: str
  api_key:
    description: API key of the speech service.
    type: str
  model_id:
    description: Model that speaks.
    type: str
  voice_id:
    description: Voice that speaks.
    type: str
    default: a0e99841-438c-4a64-b679-ae501e7d6091
  transcript:
    description: Text to speak.
    type: str
    default: The quick brown fox jumps over the lazy dog.
  tries:
    description: Most requests until the pod must have answered.
    type: int
    default: 20
seealso:
  - module: baremetal.sonic.worker_capacity
  - module: baremetal.sonic.tts_check
"""

EXAMPLES = r"""
- name: Wait until the first new pod speaks
  baremetal.sonic.worker_canary:
    kubeconfig: /etc/kubernetes/admin.conf
    namespace: cartesia
    worker: tts-worker
    url: https://speech.example.com
    api_key: "{{ license_proxy_api_key }}"
    model_id: sonic-reference
"""

RETURN = r"""
cause:
  description: What kind of failure it is, as M(baremetal.sonic.worker_capacity) has it, or V(speech).
  type: str
  returned: on failure
elapsed_s:
  description: Seconds until the pod had capacity.
  type: float
  returned: always
requests:
  description: Requests for speech that were answered with it.
  type: int
  returned: success, not in check mode
workloads:
  description: The state of the worker at the end, as M(baremetal.sonic.workloads_ready) has it.
  type: list
  elements: dict
  returned: always
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.module import (
    CLUSTER_OPTIONS,
    client_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._kube.pods import name_of
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.canary import (
    CanaryError,
    wait_for_speech,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.metrics import (
    CapacityCheck,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.module import (
    WAIT_OPTIONS,
    finish,
    run_wait,
    wait_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._rollout.progress import (
    Target,
    ready_pods,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._speech import client as speech


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            **WAIT_OPTIONS,
            "namespace": {"type": "str", "required": True},
            "worker": {"type": "str", "required": True},
            "metrics_port": {"type": "int", "default": 8080},
            "url": {"type": "str"},
            "address": {"type": "str"},
            "ca_pem": {"type": "str"},
            "api_key": {"type": "str", "no_log": True},
            "model_id": {"type": "str"},
            "voice_id": {"type": "str", "default": "a0e99841-438c-4a64-b679-ae501e7d6091"},
            "transcript": {
                "type": "str",
                "default": "The quick brown fox jumps over the lazy dog.",
            },
            "tries": {"type": "int", "default": 20},
        },
        required_by={"url": ["api_key", "model_id"]},
        supports_check_mode=True,
    )
    params = module.params
    target = Target("Deployment", params["namespace"], params["worker"])
    client = client_of(module, f"wait for {target}", workloads=[], elapsed_s=0.0)
    check = CapacityCheck(client, [target], 1, params["metrics_port"])
    wait = wait_of(module, client, [target], check=check, first={target})
    outcome = run_wait(module, wait)
    if module.check_mode or outcome.failure or not params["url"]:
        finish(module, outcome, requests=0)
    request = speech.SpeechRequest.of(params)
    [assessment] = [
        assessments for assessments in outcome.assessments if assessments.target == target
    ]
    pods = [name_of(pod) for pod in ready_pods(assessment)]
    try:
        answered = wait_for_speech(
            client, target.namespace, pods, request, params["tries"], params["metrics_port"],
            speech.speak, time.sleep,
        )  # fmt: skip
    except CanaryError as error:
        module.fail_json(
            msg=f"{target}: its new pod {', '.join(pods)} has capacity, but: {error}",
            cause="speech",
            elapsed_s=outcome.elapsed_s,
            workloads=[assessment.summary()],
        )
        raise
    finish(module, outcome, requests=answered)


if __name__ == "__main__":
    main()
