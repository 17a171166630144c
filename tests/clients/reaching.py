# SPDX-License-Identifier: Apache-2.0
"""Shared by the clients in Python: the site's name without DNS, a recording, the answer's form.

The programs here run in the clients' own environment, which has nothing of this repository. They
read SITE_URL, SITE_KEY, SITE_ADDRESS (where the site's name leads), SITE_SOUND (a WAV file, 16 kHz,
one channel of 16 bits) and SSL_CERT_FILE, and print one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

URL = os.environ["SITE_URL"]
KEY = os.environ["SITE_KEY"]
TEXT = "The quick brown fox jumps over the lazy dog."
# Two sentences as a language model gives them.
PIECES = ["The quick brown ", "fox jumps. ", "Over the lazy ", "dog it goes."]
# Forty sentences: nearly two minutes of sound.
LONG = f"{TEXT} " * 40
VOICE = "a0e99841-438c-4a64-b679-ae501e7d6091"
RATE = 24000
SOUND_RATE = 16000
DEADLINE_S = 60.0

Scenario = Callable[[], Awaitable[dict[str, Any]]]


def find_site() -> None:
    """Let the site's name lead to SITE_ADDRESS, as a hosts file would."""
    name, resolve = str(urlsplit(URL).hostname), socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **more: Any) -> Any:
        address = os.environ["SITE_ADDRESS"] if host in (name, name.encode()) else host
        return resolve(address, *rest, **more)

    socket.getaddrinfo = resolver


def sound_parts(seconds: float = 0.1) -> Iterator[bytes]:
    """Return the recording's samples in parts, as a microphone gives them."""
    pcm = Path(os.environ["SITE_SOUND"]).read_bytes()[44:]
    size = int(SOUND_RATE * seconds) * 2
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


def encoded(pcm: bytes) -> str:
    """Return samples as JSON holds them."""
    return base64.b64encode(pcm).decode("ascii")


def main(scenarios: Mapping[str, Scenario]) -> None:
    """Run the scenario that the command line names and print what it found.

    Raises:
        KeyError: there is no such scenario.
        TimeoutError: it took longer than the deadline; the client's own errors pass too.
    """
    find_site()

    async def run() -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            return await scenarios[sys.argv[1]]()

    print(json.dumps(asyncio.run(run())))
