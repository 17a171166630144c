# SPDX-License-Identifier: Apache-2.0
"""How much one caller may ask of an API pod, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from sonic_reference.settings import Environment

# What a waiting message costs besides its text, in bytes.
MESSAGE_BYTES = 128
# Seconds for which running speech or transcription may go on after the session's permit ended.
FINISH_S = 5.0


@dataclass(frozen=True)
class Limits:
    """Bounds of WebSockets; bytes are of text in UTF-8, and each message counts 128 more.

    Text waits for at most ``text_timeout_s`` while the socket is not read, then its context ends.
    A listening socket gives its worker's stream back when nothing came for ``stt_release_s``, and
    is closed after ``stt_idle_s``. All times are in seconds.
    """

    context_bytes: int = 131_072
    socket_bytes: int = 524_288
    key_bytes: int = 4_194_304
    text_timeout_s: float = 10.0
    stt_release_s: float = 10.0
    stt_idle_s: float = 180.0

    @classmethod
    def read(cls, environment: Environment) -> Limits:
        """Read the bounds; the environment collects what is wrong."""
        return cls(
            environment.integer("SONIC_TEXT_CONTEXT_BYTES", cls.context_bytes, 1024, 2**30),
            environment.integer("SONIC_TEXT_SOCKET_BYTES", cls.socket_bytes, 1024, 2**30),
            environment.integer("SONIC_TEXT_KEY_BYTES", cls.key_bytes, 1024, 2**30),
            environment.number("SONIC_TEXT_TIMEOUT", cls.text_timeout_s, 0.0, 15.0),
            environment.number("SONIC_STT_RELEASE_TIMEOUT", cls.stt_release_s, 0.1, 3600.0),
            environment.number("SONIC_STT_IDLE_TIMEOUT", cls.stt_idle_s, 1.0, 86400.0),
        )
