# SPDX-License-Identifier: Apache-2.0
"""The operation tts: text to audio in the format that the client asked for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Generic, Literal

from sonic_reference import protocol
from sonic_reference.audio import Encoder
from sonic_reference.worker.batcher import Batcher
from sonic_reference.worker.engine import Engine, Mark, Stream, Utterance
from sonic_reference.worker.metrics import WorkerMetrics
from sonic_reference.worker.service import Link


def _of(kind: Literal["word", "phoneme"], marks: Iterable[Mark]) -> list[tuple[str, float, float]]:
    return [
        (mark.text, round(mark.start_s, 3), round(mark.end_s, 3))
        for mark in marks
        if mark.kind == kind
    ]


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
        wanted = protocol.SpeechJob.model_validate_json(job)
        link.request_id = wanted.request_id
        utterance = Utterance(
            wanted.transcript, wanted.voice_id, wanted.language, wanted.speed, wanted.emotion,
            marks=wanted.word_timestamps or wanted.phoneme_timestamps,
        )  # fmt: skip
        encoder = Encoder(wanted.output_format, self._engine.sample_rate, wanted.volume)
        seconds = 0.0
        async with contextlib.aclosing(self._batcher.speak(utterance)) as blocks:
            async for block in blocks:
                seconds += len(block.pcm) / 2 / self._engine.sample_rate
                marks = protocol.Marks(
                    words=_of("word", block.marks) if wanted.word_timestamps else [],
                    phonemes=_of("phoneme", block.marks) if wanted.phoneme_timestamps else [],
                )
                if marks.words or marks.phonemes:
                    await link.tell("marks", marks)
                audio = encoder.feed(block.pcm)
                if audio and not link.sent:
                    self._metrics.ttfa.observe(time.monotonic() - link.taken)
                await link.audio(audio)
        await link.audio(encoder.finish())
        if seconds:
            self._metrics.rtf.observe((time.monotonic() - link.taken) / seconds)
