#!/usr/bin/python
# Copyright (c) 2026 baremetal.sonic authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request speech through the ingress, as a client does, and check the audio."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tts_check
short_description: Request speech through the ingress and check the audio
version_added: "0.1.0"
author: baremetal.sonic authors (@baremetal-sonic)
description:
  - Sends one C(POST /tts/bytes) request over TLS from the host that runs the module, and fails unless
    the audio is long enough and not silent.
  - Names the step that failed. The steps are name, connection, certificate, API key, licence, route,
    workers, and the audio itself.
extends_documentation_fragment:
  - baremetal.sonic.speech
attributes:
  check_mode:
    description: Can run in check mode.
    support: full
    details: Sends no request in check mode, because speech uses capacity and licence.
  diff_mode:
    description: Shows what changed in diff mode.
    support: none
    details: Changes nothing but O(dest).
options:
  transcript:
    description: Text to speak.
    type: str
    default: The quick brown fox jumps over the lazy dog.
  sample_rate:
    description: Samples of audio a second, from 8000 to 48000.
    type: int
    default: 24000
  min_duration_s:
    description: Least seconds of audio.
    type: float
    default: 0.5
  dest:
    description: File for the audio, as WAV. Written when it differs, which is a change.
    type: path
"""

EXAMPLES = r"""
- name: Request speech through the ingress
  baremetal.sonic.tts_check:
    url: https://speech.example.com
    address: 192.0.2.10
    ca_file: /etc/ssl/site-ca.pem
    api_key: "{{ license_proxy_api_key }}"
    model_id: sonic-reference
  delegate_to: localhost
"""

RETURN = r"""
duration_s:
  description: Seconds of audio that came back.
  type: float
  returned: success, not in check mode
ttfb_ms:
  description: Milliseconds from the request to the first byte of audio, without the connection.
  type: float
  returned: success, not in check mode
connect_ms:
  description: Milliseconds that the connection and its TLS handshake took.
  type: float
  returned: success, not in check mode
total_ms:
  description: Milliseconds from the start of the connection to the last byte.
  type: float
  returned: success, not in check mode
bytes:
  description: Size of the audio with its header.
  type: int
  returned: success, not in check mode
audio_rms:
  description: Root mean square of the audio, where full scale is 1.
  type: float
  returned: success, not in check mode
tls_version:
  description: TLS version that was agreed on.
  type: str
  returned: success, not in check mode
status:
  description: HTTP status of the answer, 0 when there was none.
  type: int
  returned: always, not in check mode
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.sonic.plugins.module_utils._speech.client import (
    SPEECH_OPTIONS,
    SpeechError,
    SpeechRequest,
    check_speech,
    speak,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SPEECH_OPTIONS,
            "transcript": {
                "type": "str",
                "default": "The quick brown fox jumps over the lazy dog.",
            },
            "sample_rate": {"type": "int", "default": 24000},
            "min_duration_s": {"type": "float", "default": 0.5},
            "dest": {"type": "path"},
        },
        mutually_exclusive=[("ca_file", "ca_pem")],
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False, msg=f"would ask {params['url']} for speech")
    request = SpeechRequest.of(
        params,
        sample_rate=params["sample_rate"],
        timeout_s=params["timeout"],
    )
    try:
        speech = speak(request)
        check_speech(speech, params["min_duration_s"])
    except SpeechError as error:
        module.fail_json(msg=str(error), status=error.status)
        raise
    changed = False
    if params["dest"]:
        dest = Path(params["dest"])
        try:
            changed = not dest.exists() or dest.read_bytes() != speech.audio
            if changed:
                dest.write_bytes(speech.audio)
        except OSError as error:
            module.fail_json(msg=f"dest {dest} cannot be written: {error}")
    module.exit_json(
        changed=changed,
        status=speech.status,
        duration_s=speech.duration_s,
        ttfb_ms=speech.ttfb_ms,
        connect_ms=speech.connect_ms,
        total_ms=speech.total_ms,
        bytes=len(speech.audio),
        audio_rms=speech.rms,
        tls_version=speech.tls_version,
    )


if __name__ == "__main__":
    main()
