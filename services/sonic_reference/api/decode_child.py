# SPDX-License-Identifier: Apache-2.0
"""Reads one sound file in a process of its own, so that a hostile file harms no other client.

Standard input: the file; it must be one that can be read from any place. Standard output: frames of
a type byte, a 32-bit big-endian length and the content: ``A`` audio (16-bit little-endian mono
samples at RATE), then ``E`` at the end, or ``X`` refused (why, UTF-8).

Before the first byte is read the process gives up what it does not need: it may use MEMORY bytes
and CPU_S seconds, write no files and open few. Decoding is done by FFmpeg's libraries (PyAV), in
blocks; only the formats and codecs named here are tried.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from collections.abc import Iterator

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

# Bytes of address space: 120 MiB of it are the libraries, most of which is never read.
MEMORY = 256 * 1024 * 1024
CPU_S = 60
RATE = 16000
MAX_AUDIO_S = 1800
# Hz. Telephones have 8,000, studios up to 192,000.
LOWEST_RATE, HIGHEST_RATE = 4000, 192_000
MAX_CHANNELS = 8
# Samples of all channels together: half an hour of stereo at 48,000 Hz.
MAX_SAMPLES = MAX_AUDIO_S * 48_000 * 2
# What FFmpeg calls the public API's formats: flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg, wav, webm;
# aac, aiff and caf are what some telephones make of them.
FORMATS = "aac,aiff,caf,flac,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_wav,adpcm_ms,alac,flac,gsm,gsm_ms,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,opus,libopus,vorbis,libvorbis,libspeex,speex,amrnb,amrwb,"
    "pcm_alaw,pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,"
    "pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8"
)


class RefusedError(Exception):
    """The file cannot be used; the text says why."""


def limit() -> None:
    """Drop the rights that reading a file does not need, and lower the process's priority."""
    os.nice(5)
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def send(kind: bytes, content: bytes = b"") -> None:
    """Write one frame; blocks while the API does not read."""
    left = memoryview(kind + struct.pack(">I", len(content)) + content)
    while left:
        left = left[os.write(1, left) :]


def check(frame: AudioFrame) -> None:
    """Refuse a rate or number of channels that takes too much memory or time."""
    if not LOWEST_RATE <= frame.sample_rate <= HIGHEST_RATE:
        raise RefusedError(
            f"{frame.sample_rate} samples a second; {LOWEST_RATE} to {HIGHEST_RATE} can be read"
        )
    if not 1 <= frame.layout.nb_channels <= MAX_CHANNELS:
        raise RefusedError(
            f"{frame.layout.nb_channels} channels; at most {MAX_CHANNELS} can be read"
        )


def frames(stream: AudioStream, container: av.container.InputContainer) -> Iterator[AudioFrame]:
    """Yield what can be decoded; a file that is cut off, or damaged, is read as far as it goes."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            yield from stream.codec_context.decode(packet)
        except av.InvalidDataError:
            # What comes next may be whole.
            continue
        except EOFError:
            return


def decode(file: object) -> int:
    """Send a file's audio; returns how many samples it has. Raises RefusedError."""
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS}
    with av.open(file, "r", options=options, metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise RefusedError("there is no audio in it")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        resampler: AudioResampler | None = None
        shape: tuple[int, int, str] | None = None
        read = sent = 0
        for frame in frames(stream, container):
            check(frame)
            read += frame.samples * frame.layout.nb_channels
            if read > MAX_SAMPLES:
                raise RefusedError(f"more than {MAX_SAMPLES} samples, over all channels")
            if shape != (shape := (frame.sample_rate, frame.layout.nb_channels, frame.format.name)):
                sent += drain(resampler, None)
                resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
            # The times in a file are not needed, and may be wrong.
            frame.pts = None
            sent += drain(resampler, frame)
            if sent > MAX_AUDIO_S * RATE:
                raise RefusedError(f"longer than {MAX_AUDIO_S} s")
        return sent + drain(resampler, None)


def drain(resampler: AudioResampler | None, frame: AudioFrame | None) -> int:
    """Send what comes of a frame, or of the end; returns how many samples."""
    sent = 0
    for made in resampler.resample(frame) if resampler else ():
        send(b"A", bytes(made.planes[0])[: made.samples * 2])
        sent += made.samples
    return sent


def main() -> int:
    """Decode standard input."""
    limit()
    try:
        with open(0, "rb", closefd=False) as file:
            if not decode(file):
                raise RefusedError("there is no audio in it")
    except RefusedError as refused:
        send(b"X", str(refused).encode())
    except MemoryError:
        send(b"X", b"it takes too much memory to read")
    except (av.FFmpegError, ValueError, OverflowError):
        send(b"X", b"no audio that can be read (FLAC, M4A, MP3, MP4, MPEG, OGG, WAV and WebM can)")
    else:
        send(b"E")
    return 0


if __name__ == "__main__":
    av.logging.set_level(av.logging.PANIC)
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.exit(0)
