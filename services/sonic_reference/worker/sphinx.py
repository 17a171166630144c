# SPDX-License-Identifier: Apache-2.0
"""The CPU engine for speech to text: PocketSphinx, one process for each parallel stream."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

from sonic_reference.worker.child import Child, Pool, frame
from sonic_reference.worker.engine import (
    EngineError,
    Flushed,
    Mark,
    Recognition,
    Taken,
    Transcript,
)

CHILD = Path(__file__).with_name("sphinx_child.py")


def _transcript(content: bytes) -> Transcript:
    fields = json.loads(content)
    words = tuple(Mark("word", *word) for word in fields["words"])
    return Transcript(fields["text"], fields["final"], fields["duration"], words)


class SphinxRecognition:
    """One stream; see :class:`sonic_reference.worker.engine.Recognition`."""

    def __init__(self, pool: Pool, child: Child) -> None:
        self._pool = pool
        self._child = child

    async def feed(self, pcm: bytes) -> None:
        """Take 16-bit samples at 16 kHz."""
        await self._child.send(frame(b"A", pcm))

    async def finalize(self) -> None:
        """Transcribe what has come so far."""
        await self._child.send(frame(b"F"))

    async def finish(self) -> None:
        """Say that no more audio comes."""
        await self._child.send(frame(b"Q"))

    async def results(self) -> AsyncGenerator[Transcript | Taken | Flushed, None]:
        """Yield what comes out until the end."""
        done = False
        try:
            while not done:
                kind, content = await self._child.receive()
                match kind:
                    case b"T":
                        yield _transcript(content)
                    case b"C":
                        yield Taken()
                    case b"D":
                        yield Flushed()
                    case _:
                        done = True
        finally:
            if done:
                self._pool.give(self._child)
            else:
                self._pool.recover(self._child)


class SphinxRecognizer:
    """Serves up to ``streams`` streams at a time, in English; more wait for their turn."""

    sample_rate = 16000

    def __init__(self, streams: int) -> None:
        self._pool = Pool(CHILD, ("-P",), streams, stop=frame(b"Q"), last=b"E")

    async def load(self) -> None:
        """Start the processes. Raises EngineError."""
        await self._pool.fill()

    async def open(self, language: str, interim: bool) -> Recognition:
        """Begin a stream."""
        if language.lower().replace("_", "-").split("-")[0] != "en":
            message = f"this worker understands English only, not {language}"
            raise EngineError(message, bad_request=True)
        child = await self._pool.take()
        child.write(frame(b"I" if interim else b"O"))
        return SphinxRecognition(self._pool, child)

    async def close(self) -> None:
        """End all processes."""
        await self._pool.close()
