# SPDX-License-Identifier: Apache-2.0
"""Sound files that clients send."""

from __future__ import annotations

import io

import numpy as np
import soundfile  # type: ignore[import-untyped,unused-ignore]
import soxr  # type: ignore[import-untyped,unused-ignore]

from sonic_reference.errors import ApiError
from sonic_reference.protocol import FILE_RATE

MAX_AUDIO_S = 1800.0


def read_audio(content: bytes) -> bytes:
    """Return a sound file as 16-bit mono samples at 16 kHz. Raises ApiError 400."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames > MAX_AUDIO_S * file.samplerate:
                message = f"file: longer than {MAX_AUDIO_S:g} s"
                raise ApiError(400, "invalid_request", "Invalid request", message)
            samples = file.read(dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except soundfile.SoundFileError:
        message = "file: no audio that can be read (WAV, FLAC, OGG and MP3 can)"
        raise ApiError(400, "invalid_request", "Invalid request", message) from None
    resampled = soxr.resample(np.nan_to_num(samples), rate, FILE_RATE)
    return bytes((np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes())
