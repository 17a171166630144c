# SPDX-License-Identifier: Apache-2.0
"""One request for speech to the lab."""

from __future__ import annotations

from typing import Any

from plugins.module_utils._speech.client import Speech, SpeechRequest, speak


def speech(info: dict[str, Any], text: str) -> Speech:
    """Text in through the ingress, speech out. Raises SpeechError."""
    return speak(
        SpeechRequest(
            url=info["ingress_url"],
            address=info["ingress_address"],
            ca_file=info["ca_file"],
            api_key=info["api_key"],
            transcript=text,
        )
    )
