#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how soon and how fast a site speaks to several listeners at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tts_benchmark
short_description: Measures how soon and how fast a site speaks to several listeners at once
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Has so many listeners ask for speech at once, each again as soon as it has heard all, over TLS from
    the host it runs on. Every request is a C(POST /tts/bytes) on a connection of its own.
  - Costs capacity and license. Others who listen meanwhile have to share.
  - What is measured is the way and the workers together. The connection and its handshake do not count.
extends_documentation_fragment:
  - baremetal.sonic.speech
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Asks for nothing in check mode.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing.
options:
  transcript:
    description: What to say.
    type: str
    default: >-
      The quick brown fox jumps over the lazy dog, and then it sleeps for a while under the old apple tree.
  concurrency:
    description: Numbers of listeners, measured one after the other.
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
      description: Requests that were heard to the end.
      type: int
    busy:
      description: Requests refused because all streams, and the queue, were taken (429).
      type: int
    failed:
      description: Requests that ended in any other error.
      type: int
    ttfa_p50_ms:
      description: Milliseconds to the first audio, the middle one; null when nothing was heard.
      type: float
    ttfa_p95_ms:
      description: Milliseconds to the first audio that 95 in 100 did not exceed.
      type: float
    rtf_p95:
      description: Seconds from request to end over seconds of audio, that 95 in 100 did not exceed.
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
  description: What failed, each text once.
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
    """Runs the module."""
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
            said = sorted(errors) or ["all streams were taken all the time (429)"]
            module.fail_json(
                msg=f"{params['url']} spoke to none of {concurrency} listeners: {'; '.join(said)}",
                rows=rows,
            )
    module.exit_json(changed=False, rows=rows, table=table(rows), errors=sorted(errors))


if __name__ == "__main__":
    main()
