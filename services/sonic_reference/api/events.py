# SPDX-License-Identifier: Apache-2.0
"""The events that SSE and WebSocket clients get, in the public API's shapes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sonic_reference import protocol
from sonic_reference.api.dispatch import Dispatcher, Event, WorkerLostError, lost
from sonic_reference.api.metrics import ApiMetrics
from sonic_reference.api.schema import STRUCTURED_ERRORS
from sonic_reference.errors import ApiError
from sonic_reference.protocol import SAMPLE_BYTES, SpeechJob

Fields = dict[str, Any]


def error_event(error: ApiError, request_id: str, version: str) -> Fields:
    """Return the event for an error; older versions of the API have only its text."""
    fields: Fields = {"type": "error", "done": True, "status_code": error.status}
    if version < STRUCTURED_ERRORS:
        return fields | {"error": f"{error.title}: {error.message}"}
    return fields | {
        "error_code": error.code,
        "title": error.title,
        "message": error.message,
        "request_id": request_id,
    }


def done_event() -> Fields:
    """Return the event for the end of a context or a stream."""
    return {"type": "done", "done": True, "status_code": 200}


def _times(kind: str, marks: list[tuple[str, float, float]], offset_s: float) -> Fields:
    return {
        kind: [text for text, _start, _end in marks],
        "start": [round(start + offset_s, 3) for _text, start, _end in marks],
        "end": [round(end + offset_s, 3) for _text, _start, end in marks],
    }


class Speaker:
    """Speaks one context's texts one after another; times count from the context's start.

    The first text may be refused when no stream is free. The later ones wait for a stream, so that
    a reply is spoken as a whole or not at all.
    """

    def __init__(self, dispatcher: Dispatcher, metrics: ApiMetrics) -> None:
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._spoken_s = 0.0
        # The model that speaks, once it has begun.
        self._model = ""

    async def speak(self, job: SpeechJob, asked_at: float) -> AsyncGenerator[Fields, None]:
        """Yield chunk and timestamp events; ``asked_at`` is when the text came (monotonic seconds).

        Raises ApiError, also for a worker that is lost in the middle.
        """
        before = asked_at
        size = 0
        async with aclosing(self._events(job, asked_at)) as events:
            async for event in events:
                now = time.monotonic()
                if event.kind == "audio":
                    size += len(event.content)
                    yield {
                        "type": "chunk",
                        "data": base64.b64encode(event.content).decode(),
                        "done": False,
                        "status_code": 206,
                        "step_time": round((now - before) * 1000, 3),
                    }
                    before = now
                elif event.kind == "marks":
                    marks = protocol.Marks.model_validate_json(event.content)
                    common = {"done": False, "status_code": 206}
                    if marks.words:
                        times = _times("words", marks.words, self._spoken_s)
                        yield {"type": "timestamps", **common, "word_timestamps": times}
                    if marks.phonemes:
                        times = _times("phonemes", marks.phonemes, self._spoken_s)
                        yield {"type": "phoneme_timestamps", **common, "phoneme_timestamps": times}
        output = job.output_format
        self._spoken_s += size / SAMPLE_BYTES[output.encoding] / output.sample_rate

    async def _events(self, job: SpeechJob, asked_at: float) -> AsyncGenerator[Event, None]:
        stream, head = await self._dispatcher.open(job, begun=self._model)
        self._model = stream.offering.partition("/")[2]
        self._metrics.ttfa.labels(stream.offering).observe(time.monotonic() - asked_at)
        self._metrics.streams.inc()
        try:
            for event in head:
                yield event
            while following := await stream.next():
                yield following
        except WorkerLostError as error:
            self._metrics.broken.labels("worker_lost").inc()
            raise lost(f"The worker was lost while it spoke: {error}") from None
        except ApiError:
            self._metrics.broken.labels("worker_error").inc()
            raise
        finally:
            self._metrics.streams.dec()
            await stream.close()


def sse(fields: Fields) -> bytes:
    """Return an event of a text/event-stream."""
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()
