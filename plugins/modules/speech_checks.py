#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a site's speech from outside, by each call of the API."""

from __future__ import annotations

DOCUMENTATION = r"""
module: speech_checks
short_description: Check a site's speech from outside, by each call of the API
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Speaks through the ingress over HTTP, server-sent events and a WebSocket, and transcribes what it heard.
  - Checks audio, times of words, the time to the first audio, the certificate, and that a wrong key is refused.
  - Connects to ports that must be closed.
  - Returns a result for every check. A check that fails because another one failed is skipped, and names that one.
  - Does not fail itself. M(baremetal.sonic.verify) does, with the results of this and other modules.
requirements:
  - websockets (Python library), on the host that runs the module
extends_documentation_fragment:
  - baremetal.sonic.speech
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Sends no request in check mode, because speech uses capacity and licence. Returns no result then.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing.
options:
  transcript:
    description: Text to speak, in English.
    type: str
    default: The quick brown fox jumps over the lazy dog.
  stt_model_id:
    description: Model that transcribes. Without it, the site does not.
    type: str
  min_duration_s:
    description: Least seconds of audio.
    type: float
    default: 0.5
  requests:
    description: Number of requests that measure the time to the first audio.
    type: int
    default: 5
  patience:
    description: Seconds for which to ask again while the answer is 503.
    type: int
    default: 0
  hosts:
    description: Addresses on which ports must be closed.
    type: list
    elements: str
    default: []
  failed:
    description: Ids of checks of the cluster that have failed.
    type: list
    elements: str
    default: []
  skip:
    description: Ids of checks not to run.
    type: list
    elements: str
    default: []
  limits:
    description: Limits by the id of their check, in place of the defaults. An id without a limit is an error.
    type: dict
    default: {}
seealso:
  - module: baremetal.sonic.verify
  - module: baremetal.sonic.site_checks
"""

EXAMPLES = r"""
- name: Check speech through the ingress
  baremetal.sonic.speech_checks:
    url: https://speech.example.com
    ca_file: /etc/ssl/site-ca.pem
    api_key: "{{ license_proxy_api_key }}"
    model_id: sonic-reference
    limits:
      speech-first-audio: 300
  delegate_to: localhost
  register: speech
"""

RETURN = r"""
checks:
  description: The results, in the form of M(baremetal.sonic.site_checks). Empty in check mode.
  type: list
  elements: dict
  returned: success
verdict:
  description: The worst verdict.
  type: str
  returned: success
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    SPEECH_OPTIONS,
    SpeechRequest,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.catalogue import (
    LimitsError,
    limits_of,
)
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.checks import overall
from ansible_collections.baremetal.sonic.plugins.module_utils._verify.speech import Client, run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SPEECH_OPTIONS,
            "transcript": {
                "type": "str",
                "default": "The quick brown fox jumps over the lazy dog.",
            },
            "stt_model_id": {"type": "str"},
            "min_duration_s": {"type": "float", "default": 0.5},
            "requests": {"type": "int", "default": 5},
            "patience": {"type": "int", "default": 0},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "failed": {"type": "list", "elements": "str", "default": []},
            "skip": {"type": "list", "elements": "str", "default": []},
            "limits": {"type": "dict", "default": {}},
        },
        mutually_exclusive=[("ca_file", "ca_pem")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        limits = limits_of(params["limits"])
    except LimitsError as error:
        module.fail_json(msg=f"limits: {error}")
        raise
    if module.check_mode:
        module.exit_json(changed=False, checks=[], verdict=overall([]))
    client = Client(
        SpeechRequest.of(params, timeout_s=params["timeout"]),
        stt_model=params["stt_model_id"] or "",
        requests=params["requests"],
        min_duration_s=params["min_duration_s"],
        patience_s=params["patience"],
        hosts=params["hosts"],
        now=time.time(),
    )
    checks = run(client, limits, params["failed"], params["skip"])
    module.exit_json(
        changed=False, checks=[check.as_dict() for check in checks], verdict=overall(checks)
    )


if __name__ == "__main__":
    main()
