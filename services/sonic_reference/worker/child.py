# SPDX-License-Identifier: Apache-2.0
"""A process that holds one stream of an engine: frames of type, length and content come from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sonic_reference.worker.engine import EngineError

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
# A process ends its work within one block of audio, which takes far less.
STOP_TIMEOUT_S = 2.0


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return a frame: a type byte, a 32-bit big-endian length, the content."""
    return kind + struct.pack(">I", len(content)) + content


class Child:
    """One engine process; ``ready`` is the content of its first frame."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise EngineError("an engine process has no pipes")
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self.ready = b""

    @classmethod
    async def start(cls, script: Path, options: Sequence[str]) -> Self:
        """Start a process and wait until its model is loaded. Raises EngineError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *options, str(script),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal must not cut streams that the worker still drains.
            start_new_session=True,
        )  # fmt: skip
        child = cls(process)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                kind, child.ready = await child.receive()
        except TimeoutError:
            child.kill()
            raise EngineError(f"an engine process was not ready in {START_TIMEOUT_S:g} s") from None
        if kind != b"R":
            child.kill()
            raise EngineError(child.ready.decode(errors="replace"))
        return child

    def write(self, content: bytes) -> None:
        """Send bytes without waiting; a process that is gone shows when it is read."""
        with contextlib.suppress(OSError, RuntimeError):
            self._input.write(content)

    async def send(self, content: bytes) -> None:
        """Send bytes at the pace at which the process takes them."""
        self.write(content)
        with contextlib.suppress(OSError):
            await self._input.drain()

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the next frame's type and content. Raises EngineError when the process is gone."""
        try:
            head = await self._output.readexactly(5)
            return head[:1], await self._output.readexactly(struct.unpack(">I", head[1:])[0])
        except (asyncio.IncompleteReadError, OSError):
            raise EngineError("an engine process ended") from None

    async def settle(self, stop: bytes, last: bytes) -> bool:
        """Ask the process to end its work, and skip to the last frame of it.

        Returns whether the process can be used again: it may be gone, or stuck.
        """
        self.write(stop)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while (await self.receive())[0] not in last:
                    pass
        except (EngineError, TimeoutError):
            return False
        return True

    def kill(self) -> None:
        """End the process now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End the process in order, by closing its input."""
        self._input.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


class Pool:
    """As many processes as there are parallel streams; one that is lost is replaced."""

    def __init__(
        self, script: Path, options: Sequence[str], size: int, *, stop: bytes, last: bytes
    ) -> None:
        self._script = script
        self._options = options
        self._size = size
        self._stop = stop
        self._last = last
        self._idle: asyncio.LifoQueue[Child] = asyncio.LifoQueue()
        self._children: set[Child] = set()
        self._chores: set[asyncio.Task[None]] = set()

    async def fill(self) -> bytes:
        """Start the processes; returns the first frame of the last one. Raises EngineError."""
        try:
            children = [await self._add() for _unused in range(self._size)]
        except OSError as error:
            raise EngineError(f"cannot start an engine process: {error}") from error
        return children[-1].ready

    async def take(self) -> Child:
        """Return an idle process, the next that becomes idle when none is."""
        return await self._idle.get()

    def give(self, child: Child) -> None:
        """Take back a process that is done."""
        self._idle.put_nowait(child)

    def recover(self, child: Child) -> None:
        """Take back a process in the middle of something: make it usable, or replace it."""
        chore = asyncio.create_task(self._recover(child))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def close(self) -> None:
        """End all processes."""
        for chore in list(self._chores):
            chore.cancel()
        await asyncio.gather(*(child.end() for child in self._children))
        self._children.clear()

    async def _add(self) -> Child:
        child = await Child.start(self._script, self._options)
        self._children.add(child)
        self._idle.put_nowait(child)
        return child

    async def _recover(self, child: Child) -> None:
        if await child.settle(self._stop, self._last):
            self.give(child)
            return
        child.kill()
        self._children.discard(child)
        while True:
            try:
                await self._add()
            except (EngineError, OSError) as error:
                log.error("cannot replace an engine process, trying again: %s", error)
                await asyncio.sleep(1)
            else:
                log.warning("replaced an engine process")
                return
