# SPDX-License-Identifier: Apache-2.0
"""Decide which streams an engine advances together: continuous or static batching."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Generic

from sonic_reference.worker.engine import Block, Engine, EngineError, Stream, Utterance

# Blocks that a stream may be ahead of its reader; then it skips steps.
AHEAD = 4
# How long a static batch waits for more streams before it starts.
FORMING_S = 0.01


@dataclass(eq=False)
class Turn(Generic[Stream]):
    """A stream that waits for its next step."""

    stream: Stream
    began: float = field(default_factory=time.monotonic)
    blocks: deque[Block | EngineError] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    produced_s: float = 0.0
    ended: bool = False
    left: bool = False

    @property
    def due(self) -> float:
        """When a listener who began at once runs out of audio; monotonic seconds."""
        return self.began + self.produced_s


class Batcher(Generic[Stream]):
    """Steps up to ``batch_size`` streams at a time.

    Continuous batching fills the batch before each step: a stream joins at once and leaves when it
    ends. With more streams than places, those whose listeners run out of audio first come first.
    Static batching fills the batch once and takes no stream in until all of it is done. The
    scheduler has less work, but a late stream waits for the longest one.

    ``pace`` is the least number of seconds that a step takes for each second of audio in its
    longest block, to rehearse an engine that is slower than this one.
    """

    def __init__(
        self, engine: Engine[Stream], *, batch_size: int, continuous: bool = True, pace: float = 0.0
    ) -> None:
        self._engine = engine
        self._batch_size = batch_size
        self._continuous = continuous
        self._pace = pace
        self._turns: list[Turn[Stream]] = []
        self._static: list[Turn[Stream]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start stepping."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop stepping."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Block, None]:
        """Yield an utterance's blocks; closing it frees its place. Raises EngineError."""
        turn = Turn(await self._engine.begin(utterance))
        self._turns.append(turn)
        self._wake.set()
        try:
            while True:
                while not turn.blocks:
                    turn.news.clear()
                    await turn.news.wait()
                block = turn.blocks.popleft()
                self._wake.set()
                if isinstance(block, EngineError):
                    raise block
                yield block
                if block.last:
                    return
        finally:
            turn.left = True
            self._wake.set()

    def _choose(self) -> list[Turn[Stream]]:
        """Return the turns to step next; forgets those that are over."""
        for turn in [one for one in self._turns if one.left or one.ended]:
            self._turns.remove(turn)
            if not turn.ended:
                self._engine.abandon(turn.stream)
        if self._continuous:
            group = sorted(self._turns, key=lambda turn: turn.due)
        else:
            self._static = [turn for turn in self._static if turn in self._turns]
            if not self._static:
                self._static = self._turns[: self._batch_size]
            group = self._static
        return [turn for turn in group if len(turn.blocks) < AHEAD][: self._batch_size]

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if not self._continuous and self._turns and not self._static:
                await asyncio.sleep(FORMING_S)
            batch = self._choose()
            if not batch:
                await self._wake.wait()
                continue
            began = time.monotonic()
            blocks = await self._engine.step([turn.stream for turn in batch])
            longest_s = max(
                (len(block.pcm) / 2 / self._engine.sample_rate)
                if isinstance(block, Block) else 0.0
                for block in blocks
            )  # fmt: skip
            # A slow engine gives its audio when the step is over, not before.
            await asyncio.sleep(max(0.0, began + longest_s * self._pace - time.monotonic()))
            for turn, block in zip(batch, blocks, strict=True):
                if isinstance(block, Block):
                    turn.produced_s += len(block.pcm) / 2 / self._engine.sample_rate
                turn.ended = isinstance(block, EngineError) or block.last
                turn.blocks.append(block)
                turn.news.set()
