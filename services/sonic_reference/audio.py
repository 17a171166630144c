# SPDX-License-Identifier: Apache-2.0
"""Convert an engine's samples to the client's format, and a client's audio to samples."""

from __future__ import annotations

import struct

import lameenc  # type: ignore[import-not-found,import-untyped,unused-ignore]
import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped,unused-ignore]

from sonic_reference.protocol import SAMPLE_BYTES, AudioEncoding, Encoding, OutputFormat

Samples = npt.NDArray[np.float32]

# The format's number in a WAV header (mmreg.h).
WAV_FORMATS: dict[Encoding, int] = {
    "pcm_f32le": 3,
    "pcm_s16le": 1,
    "pcm_mulaw": 7,
    "pcm_alaw": 6,
}
# A header is sent before the length is known: by convention the largest number stands for
# "until the end".
UNKNOWN_LENGTH = 0xFFFFFFFF


def wav_header(encoding: Encoding, sample_rate: int) -> bytes:
    """Return the header of a mono WAV stream of unknown length."""
    width = SAMPLE_BYTES[encoding]
    layout = struct.pack(
        "<HHIIHH", WAV_FORMATS[encoding], 1, sample_rate, sample_rate * width, width, width * 8
    )
    if encoding != "pcm_s16le":
        # Formats other than PCM give the length of their extension: 0.
        layout += struct.pack("<H", 0)
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", UNKNOWN_LENGTH, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(layout)),
            layout,
            struct.pack("<4sI", b"data", UNKNOWN_LENGTH),
        )
    )


def _to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    scaled: Samples = np.clip(np.rint(samples * 32767.0), -32768, 32767)
    return scaled.astype(np.int16)


def to_mulaw(samples: Samples) -> bytes:
    """Encode samples in [-1, 1] by G.711's mu-law."""
    pcm = _to_int16(samples).astype(np.int32)
    sign = np.where(pcm < 0, 0x80, 0)
    magnitude = np.minimum(np.abs(pcm), 32635) + 132
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (segment + 3)) & 0x0F
    code: npt.NDArray[np.int32] = ~(sign | (segment << 4) | mantissa) & 0xFF
    return code.astype(np.uint8).tobytes()


def to_alaw(samples: Samples) -> bytes:
    """Encode samples in [-1, 1] by G.711's A-law."""
    pcm = _to_int16(samples).astype(np.int32) >> 3
    positive = pcm >= 0
    magnitude = np.minimum(np.where(positive, pcm, -pcm - 1), 4095)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.where(segment > 1, segment, 1)) & 0x0F
    code = (segment << 4) | mantissa
    return (code ^ np.where(positive, 0xD5, 0x55)).astype(np.uint8).tobytes()


def _encode(samples: Samples, encoding: Encoding) -> bytes:
    match encoding:
        case "pcm_f32le":
            return samples.astype("<f4").tobytes()
        case "pcm_s16le":
            return _to_int16(samples).astype("<i2").tobytes()
        case "pcm_mulaw":
            return to_mulaw(samples)
        case "pcm_alaw":
            return to_alaw(samples)


class Encoder:
    """Encodes one stream of an engine's samples in the requested format.

    Samples are 16-bit, little-endian, mono. Feed it samples in order, then finish it once. The
    joined results are the whole audio.
    """

    def __init__(self, output: OutputFormat, source_rate: int, volume: float = 1.0) -> None:
        self._output = output
        # A factor for the engine's samples; it may change between two calls of feed.
        self.volume = volume
        self._resampler: soxr.ResampleStream | None = None
        if output.sample_rate != source_rate:
            self._resampler = soxr.ResampleStream(
                source_rate, output.sample_rate, 1, dtype="float32"
            )
        self._mp3: lameenc.Encoder | None = None
        self._head = b""
        if output.container == "mp3":
            self._mp3 = lameenc.Encoder()
            self._mp3.set_bit_rate(output.bit_rate // 1000)
            self._mp3.set_in_sample_rate(output.sample_rate)
            self._mp3.set_out_sample_rate(output.sample_rate)
            self._mp3.set_channels(1)
            self._mp3.set_quality(5)
            self._mp3.silence()
        elif output.container == "wav":
            self._head = wav_header(output.encoding, output.sample_rate)

    def feed(self, pcm: bytes) -> bytes:
        """Return what can be sent after these samples; may be empty."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        samples *= np.float32(self.volume / 32768.0)
        return self._pass(samples, last=False)

    def finish(self) -> bytes:
        """Return the rest."""
        rest = self._pass(np.zeros(0, dtype=np.float32), last=True)
        return rest + bytes(self._mp3.flush()) if self._mp3 else rest

    def _pass(self, samples: Samples, last: bool) -> bytes:
        if self._resampler:
            samples = self._resampler.resample_chunk(samples, last=last)
        if not samples.size and not last:
            # A header alone would count as the first audio.
            return b""
        if self._mp3:
            return bytes(self._mp3.encode(_to_int16(samples).tobytes())) if samples.size else b""
        head, self._head = self._head, b""
        return head + _encode(samples, self._output.encoding)


def _mulaw_table() -> Samples:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> Samples:
    code = np.arange(256) ^ 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment > 0, magnitude + 256 << np.maximum(segment - 1, 0), magnitude)
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_LAWS = {"pcm_mulaw": _mulaw_table(), "pcm_alaw": _alaw_table()}
_TYPES = {"pcm_s16le": "<i2", "pcm_s32le": "<i4", "pcm_f16le": "<f2", "pcm_f32le": "<f4"}
_SCALES = {"pcm_s16le": 32768.0, "pcm_s32le": 2147483648.0}


class Decoder:
    """Decodes one stream of a client's audio to 16-bit, little-endian, mono samples.

    A sample may be split between two pieces.
    """

    def __init__(self, encoding: AudioEncoding, source_rate: int, target_rate: int) -> None:
        self._encoding = encoding
        self._width = SAMPLE_BYTES[encoding]
        self._rest = b""
        self._resampler: soxr.ResampleStream | None = None
        if source_rate != target_rate:
            self._resampler = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")

    def feed(self, audio: bytes, last: bool = False) -> bytes:
        """Return the samples that are ready after this audio; all of them after the last."""
        audio = self._rest + audio
        whole = len(audio) // self._width * self._width
        self._rest = audio[whole:]
        if self._encoding in _LAWS:
            samples = _LAWS[self._encoding][np.frombuffer(audio, "u1")]
        else:
            raw = np.frombuffer(audio[:whole], _TYPES[self._encoding]).astype(np.float32)
            samples = np.nan_to_num(raw / np.float32(_SCALES.get(self._encoding, 1.0)))
        if self._resampler:
            samples = self._resampler.resample_chunk(samples, last=last)
        return _to_int16(np.clip(samples, -1.0, 1.0)).astype("<i2").tobytes()
