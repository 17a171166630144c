# SPDX-License-Identifier: Apache-2.0
"""The operation tts: text to audio in the format that the client asked for.

A transcript may have tags (:mod:`sonic_reference.tags`). Each stretch of text in one manner is an
utterance of its own, and breaks are silence between them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Generic, Literal

from sonic_reference import protocol, tags
from sonic_reference.audio import Encoder
from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import Block, Engine, Mark, Stream, Utterance
from sonic_reference.worker.metrics import WorkerMetrics
from sonic_reference.worker.service import Link

# Seconds of silence that are made at a time.
BLOCK_S = 0.1


def _of(kind: Literal["word", "phoneme"], marks: Iterable[Mark]) -> list[tuple[str, float, float]]:
    return [
        (mark.text, round(mark.start_s, 3), round(mark.end_s, 3))
        for mark in marks
        if mark.kind == kind
    ]


def _moved(mark: Mark, offset_s: float) -> Mark:
    return replace(mark, start_s=mark.start_s + offset_s, end_s=mark.end_s + offset_s)


def _spelled(mark: Mark) -> Mark:
    """Return the mark of a character without the comma that stands for the pause after it."""
    return replace(mark, text=mark.text.rstrip(",")) if mark.kind == "word" else mark


class SpeechOperation(Generic[Stream]):
    """Speaks the jobs of a worker, all through one batcher."""

    name = "tts"

    def __init__(
        self, engine: Engine[Stream], batcher: Batcher[Stream], metrics: WorkerMetrics
    ) -> None:
        self._engine = engine
        self._batcher = batcher
        self._metrics = metrics

    async def serve(self, job: bytes, link: Link) -> None:
        """Speak one job; see :class:`sonic_reference.worker.service.Operation`."""
        request = protocol.SpeechJob.model_validate_json(job)
        link.request_id = request.request_id
        encoder = Encoder(request.output_format, self._engine.sample_rate, request.volume)
        seconds = 0.0
        async with contextlib.aclosing(self._blocks(request, encoder)) as blocks:
            async for block in blocks:
                marks = protocol.Marks(
                    words=_of("word", block.marks) if request.word_timestamps else [],
                    phonemes=_of("phoneme", block.marks) if request.phoneme_timestamps else [],
                )
                if marks.words or marks.phonemes:
                    await link.send("marks", marks)
                seconds += len(block.pcm) / 2 / self._engine.sample_rate
                audio = encoder.feed(block.pcm)
                if audio and not link.sent:
                    self._metrics.ttfa.observe(time.monotonic() - link.taken)
                await link.audio(audio)
        # A text without a sound gets no audio, not even a header.
        if seconds:
            await link.audio(encoder.finish())
            self._metrics.rtf.observe((time.monotonic() - link.taken) / seconds)

    async def _blocks(
        self, request: protocol.SpeechJob, encoder: Encoder
    ) -> AsyncGenerator[Block, None]:
        """Yield a transcript's blocks, whose marks count from its start. Raises EngineError."""
        rate = self._engine.sample_rate
        samples = 0
        for part in tags.parse(request.transcript):
            if isinstance(part, tags.Silence):
                left = round(part.seconds * rate)
                samples += left
                while left > 0:
                    yield Block(bytes(2 * min(left, round(BLOCK_S * rate))))
                    left -= round(BLOCK_S * rate)
                continue
            manner = part.manner
            utterance = Utterance(
                part.text, request.voice_id, request.language, manner.speed or request.speed,
                request.emotion, marks=request.word_timestamps or request.phoneme_timestamps,
            )  # fmt: skip
            encoder.volume = manner.volume or request.volume
            begins_s = samples / rate
            async with contextlib.aclosing(self._batcher.speak(utterance)) as blocks:
                async for block in blocks:
                    samples += len(block.pcm) // 2
                    marks = map(_spelled, block.marks) if manner.spell else block.marks
                    yield replace(block, marks=tuple(_moved(mark, begins_s) for mark in marks))
