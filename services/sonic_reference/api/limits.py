# SPDX-License-Identifier: Apache-2.0
"""How much one caller may ask of an API pod, and for how long."""

from __future__ import annotations

from pydantic import Field

from sonic_reference.settings import Settings

# What a waiting message costs besides its text, in bytes.
MESSAGE_BYTES = 128
# Seconds for which running speech or transcription may go on after the session's permit ended.
FINISH_S = 5.0


class Limits(Settings):
    """Bounds of WebSockets; bytes are of text in UTF-8, and each message counts 128 more.

    Text waits for at most ``text_timeout_s`` while the socket is not read, then its context ends.
    A listening socket gives its worker's stream back when nothing came for ``stt_release_s``, and
    is closed after ``stt_idle_s``. All times are in seconds.
    """

    context_bytes: int = Field(
        default=131_072, validation_alias="SONIC_TEXT_CONTEXT_BYTES", ge=1024, le=2**30
    )
    socket_bytes: int = Field(
        default=524_288, validation_alias="SONIC_TEXT_SOCKET_BYTES", ge=1024, le=2**30
    )
    key_bytes: int = Field(
        default=4_194_304, validation_alias="SONIC_TEXT_KEY_BYTES", ge=1024, le=2**30
    )
    text_timeout_s: float = Field(
        default=10.0, validation_alias="SONIC_TEXT_TIMEOUT", ge=0.0, le=15.0
    )
    stt_release_s: float = Field(
        default=10.0, validation_alias="SONIC_STT_RELEASE_TIMEOUT", ge=0.1, le=3600.0
    )
    stt_idle_s: float = Field(
        default=180.0, validation_alias="SONIC_STT_IDLE_TIMEOUT", ge=1.0, le=86400.0
    )
