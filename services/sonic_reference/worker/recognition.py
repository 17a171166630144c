# SPDX-License-Identifier: Apache-2.0
"""The operation stt: a client's audio to text, while it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from sonic_reference import protocol
from sonic_reference.audio import Decoder
from sonic_reference.worker.engine import Flushed, Recognition, Recognizer, Taken, Transcript
from sonic_reference.worker.service import Link, LostError


class RecognitionOperation:
    """Transcribes the jobs of a worker."""

    name = "stt"

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer

    async def serve(self, job: bytes, link: Link) -> None:
        """Transcribe one stream; see :class:`sonic_reference.worker.service.Operation`."""
        request = protocol.TranscriptionJob.model_validate_json(job)
        link.request_id = request.request_id
        recognition = await self._recognizer.open(request.language, request.interim)
        window = protocol.Window()
        # What the window's total was when each piece was fed.
        fed: deque[int] = deque()
        async with contextlib.aclosing(recognition.results()) as results:
            listening = asyncio.create_task(self._listen(request, link, recognition, window, fed))
            try:
                async for result in results:
                    match result:
                        case Transcript():
                            words = [(w.text, w.start_s, w.end_s) for w in result.words]
                            transcript = protocol.Transcript(
                                text=result.text, is_final=result.final,
                                duration=result.duration_s, words=words,
                            )  # fmt: skip
                            await link.send("transcript", transcript)
                        case Flushed():
                            await link.send("flush_done")
                        case Taken():
                            window.used = fed.popleft()
                            await link.send("taken", window.confirmation())
                await listening
            finally:
                listening.cancel()

    async def _listen(
        self,
        request: protocol.TranscriptionJob,
        link: Link,
        recognition: Recognition,
        window: protocol.Window,
        fed: deque[int],
    ) -> None:
        decoder = Decoder(request.encoding, request.sample_rate, self._recognizer.sample_rate)
        while True:
            verb, content = await link.inbox.get()
            match verb:
                case "audio":
                    window.total += len(content)
                    fed.append(window.total)
                    await recognition.feed(decoder.feed(content))
                case "finalize":
                    await recognition.finalize()
                case "close":
                    fed.append(window.total)
                    await recognition.feed(decoder.feed(b"", last=True))
                    await recognition.finish()
                    if content.isdigit() and int(content) != window.total:
                        sent = content.decode()
                        raise LostError(f"{window.total} of {sent} bytes of audio arrived")
                    return
