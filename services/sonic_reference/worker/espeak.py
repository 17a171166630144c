# SPDX-License-Identifier: Apache-2.0
"""The CPU engine: eSpeak NG, one process for each parallel stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import sys
import zlib
from collections.abc import AsyncGenerator
from pathlib import Path

from sonic_reference.worker.engine import EngineError, Utterance

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("espeak_child.py")
START_TIMEOUT_S = 30.0
# An utterance ends within one audio buffer after it was asked to, which is far less.
STOP_TIMEOUT_S = 2.0
WORDS_A_MINUTE = 175
PITCH = 50
# Variants that come with eSpeak NG, so that different voice ids sound different.
VARIANTS = ("", "+m1", "+m3", "+m7", "+f1", "+f2", "+f3", "+f4")
# Public language codes that eSpeak NG knows by another name.
LANGUAGES = {"en": "en-us", "zh": "cmn", "no": "nb", "tl": "en-us", "pt": "pt-br"}


def voice_name(utterance: Utterance) -> str:
    """Return the eSpeak NG voice for an utterance: the same voice id, always the same voice."""
    language = utterance.language.lower().replace("_", "-")
    variant = VARIANTS[zlib.crc32(utterance.voice_id.encode()) % len(VARIANTS)]
    return LANGUAGES.get(language, language) + variant


def spoken_text(text: str) -> str:
    """Return text without control characters and lone surrogates."""
    clean = "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)
    return clean.encode("utf-8", "ignore").decode()


class Child:
    """One speaking process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise EngineError("a speaking process has no pipes")
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self.sample_rate = 0

    @classmethod
    async def start(cls) -> Child:
        """Start a process and wait until its voice data is loaded. Raises EngineError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(CHILD),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal must not cut streams that the worker still drains.
            start_new_session=True,
        )  # fmt: skip
        child = cls(process)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                kind, content = await child.receive()
        except TimeoutError:
            child.kill()
            raise EngineError(f"eSpeak NG was not ready in {START_TIMEOUT_S:g} s") from None
        if kind != b"R":
            child.kill()
            raise EngineError(content.decode(errors="replace"))
        (child.sample_rate,) = struct.unpack(">I", content)
        return child

    def send(self, line: bytes) -> None:
        """Send one line."""
        with contextlib.suppress(OSError, RuntimeError):
            self._input.write(line + b"\n")

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the next frame's type and content. Raises EngineError when the process is gone."""
        try:
            head = await self._output.readexactly(5)
            return head[:1], await self._output.readexactly(struct.unpack(">I", head[1:])[0])
        except (asyncio.IncompleteReadError, OSError):
            raise EngineError("a speaking process ended") from None

    async def settle(self) -> bool:
        """End the utterance in progress; returns whether the process can speak again."""
        self.send(b"")
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while (await self.receive())[0] == b"A":
                    pass
        except (EngineError, TimeoutError):
            return False
        return True

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End the process in order: it leaves when its input does."""
        self._input.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


class EspeakEngine:
    """Serves up to ``streams`` utterances at a time; more wait for their turn."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._idle: asyncio.LifoQueue[Child] = asyncio.LifoQueue()
        self._children: set[Child] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._sample_rate = 0

    @property
    def sample_rate(self) -> int:
        """Samples a second; 0 before :meth:`load`."""
        return self._sample_rate

    async def load(self) -> None:
        """Start the processes. Raises EngineError."""
        try:
            for _unused in range(self._streams):
                await self._add()
        except OSError as error:
            raise EngineError(f"cannot start a speaking process: {error}") from error

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[bytes, None]:
        """Yield samples as they come; see :class:`sonic_reference.worker.engine.Engine`."""
        child = await self._idle.get()
        done = False
        try:
            child.send(
                json.dumps(
                    {
                        "text": spoken_text(utterance.text),
                        "voice": voice_name(utterance),
                        "rate": round(WORDS_A_MINUTE * utterance.speed),
                        "pitch": PITCH,
                    }
                ).encode()
            )
            while True:
                kind, content = await child.receive()
                if kind == b"A":
                    yield content
                    continue
                done = True
                if kind == b"X":
                    raise EngineError(content.decode(errors="replace"), bad_request=True)
                return
        finally:
            if done:
                self._idle.put_nowait(child)
            else:
                # In the background: the generator may be closing because its task was cancelled.
                chore = asyncio.create_task(self._recover(child))
                self._chores.add(chore)
                chore.add_done_callback(self._chores.discard)

    async def close(self) -> None:
        """End all processes."""
        for chore in list(self._chores):
            chore.cancel()
        await asyncio.gather(*(child.end() for child in self._children))
        self._children.clear()

    async def _add(self) -> None:
        child = await Child.start()
        self._sample_rate = child.sample_rate
        self._children.add(child)
        self._idle.put_nowait(child)

    async def _recover(self, child: Child) -> None:
        """Make a process whose utterance was cut usable again, or start another in its place."""
        if await child.settle():
            self._idle.put_nowait(child)
            return
        child.kill()
        self._children.discard(child)
        while True:
            try:
                await self._add()
            except (EngineError, OSError) as error:
                log.error("cannot replace a speaking process, trying again: %s", error)
                await asyncio.sleep(1)
            else:
                log.warning("replaced a speaking process")
                return
