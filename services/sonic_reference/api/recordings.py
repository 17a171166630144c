# SPDX-License-Identifier: Apache-2.0
"""Sound files that clients send.

A process of its own with limits on memory, time and rights reads each one
(:mod:`sonic_reference.api.decode_child`). At most DECODERS run at a time. The memory that bodies
and samples take in this pod is counted and limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import IO

from sonic_reference.errors import ApiError
from sonic_reference.protocol import FILE_RATE

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("decode_child.py")
# Files that are read at a time.
DECODERS = 2
# Seconds that a file may wait for its turn, and that reading it may take: the longest one takes a
# tenth of that on a slow machine.
PATIENCE_S = 30.0
TIMEOUT_S = 120.0
MAX_AUDIO_S = 1800
# Bytes of the longest recording's samples; a resampler may add some.
MAX_BYTES = (MAX_AUDIO_S + 1) * FILE_RATE * 2
# Bytes of bodies that have not been read yet, and of samples that are not transcribed yet.
MAX_BODIES = 96 * 1024 * 1024
MAX_SAMPLES = 128 * 1024 * 1024
# A frame is a block of audio or an error's text.
MAX_FRAME = 1024 * 1024


class Budget:
    """A limited number of bytes of memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._freed = asyncio.Event()
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes that come. Raises ApiError 429 when there is no room for them."""
        if self.held + size > self._limit:
            raise _full({"Connection": "close"})
        self.held += size

    async def reserve(self, size: int) -> None:
        """Count bytes as soon as there is room for them. Raises ApiError 429 after PATIENCE_S."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self.held + size > self._limit:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise _full() from None
        self.held += size

    def give(self, size: int) -> None:
        """Stop counting bytes."""
        self.held -= size
        self._freed.set()


class Recordings:
    """Reads files, some at a time, and bounds the memory that all recordings of this pod take."""

    def __init__(self) -> None:
        self.bodies = Budget(MAX_BODIES)
        self.samples = Budget(MAX_SAMPLES)
        self._threads = ThreadPoolExecutor(DECODERS, "decoder")
        self._turns = asyncio.Semaphore(DECODERS)

    @contextlib.asynccontextmanager
    async def receive(self) -> AsyncGenerator[Recording, None]:
        """Count a recording for as long as it is here."""
        recording = Recording(self)
        try:
            yield recording
        finally:
            recording.leave()

    async def read(self, content: bytes) -> bytes:
        """Return a sound file as :func:`read_audio` does. Raises ApiError 400, 429."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._turns.acquire()
        except TimeoutError:
            raise _full() from None
        # It goes on when the client leaves, and keeps its turn until its end.
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._threads, read_audio, content)
        reading.add_done_callback(lambda _done: self._turns.release())
        return await asyncio.shield(reading)


class Recording:
    """One recording, from its first byte to its transcript."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._body = self._samples = 0

    def take(self, size: int) -> None:
        """Count bytes of its body. Raises ApiError 429 when too much is here."""
        self._recordings.bodies.take(size)
        self._body += size

    async def decode(self, content: bytes) -> bytes:
        """Return the file as :func:`read_audio` does, instead of its body.

        Raises ApiError 400, 429.
        """
        samples = self._recordings.samples
        await samples.reserve(MAX_BYTES)
        self._samples = MAX_BYTES
        sound = await self._recordings.read(content)
        self._samples = len(sound)
        samples.give(MAX_BYTES - len(sound))
        self._recordings.bodies.give(self._body)
        self._body = 0
        return sound

    def leave(self) -> None:
        """Stop counting it."""
        self._recordings.bodies.give(self._body)
        self._recordings.samples.give(self._samples)


def read_audio(content: bytes) -> bytes:
    """Return a sound file as 16-bit mono samples at 16 kHz. Raises ApiError 400."""
    # A file without a name, so that the process need not hold what it reads.
    file = os.memfd_create("recording")
    try:
        with open(file, "wb", closefd=False) as whole:
            whole.write(content)
        os.lseek(file, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD)], stdin=file, stdout=subprocess.PIPE,
            # The process gets none of the API's environment: no keys, no addresses.
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    finally:
        os.close(file)
    timer = threading.Timer(TIMEOUT_S, process.kill)
    timer.start()
    try:
        with process:
            try:
                return _collect(process)
            finally:
                process.kill()
    finally:
        timer.cancel()


def _collect(process: subprocess.Popen[bytes]) -> bytes:
    """Return the audio that a process sends. Raises ApiError 400."""
    if process.stdout is None:
        raise ValueError("the process has no pipe")
    # getvalue() of a BytesIO makes no copy.
    audio = io.BytesIO()
    while frame := _frame(process.stdout):
        kind, content = frame
        match kind:
            case b"A" if audio.tell() + len(content) <= MAX_BYTES:
                audio.write(content)
            case b"E":
                return audio.getvalue()
            case b"X":
                raise _refused(content.decode(errors="replace"))
            case _:
                break
    # It was ended by one of its limits, or a bug in a library ended it.
    log.warning("the process that read a recording ended with status %s", process.poll())
    raise _refused("it takes too much memory or time to read, or is damaged")


def _frame(source: IO[bytes]) -> tuple[bytes, bytes] | None:
    head = source.read(5)
    if len(head) < 5:
        return None
    (size,) = struct.unpack(">I", head[1:])
    content = source.read(min(size, MAX_FRAME))
    return (head[:1], content) if len(content) == size else None


def _full(headers: Mapping[str, str] = MappingProxyType({})) -> ApiError:
    return ApiError(
        429, "concurrency_limited", "Too many concurrent requests",
        "Too many recordings are here already; try again", {"Retry-After": "1", **headers},
    )  # fmt: skip


def _refused(why: str) -> ApiError:
    return ApiError(400, "invalid_request", "Invalid request", f"file: {why}")
