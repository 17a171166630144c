#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the latency and throughput of a site's speech."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tts_benchmark
short_description: Measure the latency and throughput of a site's speech
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Runs a number of listeners in parallel, over TLS from the host that runs the module. Each sends its next request as
    soon as it has all audio of the last one. Every request is a C(POST /tts/bytes) on a new connection.
  - Uses capacity and licence. Real clients share the workers with it.
  - Measures network and workers together, without the connection and its handshake.
extends_documentation_fragment:
  - baremetal.sonic.speech
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Sends no request in check mode.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing.
options:
  transcript:
    description: Text to speak.
    type: str
    default: >-
      The quick brown fox jumps over the lazy dog, and then it sleeps for a while under the old apple tree.
  concurrency:
    description: Numbers of parallel listeners, measured one after the other.
    type: list
    elements: int
    default: [1, 4, 8, 12, 16]
  rounds:
    description: Requests of each listener.
    type: int
    default: 5
seealso:
  - module: baremetal.sonic.tts_check
"""

EXAMPLES = r"""
- name: Measure up to the streams that two GPUs serve
  baremetal.sonic.tts_benchmark:
    url: https://speech.example.com
    api_key: "{{ license_proxy_api_key }}"
    model_id: sonic-3
    concurrency: [1, 8, 16]
  delegate_to: localhost
"""

RETURN = r"""
rows:
  description: What was measured, for each number of listeners.
  type: list
  elements: dict
  returned: success, not in check mode
  contains:
    concurrency:
      description: Listeners.
      type: int
    heard:
      description: Requests that succeeded.
      type: int
    busy:
      description: Requests refused because all streams and the queue were full (429).
      type: int
    failed:
      description: Requests that ended in any other error.
      type: int
    ttfa_p50_ms:
      description: Milliseconds to the first audio, median; null without audio.
      type: float
    ttfa_p95_ms:
      description: Milliseconds to the first audio, 95th percentile.
      type: float
    rtf_p95:
      description: Seconds from request to end, divided by seconds of audio, 95th percentile.
      type: float
    characters_per_s:
      description: Characters spoken a second, all listeners together.
      type: float
table:
  description: The same as lines of text.
  type: list
  elements: str
  returned: success, not in check mode
errors:
  description: Messages of failed requests, each once.
  type: list
  elements: str
  returned: success, not in check mode
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    SPEECH_OPTIONS,
    SpeechRequest,
    speak,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.load import measure, table


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SPEECH_OPTIONS,
            "transcript": {
                "type": "str",
                "default": "The quick brown fox jumps over the lazy dog, and then it sleeps for a"
                " while under the old apple tree.",
            },
            "concurrency": {"type": "list", "elements": "int", "default": [1, 4, 8, 12, 16]},
            "rounds": {"type": "int", "default": 5},
        },
        mutually_exclusive=[("ca_file", "ca_pem")],
        supports_check_mode=True,
    )
    params = module.params
    for name in ("rounds", "concurrency"):
        given = params[name] if isinstance(params[name], list) else [params[name]]
        if not given or min(given) < 1:
            module.fail_json(msg=f"{name}: give numbers of at least 1, not {params[name]}")
    if module.check_mode:
        module.exit_json(changed=False, msg=f"would ask {params['url']} for speech")
    request = SpeechRequest.of(params, timeout_s=params["timeout"])
    rows, errors = [], set()
    for concurrency in params["concurrency"]:
        row = measure(
            partial(speak, request), len(params["transcript"]), concurrency, params["rounds"]
        )
        rows.append(row.figures())
        errors |= set(row.errors)
        if not row.ttfa_ms:
            # More listeners would hear no more.
            reasons = sorted(errors) or ["all streams were taken all the time (429)"]
            module.fail_json(
                msg=f"{params['url']} spoke to none of {concurrency} listeners: {'; '.join(reasons)}",
                rows=rows,
            )
    module.exit_json(changed=False, rows=rows, table=table(rows), errors=sorted(errors))


if __name__ == "__main__":
    main()
