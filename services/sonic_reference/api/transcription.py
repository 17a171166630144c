# SPDX-License-Identifier: Apache-2.0
"""Speech to text: whole recordings, and the events of each kind of listening socket."""

from __future__ import annotations

import asyncio

from sonic_reference import protocol
from sonic_reference.api.dispatch import Dispatcher, Stream, WorkerLostError, lost
from sonic_reference.api.events import Fields
from sonic_reference.protocol import TranscriptionJob


def _words(words: list[tuple[str, float, float]]) -> list[Fields]:
    return [{"word": text, "start": start, "end": end} for text, start, end in words]


async def transcribe(dispatcher: Dispatcher, job: TranscriptionJob, audio: bytes) -> Fields:
    """Return the transcript of a whole recording; a worker that is lost is replaced once."""
    for _attempt in (1, 2):
        stream = await dispatcher.connect(job)
        sending = asyncio.create_task(_send_all(stream, audio))
        text: list[str] = []
        words: list[Fields] = []
        try:
            while event := await stream.next():
                if event.kind == "transcript":
                    transcript = protocol.Transcript.model_validate_json(event.content)
                    if transcript.is_final:
                        text.append(transcript.text)
                        words += _words(transcript.words)
            return {"type": "transcript", "text": " ".join(text), "words": words}
        except WorkerLostError:
            dispatcher.roster.forget(stream.worker)
        finally:
            sending.cancel()
            await asyncio.shield(stream.close())
    raise lost("The worker was lost while it listened")


async def _send_all(stream: Stream, audio: bytes) -> None:
    await stream.audio(audio)
    await stream.finish()


class Manual:
    """Events of WS /stt/websocket: transcripts, each the text since the last final one."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._started = False

    def hello(self) -> list[Fields]:
        """Return the first events."""
        return []

    def transcript(self, transcript: protocol.Transcript) -> list[Fields]:
        """Return the events for a transcript."""
        # Final texts are joined as they are, so the space between two belongs to the second.
        text = f" {transcript.text}" if self._started else transcript.text
        self._started |= transcript.is_final
        return [
            {
                "type": "transcript",
                "is_final": transcript.is_final,
                "text": text,
                "duration": transcript.duration,
                "language": self._language,
                "words": _words(transcript.words),
            }
        ]

    def flushed(self) -> list[Fields]:
        """Return the events after a finalize."""
        return [{"type": "flush_done"}]

    def goodbye(self) -> list[Fields]:
        """Return the last events."""
        return [{"type": "done"}]


class Turns:
    """Events of WS /stt/turns/websocket: turns, which end where the speaker pauses."""

    def __init__(self) -> None:
        self._speaking = False

    def hello(self) -> list[Fields]:
        """Return the first events."""
        return [{"type": "connected"}]

    def transcript(self, transcript: protocol.Transcript) -> list[Fields]:
        """Return the events for a transcript."""
        start = [] if self._speaking else [{"type": "turn.start"}]
        self._speaking = not transcript.is_final
        kind = "turn.end" if transcript.is_final else "turn.update"
        return [*start, {"type": kind, "transcript": transcript.text}]

    def flushed(self) -> list[Fields]:
        """Return the events after a finalize."""
        return []

    def goodbye(self) -> list[Fields]:
        """Return the last events."""
        return []
