# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import math
import struct
import wave

import numpy as np
import pytest
from sonic_reference import audio
from sonic_reference.protocol import Encoding, OutputFormat

RATE = 22050


def tone(seconds: float, frequency: float = 440.0, peak: int = 16000) -> bytes:
    count = int(RATE * seconds)
    return b"".join(
        struct.pack("<h", round(peak * math.sin(2 * math.pi * frequency * i / RATE)))
        for i in range(count)
    )


def encoded(output: OutputFormat, pcm: bytes, volume: float = 1.0, piece: int = 4410) -> bytes:
    encoder = audio.Encoder(output, RATE, volume)
    parts = [encoder.feed(pcm[at : at + piece]) for at in range(0, len(pcm), piece)]
    return b"".join(parts) + encoder.finish()


def raw(encoding: Encoding, sample_rate: int = RATE) -> OutputFormat:
    return OutputFormat(container="raw", encoding=encoding, sample_rate=sample_rate)


def test_samples_pass_unchanged_when_nothing_is_asked_of_them() -> None:
    pcm = tone(0.5)
    came = np.frombuffer(encoded(raw("pcm_s16le"), pcm), "<i2").astype(int)
    assert np.abs(came - np.frombuffer(pcm, "<i2")).max() <= 1


def test_floats_are_in_the_unit_range() -> None:
    came = np.frombuffer(encoded(raw("pcm_f32le"), tone(0.5)), "<f4")
    assert np.abs(came).max() == pytest.approx(16000 / 32768, rel=0.01)


def test_loud_samples_are_limited_not_wrapped() -> None:
    came = np.frombuffer(encoded(raw("pcm_s16le"), tone(0.1, peak=30000), volume=2.0), "<i2")
    assert came.max() == 32767
    assert came.min() == -32768


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_resampling_keeps_length_and_pitch(sample_rate: int) -> None:
    came = np.frombuffer(encoded(raw("pcm_s16le", sample_rate), tone(1.0)), "<i2")
    assert len(came) / sample_rate == pytest.approx(1.0, abs=0.001)
    spectrum = np.abs(np.fft.rfft(came.astype(float)))
    assert np.argmax(spectrum) / len(came) * sample_rate == pytest.approx(440, abs=2)


# Silence, the ends of the range, and a value between, by the tables of ITU-T G.711.
@pytest.mark.parametrize(
    ("sample", "mulaw", "alaw"),
    [
        (0, 0xFF, 0xD5),
        (32767, 0x80, 0xAA),
        (-32768, 0x00, 0x2A),
        (1000, 0xCE, 0xFA),
        (-1000, 0x4E, 0x7A),
    ],
)
def test_g711_known_values(sample: int, mulaw: int, alaw: int) -> None:
    samples = np.array([sample / 32767], dtype=np.float32)
    assert audio.to_mulaw(samples) == bytes([mulaw])
    assert audio.to_alaw(samples) == bytes([alaw])


def mulaw_to_linear(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def alaw_to_linear(code: int) -> int:
    code ^= 0x55
    segment = code >> 4 & 7
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = magnitude + 256 << segment - 1
    return magnitude if code & 0x80 else -magnitude


@pytest.mark.parametrize("law", ["mulaw", "alaw"])
def test_g711_comes_back_within_its_quantization(law: str) -> None:
    values = np.arange(-32000, 32000, 7)
    samples = (values / 32767).astype(np.float32)
    codes = audio.to_mulaw(samples) if law == "mulaw" else audio.to_alaw(samples)
    decode = mulaw_to_linear if law == "mulaw" else alaw_to_linear
    came = np.array([decode(code) for code in codes])
    # Half a step of the segment, which is a 32nd of its start, and the smallest step.
    assert (np.abs(came - values) <= np.abs(values) / 30 + 17).all()


@pytest.mark.parametrize(
    ("encoding", "number", "width"),
    [("pcm_s16le", 1, 2), ("pcm_f32le", 3, 4), ("pcm_alaw", 6, 1), ("pcm_mulaw", 7, 1)],
)
def test_wav_header(encoding: Encoding, number: int, width: int) -> None:
    header = audio.wav_header(encoding, 24000)
    size = struct.unpack("<I", header[16:20])[0]
    assert struct.unpack("<HHIIHH", header[20:36]) == (
        number, 1, 24000, 24000 * width, width, width * 8
    )  # fmt: skip
    assert header[20 + size :] == b"data\xff\xff\xff\xff"
    assert header[4:8] == b"\xff\xff\xff\xff"


def test_wav_can_be_read_by_others() -> None:
    output = OutputFormat(container="wav", encoding="pcm_s16le", sample_rate=RATE)
    with wave.open(io.BytesIO(encoded(output, tone(0.5)))) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, RATE)
        assert len(read.readframes(RATE)) == len(tone(0.5))


def test_a_header_never_comes_alone() -> None:
    output = OutputFormat(container="wav", encoding="pcm_s16le", sample_rate=48000)
    encoder = audio.Encoder(output, RATE)
    first = b""
    while not first:
        first = encoder.feed(tone(0.005))
    assert len(first) > 44


def test_mp3_is_made_of_frames_of_the_wanted_rate() -> None:
    output = OutputFormat(container="mp3", sample_rate=44100, bit_rate=64000)
    mp3 = encoded(output, tone(2.0))
    assert mp3[0] == 0xFF
    assert mp3[1] & 0xFE == 0xFA
    # MPEG-1 layer III: rate index 5 is 64 kbit/s, 0 is 44100 Hz, mode 3 is mono.
    assert mp3[2] >> 4 == 5
    assert mp3[2] >> 2 & 3 == 0
    assert mp3[3] >> 6 == 3
    assert len(mp3) * 8 / 64000 == pytest.approx(2.0, abs=0.15)
